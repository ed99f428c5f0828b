"""The one gatherer of a run's facts: what was known of a run at a moment, whoever asks and in whichever order rows are read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.domain.in_force import Facts
from lab_assets.domain.processing_methods import WINDOW_COLUMNS, ProcessingMethods
from lab_assets.domain.run_context import LimsRecords
from lab_assets.domain.specifications import Specifications
from lab_assets.features.run_facts import LAST_STANDARDS, STANDARDS_LOOKBACK, RunBook, RunFacts, RunIdentity, SeenRun

T0 = datetime(2025, 3, 1, 8, tzinfo=UTC)
BEFORE = T0 - timedelta(days=400)
LOOKED_AT = T0 + timedelta(minutes=10)
RECENT = {"source_file": "f", "ingest_batch": 1, "source_sha256": "s", "source_row": 1, "source": "cds"}
STATED = {"method_name": "M", "effective_from_utc": None, "recorded_at_utc": BEFORE, "ingested_at_utc": BEFORE}
WINDOW = {
    **RECENT, **STATED, **dict.fromkeys(WINDOW_COLUMNS), "analyte": "API", "window_start": 4.0, "window_end": 5.0, "window_unit": "min",
    "calibration": "external_standard",
}  # fmt: skip
LIMIT = {
    **RECENT, "product": "P", "method_id": "M", "analyte": "API", "spec_low": 95.0, "spec_high": 105.0, "unit": "%",
    "effective_from_utc": BEFORE, "recorded_at_utc": BEFORE,
}  # fmt: skip


def minute(number: float) -> datetime:
    return T0 + timedelta(minutes=number)


def plan(name: str, role: str = "sample", *, sequence: str = "Q", recorded: datetime = BEFORE, **more: Any) -> dict[str, Any]:
    row = {
        **RECENT, "injection_name": name, "sequence_id": sequence, "position": 1, "sample_name": "S", "sample_role": role, "replicate": 1,
        "method_id": "M", "instrument_id": "LC", "column_id": "C", "analyst": None, "weight_mg": 50.0, "nominal_weight_mg": 50.0,
        "standard_purity_pct": 100.0, "recorded_at_utc": recorded,
    }  # fmt: skip
    return row | more


def run(name: str, started: datetime = T0, **more: Any) -> RunIdentity:
    return RunIdentity(injection_id=name, injection_name=name, source="hplc", started_at_utc=started, instrument_id="LC", **more)


def seen(name: str, ended: datetime, area: float, *, processings: Sequence[str]) -> SeenRun:
    peaks = [
        {
            "analyte": "API",
            "channel": "UV",
            "area": area,
            "height": 1.0,
            "retention_time_min": 4.5,
            "area_unit": "mAU*min",
            "height_unit": "mAU",
        }
    ]
    return SeenRun(run=run(name, ended - timedelta(minutes=8)), ended_at_utc=ended, peaks=dict.fromkeys(processings, peaks))


def book(
    plans: Sequence[dict[str, Any]],
    standards: Sequence[tuple[str, datetime, float]] = (),
    *,
    windows: Sequence[dict[str, Any]] = (WINDOW,),
    limits: Sequence[dict[str, Any]] = (LIMIT,),
    lots: Sequence[dict[str, Any]] | None = None,
) -> RunBook:
    methods = ProcessingMethods(windows)
    ids = [each.processing_id for each in methods.every_windows("M", "hplc")]
    samples = [{**RECENT, "sample_name": "S", "lot_id": "L", "sample_type": "release", "retest_of": None, "recorded_at_utc": BEFORE}]
    made = [{**RECENT, "lot_id": "L", "product": "P", "recorded_at_utc": BEFORE}] if lots is None else lots
    ran = [seen(name, ended, area, processings=ids) for name, ended, area in standards]
    return RunBook(LimsRecords(plans, samples, made), methods, Specifications(limits), ran)


def facts(of: RunBook, *, at: datetime = LOOKED_AT, known: datetime | None = None) -> RunFacts:
    return of.facts(run("a"), seen_by=at, known_by=known or at)


def areas(of: RunFacts) -> list[float]:
    return [row["area"] for row in of.standards]


def test_of_a_revised_method_only_the_windows_in_force_are_used() -> None:
    """One revision: the run before it is seen by [4, 5], the run after it by [4.2, 5], and never by both."""
    revised = {**WINDOW, "window_start": 4.2, "effective_from_utc": minute(60), "source_sha256": "two"}
    of = book([plan("a")], windows=[revised, WINDOW])
    assert [row["window_start"] for row in of.facts(run("a"), seen_by=minute(70), known_by=minute(70)).windows.rows] == [4.0]
    later = of.facts(run("a", minute(61)), seen_by=minute(70), known_by=minute(70))
    assert [row["window_start"] for row in later.windows.rows] == [4.2]


def test_a_revision_recorded_later_is_not_known_before() -> None:
    revised = {**WINDOW, "window_start": 4.2, "effective_from_utc": BEFORE, "recorded_at_utc": minute(30), "source_sha256": "two"}
    of = book([plan("a")], windows=[WINDOW, revised])
    starts = [facts(of, known=minute(known)).windows.rows[0]["window_start"] for known in (29, 30)]
    assert starts == [4.0, 4.2]


def test_standards_of_the_own_sequence_come_before_those_of_the_instrument() -> None:
    plans = [plan("a"), plan("std", "standard"), plan("old", "standard", sequence="earlier")]
    of = book(plans, [("std", minute(5), 100.0), ("old", minute(-60), 90.0)])
    assert areas(facts(of)) == [100.0]
    assert areas(facts(of, at=minute(4))) == [90.0], "the own standard was not over yet: the instrument's last one counts"


def test_without_standards_of_its_own_a_run_is_measured_against_the_last_ones() -> None:
    """Six earlier ones: the last five count; what is older than the lookback, of another method or not over yet does not."""
    names = [(f"s{number}", minute(-100 + number), float(number)) for number in range(LAST_STANDARDS + 1)]
    others = [("late", minute(11), 7e3), ("ancient", T0 - STANDARDS_LOOKBACK, 8e3), ("other", minute(-1), 9e3)]
    plans = [plan("a"), *(plan(name, "standard", sequence=name) for name, _, _ in [*names, *others[:2]])]
    plans.append(plan("other", "standard", sequence="other", method_id="OTHER"))
    assert sorted(areas(facts(book(plans, [*names, *others])))) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_the_order_in_which_rows_are_read_does_not_matter_to_the_last_digit() -> None:
    standards = [("s1", minute(1), 100.1), ("s2", minute(2), 100.2), ("s3", minute(3), 99.7)]
    plans = [plan("a"), *(plan(name, "standard") for name, _, _ in standards)]
    seen_in_order = set()
    for order in permutations(standards):
        for planned in (plans, plans[::-1]):
            found = facts(book(planned, order))
            expected = found.expectation(run_time_min=8.0, channel="UV")
            assert expected is not None
            seen_in_order.add((repr(found), expected.reference_area["API"]))
    assert len(seen_in_order) == 1


def test_a_record_made_later_gives_a_further_moment_and_changes_no_earlier_answer() -> None:
    """Weight corrected after 30 minutes, the lot recorded after 40: both are moments; asked as known before, the answer is as before."""
    plans = [plan("a"), plan("std", "standard")]
    lot = {**RECENT, "lot_id": "L", "product": "P", "recorded_at_utc": minute(40)}
    corrected = plan("a", recorded=minute(30), weight_mg=51.0, source_row=2)
    before = book(plans, [("std", minute(5), 100.0)], lots=[])
    after = book([corrected, *plans], [("std", minute(5), 100.0)], lots=[lot])
    assert facts(after, known=minute(29)) == facts(before, known=minute(29))
    assert after.times(run("a"), first=minute(10), last=minute(10)).known_after(minute(10)) == [minute(30), minute(40)]
    weights = [facts(after, known=minute(known)).context.weight_mg for known in (29, 30, 40)]
    assert weights == [50.0, 51.0, 51.0]
    assert [list(facts(after, known=minute(known)).limits) for known in (39, 40)] == [[], ["API"]]


def test_a_standard_that_ends_later_is_never_seen_whenever_one_looks() -> None:
    """What was seen at a checkpoint stays so: looked at a day later, the closing standard is still not part of it."""
    plans = [plan("a"), plan("std", "standard"), plan("closing", "standard")]
    of = book(plans, [("std", minute(5), 100.0), ("closing", minute(60), 300.0)])
    assert areas(facts(of, at=minute(10), known=minute(5000))) == [100.0]


def test_a_run_is_no_standard_of_itself() -> None:
    of = book([plan("a", "standard")], [("a", minute(8), 100.0)])
    assert areas(facts(of, at=minute(9))) == []


def test_a_request_states_what_no_record_knows() -> None:
    of = book([], lots=[{**RECENT, "lot_id": "X", "product": "P", "recorded_at_utc": BEFORE}])
    asked = RunIdentity(
        injection_id="new", injection_name="new", source="", started_at_utc=None, stated_method_name="M", stated_sample_name="S",
        stated_lot_id="X",
    )  # fmt: skip
    found = of.facts(asked, seen_by=minute(10), known_by=minute(10))
    assert (found.context.method_id, found.context.lot_id, found.context.product, list(found.limits)) == ("M", "X", "P", ["API"])
    assert found.expectation(run_time_min=8.0, channel=None) is not None
    unknown = of.facts(RunIdentity(injection_id="n", injection_name="n", source="", started_at_utc=None), seen_by=T0, known_by=T0)
    assert unknown.expectation(run_time_min=8.0, channel=None) is None


def test_the_external_standard_by_hand() -> None:
    """Standard 200 for 50 mg of pure substance; 50 mg of sample at the same nominal weight: 100 % is an area of 200."""
    of = book([plan("a"), plan("std", "standard")], [("std", minute(5), 200.0)])
    expected = facts(of).expectation(run_time_min=8.0, channel="UV")
    assert expected is not None
    assert expected.reference_area["API"] == pytest.approx(200.0)


def test_when_a_standard_became_known_is_asked_once_whoever_measures_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an instrument every run asks for the standards of the last weeks: some hundred, for each checkpoint anew."""
    asked: list[Any] = []
    known_times = Facts.known_times

    def counted(self: Facts, key: Any) -> set[datetime]:
        asked.append(key)
        return known_times(self, key)

    monkeypatch.setattr(Facts, "known_times", counted)
    of = book([plan("a"), plan("b"), plan("std", "standard", recorded=minute(7))], [("std", minute(5), 100.0)])
    for name in ("a", "b"):
        for later in (10, 20):
            times = of.times(run(name), first=minute(5), last=minute(later))
            assert times.seen == [minute(5)]
            assert minute(7) in times.known
    assert asked.count("std") == 1


