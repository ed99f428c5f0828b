"""The look-up of stored features gives what the point-in-time join gives, from memory and from the tables alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from lab_assets.contracts.all_contracts import contract
from lab_assets.features.definitions import FEATURE_SET_VERSION, names_of
from lab_assets.features.join import point_in_time_join
from lab_assets.features.vector import assemble_online, to_map
from lab_assets.service.feature_context import surroundings
from lab_assets.service.keyed_frame import KeyedFrame
from lab_assets.service.run_rows import CachedRows
from lab_assets.service.table_cache import Snapshot, empty_frame

START = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = ("instrument_history", "lot_history", "storage_exposure")
DAYS = st.integers(0, 400)
ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 8), DAYS, st.sampled_from((FEATURE_SET_VERSION, "fs1-other"))),
    max_size=14,
    unique_by=lambda row: row,
)
"""Key, run (an event each 40 days), known time in days, feature set: several known times of one event stand beside each other."""


def frame(table: str, rows) -> pl.DataFrame:
    promise = contract(f"features.{table}")
    keys = {name: None for name in ("instrument_id", "method_id", "injection_id", "lot_id", "sample_name") if name in promise.column_names}
    made = [
        {**dict.fromkeys(keys, key), **({"method_id": "ASSAY-01"} if "method_id" in keys else {}),
         **({"injection_id": f"{key}{run}"} if "injection_id" in keys else {}),
         "event_time_utc": START + timedelta(days=40 * run), "known_time_utc": START + timedelta(days=known), "feature_set_version": of_set,
         **dict.fromkeys(names_of(table), float(number))}
        for number, (key, run, known, of_set) in enumerate(rows)
    ]  # fmt: skip
    empty = empty_frame(promise, promise.column_names)
    return pl.DataFrame(made, schema=empty.schema) if made else empty


NOW_SET = FEATURE_SET_VERSION


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@example(instrument=[("a", 2, 81, NOW_SET)], lot=[("a", 1, 41, NOW_SET), ("a", 3, 121, NOW_SET)], storage=[], at=200, own=2)
@example(instrument=[("a", 6, 241, NOW_SET), ("a", 2, 81, NOW_SET)], lot=[], storage=[], at=400, own=6)
@given(instrument=ROWS, lot=ROWS, storage=ROWS, at=DAYS, own=st.integers(0, 8))
def test_equal_to_the_join_for_any_tables_and_moment(instrument, lot, storage, at, own):
    """Also when the run asked for is itself in the history, known at several times: its own outcome never counts."""
    frames = {name: frame(name, rows) for name, rows in zip(TABLES, (instrument, lot, storage), strict=True)}
    as_of, injection_id = START + timedelta(days=at), f"a{own}"
    read = CachedRows({f"features.{name}": Snapshot(rows=KeyedFrame.of(rows), version=0) for name, rows in frames.items()})
    around = surroundings(read, injection_id=injection_id, instrument_id="a", method_id="ASSAY-01", lot_id="a", sample_name="b", at=as_of)
    online = assemble_online(None, around.instrument, around.lot, around.storage, checkpoint_pct=50, method_id="ASSAY-01")
    spine = pl.DataFrame([{
        "injection_id": injection_id, "checkpoint_pct": 50, "lot_id": "a", "method_id": "ASSAY-01", "instrument_id": "a",
        "sample_name": "b", "as_of_utc": as_of,
    }])  # fmt: skip
    promise = contract("features.injection_progress")
    combined = point_in_time_join(spine, progress=empty_frame(promise, promise.column_names), **frames)
    assert online == to_map(combined.row(0, named=True))


def test_a_fact_learned_later_counts_from_then_on_and_other_feature_sets_never():
    """The lot's event of day 40 is known on day 50 and corrected on day 90; another feature set says 7 of it."""
    rows = [("a", 1, 50, FEATURE_SET_VERSION), ("a", 1, 90, FEATURE_SET_VERSION), ("a", 1, 45, "fs1-other")]
    frames = {name: frame(name, rows if name == "lot_history" else []) for name in TABLES}
    read = CachedRows({f"features.{name}": Snapshot(rows=KeyedFrame.of(held), version=0) for name, held in frames.items()})

    def lot_at(day: int) -> float | None:
        who = {"injection_id": "x", "instrument_id": None, "method_id": None, "lot_id": "a", "sample_name": None}
        row = surroundings(read, **who, at=START + timedelta(days=day)).lot
        return None if row is None else row["lot_min_margin"]

    assert [lot_at(day) for day in (47, 50, 89, 90)] == [None, 0.0, 0.0, 1.0]
