"""What another program did to a table: commits that the ledger does not know, and columns that no longer fit the contract.

Belongs here: finding and naming it. Does not belong here: commits of others that were recorded since (``governance.lineage`` names them),
taking them back (``lab table restore``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab_assets.contracts.core import TableContract
from lab_assets.lake.commits import COMMIT_ID
from lab_assets.lake.data_files import commit_path, local_path, log_segment
from lab_assets.lake.derivation import INPUTS
from lab_assets.lake.opening import DamagedTableError, is_remote

if TYPE_CHECKING:
    from deltalake import DeltaTable

_MAY_BE_EMPTY: Final = re.compile(r", (?:value_)?contains_null=\w+")
_OURS: Final = (COMMIT_ID, INPUTS)


class ForeignWriteError(DamagedTableError):
    """Another program wrote a table so that its columns no longer fit."""


@dataclass(frozen=True, kw_only=True)
class ForeignWrite:
    """What another program wrote to a table and the ledger does not know.

    Attributes:
        table: ``layer.table``.
        versions: Its commits.
        columns: How the table's columns differ from the contract, each in words.
        restore_to: The last version that is known.
    """

    table: str
    versions: tuple[int, ...]
    columns: tuple[str, ...]
    restore_to: int

    @property
    def problem(self) -> str:
        """What it is, for people."""
        which = f"version {', '.join(map(str, self.versions))}" if self.versions else "a version that was recorded since"
        differ = f": {'; '.join(self.columns)}" if self.columns else ""
        return f"{self.table}: another program wrote {which}, which the ledger does not know{differ}"

    @property
    def mend(self) -> str:
        """What helps."""
        return f"'lab table restore {self.table} {self.restore_to}' takes back what it wrote"


def foreign_versions(uri: str, noted: int | None) -> tuple[int, ...]:
    """Return the versions after the last known one whose commits do not say that they are the product's; none of a table never noted."""
    if noted is None or is_remote(uri):
        return ()
    folder = local_path(uri)
    return tuple(version for version in range(noted + 1, log_segment(folder).version + 1) if not _is_ours(folder, version))


def _is_ours(folder: Path, version: int) -> bool:
    try:
        lines = commit_path(folder, version).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return True  # cleaned up behind a checkpoint: long ago, and judged then
    described = (json.loads(line).get("commitInfo") for line in lines if '"commitInfo"' in line)
    return any(name in info for info in described if info for name in _OURS)


def foreign_write(contract: TableContract, uri: str, table: DeltaTable, noted: int | None) -> ForeignWrite | None:
    """Return what another program wrote to an open table and nobody knows; ``None`` where there is nothing of it.

    Args:
        contract: Contract of the table.
        uri: Where it lies.
        table: The table at its last version.
        noted: The last version that the ledger knows.
    """
    versions = foreign_versions(uri, noted)
    columns = differing_columns(contract, table, also_missing=bool(versions))
    if not versions and not columns:
        return None
    return ForeignWrite(table=contract.full_name, versions=versions, columns=columns, restore_to=-1 if noted is None else noted)


def require_fitting(contract: TableContract, uri: str, table: DeltaTable, noted: int | None) -> None:
    """Refuse a table whose columns another program changed: neither its rows nor new ones are what the contract says.

    Raises:
        ForeignWriteError: table, version and each column are named.
    """
    if differing_columns(contract, table, also_missing=True):  # columns of a newer contract are missing as well, and are added
        found = foreign_write(contract, uri, table, noted)
        if found is not None and found.columns:
            raise ForeignWriteError(found.problem, f"{found.mend}.")


def differing_columns(contract: TableContract, table: DeltaTable, *, also_missing: bool) -> tuple[str, ...]:
    """Return how a table's columns differ from its contract; columns beside those of the contract are of an older one.

    Args:
        contract: The contract.
        table: The table.
        also_missing: Whether columns that the table does not have count: those of a newer contract are added when it is next written.
    """
    held = {field.name: _kind(field.type) for field in table.schema().fields}
    found: list[str] = []
    for name, kind in _kinds(contract).items():
        if name not in held:
            found += [f"column {name} is missing"] if also_missing else []
        elif held[name] != kind:
            found.append(f"column {name} is {_plain(held[name])}, not {_plain(kind)}")
    return tuple(found)


@lru_cache(maxsize=256)
def _kinds(contract: TableContract) -> dict[str, str]:
    """Return the types of a contract's columns in the words of Delta."""
    from deltalake import Schema

    return {field.name: _kind(field.type) for field in Schema.from_arrow(contract.arrow_schema()).fields}


def _kind(of_field: object) -> str:
    """Return a type in Delta's words; whether parts of it may be empty differs between writers and says nothing."""
    return _MAY_BE_EMPTY.sub("", str(of_field))


def _plain(kind: str) -> str:
    """Return a type without the library's own words for it."""
    return kind.removeprefix('PrimitiveType("').removesuffix('")')
