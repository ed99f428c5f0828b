"""What is known of a run before it starts: windows, limits and the standards it will be measured against.

Belongs here: the expectation handed to the progress features, the margin to a specification.
Does not belong here: building one from tables (``reference.py``), the trace (``progress.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite, nan


@dataclass(frozen=True, kw_only=True)
class ExpectedPeak:
    """One analyte's integration window.

    Attributes:
        analyte: Compound.
        channel: Detector channel it is measured on; empty: every channel.
        start_min: Start of the window, minutes.
        end_min: End of the window, minutes.
    """

    analyte: str
    channel: str
    start_min: float
    end_min: float


@dataclass(frozen=True, kw_only=True)
class MethodExpectation:
    """What one injection is expected to show, from what was known before it started.

    Areas, heights and the trace share one signal unit; areas are ``<signal>*min``.

    Attributes:
        method_id: Test method.
        run_time_min: Planned length of the run, minutes.
        windows: Integration windows, in order of elution.
        main_analyte: Analyte the standards contain; empty when unknown.
        spec_low: Lower limits by analyte, in percent.
        spec_high: Upper limits by analyte, in percent.
        reference_area: By analyte, the area that means 100 % in *this* injection: its weight and the standards' response are in it.
        reference_height: Mean apex height of the standards by analyte.
        reference_retention_min: Mean retention of the standards by analyte, minutes.
    """

    method_id: str
    run_time_min: float
    windows: tuple[ExpectedPeak, ...] = ()
    main_analyte: str = ""
    spec_low: Mapping[str, float] = field(default_factory=dict[str, float])
    spec_high: Mapping[str, float] = field(default_factory=dict[str, float])
    reference_area: Mapping[str, float] = field(default_factory=dict[str, float])
    reference_height: Mapping[str, float] = field(default_factory=dict[str, float])
    reference_retention_min: Mapping[str, float] = field(default_factory=dict[str, float])

    def on_channel(self, channel: str) -> MethodExpectation:
        """Return the same expectation with the windows measured on one channel."""
        return replace(self, windows=tuple(window for window in self.windows if window.channel in {"", channel}))

    def value_pct(self, analyte: str, area: float) -> float:
        """Return the content an area means, ``nan`` without a reference."""
        reference = self.reference_area.get(analyte, nan)
        return 100.0 * area / reference if isfinite(reference) and reference > 0 else nan

    def margin(self, analyte: str, value_pct: float) -> float:
        """Return the margin of a content to this injection's limits, see ``spec_margin``."""
        return spec_margin(value_pct, low=self.spec_low.get(analyte), high=self.spec_high.get(analyte))


def spec_margin(value: float | None, *, low: float | None, high: float | None) -> float:
    """Return how far a value is inside its limits: 1 at the middle of a range, 0 on a limit, negative outside.

    Two limits: distance to the nearer limit over half the width of the range. One limit: distance to it over its size, so an impurity at a
    tenth of its limit has 0.9.

    Args:
        value: Reportable value; ``None`` where there is none.
        low: Lower limit in the value's unit, ``None`` or ``nan`` where there is none.
        high: Upper limit.

    Returns:
        The margin, ``nan`` without a value or a limit, or where the scale is zero.
    """
    below = nan if value is None or low is None else value - low
    above = nan if value is None or high is None else high - value
    has_low, has_high = isfinite(below), isfinite(above)
    if has_low and has_high:
        half_width = (below + above) / 2
        return min(below, above) / half_width if half_width > 0 else nan
    if has_low and low:
        return below / abs(low)
    if has_high and high:
        return above / abs(high)
    return nan
