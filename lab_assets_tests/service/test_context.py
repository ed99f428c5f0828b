"""The look-up of stored features gives what the point-in-time join gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lab_assets.contracts.registry import contract
from lab_assets.features.definitions import names_of
from lab_assets.features.join import point_in_time_join
from lab_assets.features.vector import assemble_online, to_map
from lab_assets.service.feature_context import KEYS, Context
from lab_assets.service.table_cache import Snapshot, empty_frame

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = st.integers(0, 400)
ROWS = st.lists(st.tuples(st.sampled_from("ab"), DAYS, DAYS, st.integers(0, 9)), max_size=12, unique_by=lambda row: row[:3])


def frame(table: str, rows) -> pl.DataFrame:
    promise = contract(f"features.{table}")
    keys = {name: None for name in ("instrument_id", "method_id", "injection_id", "lot_id", "sample_name") if name in promise.column_names}
    answered = [
        {**dict.fromkeys(keys, key), **({"method_id": "ASSAY-01"} if "method_id" in keys else {}),
         **({"injection_id": f"{key}{number}"} if "injection_id" in keys else {}),
         "event_time_utc": START + timedelta(days=event), "known_time_utc": START + timedelta(days=known), "feature_set_version": "f",
         **dict.fromkeys(names_of(table), float(number))}
        for number, (key, event, known, _) in enumerate(rows)
    ]  # fmt: skip
    empty = empty_frame(promise, promise.column_names)
    return pl.DataFrame(answered, schema=empty.schema) if answered else empty


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(instrument=ROWS, lot=ROWS, storage=ROWS, at=DAYS, own=st.integers(0, 14))
def test_equal_to_the_join_for_any_tables_and_moment(instrument, lot, storage, at, own):
    """Also when the run asked for is itself in the history: its own outcome never counts."""
    frames = {"instrument_history": frame("instrument_history", instrument), "lot_history": frame("lot_history", lot),
              "storage_exposure": frame("storage_exposure", storage)}  # fmt: skip
    as_of, injection_id = START + timedelta(days=at), f"a{own}"
    context = Context.build({table: Snapshot(frame=frames[table], version=0) for table in KEYS})
    around = context.around(injection_id=injection_id, instrument_id="a", method_id="ASSAY-01", lot_id="a", sample_name="b", at=as_of)
    online = assemble_online(None, around.instrument, around.lot, around.storage, checkpoint_pct=50, method_id="ASSAY-01")
    spine = pl.DataFrame([{
        "injection_id": injection_id, "checkpoint_pct": 50, "lot_id": "a", "method_id": "ASSAY-01", "instrument_id": "a",
        "sample_name": "b", "as_of_utc": as_of,
    }])  # fmt: skip
    promise = contract("features.injection_progress")
    joined = point_in_time_join(spine, progress=empty_frame(promise, promise.column_names), **frames)
    assert online == to_map(joined.row(0, named=True))
