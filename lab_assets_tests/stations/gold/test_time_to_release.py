"""Steps from manufacture to release."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any

from hypothesis import given, settings

from lab_assets.contracts.gold import TIME_TO_RELEASE
from lab_assets.contracts.silver import LOTS, PROCESS_EVENTS, SAMPLES
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.gold.time_to_release import TIME_TO_RELEASE_STATION, step_rows
from lab_assets.stations.runner import update
from lab_assets_tests.stations.gold.rows import Change, assert_content_follows_inputs, at, histories, now_and_then

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


def a_lot(random: Random) -> Change:
    row = {"lot_id": random.choice("AAAB"), "product": random.choice("PPQ"), "recorded_at_utc": at(5)}
    return Change(LOTS, row, now_and_then(random))


def a_sample(random: Random) -> Change:
    kind = random.choice(["release", "release", "retest", "stability"])
    row = sample(random.choice(["S1", "S2"]), kind, random.choice(["S1", "S2"]))
    return Change(SAMPLES, {**row, "lot_id": random.choice("AAB"), "recorded_at_utc": at(5)}, now_and_then(random))


def an_event(random: Random) -> Change:
    step = random.choice(["manufactured", "sampled", "analysed", "released"])
    row = event(step, at(random.randint(1, 9)), random.choice([None, "S1", "S2"]))
    more = {"event_id": f"e{random.randint(1, 9)}", "lot_id": random.choice("AAAB"), "recorded_at_utc": at(9)}
    return Change(PROCESS_EVENTS, {**row, **more}, now_and_then(random))


KEYS = {LOTS.full_name: ["lot_id"], SAMPLES.full_name: ["sample_name"], PROCESS_EVENTS.full_name: ["event_id"]}


@settings(max_examples=4)
@given(histories(a_lot, a_sample, an_event))
def test_steps_follow_from_their_inputs_in_whichever_order_these_came(batches: list[list[Change]]) -> None:
    assert_content_follows_inputs(TIME_TO_RELEASE_STATION, KEYS, batches)
