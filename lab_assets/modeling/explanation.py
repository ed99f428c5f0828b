"""Why a score is what it is: exact SHAP values and their words.

Belongs here: contributions of one row's features. Does not belong here: decisions, storage, masking.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lab_assets.features.definitions import FEATURES
from lab_assets.features.inputs import described
from lab_assets.modeling.arrays import FloatArray

if TYPE_CHECKING:
    import lightgbm


@dataclass(frozen=True, kw_only=True)
class Driver:
    """One feature's part in one score.

    Attributes:
        rank: 1 for the strongest.
        feature: Feature name.
        value: Its value; NaN when missing.
        contribution: Exact SHAP value in log-odds of the uncalibrated score; positive raises the risk.
        words: The same for people.
    """

    rank: int
    feature: str
    value: float
    contribution: float
    words: str


def contributions(booster: lightgbm.Booster, matrix: FloatArray) -> FloatArray:
    """Return exact SHAP values, ``(n, p + 1)``, log-odds of the uncalibrated score; the last column is the base value.

    Tree-path-dependent TreeSHAP (Lundberg et al. 2020) as built into LightGBM; each row sums to its raw score.
    """
    return np.asarray(booster.predict(matrix, pred_contrib=True, num_threads=1), dtype=np.float64)


def feature_words() -> dict[str, tuple[str, str | None]]:
    """Return meaning and unit of every feature of today, by name."""
    return {feature.name: (feature.meaning, feature.unit) for feature in FEATURES}


def words_of(feature_set_version: str, names: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Return meaning and unit of a model's inputs, by name, as its feature set states them."""
    return {name: (feature.meaning, feature.unit) for name, feature in described(feature_set_version, names).items()}


def _words(name: str, value: float, contribution: float, meanings: Mapping[str, tuple[str, str | None]]) -> str:
    meaning, unit = meanings.get(name, (name.replace("_", " "), None))
    direction = "raises" if contribution > 0 else "lowers"
    odds = math.exp(min(abs(contribution), 50.0))
    shown = "not known" if math.isnan(value) else f"{value:.4g}{f' {unit}' if unit and unit != '1' else ''}"
    return f"{meaning}: {shown}; {direction} the odds of a failure by a factor of {odds:.2f}"


def top_drivers(
    values: FloatArray,
    shap: FloatArray,
    *,
    names: Sequence[str],
    count: int = 5,
    meanings: Mapping[str, tuple[str, str | None]] | None = None,
) -> list[Driver]:
    """Return the features that moved one score most, strongest first.

    Args:
        values: ``(p,)`` feature values, NaN where missing.
        shap: ``(p,)`` or ``(p + 1,)`` contributions of the row; a base value at the end is ignored.
        names: Feature names in column order.
        count: Most drivers returned; features without any contribution are left out.
        meanings: Meaning and unit by feature; those of ``lab_assets.features`` when omitted.

    Returns:
        Drivers by falling absolute contribution, ties in column order.
    """
    known = feature_words() if meanings is None else meanings
    parts = shap[: len(names)]
    order = [int(i) for i in np.argsort(-np.abs(parts), kind="stable")[:count] if parts[i] != 0]
    return [
        Driver(
            rank=rank,
            feature=names[i],
            value=float(values[i]),
            contribution=float(parts[i]),
            words=_words(names[i], float(values[i]), float(parts[i]), known),
        )
        for rank, i in enumerate(order, start=1)
    ]
