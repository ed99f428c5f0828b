from __future__ import annotations

import csv
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lab_assets.domain.stability import fit_shelf_life
from lab_assets_tests.samples import needs_samples, samples_dir

Row = Callable[[np.ndarray], np.ndarray]
MONTHS = (0.0, 3.0, 6.0, 9.0, 12.0, 18.0, 24.0)
WIGGLE = (0.10, -0.15, 0.05, 0.12, -0.20, 0.13, -0.05)


def _study(lines: dict[str, tuple[float, float]]) -> tuple[list[str], list[float], list[float]]:
    """Return batches on given lines (intercept, slope) with the same small deviations."""
    rows = [(name, t, a + b * t + e) for name, (a, b) in lines.items() for t, e in zip(MONTHS, WIGGLE, strict=True)]
    batch, time, value = zip(*rows, strict=True)
    return list(batch), list(time), list(value)


def _crossing_by_scan(x: np.ndarray, design: np.ndarray, y: np.ndarray, row: Row, *, limit: float, level: float) -> float:
    """Return where the lower bound of a linear model crosses a limit, from the textbook matrix formula on a fine grid."""
    beta, *_ = np.linalg.lstsq(design, y, rcond=None)
    df = len(y) - design.shape[1]
    s = np.sqrt(((y - design @ beta) ** 2).sum() / df)
    inverse = np.linalg.inv(design.T @ design)
    t = stats.t.ppf(level, df)
    grid = np.linspace(0, 100, 1_000_001)
    rows = row(grid)
    bound = rows @ beta - t * s * np.sqrt(np.einsum("ij,jk,ik->i", rows, inverse, rows))
    return float(grid[np.argmax(bound <= limit)])


