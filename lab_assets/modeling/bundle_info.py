"""What a served model says of itself: all of a bundle but the trees, as a canonical JSON of plain arrays.

Belongs here: the description, its two directions, and the errors of bundles. Does not belong here: the trees, scoring, folders
(``bundle.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lab_assets.modeling.arrays import FloatArray
from lab_assets.modeling.calibration import Calibration, Intervals
from lab_assets.modeling.conformal import LabelThresholds

INFO_FILE: Final = "bundle.json"
FORMAT: Final = "lab-assets-bundle/1"


class BundleError(Exception):
    """A bundle that must not be served; the message says why."""


class DigestMismatchError(BundleError):
    """The bytes are not those that were expected."""


class UnsafeBundleError(BundleError):
    """The folder or a file is not what a bundle consists of."""


@dataclass(frozen=True, kw_only=True)
class BundleInfo:
    """All of a bundle but the trees.

    Attributes:
        model_name: Registered model, such as ``oos_risk``.
        feature_names: Model inputs in column order.
        feature_set_version: Version of the feature definitions the model was made with.
        training_set_id: Frozen training set.
        base_rate: Share of failures in training.
        base_value: SHAP base value, log-odds.
        calibration: Raw score to probability.
        intervals: Venn-Abers intervals by checkpoint (% of the run).
        thresholds: Conformal thresholds by checkpoint; the same checkpoints.
        alpha: Accepted share of conformal misses.
        fill: For each feature the training median when it was never missing in training, else ``None``. LightGBM
            takes a missing value of such a feature for zero; the bundle takes the median and gives no verdict.
        metrics: Summary of the test, by name.
    """

    model_name: str
    feature_names: tuple[str, ...]
    feature_set_version: str
    training_set_id: str
    base_rate: float
    base_value: float
    calibration: Calibration
    intervals: Mapping[int, Intervals]
    thresholds: Mapping[int, LabelThresholds]
    alpha: float
    fill: tuple[float | None, ...]
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])

    def to_bytes(self) -> bytes:
        """Return the canonical JSON: sorted keys, no spaces, shortest exact numbers, ASCII."""
        document = {
            "format": FORMAT,
            "model_name": self.model_name,
            "feature_names": list(self.feature_names),
            "feature_set_version": self.feature_set_version,
            "training_set_id": self.training_set_id,
            "base_rate": self.base_rate,
            "base_value": self.base_value,
            "calibration": {
                "method": self.calibration.method,
                "scores": self.calibration.scores.tolist(),
                "risks": self.calibration.risks.tolist(),
            },
            "intervals": {
                str(key): {"scores": each.scores.tolist(), "low": each.low.tolist(), "high": each.high.tolist()}
                for key, each in self.intervals.items()
            },
            "thresholds": {
                str(key): {"pass_at_most": each.pass_at_most, "fail_at_least": each.fail_at_least} for key, each in self.thresholds.items()
            },
            "alpha": self.alpha,
            "fill": list(self.fill),
            "metrics": dict(self.metrics),
        }
        return (json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n").encode("ascii")

    @staticmethod
    def from_bytes(content: bytes) -> BundleInfo:
        """Read the JSON back.

        Raises:
            UnsafeBundleError: not this format, or not consistent.
        """
        try:
            document: dict[str, Any] = json.loads(content)
            if document["format"] != FORMAT:
                raise UnsafeBundleError(f"{INFO_FILE} is {document['format']!r}, expected {FORMAT!r}")
            info = BundleInfo(
                model_name=str(document["model_name"]),
                feature_names=tuple(str(name) for name in document["feature_names"]),
                feature_set_version=str(document["feature_set_version"]),
                training_set_id=str(document["training_set_id"]),
                base_rate=float(document["base_rate"]),
                base_value=float(document["base_value"]),
                calibration=_calibration(document["calibration"]),
                intervals={int(key): _intervals(value) for key, value in document["intervals"].items()},
                thresholds={int(key): LabelThresholds(**value) for key, value in document["thresholds"].items()},
                alpha=float(document["alpha"]),
                fill=tuple(None if value is None else float(value) for value in document["fill"]),
                metrics={str(key): float(value) for key, value in document["metrics"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnsafeBundleError(f"{INFO_FILE} is not a bundle description: {error!r}") from error
        if len(info.fill) != len(info.feature_names) or not info.intervals or set(info.intervals) != set(info.thresholds):
            raise UnsafeBundleError(f"{INFO_FILE} is not consistent: fill, intervals and thresholds do not match")
        return info


def _increasing(values: Any) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all() or (np.diff(array) <= 0).any():
        raise ValueError("scores must be finite and strictly increasing")
    return array


def _probabilities(values: Any, length: int) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (length,) or not ((array >= 0) & (array <= 1)).all() or (np.diff(array) < 0).any():
        raise ValueError("probabilities must be within 0 and 1 and not decrease")
    return array


def _calibration(document: Mapping[str, Any]) -> Calibration:
    method = document["method"]
    if method not in {"platt", "isotonic"}:
        raise ValueError(f"unknown calibration {method!r}")
    scores = _increasing(document["scores"])
    return Calibration(method=method, scores=scores, risks=_probabilities(document["risks"], len(scores)))


def _intervals(document: Mapping[str, Any]) -> Intervals:
    scores = _increasing(document["scores"])
    return Intervals(scores=scores, low=_probabilities(document["low"], len(scores)), high=_probabilities(document["high"], len(scores)))
