"""Features of a run that is not over: what the trace shows at 10, 25, 50 and 75 % of the run.

Belongs here: strictly causal functions of a partial trace; nothing after the checkpoint is looked at, so a stream, an online request and a batch
over finished runs get the same numbers.
Does not belong here: history of the instrument or lot (``history_of_instruments.py``, ``history_of_lots.py``), reportable values (``lab_assets.domain``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite, nan
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from lab_assets.domain.numeric import mean, trapezoid_area
from lab_assets.features.definitions import CHECKPOINTS_PCT, columns_of
from lab_assets.features.expectation import ExpectedPeak, MethodExpectation
from lab_assets.features.extra import extra_values, former_values
from lab_assets.features.trace import (
    Baseline,
    Floats,
    Trace,
    apex_time,
    find_baseline,
    finished_stretches,
    make_trace,
    peak_shape,
    pressure_summary,
)

NAMES: Final = columns_of("injection_progress")
VOID_FROM_SHARE: Final = 0.02
VOID_TO_SHARE: Final = 0.15
"""The void disturbance lies between 2 % of the run and the first window, at most 15 %."""
SHAPE_OVER_NOISE: Final = 20.0
"""A peak's shape is measured from this height over noise on: below, 5 % of the height drowns."""
RETENTION_OVER_NOISE: Final = 10.0


def checkpoint_time(started: datetime, run_time_min: float, checkpoint_pct: float) -> datetime:
    """Return when a share of the run has passed; an instrument gives its trace as it runs."""
    return started + timedelta(minutes=run_time_min * checkpoint_pct / 100)


def progress_features(
    x_min: ArrayLike,
    y: ArrayLike,
    *,
    checkpoint_pct: float,
    run_time_min: float,
    expectation: MethodExpectation | None = None,
    pressure: Trace | None = None,
) -> dict[str, float]:
    """Return the ``injection_progress`` features of a trace up to a checkpoint.

    Only points with ``x <= checkpoint_pct / 100 * run_time_min`` are used, of the trace and of the pressure.

    Args:
        x_min: Times, shape (n,), ascending, minutes.
        y: Signal of one channel, shape (n,), in the unit of the expectation's areas and heights.
        checkpoint_pct: Share of the run seen, above 0 to 100.
        run_time_min: Planned length of the run, minutes.
        expectation: Windows of this channel, limits and references; features that need them are missing without.
        pressure: Pressure in bar, see ``pressure_trace``.

    Returns:
        Every feature of the table by name, former computations by column; ``nan`` where it is not known yet.

    Raises:
        ValueError: lengths differ, times do not ascend, or checkpoint or run time are out of range.
    """
    return _at_checkpoint(
        make_trace(x_min, y), checkpoint_pct=checkpoint_pct, run_time_min=run_time_min, expectation=expectation, pressure=pressure
    )


def checkpoint_features(
    x_min: ArrayLike,
    y: ArrayLike,
    *,
    run_time_min: float,
    expectation: MethodExpectation | None = None,
    pressure: Trace | None = None,
    checkpoints: Sequence[int] = CHECKPOINTS_PCT,
) -> list[dict[str, float]]:
    """Return ``progress_features`` at each checkpoint, with ``checkpoint_pct`` added, in the order asked for.

    Raises:
        ValueError: as ``progress_features``.
    """
    trace = make_trace(x_min, y)
    return [
        {
            "checkpoint_pct": float(checkpoint),
            **_at_checkpoint(trace, checkpoint_pct=checkpoint, run_time_min=run_time_min, expectation=expectation, pressure=pressure),
        }
        for checkpoint in checkpoints
    ]


@dataclass(frozen=True, kw_only=True)
class SeenRun:
    """A run up to a checkpoint, as extra features are given it.

    Attributes:
        trace: Points up to now.
        pressure: Pressure up to now in bar, if there is any.
        baseline: Baseline of the trace, once there is enough of it.
        expectation: What is expected of the run, if it is known.
        run_time_min: Planned length, minutes.
        checkpoint_pct: Share of the run seen.
    """

    trace: Trace
    pressure: Trace | None
    baseline: Baseline | None
    expectation: MethodExpectation | None
    run_time_min: float
    checkpoint_pct: float


def _at_checkpoint(
    trace: Trace, *, checkpoint_pct: float, run_time_min: float, expectation: MethodExpectation | None, pressure: Trace | None
) -> dict[str, float]:
    if not 0 < checkpoint_pct <= 100:
        raise ValueError(f"checkpoint_pct must be above 0 and at most 100, got {checkpoint_pct:g}")
    if not (isfinite(run_time_min) and run_time_min > 0):
        raise ValueError(f"run_time_min must be positive, got {run_time_min:g}")
    now_min = checkpoint_pct / 100 * run_time_min
    seen = trace.until(now_min)
    pressure = pressure.until(now_min) if pressure is not None else None
    baseline = find_baseline(seen, run_time_min=run_time_min)
    features = dict.fromkeys(NAMES, nan)
    features |= pressure_summary(pressure)
    run = SeenRun(
        trace=seen, pressure=pressure, baseline=baseline, expectation=expectation, run_time_min=run_time_min, checkpoint_pct=checkpoint_pct
    )
    features |= extra_values("injection_progress", run) | former_values("injection_progress", run)
    if baseline is None:
        return features
    void_end_min = _void_end(run_time_min, expectation)
    features |= _baseline_features(seen, baseline, run_time_min=run_time_min, void_end_min=void_end_min, scale=_scale(expectation))
    features |= _shape_features(seen, baseline, void_end_min=void_end_min)
    if expectation is not None:
        peaks = tuple(_measure(seen, window) for window in expectation.windows)
        features |= _content_features(peaks, expectation)
        features["retention_shift_pct"] = _retention_shift(peaks, expectation, floor=baseline.floor)
    return features


