"""The range of each feature in a model's training rows, and where far outside of it begins.

Trees answer any number: beyond the training rows they repeat the outermost leaf, as sure as ever. LightGBM writes the range of each
feature into the model's own text, so that the range is bound to the same digest as the trees.

Belongs here: reading and comparing ranges. Does not belong here: what a quantity can be at all (``lab_assets.features.definitions``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from lab_assets.modeling.arrays import FloatArray

WIDTHS: Final = 3.0
"""A value is far outside beyond this many widths of the range: column ageing and new lots move a little outside of it every day."""

_RANGE: Final = re.compile(r"\[([^:\[\]]+):([^:\[\]]+)\]")
_LONGEST_HEAD: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class TrainingRange:
    """Ranges in the model's column order.

    Attributes:
        names: Features.
        low: ``(p,)`` smallest training value, NaN where the feature did not vary in training.
        high: ``(p,)`` largest training value, NaN likewise.
    """

    names: tuple[str, ...]
    low: FloatArray
    high: FloatArray

    @staticmethod
    def from_model_text(text: str) -> TrainingRange:
        """Read the ranges from LightGBM's text format; a feature without one, or of categories, is not judged."""
        head = text[:_LONGEST_HEAD].partition("\nTree=0")[0]
        parts = [line.partition("=") for line in head.splitlines()]
        lines: dict[str, str] = {name: value for name, _, value in parts}
        names: tuple[str, ...] = tuple(lines.get("feature_names", "").split())
        ranges = [_RANGE.fullmatch(info) for info in lines.get("feature_infos", "").split()]
        found = [(np.nan, np.nan) if one is None else (float(one[1]), float(one[2])) for one in ranges]
        if len(found) != len(names):
            found = [(np.nan, np.nan)] * len(names)
        bounds = np.array(found, dtype=np.float64).reshape(len(names), 2)
        return TrainingRange(names=names, low=bounds[:, 0].copy(), high=bounds[:, 1].copy())

    @cached_property
    def limits(self) -> tuple[FloatArray, FloatArray]:
        """Values beyond which a feature lies far outside, two of ``(p,)``; NaN where it is not judged."""
        margin = WIDTHS * (self.high - self.low)
        return self.low - margin, self.high + margin
