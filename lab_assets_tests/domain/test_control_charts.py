from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.domain.control_charts import ChartLimits, individuals_limits, nelson_hits, western_electric_hits, westgard_hits

UNIT = ChartLimits(centre=0.0, sigma=1.0, n=20)


def _last(values: list[float]) -> tuple[int, ...]:
    return nelson_hits(values, UNIT)[-1]


def test_limits_by_hand() -> None:
    """10, 12, 10, 12: mean 11, moving ranges all 2, sigma 2 / 1.128; sample sd of +-1 over n - 1 = 3 is sqrt(4/3)."""
    limits = individuals_limits([10.0, 12.0, 10.0, 12.0])
    assert (limits.centre, limits.n) == (11.0, 4)
    assert limits.sigma == pytest.approx(2 / 1.128)
    assert (limits.lower, limits.upper) == (pytest.approx(11 - 6 / 1.128), pytest.approx(11 + 6 / 1.128))
    assert individuals_limits([10.0, 12.0, 10.0, 12.0], spread="sd").sigma == pytest.approx((4 / 3) ** 0.5)


@pytest.mark.parametrize("baseline", [[1.0], [1.0, 1.0], [1.0, float("nan")]])
def test_baselines_without_spread_are_refused(baseline: list[float]) -> None:
    with pytest.raises(ValueError, match="baseline"):
        individuals_limits(baseline)


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (1, [3.01]),
        (2, [0.5, 0.2] * 4 + [0.5]),
        (3, [-0.3, -0.2, -0.1, 0.1, 0.2, 0.3]),
        (4, [0.5, -0.5] * 7),
        (5, [2.1, 0.0, 2.1]),
        (6, [1.1, 1.1, 0.0, 1.1, 1.1]),
        (7, [0.9, -0.4, 0.3] * 5),
        (8, [1.5, -1.5, -1.6, 1.5, -1.5, 1.5, -1.5, 1.5]),
    ],
)
def test_each_rule_is_found_when_complete_and_not_a_point_before(rule: int, values: list[float]) -> None:
    assert rule in _last(values)
    assert rule not in _last(values[:-1] or [0.0])


def test_point_on_a_zone_line_belongs_to_the_inner_zone() -> None:
    assert 1 not in _last([3.0])
    assert 5 not in _last([2.0, 2.0])
    assert 6 not in _last([1.0] * 5)
    assert 7 in _last([1.0, -1.0, 0.0] * 5)


def test_point_on_the_centre_breaks_a_run() -> None:
    assert 2 not in _last([0.5] * 8 + [0.0])


def test_runs_go_on_after_a_hit() -> None:
    assert [2 in hit for hit in nelson_hits([0.5] * 11, UNIT)] == [False] * 8 + [True] * 3


def test_rules_of_one_side_need_one_side() -> None:
    assert 5 not in _last([2.1, 0.0, -2.1])
    assert 8 not in _last([1.5] * 8)


def test_western_electric() -> None:
    assert western_electric_hits([3.5], UNIT) == [(1,)]
    assert western_electric_hits([2.1, 0.0, 2.1], UNIT)[-1] == (2,)
    assert western_electric_hits([1.1, 1.1, 0.0, 1.1, 1.1], UNIT)[-1] == (3,)
    assert western_electric_hits([0.5] * 8, UNIT)[-1] == (4,)
    assert western_electric_hits([0.5] * 7, UNIT)[-1] == ()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2.1], ("1-2s",)),
        ([-3.1], ("1-2s", "1-3s")),
        ([2.1, 2.2], ("1-2s", "2-2s")),
        ([-2.1, 2.1], ("1-2s", "R-4s")),
        ([1.1, 1.2, 1.3, 1.4], ("4-1s",)),
        ([0.5] * 10, ("10x",)),
        ([2.1, -0.5], ()),
    ],
)
def test_westgard(values: list[float], expected: tuple[str, ...]) -> None:
    """Westgard et al. 1981, the six rules of the multirule chart."""
    assert westgard_hits(values, UNIT)[-1] == expected


def test_range_rule_is_within_one_run() -> None:
    assert "R-4s" not in westgard_hits([-2.1, 2.1], UNIT, run=["a", "b"])[-1]
    assert "R-4s" in westgard_hits([-2.1, 0.0, 2.1], UNIT, run=["a", "b", "a"])[-1]
    with pytest.raises(ValueError, match="1 runs"):
        westgard_hits([1.0, 2.0], UNIT, run=["a"])


@given(st.lists(st.floats(-5, 5), max_size=40))
def test_mirror_image_breaks_the_same_rules(values: list[float]) -> None:
    assert nelson_hits(values, UNIT) == nelson_hits([-v for v in values], UNIT)
