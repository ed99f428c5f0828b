"""Checks of ``lab doctor``: the files that a home keeps once and cannot make a second time.

Belongs here: record of the home, database, audit trail, models, keys, history of runs. Does not belong here: tables (``lake_checks.py``),
hashing every file (``lab scrub``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from lab_assets.environment_errors import fault_of
from lab_assets.fault_kinds import EnvironmentFaultError
from lab_assets.home_identity import Kept, LostError, has_made, is_new, record_path
from lab_assets.ops.checks import Check, place_of_fault
from lab_assets.ops.dagster_home import home_folder
from lab_assets.settings import Settings
from lab_assets.unfinished_restore import require_no_unfinished_restore

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from lab_assets.state.ledger import Ledger

_RESTORE: Final = "put it back from a backup with 'lab restore'; see docs/recovery.md"


def _identity(settings: Settings) -> Check:
    """See that a home says which one it is, and what was made in it."""
    require_no_unfinished_restore(settings)
    path = record_path(settings)
    try:
        new, kept = is_new(settings), {each for each in Kept if has_made(settings, each)}
    except LostError as error:
        return Check(name="identity", state="failed", found=str(error), mend=_RESTORE)
    if new:
        return Check(name="identity", state="ok", found="a new home: nothing was made yet")
    if not path.exists():
        found = f"{path} is gone: what is lost in this home can be mistaken for what was never made"
        return Check(
            name="identity", state="failed", found=found, mend=f"{_RESTORE}; where nothing is lost, the next command writes it anew"
        )
    # whoever makes these records it at once
    unknown = sorted(each for each in (Kept.DATABASE, Kept.MASK_KEY) if each not in kept and (settings.home / each).exists())
    if unknown:
        found = f"{path} is older than {', '.join(unknown)}"
        return Check(name="identity", state="failed", found=found, mend="put the newer one back; or 'lab up' records what is there")
    return Check(name="identity", state="ok", found=json.loads(path.read_bytes())["home_id"])


def _database(settings: Settings) -> Check:
    from sqlalchemy.exc import SQLAlchemyError

    from lab_assets.state.database import database_file, file_fault, is_made, open_engine, revision_of

    try:
        if not is_made(settings):
            return Check(name="database", state="ok", found="not made yet; the first command makes it")
        path = database_file(settings)
        if path is not None and (fault := file_fault(path)):
            return Check(name="database", state="failed", found=f"{path} is damaged: {fault}", mend=_RESTORE)
        revision = revision_of(settings, open_engine(settings))
    except LostError as error:
        without = "without a backup, 'lab reconcile --new-database --reason WHY' makes an empty one and learns from the tables what arrived"
        return Check(name="database", state="failed", found=str(error), mend=f"{_RESTORE}; {without}")
    except SQLAlchemyError as error:
        if (fault := fault_of(error, settings)) is not None:
            return Check(name="database", state="failed", found=place_of_fault(fault), mend=fault.what_to_do)
        reason = str(error).splitlines()[0]
        return Check(name="database", state="failed", found=reason, mend="check LAB_DB_URL, the server and the rights on the file")
    return _held_against_head(revision)


def _held_against_head(revision: str | None) -> Check:
    from lab_assets.state.database import HEAD

    if revision == HEAD:
        return Check(name="database", state="ok", found=f"revision {revision}")
    if revision is None:
        return Check(name="database", state="warning", found="it holds no tables yet", mend="'lab up' makes them")
    found = f"revision {revision}, this version works with {HEAD}"
    if revision < HEAD:
        return Check(name="database", state="warning", found=found, mend="'lab upgrade' keeps a copy of it and brings it to this version")
    return Check(name="database", state="failed", found=found, mend="it was written by a newer version: update the product")


def _signing(settings: Settings) -> Check:
    """Hold the clock against the audit trail: one that was set back stops signing."""
    from sqlalchemy.exc import SQLAlchemyError

    from lab_assets.governance.clock_guard import step_back
    from lab_assets.state.clock import utc_now

    engine = _current(settings)
    try:
        behind = step_back(engine, now=utc_now()) if engine is not None else None
    except SQLAlchemyError:
        return Check(name="signing", state="warning", found="the audit trail cannot be read", mend="see 'database'")
    if behind is None:
        return Check(name="signing", state="ok", found="the clock is not behind the audit trail")
    mend = "set the clock, for example by NTP; where it is right, an administrator runs 'lab audit accept-clock'"
    return Check(name="signing", state="failed", found=behind.message, mend=mend)


def _audit(settings: Settings) -> Check:
    """Verify the audit trail: the chain, its anchors, and what was accepted of it."""
    from sqlalchemy.exc import SQLAlchemyError

    from lab_assets.state.audit_chain import AuditLog

    engine = _current(settings)
    if engine is None:
        return Check(name="audit", state="ok", found="no trail that can be read; see 'database'")
    try:
        result = AuditLog(engine).verify()
    except (SQLAlchemyError, OSError) as error:
        return Check(name="audit", state="failed", found=f"the trail cannot be read: {str(error).splitlines()[0]}", mend=_RESTORE)
    if not result.ok:
        mend = "'lab audit examine' shows what differs and what can be done; see docs/recovery.md"
        return Check(name="audit", state="failed", found=result.reason, mend=mend)
    accepted = (
        f"; {len(result.accepted)} mishap(s) accepted: {'; '.join(each.words for each in result.accepted)}" if result.accepted else ""
    )
    return Check(name="audit", state="ok", found=f"{result.entries} entries, whole{accepted}")


def _models(settings: Settings) -> Check:
    """Hold MLflow against the approvals and each bundle against its digest; a registry that another program serves is left to 'lab scrub'."""
    from lab_assets.registry.known_models import model_faults
    from lab_assets.registry.serving import registry_of

    registry, engine = registry_of(settings), _current(settings)
    if registry.database_file is None:
        return Check(name="models", state="ok", found=f"{registry.tracking_uri}: looked at when it is first used")
    try:
        registry.require_kept()
    except LostError as error:
        return Check(name="models", state="failed", found=str(error), mend=_RESTORE)
    if engine is None or not (registry.database_file.exists() or has_made(settings, Kept.DATABASE)):
        return Check(name="models", state="ok", found="no model is known")
    if faults := model_faults(registry, engine):
        return Check(name="models", state="failed", found="; ".join(each.problem for each in faults), mend=_RESTORE)
    return Check(name="models", state="ok", found="every version that is known is there, with the bytes of its digest")


def _history(settings: Settings) -> Check:
    """Tell whether the account of a database on a server could take the audit trail away."""
    from lab_assets.ops.setting_checks import history_risk
    from lab_assets.state.database import open_engine

    risk = "" if settings.db_url is None else history_risk(open_engine(settings, pooled=False))
    if not risk:
        return Check(name="history", state="ok", found="the account that works cannot drop the audit trail")
    mend = "let another role own the tables and run 'lab upgrade', and grant this one SELECT, INSERT, UPDATE and DELETE; export the anchor elsewhere"
    return Check(name="history", state="warning", found=risk, mend=mend)


def _keys(settings: Settings) -> Check:
    """See that the key of pseudonyms is the one that was made; looking makes none."""
    from lab_assets.governance.mask_methods import MaskKey
    from lab_assets.state.laboratory import digest_of_key, noted_key

    mend = "put it back from the backup of the keys; see docs/recovery.md"
    try:
        if not has_made(settings, Kept.MASK_KEY):
            return Check(name="keys", state="ok", found="no key was made yet")
        own = digest_of_key(MaskKey.of(settings).inner)
    except (LostError, ValueError, OSError) as error:
        return Check(name="keys", state="failed", found=str(error), mend=mend)
    engine = _current(settings)
    with engine.connect() if engine is not None else nullcontext() as connection:
        known = None if connection is None else noted_key(connection)
    if known not in {None, own}:
        found = f"{settings.home / Kept.MASK_KEY} holds another key than the laboratory's pseudonyms were made with"
        return Check(name="keys", state="failed", found=found, mend=mend)
    return Check(name="keys", state="ok", found="the key of pseudonyms is the one that was made")


def _runs(settings: Settings) -> Check:
    """See that the databases of Dagster's runs are whole; they are no records, and can be begun anew."""
    from lab_assets.state.database import file_fault

    storage = home_folder(settings) / "storage"
    files = sorted(storage.rglob("*.db"))
    if faults := {path: fault for path in files if (fault := file_fault(path))}:
        found = "; ".join(f"{path} is damaged: {fault}" for path, fault in faults.items())
        mend = f"run 'lab down', move {storage} away and run 'lab up': the history of runs begins anew, no table depends on it"
        return Check(name="runs", state="failed", found=found, mend=mend)
    return Check(name="runs", state="ok", found=f"{len(files)} database(s) of runs, whole")


def _current(settings: Settings) -> Engine | None:
    """Open the database as it is; ``None`` where it is not there, lost, of another revision or cannot be read, which 'database' tells of."""
    from sqlalchemy.exc import SQLAlchemyError

    from lab_assets.state.database import HEAD, is_made, open_engine, revision_of

    try:
        if not is_made(settings):
            return None
        engine = open_engine(settings)
        return engine if revision_of(settings, engine) == HEAD else None
    except (SQLAlchemyError, LostError, EnvironmentFaultError):
        return None


def known_ledger(settings: Settings) -> Ledger | None:
    """Open what was committed, as it is; ``None`` where that cannot be seen, which 'database' reports."""
    from lab_assets.state.ledger import Ledger

    engine = _current(settings)
    return None if engine is None else Ledger(engine)


KEPT: Final[tuple[Callable[[Settings], Check], ...]] = (_identity, _database, _signing, _audit, _models, _history, _keys, _runs)
