# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
"""Whether recent inputs and predictions still look like those the model was made from.

Belongs here: distances, their limits, the rule for persistence. Does not belong here: alerts, schedules, tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lab_assets.modeling.arrays import AnyArray, BoolArray, FloatArray, IntArray, group_codes

N_BINS: Final = 10
_PSEUDO_COUNT: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class DriftRule:
    """When a subject has drifted.

    Attributes:
        false_discovery_rate: Rate held over all Kolmogorov-Smirnov tests of one check (Benjamini & Hochberg 1995).
        psi_floor: Population stability index below which a shift is of no practical account, however certain: 0.02 is
            a shift of the mean by about 0.14 standard deviations.
        n_resamples: Reference windows resampled for the limit.
        min_rows: With fewer recent rows nothing is called drift.
    """

    false_discovery_rate: float = 0.01
    psi_floor: float = 0.02
    n_resamples: int = 100
    min_rows: int = 50


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """Distance of one subject; fields as in ``ml.drift``.

    Attributes:
        subject: Feature name, or ``prediction:risk``.
        psi: Population stability index over reference quantiles and a bin for missing values.
        ks: Kolmogorov-Smirnov distance of the known values; NaN when one side has none.
        ks_p_value: Its asymptotic p-value, not adjusted; NaN likewise.
        psi_limit: Limit of the index for windows of this size.
        missing_share: Share of missing values now.
        missing_share_reference: Share of missing values in the reference.
        drifted: Beyond the limits, see ``check_drift``.
        rows: Recent rows.
        reference_rows: Reference rows.
    """

    subject: str
    psi: float
    ks: float
    ks_p_value: float
    psi_limit: float
    missing_share: float
    missing_share_reference: float
    drifted: bool
    rows: int
    reference_rows: int


def _known(values: FloatArray) -> FloatArray:
    """Return the values that are not missing, sorted."""
    return np.sort(values[~np.isnan(values)])


def reference_edges(known: FloatArray) -> FloatArray:
    """Return inner bin edges from sorted, known reference values; strictly increasing.

    Up to ten distinct values get a bin each (and bins between them); else the deciles are the edges.
    """
    if not len(known):
        return known
    distinct = known[np.concatenate(([True], known[1:] != known[:-1]))]
    if len(distinct) <= N_BINS:
        return np.unique(np.concatenate((distinct, np.nextafter(distinct, np.inf))))
    places = np.arange(1, N_BINS) * len(known) // N_BINS
    return np.unique(known[places])


def bin_counts(known: FloatArray, edges: FloatArray, *, rows: int) -> FloatArray:
    """Return the number of rows in each bin, ``(len(edges) + 2,)``.

    Args:
        known: Sorted values that are not missing.
        edges: Inner edges; a value equal to an edge belongs to the bin above it.
        rows: All rows; those beyond ``known`` are missing and fill the last bin.
    """
    bounds = np.concatenate(([0], np.searchsorted(known, edges, side="left"), [len(known), rows]))
    return np.diff(bounds).astype(np.float64)


def _shares(counts: FloatArray) -> FloatArray:
    """Return smoothed shares over the last axis; half a count is added to each bin so that none is empty."""
    return (counts + _PSEUDO_COUNT) / (counts.sum(axis=-1, keepdims=True) + _PSEUDO_COUNT * counts.shape[-1])


def psi(reference_counts: FloatArray, counts: FloatArray) -> FloatArray:
    """Return the population stability index ``sum (q - p) ln(q / p)`` over the last axis.

    Source: Siddiqi (2006), Credit Risk Scorecards; the symmetric Kullback-Leibler divergence of Jeffreys.

    Args:
        reference_counts: ``(b,)`` rows by bin in the reference.
        counts: ``(..., b)`` rows by bin now.
    """
    expected, actual = _shares(reference_counts), _shares(counts)
    return np.asarray(((actual - expected) * np.log(actual / expected)).sum(axis=-1), dtype=np.float64)


def benjamini_hochberg(p_values: FloatArray, *, rate: float) -> BoolArray:
    """Return which hypotheses are rejected at a false discovery rate, ``(m,)``; NaN is never rejected.

    Source: Benjamini & Hochberg (1995): the largest k with ``p_(k) <= k rate / m`` and all before it.
    """
    known = np.flatnonzero(~np.isnan(p_values))
    rejected = np.zeros(len(p_values), dtype=np.bool_)
    order = known[np.argsort(p_values[known], kind="stable")]
    below = np.flatnonzero(p_values[order] <= rate * np.arange(1, len(order) + 1) / max(len(order), 1))
    if len(below):
        rejected[order[: below[-1] + 1]] = True
    return rejected


def ks_distance(first: FloatArray, second: FloatArray) -> float:
    """Return the two-sample Kolmogorov-Smirnov distance of sorted values; NaN when one side is empty."""
    if not len(first) or not len(second):
        return float("nan")
    both = np.concatenate((first, second))
    both.sort(kind="stable")
    shares = np.searchsorted(first, both, side="right") / len(first) - np.searchsorted(second, both, side="right") / len(second)
    return float(np.abs(shares).max())


def ks_p_values(distances: FloatArray, *, sizes: FloatArray) -> FloatArray:
    """Return asymptotic two-sided p-values of Kolmogorov-Smirnov distances, as ``scipy.stats.ks_2samp`` does.

    Args:
        distances: ``(m,)`` distances; NaN stays NaN.
        sizes: ``(m,)`` effective sample sizes ``n1 n2 / (n1 + n2)``.
    """
    from scipy.stats import kstwo

    known = ~np.isnan(distances)
    p_values = np.full(distances.shape, np.nan)
    p_values[known] = np.clip(kstwo.sf(distances[known], np.maximum(np.round(sizes[known]), 1)), 0.0, 1.0)
    return p_values


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """One column before judgement."""

    edges: FloatArray
    expected: FloatArray
    actual: FloatArray
    ks: float
    ks_size: float


def _measure(reference: FloatArray, recent: FloatArray) -> _Measured:
    known, known_recent = _known(reference), _known(recent)
    edges = reference_edges(known)
    return _Measured(
        edges=edges,
        expected=bin_counts(known, edges, rows=len(reference)),
        actual=bin_counts(known_recent, edges, rows=len(recent)),
        ks=ks_distance(known, known_recent),
        ks_size=len(known) * len(known_recent) / max(len(known) + len(known_recent), 1),
    )


def _counts_by_lot(reference: FloatArray, measured: Sequence[_Measured], lots: IntArray, n_lots: int) -> FloatArray:
    """Return reference rows by lot and bin, the bins of all columns side by side, ``(n_lots, all bins)``."""
    blocks: list[FloatArray] = []
    for column, each in zip(reference.T, measured, strict=True):
        n_bins = len(each.expected)
        codes = np.searchsorted(each.edges, column, side="right")
        codes[np.isnan(column)] = n_bins - 1
        blocks.append(np.bincount(lots * n_bins + codes, minlength=n_lots * n_bins).reshape(n_lots, n_bins).astype(np.float64))
    return np.concatenate(blocks, axis=1)


def _resampled(
    reference: FloatArray, measured: Sequence[_Measured], rows: int, *, lots: tuple[AnyArray, AnyArray] | None, n_resamples: int, seed: int
) -> list[FloatArray]:
    """Return bin counts of reference windows of the recent size, ``(n_resamples, bins)`` for each column."""
    generator = np.random.default_rng(seed)
    if lots is None:
        return [generator.multinomial(rows, each.expected / each.expected.sum(), size=n_resamples).astype(np.float64) for each in measured]
    distinct, codes = group_codes(lots[0])
    chances = np.full(len(distinct), 1.0 / len(distinct))
    draws = generator.multinomial(len(np.unique(lots[1])), chances, size=n_resamples).astype(np.float64)
    counts = draws @ _counts_by_lot(reference, measured, codes, len(distinct))
    return np.split(counts, np.cumsum([len(each.expected) for each in measured])[:-1], axis=1)


def _missing_moved(share: float, reference_share: float, rows: int) -> bool:
    """Return whether the share of missing values moved by more than three binomial standard deviations and 2 %."""
    spread = float(np.sqrt(max(reference_share * (1 - reference_share), 1.0 / rows) / rows))
    return abs(share - reference_share) > max(3.0 * spread, 0.02)


def check_drift(
    reference: FloatArray,
    recent: FloatArray,
    *,
    names: Sequence[str],
    seed: int = 0,
    rule: DriftRule | None = None,
    reference_lots: AnyArray | None = None,
    recent_lots: AnyArray | None = None,
) -> list[FeatureDrift]:
    """Compare recent rows with the reference, column by column.

    A column has drifted when its population stability index exceeds the limit, and either the Kolmogorov-Smirnov
    test rejects at the false discovery rate over all columns, or the share of missing values itself moved. The limit
    is the mean plus three standard deviations of the index over reference windows of the same size (the way of
    NannyML), never below ``rule.psi_floor``. Rows of one lot resemble each other, so where lots are given whole lots
    are resampled, as many as the recent rows have; without them false alarms are frequent.

    Args:
        reference: ``(n, p)`` rows the model did not train on, NaN where missing.
        recent: ``(m, p)`` recent rows.
        names: ``p`` subjects in column order.
        seed: Seed of the resampling.
        rule: Limits; defaults when omitted.
        reference_lots: ``(n,)`` lot of each reference row.
        recent_lots: ``(m,)`` lot of each recent row.

    Returns:
        One entry a column, in order; an empty list when either side has no rows.

    Raises:
        ValueError: shapes that do not fit together.
    """
    if reference.shape[1] != len(names) or recent.shape[1] != len(names):
        raise ValueError(f"{len(names)} names for reference {reference.shape} and recent {recent.shape}")
    if not len(reference) or not len(recent):
        return []
    limits = rule or DriftRule()
    lots = None if reference_lots is None or recent_lots is None else (reference_lots, recent_lots)
    measured = [_measure(reference[:, j], recent[:, j]) for j in range(len(names))]
    windows = _resampled(reference, measured, len(recent), lots=lots, n_resamples=limits.n_resamples, seed=seed)
    p_values = ks_p_values(np.array([each.ks for each in measured]), sizes=np.array([each.ks_size for each in measured]))
    rejected = benjamini_hochberg(p_values, rate=limits.false_discovery_rate)
    return [
        _judged(name, each, psi(each.expected, window), p_value=float(p_value), unlikely=bool(unlikely), rule=limits)
        for name, each, window, p_value, unlikely in zip(names, measured, windows, p_values, rejected, strict=True)
    ]


def _judged(name: str, measured: _Measured, usual: FloatArray, *, p_value: float, unlikely: bool, rule: DriftRule) -> FeatureDrift:
    """Hold one column against its limits; ``usual`` is the index of resampled reference windows."""
    rows, reference_rows = int(measured.actual.sum()), int(measured.expected.sum())
    missing, missing_reference = float(measured.actual[-1]) / rows, float(measured.expected[-1]) / reference_rows
    index = float(psi(measured.expected, measured.actual))
    limit = max(float(usual.mean() + 3.0 * usual.std()), rule.psi_floor)
    moved = unlikely or _missing_moved(missing, missing_reference, rows)
    return FeatureDrift(
        subject=name,
        psi=index,
        ks=measured.ks,
        ks_p_value=p_value,
        psi_limit=limit,
        missing_share=missing,
        missing_share_reference=missing_reference,
        drifted=rows >= rule.min_rows and index > limit and moved,
        rows=rows,
        reference_rows=reference_rows,
    )


def persistent(history: Sequence[bool], *, k: int = 2, n: int = 3) -> bool:
    """Return whether drift persists: in the newest window and in at least ``k`` of the last ``n``.

    Args:
        history: Whether each window drifted, oldest first.
        k: Windows that must have drifted.
        n: Windows looked at.

    Raises:
        ValueError: ``k`` or ``n`` out of range.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} of n = {n}: 1 <= k <= n needed")
    last = list(history)[-n:]
    return bool(last) and last[-1] and sum(last) >= k
