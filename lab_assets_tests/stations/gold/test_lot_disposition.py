"""Lot dispositions: retests, investigations, missing tests, limits in force."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any

from hypothesis import given, settings

from lab_assets.contracts.bronze import SPECIFICATIONS
from lab_assets.contracts.gold import LOT_DISPOSITION
from lab_assets.contracts.silver import LOTS, PROCESS_EVENTS, RESULTS, SAMPLES
from lab_assets.domain.investigations import INVESTIGATION_EVENTS, investigations
from lab_assets.domain.specifications import Specifications
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.gold.lot_disposition import LOT_DISPOSITION_STATION, lot_row, release_samples
from lab_assets.stations.runner import update
from lab_assets_tests.stations.gold.rows import Change, assert_content_follows_inputs, at, histories, now_and_then

Put = Callable[..., int]


def sample(name: str, kind: str = "release", retest_of: str | None = None) -> dict[str, Any]:
    return {"sample_name": name, "sample_type": kind, "retest_of": retest_of}


def result(sample_name: str, state: str, day: int, *, method: str = "ASSAY-01", analyte: str = "API", number: int = 1) -> dict[str, Any]:
    row = {"result_id": f"{sample_name}/{method}/{analyte}/{number}", "sample_name": sample_name, "method_id": method, "analyte": analyte}
    return {**row, "state": state, "measured_at_utc": at(day), "known_time_utc": at(day, 1)}


def limit(method: str = "ASSAY-01", analyte: str = "API", *, low: float | None = 95.0, day: int = 1, recorded: int = 1) -> dict[str, Any]:
    row = {"product": "NEBRILAT-10", "method_id": method, "analyte": analyte, "spec_low": low, "spec_high": None}
    return {**row, "effective_from_utc": at(day), "recorded_at_utc": at(recorded), "ingest_batch": 1}


def event(sample_name: str, name: str, number: int = 1) -> dict[str, Any]:
    return {"event_id": f"{sample_name}-{name}-{number}", "sample_name": sample_name, "event": name}


def lot(*results: dict[str, Any], samples: Any = (), events: Any = (), limits: Any = None) -> dict[str, Any]:
    return {
        "lot_id": "NEB25-0001",
        "product": "NEBRILAT-10",
        "results": list(results),
        "samples": list(samples or (sample("S1"),)),
        "investigations": investigations(events),
        "limits": [limit()] if limits is None else list(limits),
    }


def test_a_lot_passes_at_its_last_result_when_every_required_test_has_one() -> None:
    both = (limit(), limit("RS-01", "IMP-A"))
    row = lot_row(lot(result("S1", "pass", 6), result("S1", "pass", 8, method="RS-01", analyte="IMP-A"), limits=both))
    assert (row["state"], row["failing_tests"], row["missing_tests"], row["results"]) == ("pass", [], [], 2)
    assert row["decided_at_utc"] == at(8, 1)


def test_a_lot_is_open_while_a_required_test_has_no_result() -> None:
    row = lot_row(lot(result("S1", "pass", 6), limits=(limit(), limit("RS-01", "IMP-A"))))
    assert (row["state"], row["missing_tests"], row["decided_at_utc"]) == ("open", ["RS-01/IMP-A"], None)
    assert lot_row(lot(limits=()))["state"] == "open"


def test_a_failing_result_fails_the_lot_at_once_whatever_one_passing_retest_says() -> None:
    samples = (sample("S1"), sample("S1-R1", "retest", "S1"))
    failing = (result("S1", "fail", 6), result("S1", "fail", 7, number=2), result("S1-R1", "pass", 9))
    for events in ((), (event("S1", "oos_opened"),)):
        row = lot_row(lot(*failing, samples=samples, events=events))
        assert (row["state"], row["failing_tests"], row["decided_at_utc"]) == ("fail", ["ASSAY-01/API"], at(6, 1))


def test_a_closed_investigation_with_passing_retests_lets_the_retest_stand() -> None:
    samples = (sample("S1"), sample("S1-R1", "retest", "S1"))
    closed = (event("S1", "oos_opened"), event("S1", "oos_closed"))
    row = lot_row(lot(result("S1", "fail", 6), result("S1-R1", "pass", 9), samples=samples, events=closed))
    assert (row["state"], row["results"], row["decided_at_utc"]) == ("pass", 2, at(9, 1))


def test_a_closed_investigation_with_a_failing_retest_confirms_the_failure() -> None:
    samples = (sample("S1"), sample("S1-R1", "retest", "S1"))
    closed = (event("S1", "oos_opened"), event("S1", "oos_closed"))
    results = (result("S1", "fail", 6), result("S1-R1", "pass", 9), result("S1-R1", "fail", 9, number=2))
    assert lot_row(lot(*results, samples=samples, events=closed))["state"] == "fail"


def test_one_of_two_investigations_still_open_keeps_the_failure() -> None:
    samples = (sample("S1"), sample("S1-R1", "retest", "S1"))
    events = (event("S1", "oos_opened"), event("S1", "oos_opened", 2), event("S1", "oos_closed"))
    assert lot_row(lot(result("S1", "fail", 6), result("S1-R1", "pass", 9), samples=samples, events=events))["state"] == "fail"


def test_only_release_samples_and_their_retests_speak_for_a_lot() -> None:
    samples = [
        *(sample("S1"), sample("S1-R1", "retest", "S1"), sample("S1-R2", "retest", "S1-R1"), sample("C1", "complaint")),
        *(sample("ST1", "stability"), sample("ST1-R1", "retest", "ST1"), sample("lost", "retest", "unknown")),
        *(sample("ring-a", "retest", "ring-b"), sample("ring-b", "retest", "ring-a")),
    ]
    assert release_samples(samples) == {"S1", "S1-R1", "S1-R2"}
    row = lot_row(lot(result("S1", "pass", 6), result("ST1", "fail", 7), samples=samples))
    assert (row["state"], row["results"]) == ("pass", 1)


def limits_of_lot(versions: list[dict[str, Any]], manufactured: datetime | None) -> list[Any]:
    return Specifications(versions).limits_of_lot("NEBRILAT-10", manufactured)


def test_the_limits_in_force_at_manufacture_count() -> None:
    added = limit("RS-01", "IMP-A", day=9)
    withdrawn = limit("WATER-01", "WATER", low=None, day=3)
    versions = [limit(), limit(low=96.0, day=4), limit(low=97.0, day=9), added, limit("WATER-01", "WATER"), withdrawn]
    assert [(row["method_id"], row["spec_low"]) for row in limits_of_lot(versions, at(5))] == [("ASSAY-01", 96.0)]


def test_of_a_limit_recorded_twice_the_later_record_counts() -> None:
    assert [row["spec_low"] for row in limits_of_lot([limit(low=95.5, recorded=2), limit()], at(5))] == [95.5]


def test_a_lot_older_than_every_limit_is_held_to_the_first_ones() -> None:
    later = [limit(low=96.0, day=9), limit(low=97.0, day=12)]
    assert [row["spec_low"] for row in limits_of_lot(later, at(5))] == [96.0]
    assert [row["spec_low"] for row in limits_of_lot(later, None)] == [96.0]


def test_a_void_or_unjudged_result_neither_passes_nor_fails() -> None:
    """A void one is as if it had not been measured; an unjudged one may yet fail, so one that passed beside it does not settle the test."""
    for state in ("void", "not_reportable", "unjudged"):
        row = lot_row(lot(result("S1", state, 6)))
        assert (row["state"], row["failing_tests"], row["missing_tests"]) == ("open", [], ["ASSAY-01/API"]), state
    row = lot_row(lot(result("S1", "pass", 6), result("S1", "void", 8, number=2)))
    assert (row["state"], row["missing_tests"], row["decided_at_utc"]) == ("pass", [], at(6, 1))
    row = lot_row(lot(result("S1", "pass", 6), result("S1", "unjudged", 8, number=2)))
    assert (row["state"], row["missing_tests"], row["decided_at_utc"]) == ("open", ["ASSAY-01/API"], None)
    row = lot_row(lot(result("S1", "fail", 6), result("S1", "unjudged", 8, number=2)))
    assert (row["state"], row["failing_tests"], row["decided_at_utc"]) == ("fail", ["ASSAY-01/API"], at(6, 1))


def test_a_void_retest_decides_nothing_and_an_unjudged_one_is_waited_for() -> None:
    samples = (sample("S1"), sample("S1-R1", "retest", "S1"))
    closed = (event("S1", "oos_opened"), event("S1", "oos_closed"))
    failed, passed = result("S1", "fail", 6), result("S1-R1", "pass", 9)
    for states, expected in ((("void",), "pass"), (("unjudged",), "fail")):
        more = [result("S1-R1", state, 10, number=number) for number, state in enumerate(states, start=2)]
        assert lot_row(lot(failed, passed, *more, samples=samples, events=closed))["state"] == expected
    assert lot_row(lot(failed, result("S1-R1", "void", 9), samples=samples, events=closed))["state"] == "fail"


def test_every_lot_is_judged_and_judged_again_when_news_comes(lakehouse: Lakehouse, put: Put) -> None:
    put(
        LOTS,
        *({"lot_id": name, "product": "P", "manufactured_at_utc": at(5), "recorded_at_utc": at(5)} for name in ("A", "B", "C")),
    )
    put(SAMPLES, *({**sample(f"S-{name}"), "lot_id": name, "recorded_at_utc": at(5)} for name in ("A", "B")))
    put(SPECIFICATIONS, {**limit(), "spec_id": "1", "product": "P", "unit": "%"})
    value = {"value": 1.0, "unit": "%", "result_version": 1, "is_current": True}
    put(RESULTS, {**result("S-A", "pass", 6), **value, "lot_id": "A"}, {**result("S-B", "fail", 6), **value, "lot_id": "B"})
    first = update(lakehouse, LOT_DISPOSITION_STATION).version
    assert {row["lot_id"]: row["state"] for row in lakehouse.polars(LOT_DISPOSITION).to_dicts()} == {"A": "pass", "B": "fail", "C": "open"}
    assert update(lakehouse, LOT_DISPOSITION_STATION).version == first
    put(SAMPLES, {**sample("S-B-R1", "retest", "S-B"), "lot_id": "B", "recorded_at_utc": at(7)})
    put(RESULTS, {**result("S-B-R1", "pass", 8), **value, "lot_id": "B"})
    put(
        PROCESS_EVENTS,
        *({**event("S-B", name), "lot_id": "B", "at_utc": at(9), "recorded_at_utc": at(9)} for name in ("oos_opened", "oos_closed")),
    )
    assert update(lakehouse, LOT_DISPOSITION_STATION).version == first + 1
    found = {row["lot_id"]: row for row in lakehouse.polars(LOT_DISPOSITION).to_dicts()}
    assert (found["B"]["state"], found["B"]["decided_at_utc"], found["B"]["product"]) == ("pass", at(8, 1), "P")


def test_a_correction_counts_and_what_it_corrects_does_not(lakehouse: Lakehouse, put: Put) -> None:
    put(LOTS, {"lot_id": "A", "product": "P", "manufactured_at_utc": at(5), "recorded_at_utc": at(5)})
    put(SAMPLES, {**sample("S-A"), "lot_id": "A", "recorded_at_utc": at(5)})
    put(SPECIFICATIONS, {**limit(), "spec_id": "1", "product": "P", "unit": "%"})
    value = {"value": 1.0, "unit": "%", "lot_id": "A"}
    superseded = {"result_version": 1, "is_current": False, "superseded_by": 2}
    put(
        RESULTS,
        {**result("S-A", "fail", 6), **value, **superseded},
        {**result("S-A", "pass", 7), **value, "result_version": 2, "is_current": True},
    )
    update(lakehouse, LOT_DISPOSITION_STATION)
    (row,) = lakehouse.polars(LOT_DISPOSITION).to_dicts()
    assert (row["state"], row["results"], row["decided_at_utc"]) == ("pass", 1, at(7, 1))


def test_what_moves_between_lots_touches_the_lot_it_left_and_the_one_it_came_to(lakehouse: Lakehouse, put: Put) -> None:
    put(LOTS, *({"lot_id": name, "product": "P", "manufactured_at_utc": at(5), "recorded_at_utc": at(5)} for name in ("A", "B")))
    put(SPECIFICATIONS, {**limit(), "spec_id": "1", "product": "P", "unit": "%"})
    value = {"value": 1.0, "unit": "%", "result_version": 1, "is_current": True}
    rows = {
        SAMPLES: {**sample("S"), "recorded_at_utc": at(5)},
        RESULTS: {**result("S", "pass", 6), **value},
    }
    for table, row in rows.items():
        put(table, {**row, "lot_id": "A"})

    def states() -> list[str]:
        update(lakehouse, LOT_DISPOSITION_STATION)
        return lakehouse.polars(LOT_DISPOSITION).sort("lot_id")["state"].to_list()

    assert states() == ["pass", "open"]
    for (table, row), expected in zip(rows.items(), (["open", "open"], ["open", "pass"]), strict=True):
        lakehouse.replace_where(table, lakehouse.local_rows(table, [{**row, "lot_id": "B"}]), "sample_name = 'S'")
        assert states() == expected


def test_an_investigation_goes_with_its_sample_to_another_lot(lakehouse: Lakehouse, put: Put) -> None:
    """Opened and closed while sample and retest were thought to be of lot A; both are of lot B."""
    put(LOTS, *({"lot_id": name, "product": "P", "manufactured_at_utc": at(5), "recorded_at_utc": at(5)} for name in ("A", "B")))
    put(SPECIFICATIONS, {**limit(), "spec_id": "1", "product": "P", "unit": "%"})
    samples = [{**row, "recorded_at_utc": at(5)} for row in (sample("S"), sample("S-R", "retest", "S"))]
    value = {"value": 1.0, "unit": "%", "result_version": 1, "is_current": True}
    results = [{**result("S", "fail", 6), **value}, {**result("S-R", "pass", 8), **value}]

    def states() -> list[str]:
        update(lakehouse, LOT_DISPOSITION_STATION)
        return lakehouse.polars(LOT_DISPOSITION).sort("lot_id")["state"].to_list()

    for table, rows in ((SAMPLES, samples), (RESULTS, results)):
        put(table, *({**row, "lot_id": "A"} for row in rows))
    opened, closed = ({**event("S", name), "lot_id": "A", "at_utc": at(7), "recorded_at_utc": at(7)} for name in INVESTIGATION_EVENTS)
    put(PROCESS_EVENTS, opened, closed)
    assert states() == ["pass", "open"]
    for table, rows in ((SAMPLES, samples), (RESULTS, results)):
        moved = lakehouse.local_rows(table, [{**row, "lot_id": "B"} for row in rows])
        lakehouse.replace_where(table, moved, "sample_name IN ('S', 'S-R')")
    assert states() == ["open", "pass"]
    put(PROCESS_EVENTS, {**opened, "event_id": "again"})
    assert states() == ["open", "fail"], "an event that names lot A is about the sample in lot B"


def a_lot(random: Random) -> Change:
    row = {"lot_id": random.choice("AAAB"), "product": random.choice("PPQ"), "manufactured_at_utc": random.choice([None, at(2), at(5)])}
    return Change(LOTS, {**row, "recorded_at_utc": at(5)}, now_and_then(random))


def a_sample(random: Random) -> Change:
    kind = random.choice(["release", "release", "retest", "stability"])
    row = sample(random.choice(["S1", "S2"]), kind, random.choice(["S1", "S2"]))
    return Change(SAMPLES, {**row, "lot_id": random.choice("AAB"), "recorded_at_utc": at(5)}, now_and_then(random))


def a_result(random: Random) -> Change:
    state = random.choice(["pass", "pass", "fail", "fail", "no_spec", "void", "unjudged"])
    row = result(random.choice(["S1", "S2"]), state, random.randint(6, 8), analyte=random.choice(["API", "IMP"]))
    more = {"result_id": f"r{random.randint(1, 5)}", "result_version": 1, "is_current": not now_and_then(random)}
    return Change(RESULTS, {**row, **more, "lot_id": random.choice("AAAB"), "value": 1.0, "unit": "%"}, now_and_then(random))


def an_event(random: Random) -> Change:
    row = event(random.choice(["S1", "S2"]), random.choice(["oos_opened", "oos_closed"]))
    more = {"lot_id": random.choice("AAB"), "at_utc": at(7), "recorded_at_utc": at(7)}
    return Change(PROCESS_EVENTS, {**row, **more}, now_and_then(random))


def a_limit(random: Random) -> Change:
    day, low = random.randint(1, 6), random.choice([None, 95.0])
    row = limit("ASSAY-01", random.choice(["API", "IMP", "WATER"]), low=low, day=day, recorded=day)
    more = {"product": random.choice("PPQ"), "spec_id": "1", "unit": "%", "source_row": random.randint(1, 4)}
    return Change(SPECIFICATIONS, {**row, **more}, now_and_then(random))


KEYS = {
    LOTS.full_name: ["lot_id"],
    SAMPLES.full_name: ["sample_name"],
    RESULTS.full_name: ["result_id"],
    PROCESS_EVENTS.full_name: ["event_id"],
    SPECIFICATIONS.full_name: ["source_row"],
}


@settings(max_examples=4)
@given(histories(a_lot, a_sample, a_sample, a_result, a_result, an_event, a_limit))
def test_lots_follow_from_their_inputs_in_whichever_order_these_came(batches: list[list[Change]]) -> None:
    assert_content_follows_inputs(LOT_DISPOSITION_STATION, KEYS, batches)
