"""Does a table keep its contract: counts of broken rules over the whole table, from the files as they lie.

Belongs here: compiling contract rules to one lazy scan. Does not belong here: verdicts (``lab_assets.checks``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab_assets.contracts.core import Column, TableContract
from lab_assets.engine.delta import Lakehouse

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
    frame = pl.scan_delta(lake.open(contract))
    rules = {name: rule for column in contract.columns for name, rule in _rules(column).items()}
    if contract.primary_key:
        key = pl.struct(contract.primary_key)
        rules[f"unique({', '.join(contract.primary_key)})"] = pl.len() - key.n_unique()
    counts: dict[str, Any] = frame.select(**rules).collect().row(0, named=True) if rules else {}
    broken = {name: int(count) for name, count in counts.items() if count}
    if not broken:
        lake.ledger.set_progress(station, {contract.full_name: version})
    return broken


def _rules(column: Column) -> dict[str, pl.Expr]:
    import polars as pl

    value, rules = pl.col(column.name), dict[str, pl.Expr]()
    if not column.nullable:
        rules[f"{column.name}: missing_value"] = value.is_null().sum()
    if column.minimum is not None:
        rules[f"{column.name}: minimum({column.minimum:g})"] = (value < column.minimum).sum()
    if column.maximum is not None:
        rules[f"{column.name}: maximum({column.maximum:g})"] = (value > column.maximum).sum()
    if column.kind == "float64" and column.finite:
        rules[f"{column.name}: finite"] = value.is_finite().not_().sum()
    if column.allowed:
        rules[f"{column.name}: allowed"] = value.is_in(list(column.allowed)).not_().sum()
    if column.pattern is not None:
        rules[f"{column.name}: pattern"] = value.str.contains(f"^(?:{column.pattern})$").not_().sum()
    return rules


def reconciliation(lake: Lakehouse) -> dict[str, tuple[int, int]]:
    """Hold the ledger against bronze: what it says was committed and what the tables hold, where they differ.

    Returns:
        By subject (``bronze.files``, or a bronze table): rows the ledger tells and rows the table holds.
    """
    import polars as pl

    from lab_assets.contracts.bronze import FILES, QUARANTINED_ROWS, READER_TABLES

    files = lake.polars(FILES, ["arrival_id", "rows_parsed", "rows_rejected", "state"])
    told: dict[str, int] = {}
    rejected = 0
    for row in files.filter(pl.col("state") == "committed").iter_rows(named=True):
        lost = _as_dict(row["rows_rejected"])
        rejected += sum(lost.values())
        for name, count in _as_dict(row["rows_parsed"]).items():
            told[name] = told.get(name, 0) + count - lost.get(name, 0)
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
    return differences


def _as_dict(entries: Any) -> dict[str, int]:
    """Return a Delta map, which polars hands out as a list of key and value, as a dict."""
    if isinstance(entries, dict):
        return entries
    return {entry["key"]: entry["value"] for entry in entries or ()}
