"""Rules as polars expressions: over a whole table, or over the rows that are news.

Belongs here: which rows break which rule, as one lazy scan. Does not belong here: reading tables, verdicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_assets.contracts.columns import Column
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.formats.rules import ORDER, Rule, rules_of

if TYPE_CHECKING:
    import polars as pl


def breaks(column: Column, rule: Rule) -> pl.Expr:
    """Return the expression that is true for each row whose value breaks a rule; null where there is no value to judge."""
    import polars as pl

    value = pl.col(column.name)
    match rule.kind:
        case "missing_value":
            return value.is_null()
        case "minimum":
            return value < rule.bound
        case "maximum":
            return value > rule.bound
        case "finite":
            return value.is_finite().not_()
        case "allowed":
            return value.is_in(list(rule.words)).not_()
        case "pattern":
            return value.str.contains(rf"\A(?:{rule.regex})\z").not_()


def broken_rules(contract: TableContract, frame: pl.DataFrame | pl.LazyFrame, *, unique: bool = True) -> dict[str, int]:
    """Count the rows that break each rule of a contract, among the rows given.

    Args:
        contract: What the rows promise.
        frame: Rows of the table: all of them, or only those that are news.
        unique: Whether the primary key must be unique among these rows.

    Returns:
        By rule, as ``column: rule`` or ``unique(columns)``, how many rows break it; empty when all are kept.

    Raises:
        ValueError: the frame lacks a column that has a rule.
    """
    import polars as pl

    lazy = frame.lazy()
    present = set(lazy.collect_schema().names())
    among = {name for pair in contract.ordered for name in pair} | (set(contract.primary_key) if unique else set[str]())
    asked = [column.name for column in contract.columns if rules_of(column) or column.name in among]
    if missing := [name for name in asked if name not in present]:
        raise ValueError(f"{contract.full_name} cannot be checked: the rows lack the column(s) {', '.join(missing)}")
    rules = {f"{column.name}: {rule.label}": breaks(column, rule).sum() for column in contract.columns for rule in rules_of(column)}
    rules |= {f"{high}: {ORDER}": (pl.col(low) > pl.col(high)).sum() for low, high in contract.ordered}
    if unique and contract.primary_key:
        rules[f"unique({', '.join(contract.primary_key)})"] = pl.len() - pl.struct(contract.primary_key).n_unique()
    if not rules:
        return {}
    counts = lazy.select(**rules).collect().row(0, named=True)
    return {name: int(count) for name, count in counts.items() if count}
