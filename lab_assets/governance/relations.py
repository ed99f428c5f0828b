"""Delta tables as queries are given them: which version there is, and which files it has.

Belongs here: opening a table for a query, and whether its files say which rows it has. Does not belong here: the locked DuckDB that
reads them (``snapshots.py``), users' SQL (``sql.py``), masks (``masking.py``), who may ask (``gateway.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.formats.types import duckdb_type
from lab_assets.governance.snapshots import QueryTable
from lab_assets.lake import opening
from lab_assets.lake.file_digests import require_whole_files
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger, ledger_of

if TYPE_CHECKING:
    import deltalake


@dataclass(frozen=True, kw_only=True)
class OpenTable:
    """One version of one table.

    Attributes:
        contract: The table.
        version: Its Delta version; ``None`` when nothing was written yet.
        delta: The table opened at that version.
        files: Its Parquet files, where they are local and hold every column; else it is read through Arrow.
    """

    contract: TableContract
    version: int | None
    delta: deltalake.DeltaTable | None = None
    files: tuple[str, ...] = ()

    def as_relation(self, name: str) -> QueryTable:
        """Return it as a query is given it, under the name that generated SQL reads it by."""
        through_arrow = not self.files and self.delta is not None and bool(self.delta.file_uris())
        return QueryTable(
            name=self.contract.full_name,
            relation=name,
            columns=tuple((column.name, duckdb_type(column.kind)) for column in self.contract.columns),
            version=self.version,
            files=self.files,
            uri=self.delta.table_uri if through_arrow and self.delta is not None else "",
        )


def open_for_query(settings: Settings, contract: TableContract, ledger: Ledger | None = None) -> OpenTable:
    """Open a table's present version as every reader does (``lab_assets.lake.opening.open_table``), if queries may read it.

    Args:
        settings: Where it lies.
        contract: Its contract.
        ledger: What was committed; default: the laboratory's.

    Raises:
        ProtocolError: its files alone do not say which rows it has.
        DamagedTableError: its log, or a data file, does not hold what was committed.
    """
    uri = settings.table_uri(contract.layer, contract.name)
    known = ledger or ledger_of(settings)
    delta = opening.open_table(contract, uri, known)
    if delta is None:
        return OpenTable(contract=contract, version=None)
    paths = [each.removeprefix("file://") for each in delta.file_uris()]
    require_whole_files(contract.full_name, uri, known, paths)
    local = not delta.metadata().partition_columns and all(Path(path).is_absolute() for path in paths)
    return OpenTable(contract=contract, version=delta.version(), delta=delta, files=tuple(paths) if local else ())


def table_state(settings: Settings, contract: TableContract) -> tuple[int | None, int | None]:
    """Return a table's Delta version and its rows as the log counts them; ``None`` where there is none.

    Raises:
        ProtocolError: its files alone do not say which rows it has.
        DamagedTableError: see ``open_for_query``.
    """
    opened = open_for_query(settings, contract)
    if opened.delta is None:
        return None, None
    import pyarrow as pa

    actions = pa.table(opened.delta.get_add_actions(flatten=True))
    if "num_records" not in actions.column_names:
        return opened.version, None
    counts: list[int | None] = actions.column("num_records").to_pylist()
    known = [count for count in counts if count is not None]
    return opened.version, sum(known) if len(known) == len(counts) else None


def lineage_of(settings: Settings) -> list[dict[str, Any]]:
    """Return every row of ``governance.lineage``.

    Raises:
        DamagedTableError: see ``open_for_query``.
    """
    from lab_assets.contracts.governance import LINEAGE

    opened = open_for_query(settings, LINEAGE)
    return [] if opened.delta is None else opened.delta.to_pyarrow_dataset().to_table().to_pylist()
