"""The oracle: how likely an injection is out of specification, given the true state and only future noise unknown.

Belongs here: closed-form probabilities of the simulated world. Does not belong here: any model that learns from data; the
pipeline never sees these numbers.

Known at a checkpoint: what the lot and its storage truly left, the column, the state of the system, the volume injected
and the flow so far, the standards already run, and the analyst. Unknown: what the preparation did to this sample (its
common factor ``d``: weighing, dilution, or the tablet), the content of this very portion, further flow changes, detector
noise and the closing standard. What has eluted is known as realised: its result is no longer a probability, and it shows
about ``d``.

The logarithm of each area is ``mu + d + e``: ``d`` is a mixture of two normals (good preparation, slip), ``e`` normal. So
the posterior of ``d`` after observing eluted peaks is again a mixture of two normals, and a result's chance to lie outside
its limits is a weighted sum of normal distribution functions. The analytes not yet eluted are taken as independent given
``d``'s mixture component; in ``RS-01`` their common factor is small against the distance between their limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

CHECKPOINTS_PCT = (10, 25, 50, 75)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The common factor ``d`` before anything is measured: two normals on the logarithmic scale.

    Attributes:
        weights: Probability of good preparation and of slip, shape (2,), sum 1.
        means: Means of ``d``.
        sds: Standard deviations of ``d``, > 0.
    """

    weights: tuple[float, float]
    means: tuple[float, float]
    sds: tuple[float, float]

    def given(self, observations: Sequence[tuple[float, float]]) -> Preparation:
        """Return the posterior after observing ``d`` with normal errors.

        Args:
            observations: Pairs of observed ``d + e`` and the standard deviation of ``e``.
        """
        log_weights, means, variances = np.log(self.weights), np.array(self.means), np.square(self.sds)
        for value, sd in observations:
            total = variances + sd**2
            log_weights = log_weights - 0.5 * np.log(total) - 0.5 * (value - means) ** 2 / total
            means = (means * sd**2 + value * variances) / total
            variances = variances * sd**2 / total
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        sds = np.sqrt(variances)
        return Preparation(
            weights=(float(weights[0]), float(weights[1])),
            means=(float(means[0]), float(means[1])),
            sds=(float(sds[0]), float(sds[1])),
        )


@dataclass(frozen=True, kw_only=True)
class Analyte:
    """One peak of a sample injection as the oracle knows it.

    Attributes:
        name: Compound.
        eluted_pct: When it has eluted, % of the run.
        log_expected: Logarithm of its result in % of label claim (or of its area, when not reported) at ``d = e = 0``.
        error_sd: Standard deviation of ``e``: content of the portion, detector noise, further flow changes.
        log_observed: The same logarithm as realised; ``None`` when the peak was not found.
        low: Lower limit of the result; ``None``: no limit.
        high: Upper limit of the result; ``None``: no limit.
        closing_sd: Relative standard deviation that the closing standard still brings.
    """

    name: str
    eluted_pct: float
    log_expected: float
    error_sd: float
    log_observed: float | None
    low: float | None = None
    high: float | None = None
    closing_sd: float = 0.0

    @property
    def reported(self) -> bool:
        """Whether the compound has a limit."""
        return self.low is not None or self.high is not None

    def outside(self) -> bool:
        """Return whether the realised result is outside its limits."""
        if self.log_observed is None:
            return self.low is not None
        value = float(np.exp(self.log_observed))
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)

    def chance_inside(self, mean: float, sd: float) -> float:
        """Return the probability that the result lies inside its limits when ``d`` is normal with this mean and sd."""
        centre, spread = self.log_expected + mean, float(np.sqrt(sd**2 + self.error_sd**2 + self.closing_sd**2))
        upper = ndtr((np.log(self.high) - centre) / spread) if self.high is not None else 1.0
        lower = ndtr((np.log(self.low) - centre) / spread) if self.low is not None else 0.0
        return float(max(upper - lower, 0.0))


def oracle_risk(preparation: Preparation, analytes: Sequence[Analyte], *, checkpoint_pct: float) -> float:
    """Return the probability that any reportable result of an injection is out of specification.

    Args:
        preparation: Common factor before the injection.
        analytes: Every measured peak of the injection, reported or not.
        checkpoint_pct: Part of the run that has passed, %.

    Returns:
        Probability, 0-1.
    """
    eluted = [analyte for analyte in analytes if analyte.eluted_pct <= checkpoint_pct]
    if any(analyte.outside() for analyte in eluted if analyte.reported):
        return 1.0
    seen = [(analyte.log_observed - analyte.log_expected, analyte.error_sd) for analyte in eluted if analyte.log_observed is not None]
    posterior = preparation.given(seen)
    waiting = [analyte for analyte in analytes if analyte.reported and analyte.eluted_pct > checkpoint_pct]
    inside = 0.0
    for weight, mean, sd in zip(posterior.weights, posterior.means, posterior.sds, strict=True):
        inside += weight * float(np.prod([analyte.chance_inside(mean, sd) for analyte in waiting]))
    return float(min(max(1.0 - inside, 0.0), 1.0))
