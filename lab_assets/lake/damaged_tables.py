"""Whether every table that was ever written is there and whole: what ``lab doctor`` asks.

Belongs here: holding all tables against what is known to have been committed. Does not belong here: opening one (``opening.py``), the files
of rows (``lab_assets.ingest.scrub`` hashes them), what to do about a table that stations can make anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lab_assets.contracts.all_contracts import contracts
from lab_assets.lake.data_files import LOG, local_path, log_segment
from lab_assets.lake.opening import damage, lost_commits
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger

_RESTORE: Final = "Restore the table's folder from the last backup"


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What is wrong with a table.

    Attributes:
        table: ``layer.table``.
        problem: What is wrong; it names the table.
        mend: What helps.
        is_readable: Whether the last version is whole all the same.
    """

    table: str
    problem: str
    mend: str = _RESTORE
    is_readable: bool = False


def damaged_tables(settings: Settings, ledger: Ledger | None) -> list[Damage]:
    """Return what is wrong with the tables of a lake on this machine; nothing is changed.

    Args:
        settings: Where the lake is.
        ledger: What was committed; without one only damage is found that a log shows by itself.
    """
    known = {} if ledger is None else ledger.known_versions()
    found: list[Damage] = []
    for name, table in contracts().items():
        uri = settings.table_uri(table.layer, table.name)
        if (error := damage(name, uri, ledger)) is not None:
            found.append(Damage(table=name, problem=error.problem, mend=error.mend.rstrip(".")))
        elif problem := _unnoted(name, uri, known.get(name, 0)):
            found.append(Damage(table=name, problem=problem))
        elif ledger is not None and (lost := lost_commits(name, uri, ledger)):
            problem = f"{name}: the log at {uri} lacks version {lost[0]}, which a checkpoint covers: versions before it cannot be read"
            found.append(Damage(table=name, problem=problem, is_readable=True))
    return found


def _unnoted(name: str, uri: str, known: int) -> str:
    """Say what is missing of a table that another program, or the service, wrote last; empty when nothing is."""
    folder = local_path(uri)
    version = log_segment(folder).version
    if version >= known > 0:
        return ""
    if known > 0:
        ends = "no table lies" if version < 0 else f"a log that ends at version {version} lies"
        return f"{name}: {ends} at {uri}, but version {known} was read"
    is_left = version < 0 and ((folder / LOG).is_dir() or any(folder.glob("*.parquet")))
    return f"{name}: no log in {folder}" if is_left else ""
