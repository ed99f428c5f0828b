"""Columns of numbers: the quick way through JSON reads what ``float`` reads, to the last bit and to the last refusal."""

from __future__ import annotations

from datetime import UTC, datetime
from math import copysign

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.sources.base import ReadContext, UnreadableFileError
from lab_assets.sources.core.moments import DateOrder
from lab_assets.sources.core.trace_rows import injection_time, parse_points

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def _signal(texts: list[str], *, decimal: str = ".") -> list[float]:
    lines = [f"{number}\t{text}" for number, text in enumerate(texts)]
    x, y = parse_points(lines, range(1, len(lines) + 1), decimal=decimal)
    assert x.tolist() == list(range(len(lines)))
    return y.tolist()


@given(st.lists(FINITE, min_size=1, max_size=30))
def test_numbers_are_read_to_the_last_bit(values: list[float]) -> None:
    assert [value.hex() for value in _signal([repr(value) for value in values])] == [value.hex() for value in values]


@given(st.lists(FINITE.map(lambda value: f"{value:.3f}"), min_size=1, max_size=30))
def test_decimal_commas(texts: list[str]) -> None:
    assert _signal([text.replace(".", ",") for text in texts], decimal=",") == [float(text) for text in texts]


@pytest.mark.parametrize("text", ["5", "+5", ".5", "5.", "-.5", "007", "1E3", "1e-3", " 5 ", "18446744073709551617", "9007199254740993"])
def test_spellings_json_knows_and_does_not_know(text: str) -> None:
    assert _signal(["1.5", text, "-2"]) == [1.5, float(text), -2.0]


@pytest.mark.parametrize("text", ["-0", "-0.0", "-0e0"])
def test_a_negative_zero_keeps_its_sign(text: str) -> None:
    assert [copysign(1, value) for value in _signal([text, "0", "1"])] == [-1, 1, 1]
    assert copysign(1, _signal(["1", text])[-1]) == -1


@pytest.mark.parametrize("text", ["true", "null", "[1]", '"1"', "1_0", "1,5", "1 2", "", "0x10", "n.a.", "٣"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(UnreadableFileError) as caught:
        _signal(["1", text, "2"])
    assert (caught.value.rule, caught.value.place) == ("not_a_number", "line 2")


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e400"])
def test_what_is_not_finite_is_refused(text: str) -> None:
    with pytest.raises(UnreadableFileError) as caught:
        _signal(["1", text])
    assert caught.value.rule == "not_finite"


def test_a_time_that_is_not_understood_is_a_warning() -> None:
    warnings: list[str] = []
    berlin = ReadContext(file_name="a.txt", zone="Europe/Berlin")
    assert injection_time("03/04/2025 10:00", berlin, warnings) == (None, False)
    assert injection_time("26.10.2025 02:30", berlin, warnings) == (datetime(2025, 10, 26, 0, 30, tzinfo=UTC), False)
    assert [warning.split(":")[0] for warning in warnings] == ["time not understood, kept as text", "time '26.10.2025 02"]


@pytest.mark.parametrize(
    ("text", "others", "declared", "month_day", "warned"),
    [
        ("03/04/2025 10:00", [], "mdy", (3, 4), False),
        ("03/04/2025 10:00", [], "dmy", (4, 3), False),
        ("03-04-2025 10:00", [], "dmy", (4, 3), False),
        ("03.04.2025 10:00", [], "mdy", (4, 3), False),  # dots are day first whatever is declared
        ("2025/03/04 10:00", [], "dmy", (3, 4), False),
        ("25/04/2025 10:00", [], "mdy", (4, 25), False),  # the file itself tells
        ("03/04/2025 10:00", ["03/25/2025"], "dmy", (3, 4), False),
        ("10/11/2025 2:05 PM", [], None, (10, 11), True),
        ("10/11/2025 2:05 PM", [], "dmy", (11, 10), False),
    ],
)
def test_day_and_month_are_decided_by_the_file_then_by_the_source(
    text: str, others: list[str], declared: DateOrder | None, month_day: tuple[int, int], *, warned: bool
) -> None:
    warnings: list[str] = []
    at_utc, _ = injection_time(text, ReadContext(file_name="a.txt", date_order=declared), warnings, dates=others)
    assert at_utc is not None
    assert (at_utc.month, at_utc.day) == month_day
    assert bool(warnings) == warned


def test_a_time_without_four_digits_of_its_year_stays_text() -> None:
    warnings: list[str] = []
    assert injection_time("03/04/25 10:00", ReadContext(file_name="a.txt", date_order="mdy"), warnings) == (None, False)
    assert "four digits" in warnings[0]
