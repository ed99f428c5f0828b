"""Masks: what stands in a query's answer instead of a value the person may not see.

Belongs here: the masked form of a column, of a table, and putting it in place of each table of a checked query. Does not belong
here: which columns are masked for whom (``policy.py``), the ways of hiding (``mask_methods.py``), running anything (``gateway.py``).

Masks do not stop inference from counts or from joins on columns that carry no tag.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from sqlglot import exp

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.formats.types import duckdb_type
from lab_assets.governance.mask_methods import MASK_METHODS
from lab_assets.governance.snapshots import quoted
from lab_assets.governance.sql import DIALECT, CheckedQuery, table_name, table_nodes


def masked_value(column: str, kind: str, *, tag: str, method: str) -> str:
    """Return the SQL of what stands for a column's value.

    Args:
        column: Column name.
        kind: Its kind in the contract; anything but text is hidden by NULL, whatever the method.
        tag: Tag whose mask applies; names the pseudonym (``personal_name`` gives ``person-...``).
        method: One of ``MASK_METHODS``; an unknown one is treated as ``null``.
    """
    if kind != "string" or method not in MASK_METHODS:
        return f"CAST(NULL AS {duckdb_type(kind)})"
    return MASK_METHODS[method].sql(quoted(column), tag)


def masked_select(contract: TableContract, physical: str, *, masked: Mapping[str, str], methods: Mapping[str, str]) -> str:
    """Return the SQL that stands for a table: every column of its contract, masked where the person may not see it.

    Args:
        contract: The table.
        physical: Relation that holds its rows.
        masked: Tag by masked column.
        methods: Mask method by tag.
    """
    parts = [
        f"{masked_value(column.name, column.kind, tag=masked[column.name], method=methods.get(masked[column.name], 'null'))}"
        f" AS {quoted(column.name)}"
        if column.name in masked
        else quoted(column.name)
        for column in contract.columns
    ]
    return " ".join(("SELECT", ", ".join(parts), "FROM", quoted(physical)))


def rewrite(query: CheckedQuery, relations: Mapping[str, str], *, row_limit: int) -> str:
    """Return the SQL to run: generated from the tree, each table replaced by its masked form, at most ``row_limit`` rows.

    Args:
        query: A checked query; its tree is not changed.
        relations: SQL that stands for each table, by ``layer.table``.
        row_limit: Most rows of the answer.
    """
    tree = query.tree.copy()
    stand_ins: dict[str, str] = {}
    for column in tree.find_all(exp.Column):
        if column.args.get("db") and f"{column.db}.{column.table}".lower() in relations and column.text("catalog").lower() in {"", "lab"}:
            column.set("db", None)
            column.set("catalog", None)
    for table in table_nodes(tree):
        mark = f"lab_{secrets.token_hex(12)}"
        stand_ins[mark] = relations[table_name(table)]
        _replace(table, mark)
    text = _limited(tree, row_limit).sql(dialect=DIALECT, comments=False)
    for mark, relation in stand_ins.items():
        text = text.replace(f'"{mark}"', f"({relation})")
    return text


def _replace(table: exp.Table, mark: str) -> None:
    """Put a marked name in a table's place; alias, column aliases and joins stay."""
    alias = table.args.get("alias")
    named = alias.copy() if alias is not None and alias.this else exp.TableAlias(this=exp.to_identifier(table.name, quoted=True))
    if alias is not None and alias.args.get("columns"):
        named.set("columns", [column.copy() for column in alias.args["columns"]])
    stand_in = exp.Table(this=exp.to_identifier(mark, quoted=True), alias=named)
    for part in ("joins", "laterals"):
        if table.args.get(part):
            stand_in.set(part, [join.pop() for join in list(table.args[part])])
    table.replace(stand_in)


def _limited(tree: exp.Query, rows: int) -> exp.Query:
    """Bound the answer's rows; a smaller limit of the query's own stays."""
    own = tree.args.get("limit")
    if own is None and not tree.args.get("offset") and not isinstance(tree, exp.Subquery):
        return tree.limit(rows)
    if isinstance(own, exp.Limit) and own.expression is not None and own.expression.is_int and int(own.expression.name) <= rows:
        return tree
    return exp.select("*").from_(exp.Subquery(this=tree, alias=exp.TableAlias(this=exp.to_identifier("lab_answer")))).limit(rows)
