from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.modeling.split import latest_lots, split_by_time_and_lot

ROWS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 12)), min_size=3, max_size=60).filter(
    lambda rows: len({lot for _, lot in rows}) >= 3
)


@given(rows=ROWS, train=st.floats(0.1, 0.8), calibrate=st.floats(0.05, 0.19))
def test_no_lot_is_in_two_parts_and_parts_follow_in_time(rows, train, calibrate):
    times, lots = np.array([t for t, _ in rows]), np.array([f"L{lot}" for _, lot in rows])
    parts = split_by_time_and_lot(times, lots, train_share=train, calibrate_share=calibrate)
    assert all(len(set(parts[lots == lot])) == 1 for lot in lots)
    ends = {part: [times[lots == lot].max() for lot in set(lots[parts == part])] for part in ("train", "calibrate", "test")}
    assert all(ends.values())
    assert max(ends["train"]) <= min(ends["calibrate"])
    assert max(ends["calibrate"]) <= min(ends["test"])


def test_shares_of_ten_equal_lots_by_hand():
    """Ten lots of two rows in order of time: six train, two calibrate, two test."""
    parts = split_by_time_and_lot(np.repeat(np.arange(10), 2), np.repeat([f"L{i}" for i in range(10)], 2))
    assert list(parts) == ["train"] * 12 + ["calibrate"] * 4 + ["test"] * 4


def test_a_lot_counts_by_its_last_row():
    """Lot A begins first and ends last, so it tests."""
    parts = split_by_time_and_lot(
        np.array(["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-09"], dtype="datetime64[D]"),
        ["A", "B", "C", "A"],
        train_share=0.3,
        calibrate_share=0.3,
    )
    assert list(parts) == ["test", "train", "calibrate", "test"]


@pytest.mark.parametrize(
    ("times", "lots", "shares", "answer"),
    [
        ([1, 2], ["A", "B"], (0.6, 0.2), "2 lots"),
        ([1, 2, 3], ["A", "B"], (0.6, 0.2), "equally long"),
        ([1, 2, 3], ["A", "B", "C"], (0.9, 0.1), "share for test"),
    ],
)
def test_what_cannot_be_divided_is_refused(times, lots, shares, answer):
    with pytest.raises(ValueError, match=answer):
        split_by_time_and_lot(times, lots, train_share=shares[0], calibrate_share=shares[1])


def test_latest_lots_by_hand():
    marked = latest_lots([1, 2, 3, 4, 5], ["A", "B", "C", "D", "D"], share=0.4)
    assert list(marked) == [False, False, False, True, True]
    assert not latest_lots([1, 2], ["A", "A"], share=0.5).any()
