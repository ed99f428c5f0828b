"""Does a table keep its contract: counts of broken rules over the whole table, from the files as they lie.

Belongs here: which table is asked, and when. Does not belong here: the rules (``lab_assets.contracts.formats``), verdicts
(``lab_assets.orchestration``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.formats.polars_rules import broken_rules
from lab_assets.ingest.arrival_rows import counts_of
from lab_assets.lake.lakehouse import Lakehouse

if TYPE_CHECKING:
    import polars as pl


def violations(lake: Lakehouse, contract: TableContract) -> dict[str, int]:
    """Return the number of rows that break each rule of a contract; an empty dict when it is kept.

    A version that was found whole before is not scanned again.
    """
    import polars as pl

    station = f"check:{contract.full_name}"
    version = lake.version(contract)
    if lake.ledger.progress(station).get(contract.full_name) == version:
        return {}
    broken = broken_rules(contract, pl.scan_delta(lake.open(contract)))
    if not broken:
        lake.ledger.set_progress(station, {contract.full_name: version})
    return broken


def reconciliation(lake: Lakehouse) -> dict[str, tuple[int, int]]:
    """Hold the ledger against bronze: what it says was committed and what the tables hold, where they differ.

    Totals come from the tables' logs; file by file is counted for batches that were not found right before.

    Returns:
        By subject (``bronze.files``, a bronze table, or a table and a file): rows that were told and rows that are there.
    """
    import polars as pl

    from lab_assets.contracts.bronze import FILES, QUARANTINED_ROWS, READER_TABLES

    columns = ["arrival_id", "file_id", "source", "file_name", "rows_parsed", "rows_rejected", "state", "ingest_batch"]
    files = lake.polars(FILES, columns)
    committed = files.filter(pl.col("state") == "committed")
    told: dict[str, int] = {}
    rejected = 0
    for row in committed.iter_rows(named=True):
        rejected += sum(counts_of(row["rows_rejected"]).values())
        for name, count in _kept(row).items():
            told[name] = told.get(name, 0) + count
    differences = {
        table.full_name: (told.get(table.name, 0), held)
        for table in READER_TABLES
        if (held := lake.row_count(table)) != told.get(table.name, 0)
    }
    if (held := lake.row_count(QUARANTINED_ROWS)) != rejected:
        differences[QUARANTINED_ROWS.full_name] = (rejected, held)
    recorded = lake.ledger.recorded_arrivals()
    if recorded != files.height:
        differences[FILES.full_name] = (recorded, files.height)
    return differences | _file_by_file(lake, committed)


_CHECKED: Final = "check:file_by_file"


def _file_by_file(lake: Lakehouse, committed: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """Compare rows told and rows held of each file of the batches since the last that was found right."""
    import polars as pl

    from lab_assets.contracts.bronze import READER_TABLES

    last = lake.ledger.progress(_CHECKED).get("batch", 0)
    news = committed.filter(pl.col("ingest_batch") > last)
    if news.height == 0:
        return {}
    told: dict[tuple[str, str], int] = {}
    names: dict[str, str] = {}
    for row in news.iter_rows(named=True):
        names[row["file_id"]] = f"{row['source']}/{row['file_name']}"
        for name, count in _kept(row).items():
            told[name, row["file_id"]] = told.get((name, row["file_id"]), 0) + count
    held: dict[tuple[str, str], int] = {}
    for table in READER_TABLES:
        rows = lake.polars(table, ["source_sha256"], where=pl.col("ingest_batch") > last)
        held |= {(table.name, digest): count for digest, count in rows["source_sha256"].value_counts().iter_rows()}
    differences = {
        f"bronze.{name}: {names.get(digest, digest)}": (told.get((name, digest), 0), held.get((name, digest), 0))
        for name, digest in told.keys() | held.keys()
        if told.get((name, digest), 0) != held.get((name, digest), 0)
    }
    if not differences:
        lake.ledger.set_progress(_CHECKED, {"batch": int(news["ingest_batch"].max() or 0)})  # pyright: ignore[reportArgumentType]
    return differences


def _kept(row: dict[str, Any]) -> dict[str, int]:
    """Return the rows that a file brought into each table."""
    lost = counts_of(row["rows_rejected"])
    return {name: kept for name, count in counts_of(row["rows_parsed"]).items() if (kept := count - lost.get(name, 0))}
