"""From detector traces to peaks: the room's front door for chromatography.

Belongs here: the names others use, and matching with a data system's own peaks. Does not belong here: how peaks are found
(``peak_detection.py``), measured (``peak_shape.py``) or integrated over fixed windows (``integration.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

from lab_assets.domain.integration import WindowArea, integrate_window
from lab_assets.domain.peak_detection import DetectionSettings, detect_peaks, largest_in_window, peak_in_window
from lab_assets.domain.peak_shape import Peak, plate_number, resolution, signal_to_noise, tailing_factor

__all__ = [
    "DetectionSettings",
    "Peak",
    "WindowArea",
    "detect_peaks",
    "integrate_window",
    "largest_in_window",
    "match_vendor_peaks",
    "peak_in_window",
    "plate_number",
    "resolution",
    "signal_to_noise",
    "tailing_factor",
]


def match_vendor_peaks(peaks: Sequence[Peak], vendor_times_min: Sequence[float | None]) -> list[int | None]:
    """Pair each peak with the data system's peak of the same channel that lies nearest.

    The nearest pairs are formed first and each vendor peak is given away once. A pair needs to be within half a peak's width at the base
    (1.7 times the width at half height, or start to end where that is undefined).

    Args:
        peaks: Our peaks of one channel.
        vendor_times_min: Retention times of the vendor's peaks of that channel, minutes; ``None`` where the file states none.

    Returns:
        For each peak the index into ``vendor_times_min``, or ``None``.
    """
    pairs = sorted(
        (abs(peak.retention_time_min - time), ours, theirs)
        for ours, peak in enumerate(peaks)
        for theirs, time in enumerate(vendor_times_min)
        if time is not None and abs(peak.retention_time_min - time) <= _half_base_width_min(peak)
    )
    matched: list[int | None] = [None] * len(peaks)
    taken = set[int]()
    for _, ours, theirs in pairs:
        if matched[ours] is None and theirs not in taken:
            matched[ours] = theirs
            taken.add(theirs)
    return matched


def _half_base_width_min(peak: Peak) -> float:
    """Return half of a peak's width at its base: 1.7 times the width at half height for a Gaussian, halved."""
    if peak.width_half_min is not None:
        return 0.85 * peak.width_half_min
    return 0.5 * (peak.end_min - peak.start_min)
