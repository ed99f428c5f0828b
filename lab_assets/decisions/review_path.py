"""Which review path a risk suggests, which checks, and why.

Belongs here: rules a QC lead can read and change. Does not belong here: models, storage, who may decide.

A model never voids, averages, delays or replaces a result. What is decided here changes only the order and the depth of
the review: a fast track is still a review, and additional checks are done on a result that stands as measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lab_assets.modeling.conformal import Verdict
from lab_assets.modeling.explanation import Driver

Path = Literal["fast_track", "standard", "mandatory_checks"]
POLICY_VERSION: Final = "review-2"


@dataclass(frozen=True, kw_only=True)
class NamedCheck:
    """A check and what calls for it.

    Attributes:
        words: The check as the reviewer reads it.
        features: Features that call for it when they raise the risk; a name ending in ``*`` stands for all that begin so.
        above: Feature values above which it is called for, whatever the model made of them.
        below: Feature values below which it is called for.
    """

    words: str
    features: tuple[str, ...]
    above: Mapping[str, float]
    below: Mapping[str, float]

    def named_by(self, feature: str) -> bool:
        """Return whether the check belongs to a feature."""
        return any(feature.startswith(name[:-1]) if name.endswith("*") else feature == name for name in self.features)

    def called_by(self, features: Mapping[str, float]) -> str | None:
        """Return the value that calls for the check, in words, or ``None``."""
        for name, limit in self.above.items():
            if features.get(name, limit) > limit:  # NaN is above nothing
                return f"{name} is {features[name]:.4g}, above {limit:g}"
        for name, limit in self.below.items():
            if features.get(name, limit) < limit:
                return f"{name} is {features[name]:.4g}, below {limit:g}"
        return None


CHECKS: Final[tuple[NamedCheck, ...]] = (
    NamedCheck(
        words="check pump seals and prime the pump",
        features=("pressure_*", "ih_pressure_*"),
        above={"pressure_ripple_pct": 2.0, "ih_pressure_ripple_pct": 2.0},
        below={},
    ),
    NamedCheck(
        words="inspect the column and run system suitability",
        features=(
            "last_peak_plates",
            "last_peak_tailing",
            "retention_shift_pct",
            "ih_plates_ratio",
            "ih_tailing",
            "ih_injections_on_column",
            "ih_retention_*",
        ),
        above={"last_peak_tailing": 2.0, "ih_tailing": 2.0},
        below={"ih_plates_ratio": 0.7},
    ),
    NamedCheck(
        words="review the chamber record of the sample",
        features=("storage_*",),
        above={"storage_excursion_min": 0.0},
        below={},
    ),
    NamedCheck(
        words="second analyst reviews the integration of the early impurities",
        features=("early_impurity_pct", "peaks_so_far", "void_*"),
        above={},
        below={},
    ),
    NamedCheck(
        words="second analyst reviews the integration of the main peak",
        features=("main_*", "worst_margin_so_far"),
        above={},
        below={"worst_margin_so_far": 0.0},
    ),
    NamedCheck(
        words="check lamp, flow cell and mobile phase",
        features=("baseline_*",),
        above={},
        below={},
    ),
    NamedCheck(
        words="review the standards of the sequence and their preparation",
        features=("ih_standard_*",),
        above={"ih_standard_rsd_pct": 2.0},
        below={},
    ),
    NamedCheck(
        words="check that the instrument's calibration is in force",
        features=("ih_days_to_calibration_due",),
        above={},
        below={"ih_days_to_calibration_due": 0.0},
    ),
    NamedCheck(
        words="compare with the lot's earlier results",
        features=("lot_*",),
        above={"lot_failures_known": 0.0},
        below={},
    ),
)
GENERAL_CHECK: Final = "second analyst reviews the whole run"


@dataclass(frozen=True, kw_only=True)
class ReviewPolicy:
    """Thresholds of the review path.

    Attributes:
        version: Raised with every change of thresholds or checks.
        fast_track_below: Fast track needs the upper end of the risk's interval below this.
        checks_from: Mandatory checks from this risk on.
        max_checks: Most checks suggested, so that each is done.
        checks: The named checks.
    """

    version: str = POLICY_VERSION
    fast_track_below: float = 0.10
    checks_from: float = 0.30
    max_checks: int = 4
    checks: tuple[NamedCheck, ...] = CHECKS


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is suggested to the reviewer.

    Attributes:
        path: Suggested review path.
        checks: Checks to do, named; empty but on ``mandatory_checks``.
        reasons: Why, in words and numbers.
        policy_version: Version of the rules.
    """

    path: Path
    checks: tuple[str, ...]
    reasons: tuple[str, ...]
    policy_version: str


