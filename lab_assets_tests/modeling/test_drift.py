from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ks_2samp

from lab_assets.modeling.drift import (
    DriftRule,
    benjamini_hochberg,
    bin_counts,
    check_drift,
    ks_distance,
    ks_p_values,
    persistent,
    psi,
    reference_edges,
)


def test_psi_by_hand():
    """Shares 50/50 against 80/20: 0.3 ln 1.6 - 0.3 ln 0.4 = 0.4159; half a count a bin moves it by less than 0.001."""
    answer = float(psi(np.array([5_000.0, 5_000.0]), np.array([8_000.0, 2_000.0])))
    assert answer == pytest.approx(0.3 * math.log(1.6) - 0.3 * math.log(0.4), abs=1e-3)
    assert float(psi(np.array([3.0, 7.0]), np.array([3.0, 7.0]))) == 0.0


def test_edges_of_continuous_and_of_few_values():
    assert list(reference_edges(np.arange(100.0))) == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    few = reference_edges(np.array([0.0, 0.0, 1.0]))
    assert list(bin_counts(np.array([-1.0, 0.0, 0.5, 1.0, 1.0, 2.0]), few, rows=8)) == [1, 1, 1, 2, 1, 2]
    assert list(bin_counts(np.empty(0), reference_edges(np.empty(0)), rows=3)) == [0, 3]


def test_ks_equals_scipy():
    generator = np.random.default_rng(0)
    first, second = np.round(generator.normal(size=300), 1), np.round(generator.normal(0.2, size=400), 1)
    theirs = ks_2samp(first, second, method="asymp")
    distance = ks_distance(np.sort(first), np.sort(second))
    assert distance == pytest.approx(theirs.statistic)
    p_values = ks_p_values(np.array([distance, np.nan]), sizes=np.array([300 * 400 / 700, 0.0]))
    assert p_values[0] == pytest.approx(theirs.pvalue)
    assert math.isnan(p_values[1])


def test_benjamini_hochberg_by_hand():
    """Rate 0.05 over four: 0.01 <= 0.0125 and 0.02 <= 0.025 hold, 0.04 <= 0.0375 does not; NaN is no test."""
    assert list(benjamini_hochberg(np.array([0.04, 0.01, np.nan, 0.02, 0.9]), rate=0.05)) == [False, True, False, True, False]
    assert not benjamini_hochberg(np.array([np.nan]), rate=0.05).any()


def test_a_shift_is_found_and_no_shift_is_not():
    generator = np.random.default_rng(5)
    reference, recent = generator.normal(size=(3_000, 4)), generator.normal(size=(500, 4))
    recent[:, 1] += 0.8
    recent[:150, 2] = np.nan
    reference[:, 3], recent[:, 3] = 7.0, 7.0
    found = check_drift(reference, recent, names=("same", "shifted", "missing", "constant"), seed=1)
    assert [each.drifted for each in found] == [False, True, True, False]
    assert found[1].ks_p_value < 1e-6
    assert found[1].psi > 0.3 > found[1].psi_limit
    assert (found[2].missing_share, found[2].missing_share_reference) == (0.3, 0.0)
    assert found[3].psi == pytest.approx(0.0, abs=0.01)
    assert (found[0].rows, found[0].reference_rows) == (500, 3_000)


def test_a_constant_that_changes_is_drift():
    found = check_drift(np.full((500, 1), 7.0), np.full((200, 1), 8.0), names=("constant",))
    assert found[0].drifted


def test_a_feature_that_is_wholly_missing_now_is_drift():
    found = check_drift(np.random.default_rng(0).normal(size=(500, 1)), np.full((200, 1), np.nan), names=("gone",))
    assert found[0].drifted
    assert math.isnan(found[0].ks)


def test_false_alarms_are_rare_when_rows_of_a_lot_are_alike():
    """Each of 40 checks draws lots whose rows share one value. Limits by row would alarm nearly always, by lot hardly ever."""
    generator = np.random.default_rng(8)
    by_row = by_lot = 0
    for _ in range(40):
        reference = np.repeat(generator.normal(size=(150, 1)), 10, axis=0)
        recent = np.repeat(generator.normal(size=(20, 1)), 10, axis=0)
        lots, recent_lots = np.repeat(np.arange(150), 10), np.repeat(np.arange(20), 10)
        by_row += check_drift(reference, recent, names=("x",))[0].drifted
        by_lot += check_drift(reference, recent, names=("x",), reference_lots=lots, recent_lots=recent_lots)[0].drifted
    assert by_lot <= 2
    assert by_row >= 20


def test_few_rows_nothing_and_wrong_shapes():
    rows = np.random.default_rng(0).normal(size=(100, 1))
    assert not check_drift(rows, rows[:10] + 9, names=("x",))[0].drifted
    assert check_drift(rows, rows[:10] + 9, names=("x",), rule=DriftRule(min_rows=5))[0].drifted
    assert check_drift(rows, rows[:0], names=("x",)) == []
    with pytest.raises(ValueError, match="2 names"):
        check_drift(rows, rows, names=("x", "y"))


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], False),
        ([True], False),
        ([True, True], True),
        ([True, True, False], False),
        ([True, False, True], True),
        ([True, False, False, True], False),
    ],
)
def test_persistence_needs_the_newest_and_two_of_three(history, expected):
    assert persistent(history) is expected


def test_persistence_refuses_nonsense():
    with pytest.raises(ValueError, match="k = 4"):
        persistent([True], k=4, n=3)
