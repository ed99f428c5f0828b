"""System suitability: is the chromatographic system fit for the injections it is about to vouch for.

Belongs here: criteria and their judgement. Does not belong here: the measures themselves (``peak_shape.py``, ``calibration.py``), or what a
failure voids: it voids the injections it covers and is not an OOS result of the sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SuitabilityCriteria:
    """What a method asks of the system; ``None`` asks nothing.

    The defaults are those of USP <621> for assays and impurity tests: symmetry 0.8-1.8, S/N at least 10 at the reporting threshold.

    Attributes:
        min_plates: Least plate number.
        min_tailing: Least symmetry factor.
        max_tailing: Largest symmetry factor.
        min_resolution: Least resolution of the critical pair.
        max_rsd_pct: Largest %RSD of replicate standard injections.
        min_signal_to_noise: Least S/N of the sensitivity solution.
    """

    min_plates: float | None = None
    min_tailing: float | None = 0.8
    max_tailing: float | None = 1.8
    min_resolution: float | None = None
    max_rsd_pct: float | None = None
    min_signal_to_noise: float | None = 10.0


@dataclass(frozen=True, kw_only=True)
class SuitabilityMeasures:
    """What was found; ``None`` where it could not be measured."""

    plates: float | None = None
    tailing: float | None = None
    resolution: float | None = None
    rsd_pct: float | None = None
    signal_to_noise: float | None = None


@dataclass(frozen=True, kw_only=True)
class SuitabilityVerdict:
    """The judgement.

    Attributes:
        state: ``pass`` when every criterion asked for is met.
        failures: One text a criterion not met, such as ``tailing 2.10 > 1.8``.
    """

    state: Literal["pass", "fail"]
    failures: tuple[str, ...]


DEFAULT_CRITERIA = SuitabilityCriteria()


def judge_suitability(measures: SuitabilityMeasures, criteria: SuitabilityCriteria = DEFAULT_CRITERIA) -> SuitabilityVerdict:
    """Judge a system; a value equal to its limit passes, a measure that is asked for and missing (``None`` or ``nan``) fails."""
    asked = (
        ("plates", measures.plates, criteria.min_plates, None),
        ("tailing", measures.tailing, criteria.min_tailing, criteria.max_tailing),
        ("resolution", measures.resolution, criteria.min_resolution, None),
        ("rsd_pct", measures.rsd_pct, None, criteria.max_rsd_pct),
        ("signal_to_noise", measures.signal_to_noise, criteria.min_signal_to_noise, None),
    )
    failures = tuple(failure for name, value, low, high in asked if (failure := _failure(name, value, low, high)) is not None)
    return SuitabilityVerdict(state="fail" if failures else "pass", failures=failures)


def _failure(name: str, value: float | None, low: float | None, high: float | None) -> str | None:
    """Return why one criterion is not met, ``None`` when it is met or not asked for."""
    if low is None and high is None:
        return None
    if value is None or isnan(value):
        return f"{name} not measured"
    if low is not None and value < low:
        return f"{name} {value:.4g} < {low:g}"
    if high is not None and value > high:
        return f"{name} {value:.4g} > {high:g}"
    return None
