"""Steps from manufacture to release."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.gold import TIME_TO_RELEASE
from lab_assets.contracts.silver import LOTS, PROCESS_EVENTS, SAMPLES
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.gold.time_to_release import TIME_TO_RELEASE_STATION, step_rows
from lab_assets.stations.runner import update
from lab_assets_tests.stations.gold.rows import Change, assert_content_follows_inputs, at

Put = Callable[..., int]


def event(name: str, when: datetime, sample_name: str | None = None) -> dict[str, Any]:
    return {"event_id": f"{sample_name}-{name}", "sample_name": sample_name, "event": name, "at_utc": when}


def sample(name: str, kind: str = "release", retest_of: str | None = None) -> dict[str, Any]:
    return {"sample_name": name, "sample_type": kind, "retest_of": retest_of}


def test_steps_follow_each_other_from_manufacture_to_release() -> None:
    events = [event("released", at(4)), event("manufactured", at(1)), event("sampled", at(1, 20), "S1"), event("received", at(2), "S1")]
    rows = step_rows({"lot_id": "L", "lots": [{"product": "P"}], "samples": [sample("S1")], "events": events})
    assert [(row["step_no"], row["step"], row["duration_h"]) for row in rows] == [
        (1, "manufactured->sampled", 20.0),
        (2, "sampled->received", 4.0),
        (3, "received->released", 48.0),
    ]
    assert [(row["started_at_utc"], row["ended_at_utc"]) for row in rows][1] == (at(1, 20), at(2))


def test_stability_pulls_complaints_and_what_follows_the_release_are_left_out() -> None:
    samples = [sample("S1"), sample("S1-R1", "retest", "S1"), sample("ST1", "stability"), sample("C1", "complaint")]
    events = [
        *(event("manufactured", at(1)), event("sampled", at(2), "S1"), event("sampled", at(3), "S1-R1"), event("released", at(4))),
        *(event("sampled", at(3, 1), "ST1"), event("sampled", at(3, 2), "C1"), event("reviewed", at(9), "S1")),
    ]
    rows = step_rows({"lot_id": "L", "lots": [], "samples": samples, "events": events})
    assert [row["step"] for row in rows] == ["manufactured->sampled", "sampled->sampled", "sampled->released"]
    assert sum(row["duration_h"] for row in rows) == 72.0
    assert step_rows({"lot_id": "L", "lots": [], "samples": [], "events": []}) == []


def test_every_lot_has_its_steps(lakehouse: Lakehouse, put: Put) -> None:
    put(LOTS, *({"lot_id": name, "product": f"P-{name}", "recorded_at_utc": at(1)} for name in ("A", "B")))
    put(SAMPLES, {**sample("S1"), "lot_id": "A", "recorded_at_utc": at(1)})
    steps = [event("manufactured", at(1)), event("sampled", at(2), "S1")]
    put(PROCESS_EVENTS, *({**one, "lot_id": "A", "recorded_at_utc": at(2)} for one in steps))
    first = update(lakehouse, TIME_TO_RELEASE_STATION).version
    assert update(lakehouse, TIME_TO_RELEASE_STATION).version == first
    (row,) = lakehouse.polars(TIME_TO_RELEASE).to_dicts()
    assert (row["lot_id"], row["product"], row["step"], row["duration_h"]) == ("A", "P-A", "manufactured->sampled", 24.0)
    assert (row["started_at_utc"], row["ended_at_utc"]) == (at(1), at(2))


LOT_NAMES = st.sampled_from(["A", "B"])
SAMPLE_NAMES = st.sampled_from(["S1", "S2", "S3"])
CHANGES = st.one_of(
    st.builds(
        lambda lot_id, product, is_gone: Change(LOTS, {"lot_id": lot_id, "product": product, "recorded_at_utc": at(1)}, is_gone),
        *(LOT_NAMES, st.sampled_from(["P", "Q"]), st.booleans()),
    ),
    st.builds(
        lambda name, lot_id, kind, of, is_gone: Change(
            SAMPLES, {**sample(name, kind, of), "lot_id": lot_id, "recorded_at_utc": at(5)}, is_gone
        ),
        *(SAMPLE_NAMES, LOT_NAMES, st.sampled_from(["release", "retest", "stability"]), SAMPLE_NAMES, st.booleans()),
    ),
    st.builds(
        lambda name, lot_id, step, day, number, is_gone: Change(
            PROCESS_EVENTS, {**event(step, at(day), name), "event_id": f"e{number}", "lot_id": lot_id, "recorded_at_utc": at(9)}, is_gone
        ),
        *(st.one_of(st.none(), SAMPLE_NAMES), LOT_NAMES, st.sampled_from(["manufactured", "sampled", "analysed", "released"])),
        *(st.integers(1, 9), st.integers(1, 6), st.booleans()),
    ),
)
KEYS = {LOTS.full_name: ["lot_id"], SAMPLES.full_name: ["sample_name"], PROCESS_EVENTS.full_name: ["event_id"]}


@settings(max_examples=12)
@given(st.lists(st.lists(CHANGES, min_size=1, max_size=8), min_size=1, max_size=4))
def test_steps_follow_from_their_inputs_in_whichever_order_these_came(batches: list[list[Change]]) -> None:
    assert_content_follows_inputs(TIME_TO_RELEASE_STATION, KEYS, batches)
