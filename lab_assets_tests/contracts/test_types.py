"""One table of types: every kind has the same meaning in each engine."""

from __future__ import annotations

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.core import SPARK_TYPES, Column, TableContract
from lab_assets.contracts.formats.types import KINDS, arrow_type, duckdb_type, pandas_dtype, polars_type, spark_type

BY_HAND = {
    "string": ("STRING", "string", "VARCHAR"),
    "int64": ("BIGINT", "int64", "BIGINT"),
    "float64": ("DOUBLE", "double", "DOUBLE"),
    "bool": ("BOOLEAN", "bool", "BOOLEAN"),
    "timestamp_utc": ("TIMESTAMP", "timestamp[us, tz=UTC]", "TIMESTAMP WITH TIME ZONE"),
    "date": ("DATE", "date32[day]", "DATE"),
    "binary": ("BINARY", "binary", "BLOB"),
    "array<float64>": ("ARRAY<DOUBLE>", "list<item: double>", "DOUBLE[]"),
    "array<string>": ("ARRAY<STRING>", "list<item: string>", "VARCHAR[]"),
    "map<string,string>": ("MAP<STRING,STRING>", "map<string, string>", "MAP(VARCHAR, VARCHAR)"),
    "map<string,float64>": ("MAP<STRING,DOUBLE>", "map<string, double>", "MAP(VARCHAR, DOUBLE)"),
    "map<string,int64>": ("MAP<STRING,BIGINT>", "map<string, int64>", "MAP(VARCHAR, BIGINT)"),
}


def test_every_kind_is_spelled_out() -> None:
    assert set(BY_HAND) == set(KINDS) == set(SPARK_TYPES)


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_what_each_engine_calls_the_type(kind: str) -> None:
    assert (spark_type(kind), str(arrow_type(kind)), duckdb_type(kind)) == BY_HAND[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_engines_agree_on_the_type(kind: str) -> None:
    """An empty Arrow column of a kind is that kind in polars, and DuckDB calls it by the table's name."""
    empty = pa.table({"v": pa.array([], arrow_type(kind))})
    assert pl.DataFrame(empty).schema["v"] == polars_type(kind)
    assert duckdb.arrow(empty).types[0] == duckdb_type(kind)


def test_only_numbers_have_a_number_type_in_pandas() -> None:
    assert {kind for kind in KINDS if pandas_dtype(kind) != "object"} == {"float64"}


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind 'int32'"):
        spark_type("int32")
    with pytest.raises(ValueError, match="column 'a': unknown kind"):
        Column(name="a", kind="int32", meaning="a number")  # type: ignore[arg-type]


@pytest.mark.parametrize("table", contracts().values(), ids=lambda table: table.full_name)
def test_a_contract_compiles_to_the_same_columns_everywhere(table: TableContract) -> None:
    arrow = table.arrow_schema()
    assert tuple(arrow.names) == tuple(table.polars_schema()) == table.column_names
    assert pl.DataFrame(arrow.empty_table()).schema == table.polars_schema()
    assert table.spark_ddl().count("`") == 2 * len(table.columns)