def _void_end(run_time_min: float, expectation: MethodExpectation | None) -> float:
    starts = [window.start_min for window in expectation.windows] if expectation is not None else []
    return min([VOID_TO_SHARE * run_time_min, *starts])


def _scale(expectation: MethodExpectation | None) -> float:
    """Return what signal levels are compared with: the standards' main peak height."""
    height = expectation.reference_height.get(expectation.main_analyte, nan) if expectation is not None else nan
    return height if height > 0 else nan


def _baseline_features(seen: Trace, baseline: Baseline, *, run_time_min: float, void_end_min: float, scale: float) -> dict[str, float]:
    features = {
        "baseline_noise_pct": 100.0 * baseline.noise / scale,
        "baseline_offset_pct": 100.0 * baseline.start / scale,
        "baseline_slope_pct_per_min": 100.0 * baseline.slope_per_min / scale,
    }
    first = int(seen.x_min.searchsorted(VOID_FROM_SHARE * run_time_min))
    last = int(seen.x_min.searchsorted(void_end_min))
    if last > first:
        place = first + int(np.abs(baseline.above[first:last]).argmax())
        features["void_height_pct"] = 100.0 * float(baseline.above[place]) / scale
        features["void_time_min"] = float(seen.x_min[place])
    return features


def _shape_features(seen: Trace, baseline: Baseline, *, void_end_min: float) -> dict[str, float]:
    stretches = finished_stretches(seen, baseline, after_min=void_end_min)
    features = {"peaks_so_far": float(len(stretches))}
    clear = (s for s in reversed(stretches) if float(baseline.above[s[0] : s[1]].max()) >= SHAPE_OVER_NOISE * baseline.floor)
    if (newest := next(clear, None)) is not None:
        _, plates, tailing = peak_shape(seen, baseline.above, first=newest[0], last=newest[1])
        features |= {"last_peak_plates": plates, "last_peak_tailing": tailing}
    return features


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """One window so far; areas in ``<signal>*min``."""

    window: ExpectedPeak
    area: float
    height: float
    retention_min: float
    finished: bool


def _measure(seen: Trace, window: ExpectedPeak) -> _Measured:
    """Integrate what is seen of a window: over a line between its ends when finished, else over the level at its start."""
    first = int(seen.x_min.searchsorted(window.start_min, side="right"))
    last = int(seen.x_min.searchsorted(window.end_min, side="left"))
    finished = last < seen.x_min.size
    x, level = seen.x_min[first:last], seen.y[first:last]
    if x.size < 4:
        return _Measured(window=window, area=0.0, height=0.0, retention_min=nan, finished=False)
    edge = max(2, min(x.size // 20, 15))
    left = mean(level[:edge])
    above: Floats
    if finished:
        right = mean(level[-edge:])
        x_left, x_right = mean(x[:edge]), mean(x[-edge:])
        above = level - (left + (right - left) * (x - x_left) / (x_right - x_left))
    else:
        above = level - left
    apex = int(above.argmax())
    return _Measured(
        window=window,
        area=trapezoid_area(above, x),
        height=float(above[apex]),
        retention_min=apex_time(x, above, apex=apex) if finished else nan,
        finished=finished,
    )


def _content_features(peaks: Sequence[_Measured], expectation: MethodExpectation) -> dict[str, float]:
    """Return contents and margins; a window counts once a point at or past its end is seen."""
    main = next((peak for peak in peaks if peak.window.analyte == expectation.main_analyte), None)
    main_start = main.window.start_min if main is not None else nan
    done = [(peak.window, expectation.value_pct(peak.window.analyte, peak.area)) for peak in peaks if peak.finished]
    early = [value for window, value in done if window.end_min <= main_start and isfinite(value)]
    margins = [expectation.margin(window.analyte, value) for window, value in done]
    features = {
        "early_impurity_pct": sum(early) if early else nan,
        "worst_margin_so_far": min((margin for margin in margins if isfinite(margin)), default=nan),
    }
    if main is not None:
        share = expectation.value_pct(main.window.analyte, main.area) / 100.0
        features["main_area_share"] = share
        features["main_height_share"] = main.height / _scale(expectation)
        features["main_value_pct"] = 100.0 * share if main.finished else nan
    return features


def _retention_shift(peaks: Sequence[_Measured], expectation: MethodExpectation, *, floor: float) -> float:
    """Return the shift of the last finished expected peak that stands out of the noise, in percent of the standards' retention."""
    shift = nan
    for peak in peaks:
        reference = expectation.reference_retention_min.get(peak.window.analyte, nan)
        if peak.finished and reference > 0 and peak.height >= RETENTION_OVER_NOISE * floor:
            shift = 100.0 * (peak.retention_min / reference - 1.0)
    return shift
