"""One list of rules per column: pandera, polars and the quick check come to the same verdict on the same values."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pandera.errors
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.core import Column, TableContract
from lab_assets.contracts.formats.polars_rules import breaks, broken_rules
from lab_assets.contracts.formats.quick_check import surely_kept
from lab_assets.contracts.formats.rules import rules_of
from lab_assets.contracts.formats.types import pandas_dtype

NUMBER = Column(name="share", kind="float64", meaning="a share", nullable=False, minimum=0, maximum=1)
WORD = Column(name="word", kind="string", meaning="a word", allowed=("a", "b"))
CODE = Column(name="code", kind="string", meaning="a code", nullable=False, pattern="[A-Z]{2}-[0-9]+")
COUNT = Column(name="count", kind="int64", meaning="a count", minimum=1)
COLUMNS = (NUMBER, WORD, CODE, COUNT)
TABLE = TableContract(
    layer="silver", name="rules", grain="one row", description="A table.", owner="team:test", columns=COLUMNS, primary_key=("code",)
)
GOOD = {"share": 0.5, "word": "a", "code": "AB-1", "count": 1}


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=TABLE.polars_schema())


def test_rules_are_named_as_people_know_them() -> None:
    named = {column.name: [rule.name for rule in rules_of(column)] for column in COLUMNS}
    assert named == {
        "share": ["missing_value", "minimum(0)", "maximum(1)", "finite"],
        "word": ["allowed(a|b)"],
        "code": ["missing_value", "pattern([A-Z]{2}-[0-9]+)"],
        "count": ["minimum(1)"],
    }
    assert [rule.label for column in (WORD, CODE) for rule in rules_of(column)] == ["allowed", "missing_value", "pattern"]


def test_rules_that_are_kept_are_not_listed() -> None:
    assert broken_rules(TABLE, frame(GOOD, {**GOOD, "code": "AB-2", "word": None, "count": None})) == {}
    assert broken_rules(TABLE, frame()) == {}


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"share": None}, {"share: missing_value": 1}),
        ({"share": -0.1}, {"share: minimum(0)": 1}),
        ({"share": 1.1}, {"share: maximum(1)": 1}),
        ({"share": math.inf}, {"share: maximum(1)": 1, "share: finite": 1}),
        ({"word": "c"}, {"word: allowed": 1}),
        ({"code": "AB-1\n"}, {"code: pattern": 1}),
        ({"code": "xAB-1"}, {"code: pattern": 1}),
        ({"count": 0}, {"count: minimum(1)": 1}),
        ({"code": "AB-1"}, {"unique(code)": 1}),
    ],
    ids=str,
)
def test_broken_rules_are_counted_among_the_rows_given(change: dict[str, Any], broken: dict[str, int]) -> None:
    rows = frame(GOOD, {**GOOD, "code": "AB-2", **change})
    assert broken_rules(TABLE, rows) == broken
    assert broken_rules(TABLE, rows.lazy()) == broken
    assert broken_rules(TABLE, rows, unique=False) == {name: count for name, count in broken.items() if "unique" not in name}


def test_rows_without_a_column_that_has_rules_are_refused() -> None:
    with pytest.raises(ValueError, match=r"silver\.rules cannot be checked: the rows lack the column\(s\) word, count"):
        broken_rules(TABLE, frame(GOOD).drop("word", "count"))


def by_pandera(column: Column, value: Any) -> bool:
    """Return whether pandera lets a value pass."""
    table = TableContract(layer="silver", name="one", grain="one value", description="One.", owner="team:test", columns=(column,))
    try:
        table.to_pandera().validate(pd.DataFrame({column.name: pd.Series([value], dtype=pandas_dtype(column.kind))}), lazy=True)
    except pandera.errors.SchemaErrors:
        return False
    return True


def by_polars(column: Column, value: Any) -> bool:
    """Return whether the expressions let a value pass; NaN never reaches a table of a finite column."""
    value = None if isinstance(value, float) and math.isnan(value) else value
    rows = pl.DataFrame({column.name: [value]}, schema=pl.Schema({column.name: TABLE.polars_schema()[column.name]}))
    return not any(rows.select(breaks(column, rule).any()).item() for rule in rules_of(column))


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
@given(data=st.data())
def test_three_ways_of_asking_give_one_verdict(column: Column, data: st.DataObject) -> None:
    """The quick check may have doubts, never the other way round: what it lets pass, the others let pass."""
    values: dict[str, st.SearchStrategy[Any]] = {
        "float64": st.one_of(st.floats(), st.sampled_from((0.0, 1.0, -0.0, 1.0000001))),
        "int64": st.integers(-3, 3),
        "string": st.one_of(st.text(max_size=3), st.from_regex(r"[A-Z]{2}-[0-9]{1,3}\n?"), st.sampled_from(("a", "b", "AB-1"))),
    }
    value = data.draw(st.one_of(st.none(), values[column.kind]))
    verdict = by_pandera(column, value)
    assert by_polars(column, value) == verdict
    assert surely_kept(column, [value]) == verdict


@pytest.mark.parametrize("table", contracts().values(), ids=lambda table: table.full_name)
def test_every_contract_can_be_checked(table: TableContract) -> None:
    """Expressions are valid in polars too, whose regular expressions are another dialect than Python's."""
    assert broken_rules(table, table.polars_schema().to_frame()) == {}
    nothing = pl.DataFrame({name: pl.Series([None], dtype=dtype) for name, dtype in table.polars_schema().items()})
    assert broken_rules(table, nothing) == {f"{column.name}: missing_value": 1 for column in table.columns if not column.nullable}
