"""The point-in-time join against a brute force, and parity of batch and online rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.features.definitions import FEATURE_NAMES, FEATURE_SET_VERSION, names_of
from lab_assets.features.inputs import ModelInputs
from lab_assets.features.join import SPINE, point_in_time_join
from lab_assets.features.vector import assemble_online, from_map, to_map, to_matrix

T0 = datetime(2025, 1, 1, tzinfo=UTC)
UTC_US = pl.Datetime("us", "UTC")
KEYS = {
    "progress": ("injection_progress", ("injection_id", "checkpoint_pct")),
    "instrument_history": ("instrument_history", ("injection_id", "instrument_id", "method_id")),
    "lot_history": ("lot_history", ("lot_id",)),
    "storage_exposure": ("storage_exposure", ("sample_name",)),
}
MATCH = {"instrument_history": ("instrument_id", "method_id"), "lot_history": ("lot_id",), "storage_exposure": ("sample_name",)}
LOOKBACK = timedelta(days=20)


def hour(value: float) -> datetime:
    return T0 + timedelta(hours=value)


def table(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    features, keys = KEYS[name]
    schema: dict[str, Any] = {key: pl.Int64 if key == "checkpoint_pct" else pl.String for key in keys}
    schema |= {"event_time_utc": UTC_US, "known_time_utc": UTC_US, "feature_set_version": pl.String}
    schema |= dict.fromkeys(names_of(features), pl.Float64)
    return pl.DataFrame([{"feature_set_version": FEATURE_SET_VERSION, **row} for row in rows], schema=schema)


def spine(rows: list[dict[str, Any]]) -> pl.DataFrame:
    base = {
        "injection_id": "i1",
        "checkpoint_pct": 50,
        "lot_id": "L1",
        "method_id": "ASSAY-01",
        "instrument_id": "LC1",
        "sample_name": "S1",
    }
    schema: dict[str, Any] = dict.fromkeys(SPINE, pl.String) | {"checkpoint_pct": pl.Int64, "as_of_utc": UTC_US}
    return pl.DataFrame([base | row for row in rows], schema=schema)


def combined(spine_frame: pl.DataFrame, *, lookback_days: Any = 20.0, **tables: list[dict[str, Any]]) -> pl.DataFrame:
    frames = {name: table(name, tables.get(name, [])) for name in KEYS}
    return point_in_time_join(spine_frame, lookback_days=lookback_days, **frames)


def brute_force(name: str, row: dict[str, Any], rows: list[dict[str, Any]], as_of: datetime) -> dict[str, Any] | None:
    """The row known last of the key with both times at or before as-of; the definition, spelled out."""
    found = [
        other
        for other in rows
        if all(other[key] == row[key] for key in MATCH[name])
        and other["event_time_utc"] <= as_of
        and other["known_time_utc"] <= as_of
        and (name != "instrument_history" or other["event_time_utc"] >= as_of - LOOKBACK)
    ]
    return max(found, key=lambda other: (other["known_time_utc"], other["event_time_utc"]), default=None)


def own_limit(row: dict[str, Any], rows: list[dict[str, Any]]) -> datetime:
    """As-of, or just before the run where its own row was known by then."""
    own = [other for other in rows if other["injection_id"] == row["injection_id"] and other["known_time_utc"] <= row["as_of_utc"]]
    return min([row["as_of_utc"], *(other["event_time_utc"] - timedelta(microseconds=1) for other in own)])


ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 900), st.integers(0, 300)), max_size=14, unique_by=lambda row: row[1])
ASKED = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 14), st.integers(0, 1200)), min_size=1, max_size=6)


@settings(max_examples=20, deadline=None)
@given(runs=ROWS, lots=ROWS, stored=ROWS, asked=ASKED)
def test_join_is_the_brute_force(runs: list[Any], lots: list[Any], stored: list[Any], asked: list[Any]):
    def times(event: int, delay: int) -> dict[str, Any]:
        return {"event_time_utc": hour(event), "known_time_utc": hour(event + delay)}

    tables: dict[str, list[dict[str, Any]]] = {
        "instrument_history": [
            {"injection_id": f"i{n}", "instrument_id": f"LC{key}", "method_id": "RS-01", "ih_tailing": float(n)} | times(event, delay)
            for n, (key, event, delay) in enumerate(runs)
        ],
        "lot_history": [{"lot_id": f"L{key}", "lot_min_margin": float(n)} | times(e, d) for n, (key, e, d) in enumerate(lots)],
        "storage_exposure": [{"sample_name": f"S{key}", "storage_days": float(n)} | times(e, d) for n, (key, e, d) in enumerate(stored)],
    }
    wanted: list[dict[str, Any]] = [
        {"injection_id": f"i{own}", "instrument_id": f"LC{key}", "lot_id": f"L{key}", "sample_name": f"S{key}", "method_id": "RS-01"}
        | {"as_of_utc": hour(as_of)}
        for key, own, as_of in asked
    ]
    made = combined(spine(wanted), **tables).rows(named=True)
    for row, got in zip(wanted, made, strict=True):
        limit = own_limit(row, tables["instrument_history"])
        for name, feature, at in (
            ("instrument_history", "ih_tailing", limit),
            ("lot_history", "lot_min_margin", limit),
            ("storage_exposure", "storage_days", row["as_of_utc"]),
        ):
            best = brute_force(name, row, tables[name], at)
            assert got[feature] == (None if best is None else best[feature])


def test_both_times_must_have_passed():
    rows = [
        {"lot_id": "L1", "event_time_utc": hour(1), "known_time_utc": hour(2), "lot_min_margin": 0.1},
        {"lot_id": "L1", "event_time_utc": hour(3), "known_time_utc": hour(9), "lot_min_margin": 0.3},
    ]
    made = combined(spine([{"as_of_utc": hour(t)} for t in (1.5, 2, 8.9, 9)]), lot_history=rows)
    assert made["lot_min_margin"].to_list() == [None, 0.1, 0.1, 0.3]


def test_a_correction_known_later_does_not_change_an_older_row():
    first = {"lot_id": "L1", "event_time_utc": hour(1), "known_time_utc": hour(2), "lot_min_margin": 0.1}
    corrected = first | {"known_time_utc": hour(30), "lot_min_margin": -0.4}
    asked = spine([{"as_of_utc": hour(10)}, {"as_of_utc": hour(40)}])
    before, after = combined(asked, lot_history=[first]), combined(asked, lot_history=[first, corrected])
    assert before.row(0) == after.row(0)
    assert after["lot_min_margin"].to_list() == [0.1, -0.4]


def test_a_correction_counts_whose_newest_event_is_the_earlier_one():
    """On day 30 a failing result of day 2 went to another lot: what is left of this lot is of day 1. A sampling is dated back likewise."""
    lots = [
        {"lot_id": "L1", "event_time_utc": hour(24 * event), "known_time_utc": hour(24 * known), "lot_failures_known": failures}
        for event, known, failures in ((1, 1, 0.0), (2, 2, 1.0), (1, 30, 0.0))
    ]
    stored = [
        {"sample_name": "S1", "event_time_utc": hour(24 * event), "known_time_utc": hour(24 * known), "storage_days": float(event)}
        for event, known in ((20, 20), (10, 30))
    ]
    made = combined(spine([{"as_of_utc": hour(24 * day)} for day in (3, 29, 30)]), lot_history=lots, storage_exposure=stored)
    assert made["lot_failures_known"].to_list() == [1.0, 1.0, 0.0]
    assert made["storage_days"].to_list() == [None, 20.0, 10.0]


def test_own_outcome_is_never_seen_even_after_the_run():
    """Scored a day after the run: instrument and lot as they were just before it started."""
    runs = [
        {"injection_id": name, "instrument_id": "LC1", "method_id": "ASSAY-01", "ih_tailing": value}
        | {"event_time_utc": hour(at), "known_time_utc": hour(at + 0.5)}
        for name, value, at in (("i0", 1.0, 1), ("i1", 2.0, 3))
    ]
    lots = [
        {"lot_id": "L1", "event_time_utc": hour(t), "known_time_utc": hour(t), "lot_failures_known": f} for t, f in ((2, 0.0), (3.5, 1.0))
    ]
    row = combined(spine([{"as_of_utc": hour(27)}]), instrument_history=runs, lot_history=lots).row(0, named=True)
    assert row["ih_tailing"] == 1.0
    assert row["lot_failures_known"] == 0.0


def test_lookback_of_the_instrument():
    run = {"injection_id": "i0", "instrument_id": "LC1", "method_id": "ASSAY-01", "ih_tailing": 1.0}
    runs = [run | {"event_time_utc": hour(0), "known_time_utc": hour(0)}]
    asked = spine([{"as_of_utc": hour(24 * 20)}, {"as_of_utc": hour(24 * 20 + 1)}])
    assert combined(asked, instrument_history=runs)["ih_tailing"].to_list() == [1.0, None]
    assert combined(asked, lookback_days=None, instrument_history=runs)["ih_tailing"].to_list() == [1.0, 1.0]


@pytest.mark.parametrize(("name", "key", "feature"), [
    ("progress", {"injection_id": "i1", "checkpoint_pct": 50}, "baseline_noise_pct"),
    ("instrument_history", {"injection_id": "i0", "instrument_id": "LC1", "method_id": "ASSAY-01"}, "ih_tailing"),
    ("lot_history", {"lot_id": "L1"}, "lot_min_margin"),
    ("storage_exposure", {"sample_name": "S1"}, "storage_days"),
])  # fmt: skip
def test_rows_of_another_feature_set_are_not_joined(name: str, key: dict[str, Any], feature: str):
    """The row of the other set is the later one; each set sees its own."""
    own = {**key, "event_time_utc": hour(1), "known_time_utc": hour(1), feature: 1.0}
    other = {**own, "event_time_utc": hour(2), "known_time_utc": hour(2), "feature_set_version": "another", feature: 2.0}
    asked = spine([{"as_of_utc": hour(3)}])
    assert combined(asked, **{name: [other]})[feature].to_list() == [None]
    assert combined(asked, **{name: [own, other]})[feature].to_list() == [1.0]
    frames = {each: table(each, [own, other] if each == name else []) for each in KEYS}
    assert point_in_time_join(asked, **frames, inputs=ModelInputs(feature_set_version="another"))[feature].to_list() == [2.0]


def test_order_and_other_columns_of_the_spine_stay():
    asked = spine([{"as_of_utc": hour(9 - i), "injection_id": f"i{i}", "lot_id": None} for i in range(5)]).with_columns(label=pl.lit(1))
    made = combined(asked)
    assert made.select(asked.columns).equals(asked)
    assert made.columns == [*asked.columns, *(name for name in FEATURE_NAMES if name != "checkpoint_pct")]


def test_bad_spines_are_refused():
    with pytest.raises(ValueError, match="as_of_utc"):
        combined(spine([{"as_of_utc": T0}]).drop("as_of_utc"))
    with pytest.raises(ValueError, match="ih_tailing"):
        combined(spine([{"as_of_utc": T0}]).with_columns(ih_tailing=pl.lit(1.0)))


VALUES = st.one_of(st.none(), st.floats(-1e6, 1e6))


def feature_rows(features: str) -> st.SearchStrategy[dict[str, float | None]]:
    return st.fixed_dictionaries(dict.fromkeys(names_of(features), VALUES))


@settings(max_examples=15, deadline=None)
@given(
    parts=st.fixed_dictionaries({name: feature_rows(features) for name, (features, _) in KEYS.items()}),
    method=st.sampled_from(["ASSAY-01", "RS-02", "DISS-01", "WATER"]),
    checkpoint=st.sampled_from([10, 25, 50, 75]),
)
def test_batch_row_equals_online_row_to_the_last_bit(parts: dict[str, dict[str, Any]], method: str, checkpoint: int):
    times = {"event_time_utc": T0, "known_time_utc": T0}
    progress, instrument, lot, storage = (parts[name] for name in KEYS)
    made = combined(
        spine([{"as_of_utc": hour(1), "method_id": method, "checkpoint_pct": checkpoint}]),
        progress=[{"injection_id": "i1", "checkpoint_pct": checkpoint} | times | progress],
        instrument_history=[{"injection_id": "i0", "instrument_id": "LC1", "method_id": method} | times | instrument],
        lot_history=[{"lot_id": "L1"} | times | lot],
        storage_exposure=[{"sample_name": "S1"} | times | storage],
    )
    online = assemble_online(progress, instrument, lot, storage, checkpoint_pct=checkpoint, method_id=method)
    assert to_map(made.row(0, named=True)) == online
    assert to_matrix(made)[0].tobytes() == from_map(online).tobytes()
