# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownParameterType=false, reportUnknownArgumentType=false
# (pyarrow has no types)
"""Logical types of columns, and what each engine calls them: the only such table.

A kind is a scalar, ``array<scalar>`` or ``map<string,scalar>``; composed kinds follow from the scalars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

Kind = Literal[
    "string",
    "int64",
    "float64",
    "bool",
    "timestamp_utc",
    "date",
    "binary",
    "array<float64>",
    "array<string>",
    "map<string,string>",
    "map<string,float64>",
    "map<string,int64>",
]
KINDS: Final[tuple[str, ...]] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class _Names:
    """A scalar's name in each engine.

    Attributes:
        spark: In a DDL string.
        arrow: Type function of pyarrow, with its arguments.
        polars: Data type of polars, with its arguments.
        duckdb: In SQL.
        python: Type of a single value; numbers of numpy are ``Integral`` and ``Real`` too.
        pandas: Data type of a series that may miss values.
    """

    spark: str
    arrow: tuple[str, ...]
    polars: tuple[str, ...]
    duckdb: str
    python: type
    pandas: str = "object"


_SCALARS: Final[dict[str, _Names]] = {
    "string": _Names(spark="STRING", arrow=("string",), polars=("String",), duckdb="VARCHAR", python=str),
    "int64": _Names(spark="BIGINT", arrow=("int64",), polars=("Int64",), duckdb="BIGINT", python=Integral),
    "float64": _Names(spark="DOUBLE", arrow=("float64",), polars=("Float64",), duckdb="DOUBLE", python=Real, pandas="float64"),
    "bool": _Names(spark="BOOLEAN", arrow=("bool_",), polars=("Boolean",), duckdb="BOOLEAN", python=bool),
    "timestamp_utc": _Names(
        spark="TIMESTAMP",
        arrow=("timestamp", "us", "UTC"),
        polars=("Datetime", "us", "UTC"),
        duckdb="TIMESTAMP WITH TIME ZONE",
        python=datetime,
    ),
    "date": _Names(spark="DATE", arrow=("date32",), polars=("Date",), duckdb="DATE", python=date),
    "binary": _Names(spark="BINARY", arrow=("binary",), polars=("Binary",), duckdb="BLOB", python=bytes),
}


def is_scalar(kind: str) -> bool:
    """Return whether a kind holds one value, not a list or a map."""
    return kind in _SCALARS


@cache
def _parts(kind: str) -> tuple[str, tuple[str, ...]]:
    """Return a kind's outer word and the scalars inside: ``array<string>`` gives ``("array", ("string",))``.

    Raises:
        ValueError: no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    outer, _, inner = kind.partition("<")
    return (outer, tuple(inner.removesuffix(">").split(","))) if inner else ("", (kind,))


@cache
def spark_type(kind: str) -> str:
    """Return a kind's name in a Spark DDL string."""
    outer, inner = _parts(kind)
    names = ",".join(_SCALARS[each].spark for each in inner)
    return f"{outer.upper()}<{names}>" if outer else names


@cache
def duckdb_type(kind: str) -> str:
    """Return a kind's name in DuckDB's SQL."""
    outer, inner = _parts(kind)
    names = ", ".join(_SCALARS[each].duckdb for each in inner)
    return {"": names, "array": f"{names}[]", "map": f"MAP({names})"}[outer]


def is_of_kind(value: Any, kind: str) -> bool:
    """Return whether a single value, not ``None``, is one that a column of a kind takes as it is.

    A whole number may come as a float, as NaN may for none; a moment states its zone, and is no date; of a list or a map only the outside is looked at.
    """
    outer, inner = _parts(kind)
    if outer == "map":
        return isinstance(value, Mapping)
    if outer == "array":
        return hasattr(value, "__len__") and not isinstance(value, str | bytes | Mapping)
    wanted = _SCALARS[inner[0]].python
    if wanted in (Integral, Real) and isinstance(value, bool):
        return False
    if wanted is Integral and isinstance(value, float):
        return value != value or value.is_integer()  # noqa: PLR0124 - nan is not equal to itself
    if wanted is datetime:
        return isinstance(value, datetime) and value.tzinfo is not None
    return isinstance(value, wanted) and not (wanted is date and isinstance(value, datetime))


def pandas_dtype(kind: str) -> str:
    """Return the data type of a pandas series that holds a kind's values and may miss some."""
    return _SCALARS[kind].pandas if is_scalar(kind) else "object"


@cache
def arrow_type(kind: str) -> pa.DataType:
    """Return a kind's Arrow type; timestamps are microseconds in UTC."""
    import pyarrow as pa

    outer, inner = _parts(kind)
    types = [getattr(pa, name)(*arguments) for name, *arguments in (_SCALARS[each].arrow for each in inner)]
    if not outer:
        return types[0]
    return pa.list_(types[0]) if outer == "array" else pa.map_(*types)


@cache
def polars_type(kind: str) -> pl.DataType:
    """Return a kind's polars type; timestamps are microseconds in UTC."""
    import polars as pl

    outer, inner = _parts(kind)
    types: list[pl.DataType] = [getattr(pl, name)(*arguments) for name, *arguments in (_SCALARS[each].polars for each in inner)]
    if not outer:
        return types[0]
    return pl.List(types[0]) if outer == "array" else pl.Map(*types)