@given(
    ends=st.lists(st.integers(-2, 12), min_size=1, max_size=8),
    old=st.lists(st.integers(-2, 12), max_size=8),
    corrected=st.lists(st.tuples(st.integers(0, 15), st.integers(-5, 40), st.sampled_from(["standard", "sample"])), max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_by_two_moments_of_one_stage_a_run_has_the_same_facts(
    ends: list[int], old: list[int], corrected: list[tuple[int, int, str]]
) -> None:
    """Brute force over every pair of minutes: standards that end meanwhile, that get too old meanwhile, that change their role later."""
    runs = [(f"n{number}", minute(end), float(number)) for number, end in enumerate(ends)]
    runs += [(f"o{number}", minute(end) - STANDARDS_LOOKBACK, 100.0 + number) for number, end in enumerate(old)]
    plans = [plan("a"), *(plan(name, "standard", sequence=name) for name, _, _ in runs)]
    for which, when, role in corrected:
        name = runs[which % len(runs)][0]
        plans.append(plan(name, role, sequence=name, recorded=minute(when), source_row=2))
    of = book(plans, runs)
    times = of.times(run("a"), first=minute(0), last=minute(10))
    found: dict[tuple[int, int], RunFacts] = {}
    for seen_by in map(minute, range(11)):
        for known_by in (seen_by, *times.known_after(seen_by), minute(50)):
            stage = times.stage(seen_by=seen_by, known_by=known_by)
            assert found.setdefault(stage, facts(of, at=seen_by, known=known_by)) == facts(of, at=seen_by, known=known_by)
    for seen_by in map(minute, range(11)):
        moments = [seen_by, *times.known_after(seen_by)]
        for known_by in map(minute, range(int((seen_by - T0).seconds / 60), 50)):
            before = max(moment for moment in moments if moment <= known_by)
            assert facts(of, at=seen_by, known=known_by) == facts(of, at=seen_by, known=before)
