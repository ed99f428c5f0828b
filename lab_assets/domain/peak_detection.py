"""Finding peaks in a trace and integrating each over its own baseline.

Belongs here: from a trace to a list of peaks. Does not belong here: fixed windows (``integration.py``), which analyte a peak is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from lab_assets.domain.baseline import drift, noise_sd, peak_to_peak
from lab_assets.domain.integration import checked_trace
from lab_assets.domain.numeric import half_prominence_widths, local_maxima, mean, median, quantile, smoothed, trapezoid_area
from lab_assets.domain.peak_shape import (
    Peak,
    apex_by_parabola,
    crossing,
    plate_number,
    resolution,
    signal_to_noise,
    tailing_factor,
)
from lab_assets.domain.units import FloatArray

_MIN_POINTS: Final = 16
_PEAK_TO_PEAK_PER_SD: Final = 5.0
"""Expected spread of about a hundred normal values, in standard deviations."""
_FLANK_IS_LOW: Final = 0.01
_CUT_SHARE: Final = 0.1
_QUICKENING: Final = 1e-2


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """What counts as a peak.

    Attributes:
        min_signal_to_noise: Least ``2 H / h``; 3 is the usual limit of detection.
        min_height_fraction: Least height as a share of the highest peak's; keeps out ripples of noise-free traces.
        min_width_points: Least width at half height, points; narrower is a spike.
        foot_fraction: A flank ends where it falls below this share of its peak's height (or into the noise).
    """

    min_signal_to_noise: float = 3.0
    min_height_fraction: float = 1e-4
    min_width_points: float = 3.0
    foot_fraction: float = 2e-5


@dataclass(frozen=True)
class _Trace:
    """A trace and what was learnt of it: smoothed signal, signal above drift, noise of both, typical peak width in points."""

    x: FloatArray
    y: FloatArray
    smooth: FloatArray
    above: FloatArray
    noise: float
    noise_smooth: float
    width: float


@dataclass(frozen=True)
class _Extent:
    """Indices of one peak's apex and boundaries."""

    start: int
    top: int
    end: int


DEFAULT_SETTINGS: Final = DetectionSettings()


def detect_peaks(x_min: ArrayLike, y: ArrayLike, settings: DetectionSettings = DEFAULT_SETTINGS) -> list[Peak]:
    """Find and integrate the peaks of a trace.

    Noise and drift come from the trace. A peak reaches to where its flanks fall into the baseline, or to the valley it shares with its
    neighbour. Peaks that share valleys share one straight baseline and are parted by perpendicular drops, unless a valley reaches that
    line: then the baseline goes from valley to valley. Only positive peaks are reported.

    Args:
        x_min: Times, shape (n,), ascending, minutes.
        y: Signal, shape (n,).
        settings: What counts as a peak.

    Returns:
        Peaks by retention time, numbered from 1; empty for a trace without peaks or shorter than 16 points.

    Raises:
        ValueError: the shapes differ, a value is not finite, or the times do not ascend.
    """
    x, signal = checked_trace(x_min, y)
    trace = _study(x, signal)
    if trace is None:
        return []
    extents = _extents(trace, settings)
    clusters = [part for cluster in _clusters(extents) for part in _split_at_baseline(trace, cluster)]
    peaks = [peak for place in range(len(clusters)) for peak in _measure_cluster(trace, place, clusters)]
    return _numbered([peak for peak in peaks if peak.area > 0 and peak.height > 0])


def largest_in_window(peaks: list[Peak], *, start_min: float, end_min: float) -> Peak | None:
    """Return the peak of largest area whose apex lies in the open window, ``None`` when there is none."""
    inside = [peak for peak in peaks if start_min < peak.retention_time_min < end_min]
    return max(inside, key=lambda peak: peak.area, default=None)


def peak_in_window(
    x_min: ArrayLike, y: ArrayLike, *, start_min: float, end_min: float, settings: DetectionSettings = DEFAULT_SETTINGS
) -> Peak | None:
    """Return the largest detected peak whose apex lies in the open window, over its own baseline; ``None`` when there is none.

    Raises:
        ValueError: the window is empty or reversed, or the trace is not usable (see ``detect_peaks``).
    """
    if not start_min < end_min:
        raise ValueError(f"window {start_min:g}-{end_min:g} min is empty")
    return largest_in_window(detect_peaks(x_min, y, settings), start_min=start_min, end_min=end_min)


