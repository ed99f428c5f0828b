"""Which rows train, which calibrate, which test: later in time, and no lot in two parts.

Belongs here: division of rows. Does not belong here: training, reading training sets.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from lab_assets.modeling.arrays import AnyArray, BoolArray, IntArray, TextArray, group_codes

Part = Literal["train", "calibrate", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "calibrate", "test")


def _lots_in_time_order(times: AnyArray, codes: IntArray, n_lots: int) -> IntArray:
    """Return lot codes ordered by each lot's last time, ties by code."""
    order = np.argsort(times, kind="stable")
    last = np.zeros(n_lots, dtype=np.int64)
    last[codes[order]] = np.arange(len(order), dtype=np.int64)  # the latest row of a lot wins
    last_times = times[order][last]
    return np.lexsort((np.arange(n_lots), last_times)).astype(np.int64)


def split_by_time_and_lot(times: ArrayLike, lots: ArrayLike, *, train_share: float = 0.6, calibrate_share: float = 0.2) -> TextArray:
    """Divide rows into train, calibrate and test by the time at which their lot was finished.

    Lots are ordered by their last row and cut by the share of rows, so that at any cut the earlier part holds exactly
    the lots that were finished by then: what a retraining at that moment could have used. Of two parts the later one
    therefore never ends a lot before the earlier one does, and no lot is in two parts.

    Args:
        times: Time of each row, ``(n,)``; numbers or ``datetime64``.
        lots: Lot of each row, ``(n,)``.
        train_share: Share of rows wanted for training, above 0.
        calibrate_share: Share of rows wanted for calibration, above 0; the rest, above 0, tests.

    Returns:
        ``'train'``, ``'calibrate'`` or ``'test'`` for each row, ``(n,)``. Shares are met as nearly as whole lots
        allow; each part holds at least one lot.

    Raises:
        ValueError: shares out of range, unequal lengths or fewer than three lots.
    """
    if not (train_share > 0 and calibrate_share > 0 and train_share + calibrate_share < 1):
        raise ValueError("train_share and calibrate_share must be above 0 and leave a share for test")
    time_array, lot_array = np.asarray(times), np.asarray(lots)
    if time_array.shape != lot_array.shape or time_array.ndim != 1:
        raise ValueError(f"times {time_array.shape} and lots {lot_array.shape} must be two equally long vectors")
    distinct, codes = group_codes(lot_array)
    n_lots = len(distinct)
    if n_lots < len(PARTS):
        raise ValueError(f"{n_lots} lots cannot be divided into three parts")
    order = _lots_in_time_order(time_array, codes, n_lots)
    cumulated = np.cumsum(np.bincount(codes, minlength=n_lots)[order]) / len(codes)
    first_cut = min(max(int(np.argmin(np.abs(cumulated - train_share))) + 1, 1), n_lots - 2)
    second_cut = int(np.argmin(np.abs(cumulated - train_share - calibrate_share))) + 1
    second_cut = min(max(second_cut, first_cut + 1), n_lots - 1)
    part_of_lot = np.empty(n_lots, dtype="<U9")
    part_of_lot[order[:first_cut]] = "train"
    part_of_lot[order[first_cut:second_cut]] = "calibrate"
    part_of_lot[order[second_cut:]] = "test"
    return part_of_lot[codes]


def latest_lots(times: ArrayLike, lots: ArrayLike, *, share: float) -> BoolArray:
    """Mark the rows of the latest finished lots that together hold at least ``share`` of the rows.

    Args:
        times: Time of each row, ``(n,)``.
        lots: Lot of each row, ``(n,)``.
        share: Share of rows wanted, between 0 and 1.

    Returns:
        True for marked rows, ``(n,)``; all false when there is a single lot, for it cannot be divided.
    """
    time_array = np.asarray(times)
    distinct, codes = group_codes(np.asarray(lots))
    if len(distinct) < 2:
        return np.zeros(len(codes), dtype=np.bool_)
    order = _lots_in_time_order(time_array, codes, len(distinct))[::-1]
    cumulated = np.cumsum(np.bincount(codes, minlength=len(distinct))[order])
    count = min(int(np.searchsorted(cumulated, share * len(codes))) + 1, len(distinct) - 1)
    return np.isin(codes, order[:count])
