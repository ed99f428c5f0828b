"""How good a set of risks is: proper scores, discrimination, calibration, overall and by slice.

Belongs here: metrics and their uncertainty. Does not belong here: what is good enough (``gate.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from lab_assets.modeling.arrays import AnyArray, BoolArray, FloatArray, IntArray, group_codes

_TINY: Final = 1e-12
N_BINS: Final = 10
N_RESAMPLES: Final = 400
INTERVAL: Final = 0.90


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Quality of risks on one slice of rows.

    Attributes:
        rows: Rows judged.
        positives: Failures among them.
        log_loss: Mean negative log-likelihood, nats.
        brier: Mean squared error of the probability (Brier 1950).
        brier_skill: ``1 - brier / base_brier``.
        auc: Area under the ROC curve, ties one half; NaN when the slice holds one outcome.
        ece: Expected calibration error over equal-mass bins.
        ece_low: Lower end of its 90 % bootstrap interval by lot.
        ece_high: Upper end.
        base_log_loss: Log-loss of the base rate on the same rows.
        base_brier: Brier score of the base rate on the same rows.
    """

    rows: int
    positives: int
    log_loss: float
    brier: float
    brier_skill: float
    auc: float
    ece: float
    ece_low: float
    ece_high: float
    base_log_loss: float
    base_brier: float

    def values(self) -> dict[str, float]:
        """Return the finite metrics by name, without the number of rows."""
        named = {name: float(value) for name, value in asdict(self).items() if name != "rows"}
        return {name: value for name, value in named.items() if np.isfinite(value)}


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """One bin of a reliability diagram.

    Attributes:
        rows: Rows in the bin.
        risk_mean: Mean predicted probability.
        observed: Share that failed.
        risk_low: Smallest probability in the bin.
        risk_high: Largest probability in the bin.
    """

    rows: int
    risk_mean: float
    observed: float
    risk_low: float
    risk_high: float


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What the best possible model would reach, in expectation.

    Attributes:
        log_loss: Mean entropy of the true risks, nats.
        brier: Mean of ``p (1 - p)``.
        auc: Expected area under the ROC curve; NaN when the risks are all 0 or all 1.
    """

    log_loss: float
    brier: float
    auc: float


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Difference of two mean losses on the same rows, with a bootstrap interval by lot.

    Attributes:
        mean: First minus second; negative: the first is better.
        low: Lower end of the 90 % interval.
        high: Upper end.
        lots: Lots resampled.
    """

    mean: float
    low: float
    high: float
    lots: int


def log_losses(labels: FloatArray, risks: FloatArray) -> FloatArray:
    """Return each row's negative log-likelihood in nats, ``(n,)``; probabilities are held within 1e-12 of 0 and 1."""
    clipped = np.clip(risks, _TINY, 1.0 - _TINY)
    return -(labels * np.log(clipped) + (1.0 - labels) * np.log1p(-clipped))