def _path(risk: float, risk_high: float, verdict: Verdict, policy: ReviewPolicy) -> tuple[Path, str]:
    if verdict == "cannot_tell_yet":
        return "standard", "neither outcome can be excluded yet: standard review"
    if verdict == "likely_fail":
        return "mandatory_checks", "a pass is unlike the passes seen in calibration: mandatory checks"
    if risk >= policy.checks_from:
        return "mandatory_checks", f"risk {risk:.3f} is at least {policy.checks_from:g}: mandatory checks"
    if risk_high < policy.fast_track_below:
        return "fast_track", f"upper end of the risk {risk_high:.3f} is below {policy.fast_track_below:g}: fast track"
    return "standard", f"upper end of the risk {risk_high:.3f} is not below {policy.fast_track_below:g}: standard review"


def _checks(features: Mapping[str, float], drivers: Sequence[Driver], policy: ReviewPolicy) -> tuple[list[str], list[str]]:
    """Return checks and their reasons: first what the drivers name, strongest first, then what values call for."""
    found: dict[str, str] = {}
    for driver in sorted(drivers, key=lambda each: each.rank):
        for check in policy.checks:
            if driver.contribution > 0 and check.named_by(driver.feature):
                found.setdefault(check.words, f"{check.words}: {driver.words}")
    for check in policy.checks:
        called = check.called_by(features)
        if called is not None:
            found.setdefault(check.words, f"{check.words}: {called}")
    if not found:
        found[GENERAL_CHECK] = f"{GENERAL_CHECK}: no single feature stands out"
    kept = list(found)[: policy.max_checks]
    return kept, [found[name] for name in kept]


def decide(
    *,
    risk: float,
    risk_low: float,
    risk_high: float,
    verdict: Verdict,
    features: Mapping[str, float],
    drivers: Sequence[Driver] = (),
    policy: ReviewPolicy | None = None,
) -> Decision:
    """Suggest a review path for one prediction.

    Args:
        risk: Calibrated probability of a failure.
        risk_low: Lower end of its interval.
        risk_high: Upper end of its interval.
        verdict: Conformal verdict; ``cannot_tell_yet`` always means standard review.
        features: Feature values used; absent ones are absent or NaN.
        drivers: Strongest features of this prediction; without them checks follow from the values alone.
        policy: Thresholds and checks; defaults when omitted.

    Returns:
        The suggestion; the same inputs and policy give the same suggestion.

    Raises:
        ValueError: the probabilities are not ``0 <= risk_low <= risk <= risk_high <= 1``.
    """
    if not 0 <= risk_low <= risk <= risk_high <= 1:
        raise ValueError(f"0 <= {risk_low} <= {risk} <= {risk_high} <= 1 does not hold")
    rules = policy or ReviewPolicy()
    path, why = _path(risk, risk_high, verdict, rules)
    stated = f"risk of an out-of-specification result {risk:.3f} (interval {risk_low:.3f} to {risk_high:.3f})"
    checks, reasons = _checks(features, drivers, rules) if path == "mandatory_checks" else ([], [])
    return Decision(path=path, checks=tuple(checks), reasons=(stated, why, *reasons), policy_version=rules.version)
