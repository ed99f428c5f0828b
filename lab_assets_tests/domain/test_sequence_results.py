"""Reportable values by hand: one sequence at a time, no Spark; and which versions a result has as facts become known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from lab_assets.domain.entered_results import EnteredResults
from lab_assets.domain.in_force import Facts
from lab_assets.domain.processing_methods import WINDOW_COLUMNS, ProcessingMethods, WindowSet
from lab_assets.domain.result_versions import result_id, state_of
from lab_assets.domain.run_context import LimsRecords
from lab_assets.domain.sequence_results import MeasuredRun, SequenceResults
from lab_assets.domain.specifications import Specifications

T0 = datetime(2025, 3, 1, 8, 0, tzinfo=UTC)
BEFORE = T0 - timedelta(days=1)
RECENT = {"source_file": "f.csv", "ingest_batch": 1, "source_sha256": "sha", "source_row": 1}
EXTERNAL = {
    **dict.fromkeys(WINDOW_COLUMNS),
    "analyte": "API",
    "channel": None,
    "integration": "detected",
    "calibration": "external_standard",
    "slope": None,
    "intercept": None,
    "relative_response": None,
    "reference_analyte": None,
    "result_unit": "%",
}
LIMIT = {
    **RECENT,
    "product": "P",
    "method_id": "M",
    "analyte": "API",
    "spec_low": 95.0,
    "spec_high": 105.0,
    "unit": "%",
    "effective_from_utc": T0 - timedelta(days=100),
    "recorded_at_utc": T0 - timedelta(days=100),
}
SAMPLE = {"lot_id": "L", "sample_type": "release", "retest_of": None, "recorded_at_utc": BEFORE, **RECENT}
LOT = {"lot_id": "L", "product": "P", "recorded_at_utc": BEFORE, **RECENT}


class Row:
    """One planned injection with its run: what a worklist and a trace say of it."""

    def __init__(
        self,
        name: str,
        role: str,
        area: float | None,
        *,
        weight: float,
        nominal: float,
        minutes: int = 0,
        is_run: bool = True,
        **other: Any,
    ) -> None:
        self.plan = {
            **RECENT,
            "injection_name": name,
            "sequence_id": "S",
            "position": 1,
            "sample_name": name,
            "sample_role": role,
            "replicate": 1,
            "method_id": "M",
            "instrument_id": "LC",
            "column_id": "C",
            "analyst": None,
            "weight_mg": weight,
            "nominal_weight_mg": nominal,
            "standard_purity_pct": 100.0,
            "recorded_at_utc": BEFORE,
            **other,
        }
        self.area = area
        self.at = T0 + timedelta(minutes=minutes)
        self.is_run = is_run

    def run(self, processing_ids: Sequence[str]) -> MeasuredRun:
        peaks = [] if self.area is None else [{"channel": "UV", "analyte": "API", "area": self.area}]
        return MeasuredRun(
            injection_id=self.plan["injection_name"],
            injection_name=self.plan["injection_name"],
            source="hplc",
            injected_at_utc=self.at,
            known_time_utc=self.at + timedelta(minutes=8),
            stated_sample_name=None,
            stated_method_name=None,
            peaks=dict.fromkeys(processing_ids, peaks),
        )


def _calculate(
    rows: Sequence[Row],
    window: dict[str, Any] = EXTERNAL,
    *,
    plans: Sequence[dict[str, Any]] = (),
    samples: Sequence[dict[str, Any]] | None = None,
    lots: Sequence[dict[str, Any]] = (LOT,),
) -> list[dict[str, Any]]:
    return _results(rows, window, plans=plans, samples=samples, lots=lots).rows([row.plan["injection_name"] for row in rows])


def _results(
    rows: Sequence[Row],
    window: dict[str, Any] = EXTERNAL,
    *,
    plans: Sequence[dict[str, Any]] = (),
    samples: Sequence[dict[str, Any]] | None = None,
    lots: Sequence[dict[str, Any]] = (LOT,),
) -> SequenceResults:
    stated = {"method_name": "M", "source": "cds", "effective_from_utc": None, "recorded_at_utc": None, "ingested_at_utc": BEFORE}
    methods = ProcessingMethods([{**RECENT, **stated, **window}])
    samples = [{**SAMPLE, "sample_name": row.plan["sample_name"]} for row in rows] if samples is None else samples
    records = LimsRecords([*(row.plan for row in rows), *plans], samples, lots)
    runs = [row.run([WindowSet.of([window]).processing_id]) for row in rows if row.is_run]
    return SequenceResults(runs, records, methods, Specifications([LIMIT]))


def standard(name: str = "std", minutes: int = 0, **more: Any) -> Row:
    return Row(name, "standard", 100.0, weight=50.0, nominal=50.0, minutes=minutes, **more)


def sample(area: float = 94.0) -> Row:
    return Row("sample", "sample", area, weight=100.0, nominal=100.0, minutes=20)


def test_external_standard_by_hand() -> None:
    """Standards: 100 and 104 for 50 and 52 mg, so 2 per mg; sample: 100 * 94 / 2 / 100 mg * (100 mg / 50 mg) = 94 %."""
    rows = [
        Row("std1", "standard", 100.0, weight=50.0, nominal=50.0),
        Row("std2", "standard", 104.0, weight=52.0, nominal=50.0, minutes=60),
        Row("sample", "sample", 94.0, weight=100.0, nominal=100.0, minutes=20),
    ]
    (result,) = _calculate(rows)
    assert result["value"] == pytest.approx(94.0)
    assert result["state"] == "fail"
    assert (result["spec_low"], result["spec_high"], result["unit"]) == (95.0, 105.0, "%")


def test_a_result_is_known_when_its_last_standard_is() -> None:
    """The closing standard starts at 60 min and runs 8 min."""
    rows = [
        Row("std", "standard", 100.0, weight=50.0, nominal=50.0, minutes=60),
        Row("sample", "sample", 100.0, weight=100.0, nominal=100.0, minutes=20),
    ]
    (result,) = _calculate(rows)
    assert result["known_time_utc"] == T0 + timedelta(minutes=68)


def test_what_was_not_detected_counts_as_zero() -> None:
    rows = [
        Row("std", "standard", 100.0, weight=50.0, nominal=50.0),
        Row("sample", "sample", None, weight=100.0, nominal=100.0, minutes=20),
    ]
    (result,) = _calculate(rows)
    assert result["value"] == 0.0


def test_without_standards_there_is_no_value() -> None:
    assert _calculate([Row("sample", "sample", 94.0, weight=100.0, nominal=100.0)]) == []


def test_blanks_and_standards_have_no_result() -> None:
    rows = [Row("std", "standard", 100.0, weight=50.0, nominal=50.0), Row("blank", "blank", 1.0, weight=1.0, nominal=1.0)]
    assert _calculate(rows) == []


def test_a_response_line_gives_the_published_concentration() -> None:
    """A1, formate on RID-10A of actolonen/Analysis_Lab: 8.36892815469249 -> 3.51566343446463."""
    line = {**EXTERNAL, "calibration": "line", "slope": 0.0729200173994742, "intercept": 2.9054010478095, "result_unit": None}
    (result,) = _calculate([Row("A1", "unknown", 8.36892815469249, weight=0.0, nominal=0.0)], line)
    assert result["value"] == pytest.approx(3.51566343446463, rel=1e-12)


def test_the_limit_in_force_counts() -> None:
    later = {**LIMIT, "spec_low": 90.0, "effective_from_utc": T0 + timedelta(days=1), "recorded_at_utc": T0}
    limits = Specifications([later, LIMIT])
    in_force = [limits.limit("P", "M", "API", at=moment) for moment in (T0, T0 + timedelta(days=2))]
    assert [limit["spec_low"] for limit in in_force if limit is not None] == [95.0, 90.0]
    assert limits.limit("P", "M", "API", at=T0 - timedelta(days=500)) is None


@pytest.mark.parametrize(("value", "state"), [(95.0, "pass"), (105.0, "pass"), (94.999, "fail"), (105.001, "fail")])
def test_a_value_on_a_limit_passes(value: float, state: str) -> None:
    assert state_of(value, 95.0, 105.0) == state


def test_a_result_without_limits_is_not_judged() -> None:
    assert state_of(1.0, None, None) == "no_spec"


def test_result_ids_follow_from_what_they_are_results_of() -> None:
    assert result_id("inj", "API", "UV") == result_id("inj", "API", "UV") != result_id("inj", "API", "RI")


# --- versions


def _versions(rows: Sequence[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in sorted(rows, key=lambda row: row["result_version"])]


def test_a_lot_recorded_after_the_run_adds_a_judged_version_beside_the_unjudged() -> None:
    late = T0 + timedelta(days=2)
    rows = _calculate([standard(), sample()], lots=[{**LOT, "recorded_at_utc": late}])
    assert _versions(rows, "result_version", "state", "known_time_utc", "is_current", "superseded_by") == [
        (1, "no_spec", T0 + timedelta(minutes=28), False, 2),
        (2, "fail", late, True, None),
    ]
    assert rows[0]["change_reason"] is None
    assert rows[1]["change_reason"] == "lot recorded at 2025-03-03 08:00:00 UTC"


def test_a_corrected_weight_adds_a_version_and_keeps_the_earlier_value() -> None:
    """98 instead of 100 mg taken: 100 * 94 / 2 / 98 * 2 = 95.918 %, within the limits."""
    corrected = T0 + timedelta(days=3)
    first = sample()
    rows = _calculate([standard(), first], plans=[{**first.plan, "weight_mg": 98.0, "recorded_at_utc": corrected, "source_row": 2}])
    versions = _versions(rows, "value", "state", "known_time_utc", "is_current")
    assert versions == [
        (pytest.approx(94.0), "fail", T0 + timedelta(minutes=28), False),
        (pytest.approx(94.0 * 100 / 98), "pass", corrected, True),
    ]
    assert rows[1]["change_reason"] == "worklist entry recorded at 2025-03-04 08:00:00 UTC"


def test_a_correction_made_before_the_run_ended_is_no_version() -> None:
    first = sample()
    plans = [{**first.plan, "weight_mg": 98.0, "recorded_at_utc": T0 + timedelta(minutes=1), "source_row": 2}]
    (row,) = _calculate([standard(), first], plans=plans)
    assert (row["result_version"], row["value"]) == (1, pytest.approx(94.0 * 100 / 98))


def test_a_value_is_unjudged_while_a_planned_standard_is_missing() -> None:
    missing = standard("closing", minutes=60, is_run=False)
    (row,) = _calculate([standard(), sample(), missing])
    assert (row["state"], row["known_time_utc"], row["is_current"], row["value"]) == ("unjudged", None, True, pytest.approx(94.0))
    (row,) = _calculate([standard(), sample(), standard("closing", minutes=60)])
    assert (row["state"], row["known_time_utc"]) == ("fail", T0 + timedelta(minutes=68))


def test_a_standard_planned_after_the_run_leaves_what_was_known() -> None:
    added = T0 + timedelta(days=1)
    rows = _calculate([standard(), sample(), standard("more", minutes=60, is_run=False, recorded_at_utc=added)])
    assert _versions(rows, "state", "known_time_utc", "is_current", "superseded_by", "change_reason") == [
        ("fail", T0 + timedelta(minutes=28), False, 2, None),
        ("unjudged", None, True, None, "a planned standard of the sequence is still to come"),
    ]


def test_a_result_of_a_run_that_was_no_sample_is_withdrawn() -> None:
    """The worklist is corrected to a standard after a day, and back after two: what was known in between is told."""
    first, day = sample(), timedelta(days=1)
    as_standard = {**first.plan, "sample_role": "standard", "recorded_at_utc": T0 + day, "source_row": 2}
    back = {**first.plan, "recorded_at_utc": T0 + 2 * day, "source_row": 3}
    (row,) = _calculate([standard(), first], plans=[as_standard])
    assert (row["state"], row["is_current"], row["withdrawn_at_utc"], row["superseded_by"]) == ("fail", False, T0 + day, None)
    rows = _calculate([standard(), first], plans=[as_standard, back])
    assert _versions(rows, "state", "known_time_utc", "withdrawn_at_utc", "superseded_by", "is_current") == [
        ("fail", T0 + timedelta(minutes=28), T0 + day, 2, False),
        ("fail", T0 + 2 * day, None, None, True),
    ]


def test_the_order_of_facts_is_irrelevant() -> None:
    """Two weights, two lots of one sample, two standards: in every order the same versions, to the last digit."""
    first, late = sample(), T0 + timedelta(days=1)
    weights = [{**first.plan, "weight_mg": weight, "recorded_at_utc": late, "source_row": row} for row, weight in ((2, 98.0), (3, 97.0))]
    samples = [{**SAMPLE, "sample_name": "sample"}, {**SAMPLE, "sample_name": "sample", "lot_id": "M", "recorded_at_utc": late}]
    lots = [LOT, {**LOT, "lot_id": "M", "product": "Q", "recorded_at_utc": late + timedelta(days=1)}]
    standards = [standard("a"), standard("b", minutes=7)]
    seen = {
        repr(_calculate([*runs, first], plans=planned, samples=stored, lots=made))
        for runs in permutations(standards)
        for planned in permutations(weights)
        for stored in permutations(samples)
        for made in permutations(lots)
    }
    assert len(seen) == 1


def entry(value: float = 90.0, **more: Any) -> dict[str, Any]:
    row = {"result_id": "r1", "sample_name": "s", "method_id": "M", "analyte": "API", "value": value, "unit": "%", "replicate": 1}
    return {**RECENT, **row, "measured_at_utc": T0, "recorded_at_utc": T0 + timedelta(hours=1), **more}


def _entered(entries: list[dict[str, Any]], *, lots: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    records = LimsRecords((), [{**SAMPLE, "sample_name": "s"}], lots)
    facts = Facts.of_rows(entries, ("result_id",), known="recorded_at_utc")
    return EnteredResults(records, Specifications([LIMIT])).rows(entries, facts)


def test_an_entered_result_before_its_lot_is_judged_when_the_lot_is_known() -> None:
    assert [row["state"] for row in _entered([entry()], lots=[])] == ["no_spec"]
    late = T0 + timedelta(days=1)
    rows = _entered([entry()], lots=[{**LOT, "recorded_at_utc": late}])
    assert _versions(rows, "state", "is_current", "known_time_utc") == [("no_spec", False, T0 + timedelta(hours=1)), ("fail", True, late)]
    (row,) = _entered([entry()], lots=[LOT])
    assert (row["state"], row["known_time_utc"]) == ("fail", T0 + timedelta(hours=1))


def test_a_corrected_entry_keeps_what_was_entered_first() -> None:
    later = T0 + timedelta(days=1)
    rows = _entered([entry(99.0, recorded_at_utc=later, source_row=2), entry(90.0)], lots=[LOT])
    assert _versions(rows, "value", "state", "change_reason") == [
        (90.0, "fail", None),
        (99.0, "pass", "entry corrected at 2025-03-02 08:00:00 UTC"),
    ]


def test_each_sequence_looks_at_its_own_runs_only() -> None:
    """A backlog of thousands of sequences would be gone through once for each of them."""
    rows = [
        row
        for number in range(4)
        for row in (
            Row(f"std{number}", "standard", 100.0, weight=50.0, nominal=50.0, sequence_id=f"S{number}"),
            Row(f"sample{number}", "sample", 100.0, weight=100.0, nominal=100.0, minutes=20, sequence_id=f"S{number}"),
        )
    ]

    class Counted(list[MeasuredRun]):
        times = 0

        def __iter__(self) -> Iterator[MeasuredRun]:
            Counted.times += 1
            return super().__iter__()

    results = _results(rows)
    results._runs = Counted(results._runs)
    made = results.rows([row.plan["injection_name"] for row in rows])
    assert [(row["injection_id"], row["value"]) for row in made] == [(f"sample{number}", pytest.approx(100.0)) for number in range(4)]
    assert Counted.times == 1
