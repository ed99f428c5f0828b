from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.domain.oos import TestResult as Result
from lab_assets.domain.oos import decimals_of, judge, lot_disposition, reportable_result, round_half_up


@pytest.mark.parametrize(
    ("value", "decimals", "rounded"),
    [(1.4, 1, 1.4), (97.96, 0, 98), (97.49, 0, 97), (0.104, 2, 0.10), (0.105, 2, 0.11), (2.675, 2, 2.68), (-0.5, 0, -1)],
)
def test_rounding_half_up(value: float, decimals: int, rounded: float) -> None:
    """USP General Notices 7.20: 97.96 is 98 and 97.49 is 97 against 98 %; 2.675 is 2.68 although its binary form lies below."""
    assert round_half_up(value, decimals) == rounded


@pytest.mark.parametrize(
    ("value", "low", "high", "decimals", "verdict"),
    [
        (97.96, 98.0, None, 0, "pass"),
        (97.49, 98.0, None, 0, "fail"),
        (97.96, 98.0, None, None, "fail"),
        (0.104, None, 0.10, 2, "pass"),
        (0.105, None, 0.10, 2, "fail"),
        (0.104, None, 0.10, None, "fail"),
        (102.0, 98.0, 102.0, None, "pass"),
        (0.1 + 0.2, None, 0.3, None, "pass"),
        (101.999999, 98.0, 102.0, None, "pass"),
    ],
)
def test_judgement(value: float, low: float | None, high: float | None, decimals: int | None, verdict: str) -> None:
    assert judge(value, low, high, decimals=decimals) == verdict


def test_what_cannot_be_judged() -> None:
    for value, low, high in ((math.nan, 1.0, None), (1.0, None, None), (1.0, math.inf, None), (1.0, 3.0, 2.0)):
        with pytest.raises(ValueError, match=r"cannot judge|crossed"):
            judge(value, low, high)


def test_decimals_of_a_limit() -> None:
    assert [decimals_of(text) for text in ("0.10", "95", "102.0", "1E+2")] == [2, 0, 1, 0]
    for text in ("NMT 2", "inf"):
        with pytest.raises(ValueError, match="number"):
            decimals_of(text)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(0, 1e3))
def test_a_value_between_the_limits_passes(low: float, share: float, width: float) -> None:
    high = low + width
    value = min(max(share, low), high)
    assert judge(value, low, high) == "pass"


def test_lot_passes_when_every_required_test_passed() -> None:
    results = [Result(result_id="1", test="assay", verdict="pass"), Result(result_id="2", test="water", verdict="pass")]
    assert lot_disposition(results, required_tests=["assay", "water"]).state == "pass"


def test_lot_is_open_until_then() -> None:
    lot = lot_disposition([Result(result_id="1", test="assay", verdict="pass")], required_tests=["assay", "water"])
    assert (lot.state, lot.open_tests, lot.failing_tests) == ("open", ("water",), ())
    assert lot_disposition([]).state == "open"
    assert lot_disposition([Result(result_id="1", test="assay", verdict=None)]).open_tests == ("assay",)


def test_passing_retest_does_not_clear_a_failure() -> None:
    """FDA OOS guidance 2022: a first result counts unless an assignable cause invalidated it."""
    first = Result(result_id="1", test="assay", verdict="fail")
    retest = Result(result_id="2", test="assay", verdict="pass", retest_of="1")
    lot = lot_disposition([first, retest])
    assert (lot.state, lot.failing_tests) == ("fail", ("assay",))
    assert reportable_result([first, retest], "1") == first


def test_invalidated_result_gives_way_to_its_retest() -> None:
    first = Result(result_id="1", test="assay", verdict="fail", is_invalidated=True)
    again = Result(result_id="2", test="assay", verdict="fail", retest_of="1", is_invalidated=True)
    third = Result(result_id="3", test="assay", verdict="pass", retest_of="2")
    assert lot_disposition([first]).state == "open"
    assert reportable_result([first], "1") is None
    assert lot_disposition([first, again, third]).state == "pass"
    assert reportable_result([third, again, first], "1") == third


def test_ring_of_retests_is_refused() -> None:
    ring = [Result(result_id=a, test="assay", verdict="fail", retest_of=b, is_invalidated=True) for a, b in (("1", "2"), ("2", "1"))]
    with pytest.raises(ValueError, match="ring"):
        reportable_result(ring, "1")
    with pytest.raises(KeyError):
        reportable_result([], "1")
