"""Traces of one injection under one name: every one is kept, each under a name of its own."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lab_assets.sources.base import ReadResult
from lab_assets.sources.core.channels import number_repeated_traces


def _result(*named: tuple[str, str], table: str = "chromatograms", column: str = "channel") -> ReadResult:
    rows = [{"source_row": number, "injection_name": name, column: channel} for number, (name, channel) in enumerate(named, 1)]
    return ReadResult(format="made_up", tables={table: rows})


def test_the_second_trace_of_a_name_is_numbered_with_a_warning() -> None:
    numbered = number_repeated_traces(_result(("run 1", "UV"), ("run 1", "UV"), ("run 2", "UV")))
    assert [row["channel"] for row in numbered.tables["chromatograms"]] == ["UV", "UV (2)", "UV"]
    assert numbered.warnings == ["injection 'run 1' has 2 traces named 'UV'; one is kept as 'UV (2)'"]


def test_a_number_that_the_file_uses_itself_is_passed_over() -> None:
    numbered = number_repeated_traces(_result(("r", "UV"), ("r", "UV (2)"), ("r", "UV")))
    assert [row["channel"] for row in numbered.tables["chromatograms"]] == ["UV", "UV (2)", "UV (3)"]


def test_status_signals_are_numbered_as_well() -> None:
    numbered = number_repeated_traces(_result(("r", "Pressure"), ("r", "Pressure"), table="instrument_status", column="signal"))
    assert [row["signal"] for row in numbered.tables["instrument_status"]] == ["Pressure", "Pressure (2)"]


def test_a_file_without_doubles_is_handed_on_as_it_is() -> None:
    result = _result(("r", "A"), ("r", "B"))
    assert number_repeated_traces(result) is result


@given(st.lists(st.tuples(st.sampled_from(["r", "s"]), st.sampled_from(["UV", "UV (2)", "UV (3)", "FLD"])), max_size=12))
def test_every_trace_is_kept_once_under_its_own_name(named: list[tuple[str, str]]) -> None:
    rows = number_repeated_traces(_result(*named)).tables["chromatograms"]
    assert [row["source_row"] for row in rows] == list(range(1, len(named) + 1))
    assert all(count == 1 for count in Counter((row["injection_name"], row["channel"]) for row in rows).values())
