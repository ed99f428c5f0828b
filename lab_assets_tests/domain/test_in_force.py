"""Which version of a fact is in force, against a brute force over random versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.domain.certificates import Certificates, counting_since, instruments_of_certificates, parameters_in_force
from lab_assets.domain.in_force import ALWAYS, RECENCY, Facts, Version, in_force, in_order, natural, recency, utc
from lab_assets.domain.processing_methods import NO_WINDOWS, WINDOW_COLUMNS, ProcessingMethods
from lab_assets.domain.run_context import LimsRecords
from lab_assets.domain.specifications import Specifications

T0 = datetime(2025, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return T0 + timedelta(days=number)


MOMENTS = st.integers(0, 8).map(day)
VERSIONS = st.lists(st.tuples(MOMENTS, MOMENTS, st.integers(0, 3)), max_size=10).map(
    lambda rows: [
        Version(effective=effective, known=known, order=(order, place), row=place) for place, (effective, known, order) in enumerate(rows)
    ]
)
ASKED = st.one_of(st.none(), MOMENTS)


def brute_force(versions: list[Version], at: datetime | None, known_by: datetime | None) -> Any:
    """The definition, spelled out: of what was effective and known by then, the last by effective time, known time and content."""
    counted = [
        version for version in versions if (at is None or version.effective <= at) and (known_by is None or version.known <= known_by)
    ]
    ordered = sorted(counted, key=lambda version: (version.effective, version.known, version.order))
    return ordered[-1].row if ordered else None


@given(VERSIONS, ASKED, ASKED, st.randoms(use_true_random=False))
def test_the_version_in_force_is_the_last_that_was_effective_and_known(
    versions: list[Version], at: datetime | None, known_by: datetime | None, chance: Any
) -> None:
    expected = brute_force(versions, at, known_by)
    chance.shuffle(versions)
    found = in_force(versions, at=at, known_by=known_by)
    assert (None if found is None else found.row) == expected


@given(VERSIONS, VERSIONS, ASKED, MOMENTS)
def test_what_becomes_known_later_changes_no_answer_given_earlier(
    versions: list[Version], later: list[Version], at: datetime | None, known_by: datetime
) -> None:
    more = [Version(effective=each.effective, known=each.known + timedelta(days=9), order=each.order, row=each.row) for each in later]
    before = in_force(versions, at=at, known_by=known_by)
    assert in_force([*more, *versions], at=at, known_by=known_by) is before


@given(VERSIONS, MOMENTS, MOMENTS)
def test_an_answer_only_changes_at_a_known_time(versions: list[Version], at: datetime, known_by: datetime) -> None:
    """Between two known times of a fact nothing is learned about it: ``known_times`` names every moment that matters."""
    facts = Facts(("key", version) for version in versions)
    reached = [moment for moment in facts.known_times("key") if moment <= known_by]
    expected = facts.row("key", at=at, known_by=max(reached)) if reached else None
    assert facts.row("key", at=at, known_by=known_by) == expected


def test_facts_of_rows_take_the_first_filled_known_time_or_have_always_been() -> None:
    rows = [
        {"name": "a", "from": None, "recorded": None, "arrived": None, "says": 1},
        {"name": "a", "from": day(3), "recorded": None, "arrived": day(4), "says": 2},
        {"name": "a", "from": day(3), "recorded": day(2), "arrived": day(9), "says": 3},
    ]
    facts = Facts.of_rows(rows, ("name",), effective="from", known=("recorded", "arrived"))
    assert facts.known_times("a") == {ALWAYS, day(4), day(2)}
    assert facts.row("a", at=day(1))["says"] == 1
    assert [facts.row("a", known_by=day(number))["says"] for number in (1, 2, 4)] == [1, 3, 2]
    assert facts.row("b") is None


def test_moments_without_a_zone_count_as_utc() -> None:
    assert utc(datetime(2025, 1, 1)) == T0  # noqa: DTZ001 - that is the case
    assert utc(None) == ALWAYS


REVISED = {"source_file": "a.csv", "revises_path": "b/z.csv", "revises_revision": 3}


@pytest.mark.parametrize(("earlier", "later"), [
    ({"source_file": "methods_9.csv"}, {"source_file": "methods_10.csv"}),
    ({"source_file": "a.csv", "ingest_batch": 7}, {"source_file": "b.csv", "ingest_batch": 1}),
    ({"source_file": "a.csv", "ingest_batch": 1}, {"source_file": "a.csv", "ingest_batch": 2}),
    ({"source_file": "a.csv", "source_row": 9}, {"source_file": "a.csv", "source_row": 10}),
    ({"source_file": "a.csv", "path_revision": 3, "ingest_batch": 2}, {"source_file": "a.csv", "path_revision": 4, "ingest_batch": 1}),
    ({"source_file": "a.csv", "ingest_batch": 2}, {"source_file": "a.csv", "path_revision": 4, "ingest_batch": 3}),
    ({"source_file": "z.csv", "source": "b", "path_revision": 3}, {**REVISED, "path_revision": 4}),
    ({**REVISED, "path_revision": 4}, {**REVISED, "path_revision": 5}),
    ({**REVISED, "path_revision": 9}, {"source_file": "z.csv", "source": "b", "path_revision": 4}),
    ({**REVISED, "revises_path": "b/c/y.csv", "path_revision": 4}, {"source_file": "c/z.csv", "source": "b"}),
])  # fmt: skip
def test_equal_times_are_decided_by_content_and_not_by_arrival(earlier: dict[str, Any], later: dict[str, Any]) -> None:
    """Numbers in names count as numbers; another path counts before the batch, a file dropped again under its path after the first."""
    assert recency(earlier) < recency(later)
    numbers = {"revises_revision", "path_revision", "ingest_batch", "source_row"}
    blank = dict.fromkeys(RECENCY) | {"ingest_batch": 1, "source_row": 1}
    schema = {name: pl.Int64 if name in numbers else pl.String for name in RECENCY}
    rows = pl.DataFrame([blank | later, blank | earlier], schema=schema)
    assert in_order(rows).rows() == rows.reverse().rows()


def test_numbers_in_names_are_ordered_as_numbers() -> None:
    names = ["lot 10", "lot 9", "Lot 9", "lot", ""]
    assert sorted(names, key=natural) == ["", "Lot 9", "lot", "lot 9", "lot 10"]


# --- each kind of fact: what is learned later changes nothing that was known before

RECENT = {"source_file": "f", "ingest_batch": 1, "source_sha256": "s", "source_row": 1, "source": "lims"}


def _methods(known: datetime | None, effective: datetime | None, start: float, row: int) -> dict[str, Any]:
    window = {**dict.fromkeys(WINDOW_COLUMNS), "analyte": "API", "window_start": start, "window_end": start + 1}
    times = {"effective_from_utc": effective, "recorded_at_utc": known, "ingested_at_utc": day(20)}
    return {**RECENT, **window, "method_name": "M", **times, "source_sha256": f"sha{row}", "source_row": row}


def test_late_windows_hold_from_their_effective_time_and_are_known_from_the_record() -> None:
    methods = ProcessingMethods([_methods(day(0), None, 4.0, 1), _methods(day(5), day(2), 4.2, 2)])

    def start(at: float, known_by: float | None) -> float:
        windows = methods.windows("M", "lims", at=day(at), known_by=None if known_by is None else day(known_by))
        return windows.rows[0]["window_start"]

    assert [start(3, 4), start(3, 5), start(1, 9), start(3, None)] == [4.0, 4.2, 4.0, 4.2]
    assert methods.windows("other", "lims", at=day(3)) == NO_WINDOWS
    ids = [windows.rows[0]["window_start"] for windows in methods.every_windows("M", "lims", at=day(3))]
    assert ids == [4.0, 4.2]


def test_a_version_that_states_only_its_effect_was_known_by_then() -> None:
    """The revised version's file arrived first; the earlier one's, without any time, a day after it."""
    revised = {**_methods(None, day(2), 4.2, 2), "ingest_batch": 1, "ingested_at_utc": day(20)}
    earlier = {**_methods(None, None, 4.0, 1), "ingest_batch": 2, "ingested_at_utc": day(21)}
    methods = ProcessingMethods([revised, earlier])
    starts = [methods.windows("M", "lims", at=day(at), known_by=day(at)).rows[0]["window_start"] for at in (0, 1, 2, 3)]
    assert starts == [4.0, 4.0, 4.2, 4.2]


def test_of_versions_without_a_time_the_first_was_always_known_others_on_arrival() -> None:
    first = _methods(None, None, 4.0, 1)
    second = {**_methods(None, None, 4.2, 2), "ingest_batch": 2}
    methods = ProcessingMethods([second, first])
    starts = [methods.windows("M", "lims", known_by=day(number)).rows[0]["window_start"] for number in (1, 19, 20)]
    assert starts == [4.0, 4.0, 4.2]


def _certificate(number: str, performed: float, *, recorded: float | None = None, **more: Any) -> dict[str, Any]:
    times = {"performed_at_utc": day(performed), "recorded_at_utc": None if recorded is None else day(recorded)}
    return {
        **RECENT,
        "instrument_id": "LC",
        "certificate_id": number,
        "parameter": "flow",
        "outcome": "pass",
        **times,
        "valid_until_utc": day(performed + 4),
        **more,
    }


def test_a_certificate_is_in_force_until_the_next_one_and_known_from_its_record_on() -> None:
    certificates = Certificates([_certificate("C1", 0), _certificate("C2", 3, recorded=6)])

    def number(at: float, known_by: float | None = None) -> str | None:
        found = certificates.in_force("LC", at=day(at), known_by=None if known_by is None else day(known_by))
        return None if found is None else found.certificate_id

    assert [number(2), number(3), number(5, 5), number(5, 6), number(-1)] == ["C1", "C2", "C1", "C2", None]
    assert certificates.in_force("other", at=day(2)) is None


def test_a_parameter_recorded_later_changes_nothing_known_of_its_certificate() -> None:
    first, second = _certificate("C1", 0, recorded=1), _certificate("C1", 0, recorded=5, outcome="fail", parameter="lamp")

    def known(rows: list[dict[str, Any]], by: float) -> bool | None:
        found = Certificates(rows).in_force("LC", at=day(2), known_by=day(by))
        return None if found is None else found.passed

    assert [known([first], by) for by in (0, 1, 4)] == [known([second, first], by) for by in (0, 1, 4)] == [None, True, True]
    assert known([second, first], 5) is False


def test_a_certificate_is_good_while_no_parameter_failed_or_expired() -> None:
    certificates = Certificates([_certificate("C1", 0, valid_until_utc=day(2)), _certificate("C1", 0, parameter="lamp")])
    found = certificates.in_force("LC", at=day(1))
    assert found is not None
    assert [found.is_valid_at(day(number)) for number in (2, 2.1)] == [True, False]
    failed = Certificates([_certificate("C1", 0, outcome="fail"), _certificate("C1", 0, parameter="lamp")]).in_force("LC", at=day(1))
    assert failed is not None
    assert not failed.is_valid_at(day(1))


def _known(rows: list[dict[str, Any]], at: float, known_by: float | None = None) -> tuple[str, datetime, datetime | None, bool] | None:
    found = Certificates(rows).in_force("LC", at=day(at), known_by=None if known_by is None else day(known_by))
    return None if found is None else (found.certificate_id, found.performed_at_utc, found.valid_until_utc, found.passed)


def test_a_parameter_recorded_again_counts_in_place_of_the_former() -> None:
    """The flow was recorded on day 1 as failed and good until day 2; on day 5 as passed and good until day 9. The lamp stays: until day 7."""
    wrong = _certificate("C1", 0, recorded=1, outcome="fail", valid_until_utc=day(2))
    lamp = _certificate("C1", 0, recorded=1, parameter="lamp", valid_until_utc=day(7))
    right = _certificate("C1", 0, recorded=5, valid_until_utc=day(9))
    for rows in permutations([wrong, lamp, right]):
        assert [_known(list(rows), 3, by) for by in (0, 4, 5)] == [None, ("C1", day(0), day(2), False), ("C1", day(0), day(7), True)]
        assert _known(list(rows), 3) == ("C1", day(0), day(7), True)
        assert [row["valid_until_utc"] for row in parameters_in_force(rows)] in ([day(7), day(9)], [day(9), day(7)])


@pytest.mark.parametrize(("first", "second"), [(1, 3), (3, 1)])
def test_a_certificate_whose_day_was_corrected_holds_from_the_right_day_on(first: float, second: float) -> None:
    """Recorded on day 4 as performed on one day, on day 6 as on another: on day 2 it is in force where the earlier of them is known."""
    rows = [_certificate("C1", first, recorded=4), _certificate("C1", second, recorded=6)]
    numbers = [None if (found := _known(rows, 2, by)) is None else found[1] for by in (3, 4, 6)]
    assert numbers == [None, *(day(1) if performed == 1 else None for performed in (first, second))]
    assert _known(rows, 3) == ("C1", day(second), day(second + 4), True)
    assert Certificates(rows).known_times("LC", at=day(2), after=day(4)) == {day(6)}
    found = Certificates([*rows, _certificate("C0", 2)]).latest("LC")
    assert found is not None
    assert found.certificate_id == ("C1" if second == 3 else "C0")


def test_a_certificate_corrected_to_another_instrument_holds_there_from_then_on() -> None:
    """On day 1 the flow and on day 2 the lamp were recorded for LC; on day 5 the flow for LD, on day 7 for LC again."""
    flow = [_certificate("C1", 0, recorded=1), *(_certificate("C1", 0, recorded=at) for at in (5, 7))]
    flow[1] |= {"instrument_id": "LD", "outcome": "fail"}
    lamp = _certificate("C1", 0, recorded=2, parameter="lamp", valid_until_utc=day(3))
    for rows in permutations([*flow[:2], lamp]):
        certificates = Certificates(rows)

        def known(instrument: str, by: float | None, certificates: Certificates = certificates) -> tuple[bool, datetime | None] | None:
            found = certificates.in_force(instrument, at=day(3), known_by=None if by is None else day(by))
            return None if found is None else (found.passed, found.valid_until_utc)

        assert [known("LC", by) for by in (0, 1, 4, 5, None)] == [None, (True, day(4)), *[(True, day(3))] * 3]
        assert [known("LD", by) for by in (4, 5, None)] == [None, (False, day(4)), (False, day(4))]
        assert certificates.known_times("LC", at=day(3), after=day(1)) == {day(2), day(5)}
        assert {(row["instrument_id"], row["parameter"]) for row in parameters_in_force(rows)} == {("LD", "flow"), ("LC", "lamp")}
        assert instruments_of_certificates(rows) == {"C1": "LD"}
    left = Certificates(flow[:2])
    assert [left.in_force("LC", at=day(3), known_by=day(by)) is None for by in (4, 5)] == [False, True]
    assert left.latest("LC") is None
    assert left.known_times("LC", at=day(3), after=day(1)) == {day(5)}, "that it was of another instrument"
    back = Certificates(flow)
    assert [back.in_force("LC", at=day(3), known_by=day(by)) is None for by in (4, 5, 6, 7)] == [False, True, True, False]
    assert back.latest("LD") is None
    assert instruments_of_certificates(flow) == {"C1": "LC"}


def test_a_certificate_of_one_file_may_be_of_several_instruments() -> None:
    rows = [_certificate("C1", 0, source_row=1), _certificate("C1", 0, source_row=2, instrument_id="LD")]
    assert [latest is not None for latest in map(Certificates(rows).latest, ("LC", "LD", "LE"))] == [True, True, False]


def test_a_parameter_at_several_points_of_one_file_fails_at_any_of_them() -> None:
    """Flow at 1 and at 2 mL/min on one sheet: neither corrects the other. A later file under the same path replaces both."""
    points = [_certificate("C1", 0, outcome="fail", source_row=1), _certificate("C1", 0, source_row=2)]
    assert _known(points, 1) == ("C1", day(0), day(4), False)
    later = [{**row, "outcome": "pass", "ingest_batch": row["ingest_batch"] + 1, "source_sha256": "later"} for row in points]
    assert _known([*later, *points], 1) == ("C1", day(0), day(4), True)
    assert len(parameters_in_force([*points, *later])) == 2


def _limit(low: float, effective: float, recorded: float) -> dict[str, Any]:
    test = {"product": "P", "method_id": "M", "analyte": "API", "unit": "%", "spec_high": None}
    return {**RECENT, **test, "spec_low": low, "effective_from_utc": day(effective), "recorded_at_utc": day(recorded)}


def test_a_limit_recorded_later_judges_from_its_record_on() -> None:
    limits = Specifications([_limit(95, 0, 0), _limit(97, 2, 5)])

    def low(at: float, known_by: float | None) -> float | None:
        found = limits.limit("P", "M", "API", at=day(at), known_by=None if known_by is None else day(known_by))
        return None if found is None else found["spec_low"]

    assert [low(3, 4), low(3, 5), low(1, None), low(-1, None)] == [95, 97, 95, None]
    assert limits.known_times("P", "M") == {day(0), day(5)}
    assert [row["spec_low"] for row in limits.limits_of_lot("P", day(1))] == [95]
    assert [row["spec_low"] for row in limits.limits_of_lot("P", day(-9))] == [95], "a lot made before any limit is held to the first"


def test_a_record_made_later_changes_nothing_of_the_context_known_before() -> None:
    plan = {
        **RECENT, "injection_name": "i", "sequence_id": "Q", "position": 1, "sample_name": "s1", "sample_role": "sample", "replicate": 1,
        "method_id": "M", "instrument_id": "LC", "column_id": "C", "analyst": "Ann", "weight_mg": 10.0, "nominal_weight_mg": 10.0,
        "standard_purity_pct": None, "recorded_at_utc": day(1),
    }  # fmt: skip
    sample = {**RECENT, "sample_name": "s1", "lot_id": "L1", "sample_type": "release", "retest_of": None, "recorded_at_utc": day(3)}
    lot = {**RECENT, "lot_id": "L1", "product": "P", "recorded_at_utc": day(5)}
    records = LimsRecords([{**plan, "weight_mg": 11.0, "recorded_at_utc": day(7), "source_row": 2}, plan], [sample], [lot])
    seen = [records.context("i", known_by=day(number), sample_name="stated") for number in (0, 1, 3, 5, 7)]
    assert [context.sample_role for context in seen] == ["unknown", *["sample"] * 4]
    assert [context.sample_name for context in seen] == ["stated", *["s1"] * 4]
    assert [context.lot_id for context in seen] == [None, None, "L1", "L1", "L1"]
    assert [context.product for context in seen] == [None, None, None, "P", "P"]
    assert [context.weight_mg for context in seen] == [None, 10.0, 10.0, 10.0, 11.0]
    assert records.known_times("i") == {day(1), day(3), day(5), day(7)}


def test_of_hundreds_of_certificates_the_one_holds_that_the_rule_chooses() -> None:
    random = Random(5)
    rows = [
        _certificate(f"C{number:03d}", random.randrange(60), recorded=random.choice([None, random.randrange(90)])) for number in range(300)
    ]
    versions = [
        Version(
            effective=row["performed_at_utc"],
            known=row["recorded_at_utc"] or row["performed_at_utc"],
            order=(row["certificate_id"],),
            row=row["certificate_id"],
        )
        for row in rows
    ]
    certificates = Certificates(rows)
    for at in range(0, 70, 3):
        for by in (None, *range(0, 100, 7)):
            wanted = in_force(versions, at=day(at), known_by=None if by is None else day(by))
            found = certificates.in_force("LC", at=day(at), known_by=None if by is None else day(by))
            assert (None if found is None else found.certificate_id) == (None if wanted is None else wanted.row)
        known = {version.known for version in versions if version.effective <= day(at) and version.known > day(20)}
        assert certificates.known_times("LC", at=day(at), after=day(20)) == known


def test_certificates_that_others_had_followed_are_not_needed() -> None:
    """Whatever is asked from a moment on, those that count since then answer as all do: five hundred random histories."""
    rng = Random(7)
    narrowed = 0
    for _ in range(500):
        rows = [
            _certificate(f"C{rng.randrange(6)}", rng.randrange(12), recorded=rng.choice([None, rng.randrange(14)]), parameter=f"p{row % 2}")
            | {"outcome": rng.choice(["pass", "fail"]), "source_row": row, "instrument_id": rng.choice(["LC", "LC", "LC", "LD"])}
            for row in range(rng.randrange(1, 14))
        ]
        since = rng.randrange(14)
        frame = pl.DataFrame(rows, infer_schema_length=None)
        counting = counting_since(frame, pl.DataFrame({"instrument_id": ["LC"], "since": [day(since)]})).to_dicts()
        narrowed += len(counting) < len(rows)
        every, some = Certificates(rows), Certificates(counting)
        for at in range(since, 16):
            for known_by in (*map(day, range(since, 16)), None):
                assert some.in_force("LC", at=day(at), known_by=known_by) == every.in_force("LC", at=day(at), known_by=known_by)
        now = pl.DataFrame({"instrument_id": ["LC"], "since": [None]}, schema_overrides={"since": pl.Datetime("us", "UTC")})
        assert Certificates(counting_since(frame, now).to_dicts()).latest("LC") == every.latest("LC")
    assert narrowed > 100
