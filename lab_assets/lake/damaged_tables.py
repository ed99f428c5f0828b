"""Whether every table that was ever written is there and whole: what ``lab doctor`` asks.

Belongs here: holding all tables against what is known to have been committed. Does not belong here: opening one (``opening.py``), the files
of rows (``lab_assets.ingest.scrub`` hashes them), what to do about a table that stations can make anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.core import TableContract
from lab_assets.lake.data_files import LOG, local_path, log_segment
from lab_assets.lake.foreign_commits import ForeignWrite, foreign_versions, foreign_write
from lab_assets.lake.opening import damage, lost_commits, open_table
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger

_RESTORE: Final = "Restore the table's folder from the last backup ('lab restore')"


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What is wrong with a table.

    Attributes:
        table: ``layer.table``.
        problem: What is wrong; it names the table.
        mend: What helps.
        is_readable: Whether the last version is whole all the same.
        is_foreign: Whether another program's writing is all that is wrong.
    """

    table: str
    problem: str
    mend: str = _RESTORE
    is_readable: bool = False
    is_foreign: bool = False


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
        elif (write := _foreign(table, uri, ledger)) is not None and write.columns:
            found.append(Damage(table=name, problem=write.problem, mend=write.mend, is_foreign=True))
        elif ledger is not None and (lost := lost_commits(name, uri, ledger)):
            problem = f"{name}: the log at {uri} lacks version {lost[0]}, which a checkpoint covers: versions before it cannot be read"
            found.append(Damage(table=name, problem=problem, is_readable=True))
    return found


def unknown_writes(settings: Settings, ledger: Ledger) -> list[ForeignWrite]:
    """Return what another program wrote to whole tables whose columns still fit, and nobody has recorded yet."""
    writes = (_foreign(table, settings.table_uri(table.layer, table.name), ledger) for table in contracts().values())
    return [write for write in writes if write is not None and not write.columns]


def _foreign(table: TableContract, uri: str, ledger: Ledger | None) -> ForeignWrite | None:
    """Return what another program wrote to a table and the ledger does not know."""
    noted = None if ledger is None else ledger.noted_version(table.full_name)
    if noted is None or not foreign_versions(uri, noted):
        return None
    opened = open_table(table, uri, ledger)
    return None if opened is None else foreign_write(table, uri, opened, noted)


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
