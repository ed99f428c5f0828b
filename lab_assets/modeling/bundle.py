"""The served model: LightGBM text and a JSON of plain arrays, bound together by one digest. Never a pickle.

Belongs here: the two files, their digest, scoring. Does not belong here: the description's own form (``bundle_info.py``), fitting
(``experiment.py``), where bundles are kept (``lab_assets.registry``).
"""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from lab_assets.modeling.arrays import BoolArray, FloatArray, IntArray, TextArray
from lab_assets.modeling.bundle_info import INFO_FILE, BundleInfo, DigestMismatchError, UnsafeBundleError
from lab_assets.modeling.conformal import CANNOT_TELL, Verdict
from lab_assets.modeling.explanation import Driver, contributions, top_drivers, words_of

if TYPE_CHECKING:
    import lightgbm

MODEL_FILE: Final = "model.txt"
FILES: Final = (MODEL_FILE, INFO_FILE)
CHECKPOINT_FEATURE: Final = "checkpoint_pct"
MAX_FILE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a bundle says of ``n`` rows.

    Attributes:
        raw: ``(n,)`` log-odds before calibration.
        risk: ``(n,)`` calibrated probability of a failure.
        low: ``(n,)`` lower end of the Venn-Abers interval, never above ``risk``.
        high: ``(n,)`` upper end, never below ``risk``.
        verdict: ``(n,)`` ``likely_pass``, ``likely_fail`` or ``cannot_tell_yet``.
    """

    raw: FloatArray
    risk: FloatArray
    low: FloatArray
    high: FloatArray
    verdict: TextArray


@dataclass(frozen=True, kw_only=True)
class RowScore:
    """What a bundle says of one row; see ``Scores``."""

    raw: float
    risk: float
    low: float
    high: float
    verdict: Verdict


def bundle_digest(model: bytes, info: bytes) -> str:
    """Return the SHA-256 over both files, each preceded by its name and length, in hex."""
    digest = hashlib.sha256()
    for name, content in ((MODEL_FILE, model), (INFO_FILE, info)):
        digest.update(f"{name}\0{len(content)}\0".encode("ascii"))
        digest.update(content)
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """A model ready to score. Make it with ``create`` or ``load``; scoring is safe from several threads.

    Attributes:
        info: Everything but the trees.
        model_text: The trees in LightGBM's text format.
        digest: SHA-256 over both files.
        booster: The trees, loaded.
    """

    info: BundleInfo
    model_text: str
    digest: str
    booster: lightgbm.Booster = field(repr=False, compare=False)

    @staticmethod
    def create(info: BundleInfo, model_text: str) -> ModelBundle:
        """Bind trees and description.

        Raises:
            UnsafeBundleError: the text is not a LightGBM model with exactly these features.
        """
        return _assembled(model_text.encode("utf-8"), info.to_bytes())

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Model inputs in column order."""
        return self.info.feature_names

    def save(self, directory: Path) -> None:
        """Write the two files into a folder, made when absent.

        Raises:
            FileExistsError: the folder holds anything already.
        """
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise FileExistsError(f"{directory} is not empty")
        (directory / MODEL_FILE).write_bytes(self.model_text.encode("utf-8"))
        (directory / INFO_FILE).write_bytes(self.info.to_bytes())

    @staticmethod
    def load(directory: Path, expected_digest: str | None = None) -> ModelBundle:
        """Read a bundle; nothing is parsed before the digest is known to be right.

        Args:
            directory: Folder holding exactly ``model.txt`` and ``bundle.json``.
            expected_digest: Digest that was approved; ``None`` accepts any.

        Returns:
            The bundle.

        Raises:
            UnsafeBundleError: anything but those two regular files, or content that is not a bundle.
            DigestMismatchError: the bytes are not those that were approved.
        """
        model, info = _read_files(directory)
        digest = bundle_digest(model, info)
        if expected_digest is not None and digest != expected_digest:
            raise DigestMismatchError(f"bundle in {directory} has digest {digest}, approved is {expected_digest}")
        return _assembled(model, info)

    def prepared(self, matrix: FloatArray) -> tuple[FloatArray, IntArray]:
        """Return the matrix as the trees see it, ``(n, p)``, and the number of values put in place, ``(n,)``."""
        if matrix.ndim != 2 or matrix.shape[1] != len(self.feature_names):
            raise ValueError(f"matrix is {matrix.shape}, expected (n, {len(self.feature_names)})")
        absent = np.isnan(matrix) & self._fillable
        return np.ascontiguousarray(np.where(absent, self._fill, matrix)), absent.sum(axis=1).astype(np.int64)

    def score(self, matrix: FloatArray) -> Scores:
        """Score rows.

        No verdict is given (``cannot_tell_yet``) where a feature is missing that never was in training, or before the
        first calibrated checkpoint.

        Args:
            matrix: ``(n, p)`` float64 in the order of ``feature_names``; NaN where a feature is absent.

        Returns:
            The scores; each row's are the same to the last bit whether it is scored alone or with others.

        Raises:
            ValueError: the matrix has another number of columns.
        """
        inputs, filled = self.prepared(matrix)
        if not len(inputs):
            empty = np.empty(0, dtype=np.float64)
            return Scores(raw=empty, risk=empty, low=empty, high=empty, verdict=np.empty(0, dtype="<U15"))
        raw = np.asarray(self.booster.predict(inputs, raw_score=True, num_threads=1), dtype=np.float64)
        risk = self.info.calibration.apply(raw)
        low, high = np.empty_like(raw), np.empty_like(raw)
        verdict = np.full(raw.shape, CANNOT_TELL, dtype="<U15")
        keys, early = self._checkpoints(matrix)
        for key in np.unique(keys):
            rows = keys == key
            low[rows], high[rows] = self.info.intervals[int(key)].apply(raw[rows])
            verdict[rows] = self.info.thresholds[int(key)].verdicts(raw[rows])
        verdict[(filled > 0) | early] = CANNOT_TELL
        return Scores(raw=raw, risk=risk, low=np.minimum(low, risk), high=np.maximum(high, risk), verdict=verdict)

    def score_row(self, vector: FloatArray) -> RowScore:
        """Score one row, ``(p,)``, with little overhead; equal to the last bit to ``score`` of a matrix that holds it."""
        row = np.array(vector, dtype=np.float64).reshape(1, -1)
        if row.shape[1] != len(self.feature_names):
            raise ValueError(f"vector has {row.shape[1]} values, expected {len(self.feature_names)}")
        seen = float(row[0, self._checkpoint_column]) if self._checkpoint_column is not None else float(self._known[-1])
        absent = np.isnan(row) & self._fillable
        filled = bool(absent.any())
        if filled:
            row = np.where(absent, self._fill, row)
        raw = float(np.asarray(self.booster.predict(row, raw_score=True, num_threads=1))[0])
        risk = float(self.info.calibration.apply(raw))
        place = -1 if math.isnan(seen) else bisect_right(self._known, seen) - 1
        key = self._known[max(place, 0)]
        low, high = self.info.intervals[key].apply(raw)
        verdict = CANNOT_TELL if filled or place < 0 else self.info.thresholds[key].verdict(raw)
        return RowScore(raw=raw, risk=risk, low=min(float(low), risk), high=max(float(high), risk), verdict=verdict)

    def explain(self, vector: FloatArray, *, count: int = 5) -> list[Driver]:
        """Return the features that moved one row's raw score most, see ``explanation.top_drivers``."""
        return self.explain_rows(np.asarray(vector, dtype=np.float64).reshape(1, -1), count=count)[0]

    def explain_rows(self, matrix: FloatArray, *, count: int = 5) -> list[list[Driver]]:
        """Explain several rows in one call of LightGBM; each row's drivers are the same to the last bit as those of the row alone.

        Args:
            matrix: ``(n, p)`` float64 in the order of ``feature_names``; NaN where a feature is absent.
            count: Most drivers for a row.

        Returns:
            For each row the features that moved its raw score most, see ``explanation.top_drivers``.
        """
        inputs = self.prepared(matrix)[0]
        if not len(inputs):
            return []
        meanings = words_of(self.info.feature_set_version, self.feature_names)
        return [
            top_drivers(row, shap, names=self.feature_names, count=count, meanings=meanings)
            for row, shap in zip(matrix, contributions(self.booster, inputs), strict=True)
        ]

    @cached_property
    def _fill(self) -> FloatArray:
        return np.array([np.nan if value is None else value for value in self.info.fill], dtype=np.float64)

    @cached_property
    def _fillable(self) -> BoolArray:
        return ~np.isnan(self._fill)

    @cached_property
    def _known(self) -> list[int]:
        return sorted(self.info.intervals)

    @cached_property
    def _checkpoint_column(self) -> int | None:
        return self.feature_names.index(CHECKPOINT_FEATURE) if CHECKPOINT_FEATURE in self.feature_names else None

    def _checkpoints(self, matrix: FloatArray) -> tuple[IntArray, BoolArray]:
        """Return the calibrated checkpoint that applies to each row, and whether the row is before the first."""
        known = np.array(self._known, dtype=np.int64)
        if self._checkpoint_column is None:
            return np.full(len(matrix), known[-1]), np.zeros(len(matrix), dtype=np.bool_)
        seen = matrix[:, self._checkpoint_column]
        place = np.where(np.isnan(seen), -1, np.searchsorted(known, seen, side="right") - 1)
        return known[np.maximum(place, 0)], place < 0


