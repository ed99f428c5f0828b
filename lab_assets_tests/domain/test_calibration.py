from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.domain.calibration import (
    apply_line,
    area_percent,
    external_standard_pct,
    fit_line,
    mean_response_factor,
    rsd_max_pct,
    rsd_pct,
)


def test_line_by_hand() -> None:
    """Points (1, 3), (2, 5), (3, 7) lie on amount = 2 area + 1."""
    line = fit_line([1, 2, 3], [3, 5, 7])
    assert (line.slope, line.intercept, line.r_squared, line.n) == (pytest.approx(2), pytest.approx(1), pytest.approx(1), 3)
    assert line.residual_sd == pytest.approx(0, abs=1e-12)
    assert line.amount(10) == pytest.approx(21) == apply_line(10, slope=2, intercept=1)


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=3, max_size=20, unique_by=lambda p: round(p[0], 1)))
def test_line_agrees_with_numpy(points: list[tuple[float, float]]) -> None:
    x, y = np.array(points).T
    line = fit_line(x.tolist(), y.tolist())
    slope, intercept = np.polyfit(x, y, 1)
    assert line.slope == pytest.approx(slope, rel=1e-6, abs=1e-6)
    assert line.intercept == pytest.approx(intercept, rel=1e-6, abs=1e-4)


def test_lines_that_are_not_determined_are_refused() -> None:
    for area, amount in (([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([2.0, 2.0], [1.0, 3.0]), ([1.0, math.nan], [1.0, 2.0])):
        with pytest.raises(ValueError, match=r"pairs|equal|finite"):
            fit_line(area, amount)
    assert math.isnan(fit_line([1, 2], [1, 2]).residual_sd)
    assert math.isnan(fit_line([1, 2], [1, 1]).r_squared)


def test_external_standard_by_hand() -> None:
    """Standard: 50 mg of 99 % gives 1000. Sample: 51 mg gives 990: 990/1000 * 50/51 * 99 % = 96.0882 %."""
    standard = mean_response_factor([1000.0, 1000.0], [50.0, 50.0], purity_pct=99.0)
    assert standard.rsd_pct == 0
    assert standard.n == 2
    assert external_standard_pct(990.0, standard.mean, sample_weight_mg=51.0) == pytest.approx(96.08823529)


def test_impurity_against_the_main_analyte_by_hand() -> None:
    """RF 20 per mg; area 1 from 50 mg is 0.1 %; an RRF of 0.5 doubles it; a sample diluted 10 times less is a tenth."""
    assert external_standard_pct(1.0, 20.0, sample_weight_mg=50.0) == pytest.approx(0.1)
    assert external_standard_pct(1.0, 20.0, sample_weight_mg=50.0, relative_response=0.5) == pytest.approx(0.2)
    assert external_standard_pct(1.0, 20.0, sample_weight_mg=50.0, volume_ratio=0.1) == pytest.approx(0.01)


def test_impossible_standards_are_refused() -> None:
    with pytest.raises(ValueError, match="one weight for each"):
        mean_response_factor([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="positive"):
        mean_response_factor([1.0], [0.0])
    with pytest.raises(ValueError, match="positive"):
        external_standard_pct(1.0, 0.0, sample_weight_mg=1.0)


def test_area_percent_by_hand() -> None:
    assert area_percent([99.0, 1.0]) == pytest.approx([99.0, 1.0])
    assert area_percent([98.0, 1.0], relative_response=[1.0, 0.5]) == pytest.approx([98.0, 2.0])
    with pytest.raises(ValueError, match="positive"):
        area_percent([0.0])
    with pytest.raises(ValueError, match="relative responses"):
        area_percent([1.0], relative_response=[1.0, 2.0])


def test_rsd_by_hand() -> None:
    """Mean 100, squares 4 + 0 + 4 over 2: sd 2, so 2 %."""
    assert rsd_pct([98.0, 100.0, 102.0]) == pytest.approx(2.0)
    assert math.isnan(rsd_pct([1.0]))
    assert math.isnan(rsd_pct([]))
    assert math.isnan(rsd_pct([-1.0, 1.0]))


@pytest.mark.parametrize(
    ("upper", "n", "expected"),
    [(102, 3, 0.41), (102, 4, 0.59), (102, 5, 0.73), (102, 6, 0.85), (102.5, 6, 1.06), (103, 6, 1.27), (105, 5, 1.83)],
)
def test_rsd_max_is_the_pharmacopoeias_table(upper: float, n: int, expected: float) -> None:
    """Ph. Eur. 2.2.46, table 2.2.46.-1 (B = 2.0, 2.5, 3.0), and B = 5, n = 5 of the reference sheet."""
    assert rsd_max_pct(upper, n=n) == pytest.approx(expected, abs=0.011)


def test_rsd_max_outside_its_definition() -> None:
    with pytest.raises(ValueError, match="3 to 6"):
        rsd_max_pct(102, n=7)
    with pytest.raises(ValueError, match="above 100"):
        rsd_max_pct(100, n=5)
