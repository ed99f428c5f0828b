"""Does a table keep its contract, and does bronze hold what the ledger says: counted over what has changed since it was last found right.

Belongs here: which rows are looked at, and when. Does not belong here: the rules (``lab_assets.contracts.formats``), verdicts
(``lab_assets.orchestration``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.formats.polars_rules import broken_rules
from lab_assets.contracts.formats.rules import rules_of
from lab_assets.contracts.governance import LINEAGE
from lab_assets.contracts.ml import DECISIONS, PREDICTIONS
from lab_assets.ingest.arrival_rows import counts_of
from lab_assets.lake.among import among
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.all_stations import stations

if TYPE_CHECKING:
    import polars as pl


def violations(lake: Lakehouse, contract: TableContract) -> dict[str, int]:
    """Return the number of rows that break each rule of a contract; an empty dict when it is kept.

    Rows of a version that was found whole before are not looked at again; new keys are looked for among all rows.
    """
    station = f"check:{contract.full_name}"
    version = lake.version(contract)
    whole = lake.ledger.progress(station).get(contract.full_name)
    if whole == version:
        return {}
    if whole is not None and whole < version:
        broken = _of_news(lake, contract, whole, version)
    else:
        broken = broken_rules(contract, lake.scan(contract))
    if not broken:
        lake.ledger.set_progress(station, {contract.full_name: version})
    return broken


def mending(name: str, broken: Mapping[str, int]) -> str:
    """Return which command takes away rows that repeat a key; empty where none does, or no key is repeated."""
    can_be_made = name in stations() or name == LINEAGE.full_name
    return f"'lab table rebuild {name}' takes the doubled rows away" if can_be_made and any(map(_is_unique_rule, broken)) else ""


def _is_unique_rule(rule: str) -> bool:
    return rule.startswith("unique(")


def _of_news(lake: Lakehouse, contract: TableContract, since: int, until: int) -> dict[str, int]:
    keyed = {*contract.primary_key, *_following(contract), *(name for pair in contract.ordered for name in pair)}
    ruled = [column.name for column in contract.columns if rules_of(column) or column.name in keyed]
    written = lake.written(contract, ruled, since=since, until=until)
    broken = broken_rules(contract, written, unique=False)
    if contract.primary_key and written.height and (twice := _repeated(lake, contract, written)):
        broken[f"unique({', '.join(contract.primary_key)})"] = twice
    return broken


def _repeated(lake: Lakehouse, contract: TableContract, written: pl.DataFrame) -> int:
    """Return how many rows of the whole table repeat a key that was written.

    Rows of one key agree in the columns that follow from it: by these, files are skipped that a digest does not rule out.
    """
    import polars as pl

    key = list(contract.primary_key)
    asked_by = [name for name in (*key, *_following(contract)) if written[name].null_count() == 0]
    asked = [among(name, written[name]) for name in asked_by]
    held = lake.polars(contract, key, where=pl.all_horizontal(asked) if asked else None)
    held = held.join(written.select(key).unique(), on=key, how="semi", nulls_equal=True)
    return held.height - held.unique().height


_OF_PREDICTIONS: Final[Mapping[str, tuple[str, ...]]] = {PREDICTIONS.full_name: ("lot_id", "as_of_utc"), DECISIONS.full_name: ("lot_id",)}
"""A prediction is of a lot and a moment, which are part of its identity."""


def _following(contract: TableContract) -> tuple[str, ...]:
    """Return the columns of a table that follow from its key, as its station declares."""
    if contract.full_name in _OF_PREDICTIONS:
        return _OF_PREDICTIONS[contract.full_name]
    station = stations().get(contract.full_name)
    return station.group.also if station is not None and set(station.group.columns) <= set(contract.primary_key) else ()


_TOTALS: Final = "check:totals"
_CHECKED: Final = "check:file_by_file"


def reconciliation(lake: Lakehouse) -> dict[str, tuple[int, int]]:
    """Hold the ledger against bronze: what it says was committed and what the tables hold, where they differ.

    Totals come from the tables' logs and are carried on from the last time; file by file is counted for batches that were not found
    right before.

    Returns:
        By subject (``bronze.files``, a bronze table, or a table and a file): rows that were reported and rows that are held.
    """
    import polars as pl

    from lab_assets.contracts.bronze import FILES, QUARANTINED_ROWS, READER_TABLES

    known = lake.ledger.progress(_TOTALS)
    columns = ["arrival_id", "file_id", "source", "file_name", "rows_parsed", "rows_rejected", "state", "ingest_batch"]
    last = min(known.get("#batch", 0), lake.ledger.progress(_CHECKED).get("batch", 0))
    files = lake.polars(FILES, columns, where=pl.col("ingest_batch") > last)
    committed = files.filter(pl.col("state") == "committed")
    reported, rejected, arrivals = dict(known), known.get("#rejected", 0), known.get("#arrivals", 0)
    newer = files.filter(pl.col("ingest_batch") > known.get("#batch", 0))
    arrivals += newer.height
    for row in newer.filter(pl.col("state") == "committed").iter_rows(named=True):
        rejected += sum(counts_of(row["rows_rejected"]).values())
        for name, count in _kept(row).items():
            reported[name] = reported.get(name, 0) + count
    differences = {
        table.full_name: (reported.get(table.name, 0), held)
        for table in READER_TABLES
        if (held := lake.row_count(table)) != reported.get(table.name, 0)
    }
    if (held := lake.row_count(QUARANTINED_ROWS)) != rejected:
        differences[QUARANTINED_ROWS.full_name] = (rejected, held)
    recorded, in_files = lake.ledger.recorded_arrivals(), lake.row_count(FILES)
    if recorded != in_files or in_files != arrivals:
        differences[FILES.full_name] = (recorded, in_files)
    differences |= _file_by_file(lake, committed)
    if not differences and newer.height:
        batch = int(newer["ingest_batch"].max() or 0)  # pyright: ignore[reportArgumentType]
        lake.ledger.set_progress(_TOTALS, reported | {"#rejected": rejected, "#arrivals": arrivals, "#batch": batch})
    return differences


def _file_by_file(lake: Lakehouse, committed: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """Compare rows reported and rows held of each file of the batches since the last that was found right."""
    import polars as pl

    from lab_assets.contracts.bronze import READER_TABLES

    last = lake.ledger.progress(_CHECKED).get("batch", 0)
    news = committed.filter(pl.col("ingest_batch") > last)
    if news.height == 0:
        return {}
    reported: dict[tuple[str, str], int] = {}
    names: dict[str, str] = {}
    for row in news.iter_rows(named=True):
        names[row["file_id"]] = f"{row['source']}/{row['file_name']}"
        for name, count in _kept(row).items():
            reported[name, row["file_id"]] = reported.get((name, row["file_id"]), 0) + count
    held: dict[tuple[str, str], int] = {}
    for table in READER_TABLES:
        rows = lake.polars(table, ["source_sha256"], where=pl.col("ingest_batch") > last)
        held |= {(table.name, digest): count for digest, count in rows["source_sha256"].value_counts().iter_rows()}
    differences = {
        f"bronze.{name}: {names.get(digest, digest)}": (reported.get((name, digest), 0), held.get((name, digest), 0))
        for name, digest in reported.keys() | held.keys()
        if reported.get((name, digest), 0) != held.get((name, digest), 0)
    }
    if not differences:
        lake.ledger.set_progress(_CHECKED, {"batch": int(news["ingest_batch"].max() or 0)})  # pyright: ignore[reportArgumentType]
    return differences


def _kept(row: dict[str, Any]) -> dict[str, int]:
    """Return the rows that a file brought into each table."""
    lost = counts_of(row["rows_rejected"])
    return {name: kept for name, count in counts_of(row["rows_parsed"]).items() if (kept := count - lost.get(name, 0))}