def _read_files(directory: Path) -> tuple[bytes, bytes]:
    if not directory.is_dir():
        raise UnsafeBundleError(f"{directory} is not a folder")
    found = sorted(path.name for path in directory.iterdir())
    if found != sorted(FILES):
        raise UnsafeBundleError(f"{directory} holds {found}, expected exactly {sorted(FILES)}")
    for name in FILES:
        path = directory / name
        if path.is_symlink() or not path.is_file():
            raise UnsafeBundleError(f"{path} is not a regular file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UnsafeBundleError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    return (directory / MODEL_FILE).read_bytes(), (directory / INFO_FILE).read_bytes()


def _assembled(model: bytes, info_bytes: bytes) -> ModelBundle:
    import lightgbm as lgb

    if not re.match(rb"tree\r?\nversion=v\d+\r?\n", model):
        raise UnsafeBundleError(f"{MODEL_FILE} is not LightGBM's text format")
    info = BundleInfo.from_bytes(info_bytes)
    try:
        text = model.decode("utf-8")
        booster = lgb.Booster(model_str=text)
    except (UnicodeDecodeError, lgb.basic.LightGBMError) as error:
        raise UnsafeBundleError(f"{MODEL_FILE} is not LightGBM's text format: {error}") from error
    if tuple(booster.feature_name()) != info.feature_names:
        raise UnsafeBundleError("the features of the trees are not those of the description")
    return ModelBundle(info=info, model_text=text, digest=bundle_digest(model, info_bytes), booster=booster)