def _study(x: FloatArray, y: FloatArray) -> _Trace | None:
    """Learn peak width, noise and drift from a trace; ``None`` when nothing stands out of the noise."""
    spread = float(y.max() - y.min()) if y.size >= _MIN_POINTS else 0.0
    if spread == 0.0:
        return None
    noise = noise_sd(y, stretch_points=32)
    light = smoothed(y, window=5)
    tops, prominences = local_maxima(light, prominence=max(1e-3 * spread, 6 * noise))
    if tops.size == 0:
        return None
    widths = half_prominence_widths(light, tops, prominences)
    width = median(widths)
    widest = min(quantile(widths, 0.8), 4 * width)
    window = int(0.4 * quantile(widths, 0.25)) | 1
    smooth = smoothed(y, window=min(window, y.size // 2 | 1))
    stretch = int(min(max(2 * width, 16), max(16, y.size // 10)))
    noise, noise_smooth = noise_sd(y, stretch_points=stretch), noise_sd(smooth, stretch_points=stretch)
    above = smooth - drift(smooth, peak_width_points=width, widest_points=widest, noise=noise_smooth)
    quiet = above[above < 4 * noise_smooth]
    if quiet.size:
        above -= median(quiet)
    return _Trace(x, y, smooth, above, noise, noise_smooth, width)


def _extents(trace: _Trace, settings: DetectionSettings) -> list[_Extent]:
    """Return apexes that stand out, with the boundaries of each."""
    above = trace.above
    least = max(
        0.5 * settings.min_signal_to_noise * _PEAK_TO_PEAK_PER_SD * trace.noise,
        settings.min_height_fraction * float(above.max()),
    )
    if not least > 0:
        return []
    tops, prominences = local_maxima(above, height=least, prominence=0.5 * least)
    tops = tops[half_prominence_widths(above, tops, prominences) >= settings.min_width_points]
    if tops.size == 0:
        return []
    valleys = [left + int(above[left:right].argmin()) for left, right in pairwise(tops.tolist())]
    limits = [0, *valleys, above.size - 1]
    extents: list[_Extent] = []
    for top, low, high in zip(tops.tolist(), limits[:-1], limits[1:], strict=True):
        before = _foot(above[low : top + 1][::-1], noise=trace.noise_smooth, settings=settings)
        after = _foot(above[top : high + 1], noise=trace.noise_smooth, settings=settings)
        extents.append(_Extent(top - before, top, top + after))
    return extents


def _foot(flank: FloatArray, *, noise: float, settings: DetectionSettings) -> int:
    """Return how many points after the apex a flank ends.

    It ends where it falls into the baseline, or sooner, low on the flank, where its descent (which slows down all the way from the steepest
    place) quickens again: there something else begins, such as a hump or a step of the baseline.

    Args:
        flank: Signal above the drift from the apex outwards to the neighbour's valley, shape (n,).
        noise: Standard deviation of its noise.
        settings: What counts as a peak.
    """
    height = float(flank[0])
    low = flank < max(noise, settings.foot_fraction * height)
    end = int(low.argmax())
    if not low[end]:
        end = flank.size - 1
    half = int((flank < 0.5 * height).argmax())
    step = max(1, half // 2)
    if half == 0 or end <= half + step:
        return end
    descent = flank[: end + 1 - step] - flank[step : end + 1]
    steepest = int(descent.argmax())
    tail = descent[steepest:]
    quickens = tail - np.minimum.accumulate(tail) > max(6 * noise, _QUICKENING * float(tail[0]))
    sooner = int(quickens.argmax())
    if not quickens[sooner]:
        return end
    slowest = steepest + int(tail[: sooner + 1].argmin()) + step // 2
    return slowest if flank[slowest] < _FLANK_IS_LOW * height else end


def _clusters(extents: list[_Extent]) -> list[list[_Extent]]:
    """Group peaks that share a boundary."""
    clusters: list[list[_Extent]] = []
    for extent in extents:
        if clusters and clusters[-1][-1].end >= extent.start:
            clusters[-1].append(extent)
        else:
            clusters.append([extent])
    return clusters


def _split_at_baseline(trace: _Trace, cluster: list[_Extent]) -> list[list[_Extent]]:
    """Split or trim a cluster where the trace lies under its straight baseline, lowest place first, and so on for the parts.

    What remains are stretches whose chord runs under the whole trace but for noise: valley-to-valley baselines.
    """
    first, last = cluster[0].start, cluster[-1].end
    x, smooth = trace.x[first : last + 1], trace.smooth[first : last + 1]
    gap = smooth - (smooth[0] + (smooth[-1] - smooth[0]) * (x - x[0]) / (x[-1] - x[0]))
    tolerance = trace.noise_smooth
    if len(cluster) == 1 or float(gap.min()) < -tolerance:
        at = first + int(gap.argmin())
    else:
        valleys = np.array([extent.end for extent in cluster[:-1]])
        at = int(valleys[np.argmin(gap[valleys - first])])
    if gap[at - first] > (tolerance if len(cluster) > 1 else -tolerance) or not first < at < last:
        return [cluster]
    head = [_Extent(e.start, e.top, min(e.end, at)) for e in cluster if e.top < at]
    tail = [_Extent(max(e.start, at), e.top, e.end) for e in cluster if e.top > at]
    return [part for side in (head, tail) if side for part in _split_at_baseline(trace, side)]


def _foot_level(trace: _Trace, index: int, *, outward: int, room: int) -> tuple[float, float]:
    """Return time and level of a baseline end: the mean of the quiet points just outside it, as far as ``room`` allows."""
    reach = max(0, min(int(trace.width / 4), room))
    if reach == 0:
        return float(trace.x[index]), float(trace.smooth[index])
    window = slice(index, index + reach + 1) if outward > 0 else slice(index - reach, index + 1)
    level = (np.abs(trace.above[window] - trace.above[index]) <= 2 * trace.noise_smooth)[::outward]
    away = int(level.argmin())
    n_points = level.size if level[away] else away
    if n_points < 2:
        return float(trace.x[index]), float(trace.smooth[index])
    # copied, for numpy would add up a reversed view from its other end
    return mean(trace.x[window][::outward][:n_points].copy()), mean(trace.y[window][::outward][:n_points].copy())


def _measure_cluster(trace: _Trace, place: int, clusters: list[list[_Extent]]) -> list[Peak]:
    """Integrate and measure the peaks of one cluster over their common straight baseline."""
    cluster = clusters[place]
    first, last = cluster[0].start, cluster[-1].end
    room_before = first - (clusters[place - 1][-1].end if place else 0)
    room_after = (clusters[place + 1][0].start if place + 1 < len(clusters) else trace.y.size - 1) - last
    x_a, y_a = _foot_level(trace, first, outward=-1, room=room_before)
    x_b, y_b = _foot_level(trace, last, outward=1, room=room_after)
    y_a, y_b = _levels_of_cut_peaks(trace, cluster, y_a, y_b)
    x = trace.x[first : last + 1]
    line = y_a + (y_b - y_a) * (x - x_a) / (x_b - x_a)
    raw, smooth = trace.y[first : last + 1] - line, trace.smooth[first : last + 1] - line
    gaps = [(a[-1].end, b[0].start) for a, b in pairwise(clusters)]
    gaps = [(0, clusters[0][0].start), *gaps, (clusters[-1][-1].end, trace.y.size - 1)]
    return [_measure(trace, extent, first=first, raw=raw, smooth=smooth, gaps=gaps) for extent in cluster]


def _levels_of_cut_peaks(trace: _Trace, cluster: list[_Extent], before: float, after: float) -> tuple[float, float]:
    """Return the baseline's two levels, the one where the trace cuts a peak off (a run still going) taken from the other side."""
    first, last, end = cluster[0], cluster[-1], trace.y.size - 1
    if last.end == end and after - before > _CUT_SHARE * (float(trace.smooth[last.top]) - before):
        return before, before
    if first.start == 0 and before - after > _CUT_SHARE * (float(trace.smooth[first.top]) - after):
        return after, after
    return before, after


def _measure(trace: _Trace, extent: _Extent, *, first: int, raw: FloatArray, smooth: FloatArray, gaps: list[tuple[int, int]]) -> Peak:
    """Measure one peak from the corrected cluster it belongs to."""
    part = slice(extent.start - first, extent.end - first + 1)
    x, raw, smooth = trace.x[extent.start : extent.end + 1], raw[part], smooth[part]
    top = extent.top - extent.start
    time, height = apex_by_parabola(x, raw, top, half_window=1)
    width = _width(x, smooth, top, at=0.5 * height)
    if width is not None:
        half = max(1, int(0.15 * width[2] / float(x[-1] - x[0]) * (x.size - 1)))
        time, height = apex_by_parabola(x, raw, top, half_window=half)
        width = _width(x, smooth, top, at=0.5 * height)
    foot = _width(x, smooth, top, at=0.05 * height)
    width_half = width[2] if width is not None and width[2] > 0 else None
    tailing = tailing_factor(time - foot[0], foot[1] - time) if foot is not None and foot[0] < time < foot[1] else None
    noise = _noise_nearby(trace, extent, width_half, gaps)
    return Peak(
        peak_no=1,
        retention_time_min=time,
        start_min=float(x[0]),
        end_min=float(x[-1]),
        area=trapezoid_area(raw, x),
        height=height,
        width_half_min=width_half,
        plates=plate_number(time, width_half) if width_half is not None else None,
        tailing=tailing,
        resolution=None,
        signal_to_noise=signal_to_noise(height, noise),
    )


def _width(x: FloatArray, level: FloatArray, top: int, *, at: float) -> tuple[float, float, float] | None:
    """Return front, back and width where both flanks reach a level, else ``None``."""
    front = crossing(x, level, top, at=at, step=-1)
    back = crossing(x, level, top, at=at, step=1)
    return (front, back, back - front) if front is not None and back is not None else None


def _noise_nearby(trace: _Trace, extent: _Extent, width_half_min: float | None, gaps: list[tuple[int, int]]) -> float:
    """Return the peak-to-peak noise of the nearest quiet stretch free of peaks and as long as 5 Wh.

    Quiet is a stretch with at most twice the noise of the quietest of the nearest gaps, so a dip beside the peak is not taken for noise.
    Without such a stretch, or with one that is far from the noise of the whole trace, that noise is the measure.
    """
    usual = _PEAK_TO_PEAK_PER_SD * trace.noise
    interval = float(trace.x[-1] - trace.x[0]) / (trace.x.size - 1)
    wanted = max(20, int(np.ceil(5 * width_half_min / interval)) if width_half_min is not None else int(5 * trace.width))
    enough = sorted((gap for gap in gaps if gap[1] - gap[0] > wanted), key=lambda gap: max(gap[0] - extent.end, extent.start - gap[1]))
    if not enough:
        return usual
    begins = [range(low + 1, high - wanted + 1, wanted) for low, high in enough[:3]]
    stretches = [trace.y[places[0] : places[-1] + wanted].reshape(-1, wanted) for places in begins]
    spread = peak_to_peak(np.concatenate(stretches))
    begin = np.array([place for places in begins for place in places])
    distance = np.maximum(begin - extent.end, extent.start - (begin + wanted))
    quiet = (spread <= 2 * spread.min()).nonzero()[0]
    nearest = float(spread[quiet[distance[quiet].argmin()]])
    return nearest if nearest <= 4 * usual or usual == 0 else usual


def _numbered(peaks: list[Peak]) -> list[Peak]:
    """Number the peaks and give each its resolution to the one before."""
    numbered: list[Peak] = []
    for number, peak in enumerate(peaks, start=1):
        before = numbered[-1] if numbered else None
        separation = None
        if before is not None and before.width_half_min is not None and peak.width_half_min is not None:
            separation = resolution(
                before.retention_time_min,
                peak.retention_time_min,
                first_width_half_min=before.width_half_min,
                second_width_half_min=peak.width_half_min,
            )
        numbered.append(replace(peak, peak_no=number, resolution=separation))
    return numbered