def auc(labels: FloatArray, risks: FloatArray) -> float:
    """Return the area under the ROC curve by mid-ranks (Mann & Whitney 1947); NaN with one outcome only."""
    positives = float(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, codes, counts = np.unique(risks, return_inverse=True, return_counts=True)
    mid_ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[codes]
    return float((mid_ranks[labels > 0].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def equal_mass_bins(risks: FloatArray, n_bins: int = N_BINS) -> IntArray:
    """Return the bin of each risk, ``(n,)``, 0 .. n_bins - 1; equal risks are never parted, so bins may be empty."""
    edges = np.quantile(risks, np.linspace(0.0, 1.0, n_bins + 1)[1:-1])
    return np.searchsorted(edges, risks, side="right").astype(np.int64)


def reliability(labels: FloatArray, risks: FloatArray, *, n_bins: int = N_BINS) -> tuple[ReliabilityBin, ...]:
    """Return the filled bins of the reliability diagram, by rising risk."""
    codes = equal_mass_bins(risks, n_bins)
    bins: list[ReliabilityBin] = []
    for code in np.unique(codes):
        inside = codes == code
        bins.append(
            ReliabilityBin(
                rows=int(inside.sum()),
                risk_mean=float(risks[inside].mean()),
                observed=float(labels[inside].mean()),
                risk_low=float(risks[inside].min()),
                risk_high=float(risks[inside].max()),
            )
        )
    return tuple(bins)


def _resampled_lots(n_lots: int, *, n_resamples: int, seed: int) -> FloatArray:
    """Return how often each lot is drawn in each resample, ``(n_resamples, n_lots)``."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(n_lots, np.full(n_lots, 1.0 / n_lots), size=n_resamples).astype(np.float64)


def calibration_error(
    labels: FloatArray, risks: FloatArray, *, lots: AnyArray, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> tuple[float, float, float]:
    """Return the expected calibration error over ten equal-mass bins and its 90 % interval.

    Source: Naeini et al. (2015) with the equal-mass bins of Nguyen & O'Connor (2015). Sampling noise alone makes the
    error positive, and a percentile interval doubles that bias; the interval is therefore the basic bootstrap interval
    ``2 ece - q`` (Davison & Hinkley 1997, 5.2), with whole lots resampled, held at 0 from below.

    Args:
        labels: ``(n,)`` outcomes.
        risks: ``(n,)`` probabilities.
        lots: ``(n,)`` lot of each row.
        seed: Seed of the bootstrap.
        n_resamples: Number of resamples.

    Returns:
        The error, the lower and the upper end of its interval.
    """
    codes = equal_mass_bins(risks)
    n_lots, lot_codes = len(np.unique(lots)), group_codes(lots)[1]
    cell = lot_codes * N_BINS + codes
    gaps = np.bincount(cell, weights=labels - risks, minlength=n_lots * N_BINS).reshape(n_lots, N_BINS)
    sizes = np.bincount(lot_codes, minlength=n_lots).astype(np.float64)
    ece = float(np.abs(gaps.sum(axis=0)).sum() / sizes.sum())
    draws = _resampled_lots(n_lots, n_resamples=n_resamples, seed=seed)
    resampled = np.abs(draws @ gaps).sum(axis=1) / (draws @ sizes)
    upper, lower = np.quantile(resampled, ((1 - INTERVAL) / 2, (1 + INTERVAL) / 2))
    return ece, max(2 * ece - float(lower), 0.0), max(2 * ece - float(upper), 0.0)


def evaluate(labels: FloatArray, risks: FloatArray, *, lots: AnyArray, base_rate: float, seed: int = 0) -> Metrics:
    """Judge risks against outcomes.

    Args:
        labels: ``(n,)`` outcomes, 0 or 1, at least one row.
        risks: ``(n,)`` probabilities.
        lots: ``(n,)`` lot of each row, the unit of resampling.
        base_rate: Share of failures known before these rows; the reference of the skill score.
        seed: Seed of the bootstrap.

    Returns:
        The metrics.

    Raises:
        ValueError: no rows.
    """
    if len(labels) == 0:
        raise ValueError("no rows to judge")
    ece, ece_low, ece_high = calibration_error(labels, risks, lots=lots, seed=seed)
    brier = float(np.mean((risks - labels) ** 2))
    base_brier = float(np.mean((base_rate - labels) ** 2))
    return Metrics(
        rows=len(labels),
        positives=int(labels.sum()),
        log_loss=float(log_losses(labels, risks).mean()),
        brier=brier,
        brier_skill=1.0 - brier / max(base_brier, _TINY),
        auc=auc(labels, risks),
        ece=ece,
        ece_low=ece_low,
        ece_high=ece_high,
        base_log_loss=float(log_losses(labels, np.full(len(labels), base_rate)).mean()),
        base_brier=base_brier,
    )


def slices(*, checkpoints: IntArray, methods: AnyArray) -> dict[str, BoolArray]:
    """Return the rows of each slice: ``all``, ``checkpoint=50`` and so on, ``method=ASSAY-01`` and so on."""
    marked: dict[str, BoolArray] = {"all": np.ones(len(checkpoints), dtype=np.bool_)}
    marked |= {f"checkpoint={int(value)}": checkpoints == value for value in np.unique(checkpoints)}
    marked |= {f"method={value}": methods == value for value in np.unique(methods)}
    return marked


def evaluate_slices(
    labels: FloatArray, risks: FloatArray, *, lots: AnyArray, base_rate: float, marked: Mapping[str, BoolArray], seed: int = 0
) -> dict[str, Metrics]:
    """Judge each slice (see ``slices``) by itself, in the order given."""
    return {
        name: evaluate(labels[rows], risks[rows], lots=lots[rows], base_rate=base_rate, seed=seed)
        for name, rows in marked.items()
        if rows.any()
    }


def attainable(true_risks: FloatArray) -> Bound:
    """Return what a model that knew every true risk would reach, in expectation over the outcomes.

    A proper score is least for the true risks (Gneiting & Raftery 2007), so no model can do better in expectation.
    What the true risks reach on the outcomes that came about is ``evaluate(labels, true_risks, ...)``.

    Args:
        true_risks: ``(n,)`` probabilities given all that could be known at the time.
    """
    risks = np.clip(true_risks, 0.0, 1.0)
    entropy = float((risks * log_losses(np.ones_like(risks), risks) + (1 - risks) * log_losses(np.zeros_like(risks), risks)).mean())
    values, codes = np.unique(risks, return_inverse=True)
    fails = np.bincount(codes, weights=risks, minlength=len(values))
    passes = np.bincount(codes, weights=1 - risks, minlength=len(values))
    own = float(np.sum(risks * (1 - risks)))  # a row is never compared with itself
    pairs = float(fails.sum() * passes.sum()) - own
    won = float(np.sum(fails * (np.cumsum(passes) - passes / 2.0))) - own / 2.0
    return Bound(log_loss=entropy, brier=float(np.mean(risks * (1 - risks))), auc=won / pairs if pairs > _TINY else float("nan"))


def paired_difference(
    first: FloatArray, second: FloatArray, *, lots: AnyArray, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> PairedDifference:
    """Compare two models by their row losses, resampling whole lots.

    Args:
        first: ``(n,)`` losses of the first model.
        second: ``(n,)`` losses of the second model on the same rows.
        lots: ``(n,)`` lot of each row.
        seed: Seed of the bootstrap.
        n_resamples: Number of resamples.

    Returns:
        Mean difference with its 90 % percentile interval.
    """
    distinct, codes = group_codes(lots)
    sums = np.bincount(codes, weights=first - second)
    sizes = np.bincount(codes).astype(np.float64)
    draws = _resampled_lots(len(distinct), n_resamples=n_resamples, seed=seed)
    low, high = np.quantile((draws @ sums) / (draws @ sizes), ((1 - INTERVAL) / 2, (1 + INTERVAL) / 2))
    return PairedDifference(mean=float((first - second).mean()), low=float(low), high=float(high), lots=len(distinct))
