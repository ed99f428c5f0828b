"""Columns of numbers: the quick way through JSON reads what ``float`` reads, to the last bit and to the last refusal."""

from __future__ import annotations

from datetime import UTC, datetime
from math import copysign

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.traces import injection_time, parse_points

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
    assert injection_time("03/04/2025 10:00", "UTC", warnings) == (None, False)
    assert injection_time("26.10.2025 02:30", "Europe/Berlin", warnings) == (datetime(2025, 10, 26, 0, 30, tzinfo=UTC), False)
    assert [warning.split(":")[0] for warning in warnings] == ["time not understood, kept as text", "time '26.10.2025 02"]
    assert injection_time("03/04/2025 10:00", "UTC", [], order="mdy")[0] == datetime(2025, 3, 4, 10, tzinfo=UTC)
