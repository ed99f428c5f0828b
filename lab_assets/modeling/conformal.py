"""When it is too early to tell: split-conformal label sets by checkpoint and outcome.

Belongs here: thresholds and verdicts. Does not belong here: what follows from a verdict (``lab_assets.decisions``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from lab_assets.modeling.arrays import FloatArray, IntArray, TextArray

Verdict = Literal["likely_pass", "likely_fail", "cannot_tell_yet"]
CANNOT_TELL: Final[Verdict] = "cannot_tell_yet"


@dataclass(frozen=True, kw_only=True)
class LabelThresholds:
    """Raw scores between which an outcome cannot be excluded.

    Attributes:
        pass_at_most: 'pass' is in the set up to this raw score; ``None``: always.
        fail_at_least: 'fail' is in the set from this raw score on; ``None``: always.
    """

    pass_at_most: float | None
    fail_at_least: float | None

    def verdict(self, raw: float) -> Verdict:
        """Return the verdict of one raw score, see ``verdicts``."""
        may_pass = self.pass_at_most is None or raw <= self.pass_at_most
        may_fail = self.fail_at_least is None or raw >= self.fail_at_least
        if may_pass == may_fail:
            return CANNOT_TELL
        return "likely_pass" if may_pass else "likely_fail"

    def verdicts(self, raw: FloatArray) -> TextArray:
        """Return the verdict of each raw score: the only outcome left, or that one cannot tell yet.

        A set of both outcomes means that neither can be excluded; an empty set means that the score is unlike either,
        which is no ground for a verdict either.
        """
        may_pass = np.ones(raw.shape, dtype=np.bool_) if self.pass_at_most is None else raw <= self.pass_at_most
        may_fail = np.ones(raw.shape, dtype=np.bool_) if self.fail_at_least is None else raw >= self.fail_at_least
        return np.where(may_pass & ~may_fail, "likely_pass", np.where(may_fail & ~may_pass, "likely_fail", CANNOT_TELL))


def fit_thresholds(raw: FloatArray, labels: FloatArray, *, alpha: float = 0.1) -> LabelThresholds:
    """Fit label-conditional split-conformal thresholds.

    Source: Vovk, Gammerman & Shafer (2005), 4.5 (Mondrian); with exchangeable rows the set misses the true outcome in
    at most a share ``alpha`` of the passes and of the failures, each. With fewer than ``1/alpha - 1`` rows of an
    outcome that outcome can never be excluded.

    Args:
        raw: ``(n,)`` log-odds of rows the booster has not seen.
        labels: ``(n,)`` outcomes, 0 or 1.
        alpha: Accepted share of misses, between 0 and 1.

    Returns:
        The thresholds on the raw score.

    Raises:
        ValueError: ``alpha`` not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} is not between 0 and 1")
    passes = np.sort(raw[labels == 0])
    fails = np.sort(raw[labels == 1])[::-1]
    ranks = [math.ceil((len(group) + 1) * (1 - alpha) - 1e-9) for group in (passes, fails)]
    return LabelThresholds(
        pass_at_most=float(passes[ranks[0] - 1]) if ranks[0] <= len(passes) else None,
        fail_at_least=float(fails[ranks[1] - 1]) if ranks[1] <= len(fails) else None,
    )


def fit_thresholds_by_checkpoint(
    raw: FloatArray, labels: FloatArray, *, checkpoints: IntArray, alpha: float = 0.1
) -> Mapping[int, LabelThresholds]:
    """Fit thresholds for each checkpoint by itself, see ``fit_thresholds``; keys are shares of the run in %."""
    return {
        int(value): fit_thresholds(raw[checkpoints == value], labels[checkpoints == value], alpha=alpha) for value in np.unique(checkpoints)
    }