@needs_samples
def test_published_example() -> None:
    """LeBlond (2011), three batches, lower limit 95: common line, 25.9957631369 months (R package expirest)."""
    folder = samples_dir()
    assert folder is not None
    with (folder / "stability" / "potency_three_batches.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    fit = fit_shelf_life([r["Batch"] for r in rows], [float(r["Month"]) for r in rows], [float(r["Potency"]) for r in rows], lower=95)
    assert fit.model == "cics"
    assert fit.shelf_life == pytest.approx(25.9957631369, abs=1e-6)
    assert fit.shelf_life_rounded == 25
    assert "extrapolated" in fit.warnings[0]


def test_poolability_is_the_sequential_anova_of_the_full_model() -> None:
    """F of slopes and intercepts from nested least-squares fits, over the mean square error of the full model."""
    batch, time, value = _study({"a": (100.0, -0.10), "b": (100.2, -0.11), "c": (99.9, -0.105)})
    x, y, names = np.array(time), np.array(value), np.array(batch)
    dummies = np.array([names == name for name in "abc"], dtype=float).T

    def sse(design: np.ndarray) -> float:
        return float(((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).sum())

    full, parallel, common = (
        sse(np.hstack([dummies, dummies * x[:, None]])),
        sse(np.column_stack([dummies, x])),
        sse(np.column_stack([np.ones(21), x])),
    )
    fit = fit_shelf_life(batch, time, value, lower=90)
    mse = full / (21 - 6)
    assert fit.p_slopes == pytest.approx(stats.f.sf((parallel - full) / 2 / mse, 2, 15), rel=1e-9)
    assert fit.p_intercepts == pytest.approx(stats.f.sf((common - parallel) / 2 / mse, 2, 15), rel=1e-9)


def test_different_intercepts_share_slope_and_error() -> None:
    batch, time, value = _study({"a": (100.0, -0.2), "b": (102.0, -0.2), "c": (101.0, -0.2)})
    fit = fit_shelf_life(batch, time, value, lower=95)
    assert fit.model == "dics"
    assert fit.p_slopes == pytest.approx(1.0)
    x, names = np.array(time), np.array(batch)
    design = np.column_stack([*(names == name for name in "abc"), x]).astype(float)

    def row(t: np.ndarray) -> np.ndarray:
        return np.column_stack([np.ones_like(t), np.zeros_like(t), np.zeros_like(t), t])

    expected = _crossing_by_scan(x, design, np.array(value), row, limit=95, level=0.95)
    assert fit.per_batch["a"].shelf_life == pytest.approx(expected, abs=2e-4)
    assert fit.shelf_life == fit.per_batch["a"].shelf_life
    assert {line.slope for line in fit.per_batch.values()} == {fit.per_batch["a"].slope}
    assert fit.per_batch["a"].degrees_of_freedom == 21 - 4


def test_different_slopes_are_each_fitted_alone() -> None:
    """Model dids takes each batch's own error and n - 2 degrees of freedom, as expirest does."""
    batch, time, value = _study({"a": (100.0, -0.1), "b": (100.0, -0.3), "c": (100.0, -0.2)})
    fit = fit_shelf_life(batch, time, value, lower=95)
    assert fit.model == "dids"
    rows = [i for i, name in enumerate(batch) if name == "b"]
    x, y = np.array(time)[rows], np.array(value)[rows]

    def row(t: np.ndarray) -> np.ndarray:
        return np.column_stack([np.ones_like(t), t])

    expected = _crossing_by_scan(x, row(x), y, row, limit=95, level=0.95)
    assert fit.per_batch["b"].shelf_life == pytest.approx(expected, abs=2e-4)
    assert fit.shelf_life == fit.per_batch["b"].shelf_life
    assert fit.per_batch["b"].degrees_of_freedom == 5
    own = stats.linregress(x, y)
    assert fit.per_batch["b"].slope == pytest.approx(own.slope)


def test_two_limits_make_the_bound_two_sided() -> None:
    batch, time, value = _study({"a": (100.0, -0.2)})
    x = np.array(time)

    def row(t: np.ndarray) -> np.ndarray:
        return np.column_stack([np.ones_like(t), t])

    fit = fit_shelf_life(batch, time, value, lower=95, upper=110)
    assert fit.shelf_life == pytest.approx(_crossing_by_scan(x, row(x), np.array(value), row, limit=95, level=0.975), abs=2e-4)
    assert fit.per_batch["a"].limit == "lower"
    assert any("one batch" in warning for warning in fit.warnings)


def test_upper_limit_mirrors_the_lower() -> None:
    batch, time, value = _study({"a": (100.0, -0.2), "b": (100.1, -0.2), "c": (100.05, -0.2)})
    down = fit_shelf_life(batch, time, value, lower=95)
    up = fit_shelf_life(batch, time, [-v for v in value], upper=-95)
    assert up.shelf_life == pytest.approx(down.shelf_life)
    assert {line.limit for line in up.per_batch.values()} == {"upper"}


def test_exact_lines_cross_where_a_person_says() -> None:
    """100 - 0.5 t meets 95 at 10 exactly, and 10 is not rounded down to 9."""
    time = [0.0, 3.0, 6.0, 9.0] * 3
    fit = fit_shelf_life(["a"] * 4 + ["b"] * 4 + ["c"] * 4, time, [100 - 0.5 * t for t in time], lower=95)
    assert fit.model == "cics"
    assert fit.shelf_life == pytest.approx(10.0)
    assert fit.shelf_life_rounded == 10


def test_never_meeting_the_limit() -> None:
    batch, time, value = _study({"a": (100.0, 0.2), "b": (100.0, 0.2), "c": (100.0, 0.2)})
    fit = fit_shelf_life(batch, time, value, lower=95)
    assert (fit.shelf_life, fit.shelf_life_rounded) == (None, None)
    assert any("never" in warning for warning in fit.warnings)


def test_outside_at_the_start() -> None:
    batch, time, value = _study({"a": (94.0, -0.2), "b": (94.0, -0.2), "c": (94.0, -0.2)})
    fit = fit_shelf_life(batch, time, value, lower=95)
    assert (fit.shelf_life, fit.shelf_life_rounded) == (0.0, 0)
    assert any("time zero" in warning for warning in fit.warnings)


def test_too_few_points_to_pool_are_said_so() -> None:
    fit = fit_shelf_life(["a", "a", "b", "b"], [0.0, 6.0, 0.0, 6.0], [100.0, 99.0, 100.0, 98.0], lower=95)
    assert fit.model == "dids"
    assert fit.shelf_life is None
    assert fit.p_slopes is None
    assert any("too few" in warning for warning in fit.warnings)
    assert any("batch a: 2 observation(s)" in warning for warning in fit.warnings)
    lone = fit_shelf_life(["a", "a", "a", "b"], [0.0, 6.0, 12.0, 0.0], [100.0, 99.0, 98.2, 100.0], lower=95)
    assert lone.per_batch["b"].residual_sd is None
    assert lone.per_batch["a"].shelf_life is not None


@pytest.mark.parametrize(
    ("time", "value", "limits", "match"),
    [
        ([0.0, 1.0], [1.0, 2.0], {"lower": 0.0}, "equally long"),
        ([0.0, 1.0, -2.0], [1.0, 2.0, 3.0], {"lower": 0.0}, "negative"),
        ([0.0, 1.0, 2.0], [1.0, 2.0, np.nan], {"lower": 0.0}, "finite"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], {"lower": 0.0}, "two times"),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], {}, "limit is needed"),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], {"lower": 2.0, "upper": 1.0}, "crossed"),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], {"lower": np.inf}, "finite"),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], {"lower": 0.0, "confidence": 1.0}, "confidence"),
    ],
)
def test_unusable_input_is_refused(time: list[float], value: list[float], limits: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        fit_shelf_life(["a", "a", "a"], time, value, **limits)


@given(st.lists(st.floats(-0.5, 0.5), min_size=21, max_size=21), st.floats(1.0, 1000.0))
@settings(max_examples=30, deadline=None)
def test_shelf_life_is_where_the_bound_holds_and_scales_with_time(deviations: list[float], scale: float) -> None:
    """Measuring time in other units changes the shelf life by that factor and nothing else."""
    time = list(MONTHS) * 3
    batch = ["a"] * 7 + ["b"] * 7 + ["c"] * 7
    value = [100 - 0.3 * t + e for t, e in zip(time, deviations, strict=True)]
    months = fit_shelf_life(batch, time, value, lower=95)
    other = fit_shelf_life(batch, [t * scale for t in time], value, lower=95)
    assert other.model == months.model
    assert months.shelf_life is not None
    assert other.shelf_life == pytest.approx(months.shelf_life * scale, rel=1e-6)
