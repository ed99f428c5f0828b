"""Settings that nothing could start by, or that would lose or corrupt data in silence, tried against the servers that they name.

Belongs here: checks that need a server, for ``lab doctor`` and the start. Does not belong here: rules of single values
(``lab_assets.setting_rules``), what a run checks by itself (``lab_assets.ingest.shared_folders``, ``lab_assets.state.laboratory``).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine, text

from lab_assets.listening import require_host
from lab_assets.settings import Settings

_HISTORY: Final = ("audit", "serving_history", "approvals", "users")


def require_sound(settings: Settings) -> None:
    """Refuse to start with settings by which the service could not, or that would corrupt.

    Raises:
        EnvironmentFaultError: nothing can listen at the address, or the workers of another Spark server do not share the folders.
    """
    require_host(settings.host)
    if settings.spark_remote:
        require_shared_folders(settings)


def require_shared_folders(settings: Settings) -> None:
    """Ask another Spark server whether its workers share the folders of the laboratory; see ``lab_assets.ingest.shared_folders``."""
    from lab_assets.compute.session import SessionKeeper
    from lab_assets.compute.spark import SparkCompute
    from lab_assets.ingest.shared_folders import require_shared

    keeper = SessionKeeper(settings)
    try:
        require_shared(settings, SparkCompute(keeper))
    finally:
        keeper.close()


def history_risk(engine: Engine) -> str:
    """Return why the account of a PostgreSQL database could take history away; empty where it cannot, and on SQLite.

    UPDATE, DELETE, TRUNCATE and numbers out of turn are refused by triggers whoever asks. Who owns a table can drop it or its triggers.
    """
    if engine.dialect.name != "postgresql":
        return ""
    query = text(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() "
        "AND c.relname = ANY(:names) AND pg_has_role(current_user, c.relowner, 'MEMBER') ORDER BY c.relname"
    )
    with engine.connect() as connection:
        owned = list(connection.execute(query, {"names": list(_HISTORY)}).scalars())
        account = connection.execute(text("SELECT current_user")).scalar()
    return f"the account {account} may drop {', '.join(owned)} or their triggers, since it owns them" if owned else ""
