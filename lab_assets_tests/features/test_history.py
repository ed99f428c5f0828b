"""State of instruments and knowledge of lots, on rows a person can follow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import stdev
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.features import INSTRUMENT_HISTORY, LOT_HISTORY
from lab_assets.features.history_of_instruments import INSTRUMENT_HISTORY_INPUT, instrument_history
from lab_assets.features.history_of_lots import LOT_HISTORY_INPUT, lot_history

T0 = datetime(2025, 1, 1, tzinfo=UTC)
UTC_US = pl.Datetime("us", "UTC")
RUN_SCHEMA: dict[str, Any] = {
    name: UTC_US if name.endswith("_utc") else pl.String if name.endswith(("_id", "_role")) else pl.Float64
    for name in INSTRUMENT_HISTORY_INPUT
}
RESULT_SCHEMA: dict[str, Any] = {
    name: UTC_US
    if name.endswith("_utc")
    else pl.Int64
    if name == "replicate"
    else pl.Float64
    if name in {"value", "spec_low", "spec_high"}
    else pl.String
    for name in LOT_HISTORY_INPUT
}


def run(number: int, *, hours: float | None = None, known_after_hours: float = 0.2, **more: Any) -> dict[str, Any]:
    at = T0 + timedelta(hours=number if hours is None else hours)
    base = {"injection_id": f"i{number:03d}", "instrument_id": "LC1", "method_id": "ASSAY-01", "column_id": "C1", "sample_role": "sample"}
    return base | {"injected_at_utc": at, "known_time_utc": at + timedelta(hours=known_after_hours)} | more


def history(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return instrument_history(pl.DataFrame(rows, schema=RUN_SCHEMA))


def last(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return history(rows).row(-1, named=True)


def test_columns_are_those_of_the_contracts():
    """The injection's own name and no other column is added by the one who stores the rows."""
    assert set(history([run(0)]).columns) == set(INSTRUMENT_HISTORY.column_names)
    assert set(lot_history(results([result("2025-01-01")])).columns) == set(LOT_HISTORY.column_names)
    assert instrument_history(pl.DataFrame(schema=RUN_SCHEMA)).height == 0
    assert lot_history(pl.DataFrame(schema=RESULT_SCHEMA)).height == 0


def test_first_injection_knows_little():
    row = last([run(0, plates=9000.0, tailing=1.1)])
    assert row["ih_injections_on_column"] == 1
    assert row["ih_tailing"] == pytest.approx(1.1)
    assert row["ih_plates_ratio"] is None
    assert row["ih_standard_rsd_pct"] is None
    assert row["ih_days_to_calibration_due"] is None
    assert row["event_time_utc"] == T0
    assert row["known_time_utc"] == T0 + timedelta(hours=0.2)


def test_plates_of_the_last_five_against_the_first_five():
    """First five 10 000, last five 8 000."""
    rows = [run(i, plates=10_000.0 if i < 5 else 8_000.0) for i in range(10)]
    assert last(rows)["ih_plates_ratio"] == pytest.approx(0.8)
    assert last(rows[:5])["ih_plates_ratio"] == pytest.approx(1.0)


def test_a_new_column_starts_anew():
    rows = [run(i, plates=10_000.0, tailing=2.0) for i in range(6)] + [run(6, column_id="C2", plates=9_000.0, tailing=1.0)]
    row = last(rows)
    assert row["ih_injections_on_column"] == 1
    assert row["ih_tailing"] == pytest.approx(1.0)
    assert row["ih_plates_ratio"] is None


def test_pressure_ripple_mean_and_slope():
    """Ripple 0.0, 0.1 ... 0.9 %: the last five average 0.7 and it rises by 1.0 % per 10 runs."""
    row = last([run(i, pressure_ripple_pct=0.1 * i, pressure_mean_bar=200.0 + i) for i in range(10)])
    assert row["ih_pressure_ripple_pct"] == pytest.approx(0.7)
    assert row["ih_pressure_ripple_slope"] == pytest.approx(1.0)
    assert row["ih_pressure_mean_bar"] == pytest.approx(207.0)


def test_pressure_is_of_the_method_ripple_of_the_instrument():
    rows = [
        run(0, pressure_mean_bar=100.0, pressure_ripple_pct=1.0),
        run(1, method_id="RS-01", pressure_mean_bar=300.0, pressure_ripple_pct=3.0),
    ]
    row = last(rows)
    assert row["ih_pressure_mean_bar"] == pytest.approx(300.0)
    assert row["ih_pressure_ripple_pct"] == pytest.approx(2.0)


def test_standards_rsd_and_drift():
    """Ten at 100, three at 102: drift +2 %; RSD of 100 100 102 102 102. A sample's response never counts."""
    rows = [run(i, sample_role="standard", standard_response=100.0 if i < 10 else 102.0) for i in range(13)]
    row = last([*rows, run(13, standard_response=500.0)])
    assert row["ih_standard_drift_pct"] == pytest.approx(2.0)
    assert row["ih_standard_rsd_pct"] == pytest.approx(100 * stdev([100, 100, 102, 102, 102]) / 101.2)


def test_retention_drift_per_day():
    """4.00, 4.04, 4.08 min on three days: 0.04 of 4.04 a day. Within one day none is told."""
    rows = [run(i, hours=24.0 * i, retention_time_min=4.0 + 0.04 * i) for i in range(3)]
    assert last(rows)["ih_retention_drift_pct_per_day"] == pytest.approx(100 * 0.04 / 4.04)
    assert last([run(i, retention_time_min=4.0) for i in range(3)])["ih_retention_drift_pct_per_day"] is None


def test_retention_older_than_thirty_days_is_forgotten():
    later = [run(i, hours=24.0 * (40 + i), retention_time_min=4.0 + 0.04 * (i - 1)) for i in (1, 2, 3)]
    rows = [run(0, hours=0, retention_time_min=9.0), *later]
    assert last(rows)["ih_retention_drift_pct_per_day"] == pytest.approx(100 * 0.04 / 4.04)


def test_days_to_calibration_due():
    row = last([run(0, calibration_due_utc=T0 + timedelta(days=10, hours=12))])
    assert row["ih_days_to_calibration_due"] == pytest.approx(10.5)


def test_order_of_rows_does_not_matter():
    rows = [run(i, plates=9000.0 + i, column_id="C1" if i % 3 else "C2", instrument_id="LC1" if i % 2 else "LC2") for i in range(20)]
    assert history(rows).equals(history(rows[::-1]))


def test_what_was_known_of_an_injection_first_counts_until_its_correction_is_known():
    """The rows known before stay as they were; the state that the last run left is given once more, as known from the correction on."""
    corrected = run(0, known_after_hours=50, tailing=9.0)
    before, after = history([run(0, tailing=1.0), run(1)]), history([run(0, tailing=1.0), run(1), corrected])
    assert before["ih_tailing"].to_list() == [1.0, 1.0]
    assert after.filter(pl.col("known_time_utc") < T0 + timedelta(hours=50)).equals(before)
    (added,) = after.filter(pl.col("known_time_utc") >= T0 + timedelta(hours=50)).to_dicts()
    assert (added["injection_id"], added["event_time_utc"], added["ih_tailing"]) == ("i001", T0 + timedelta(hours=1), 9.0)
    assert added["known_time_utc"] == T0 + timedelta(hours=50)


def test_runs_corrected_together_leave_one_state_of_the_last_run():
    corrected = [run(0, known_after_hours=50, tailing=9.0), run(1, hours=1, known_after_hours=49, tailing=9.0)]
    after = history([run(0, tailing=1.0), run(1, tailing=1.0), run(2, tailing=1.0), *corrected])
    (added,) = after.filter(pl.col("known_time_utc") >= T0 + timedelta(hours=50)).to_dicts()
    assert (added["injection_id"], added["ih_tailing"]) == ("i002", pytest.approx((9 + 9 + 1) / 3))


def test_a_run_that_was_of_another_method_leaves_the_first():
    """Responses 10, 10 and 100; the last was a run of RS-01: ASSAY-01 is as its second run left it (0 %), as known from hour 50 on."""
    standards = [run(n, sample_role="standard", standard_response=response) for n, response in enumerate((10.0, 10.0, 100.0))]
    moved = standards[2] | {"method_id": "RS-01", "known_time_utc": T0 + timedelta(hours=50)}
    before, after = history(standards), history([*standards, moved])
    added = after.filter(pl.col("known_time_utc") >= T0 + timedelta(hours=50)).sort("method_id").to_dicts()
    assert after.filter(pl.col("known_time_utc") < T0 + timedelta(hours=50)).equals(before)
    assert [(row["method_id"], row["injection_id"], row["ih_standard_rsd_pct"]) for row in added] == [
        ("ASSAY-01", "i001", 0.0),
        ("RS-01", "i002", None),
    ]


def test_a_run_that_was_on_another_instrument_leaves_the_first():
    """Its only run leaves LC1: nothing is known there from then on, and LC2 has its state from then on."""
    there = run(0, tailing=1.5)
    at = {"known_time_utc": T0 + timedelta(hours=50)}
    made = history([there, there | at | {"method_id": None}, there | at | {"instrument_id": "LC2"}])
    assert [
        (row["instrument_id"], row["known_time_utc"], row["ih_tailing"], row["ih_injections_on_column"]) for row in made.to_dicts()
    ] == [
        ("LC1", T0 + timedelta(hours=0.2), 1.5, 1.0),
        ("LC1", T0 + timedelta(hours=50), None, None),
        ("LC2", T0 + timedelta(hours=50), 1.5, 1.0),
    ]


def test_a_run_of_another_column_leaves_the_first_plates():
    """Plates 100, 1000, 1000, 1000, 1000, 1000; the first was on another column: the ratio is 1, not 1.2."""
    runs = [run(n, plates=1000.0 if n else 100.0) for n in range(6)]
    moved = runs[0] | {"column_id": "C2", "known_time_utc": T0 + timedelta(hours=50)}
    assert last(runs)["ih_plates_ratio"] == pytest.approx(1000 / 820)
    assert last([*runs, moved, run(60, plates=1000.0)])["ih_plates_ratio"] == pytest.approx(1.0)


VERSIONS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 80), st.sampled_from(["ASSAY-01", "RS-01", None]), st.sampled_from("CD"), st.floats(1, 2)),
    max_size=30,
    unique_by=lambda version: version[:2],
)
"""Number of a run, delay, method (none: it left the instrument), column, value."""


@settings(max_examples=60, deadline=None)
@given(versions=VERSIONS)
def test_what_is_known_at_the_end_is_all_that_counts_then(versions: list[tuple[int, int, str | None, str, float]]):
    """A run of each method at hour 100, after records of any history of corrections, and after those that were right at once."""
    rows = [
        run(n, known_after_hours=delay, method_id=method, column_id=column, tailing=value, plates=1e4 * value, pressure_ripple_pct=value)
        for n, delay, method, column, value in versions
    ]
    newest = {row["injection_id"]: row for row in sorted(rows, key=lambda row: row["known_time_utc"])}
    right = [row | {"known_time_utc": row["injected_at_utc"] + timedelta(hours=0.2)} for row in newest.values() if row["method_id"]]
    probes = [run(n, hours=n, method_id=method, column_id="C", plates=15e3) for n, method in ((100, "ASSAY-01"), (101, "RS-01"))]
    of_probes = pl.col("injection_id").is_in(["i100", "i101"])
    assert history([*rows, *probes]).filter(of_probes).equals(history([*right, *probes]).filter(of_probes))


@settings(max_examples=30, deadline=None)
@given(
    data=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20), st.floats(1, 2)), min_size=1, max_size=25), of=st.sets(st.integers(0, 9))
)
def test_states_of_some_runs_are_those_of_all_runs(data: list[tuple[int, int, float]], of: set[int]):
    rows = pl.DataFrame([run(n, known_after_hours=delay, tailing=value) for n, delay, value in data], schema=RUN_SCHEMA)
    names, whole = [f"i{n:03d}" for n in of], instrument_history(rows)
    assert whole.select("injection_id", "known_time_utc").is_duplicated().sum() == 0
    assert instrument_history(rows, of=names).equals(whole.filter(pl.col("injection_id").is_in(names)))


def test_an_identifying_column_is_required():
    with pytest.raises(ValueError, match="instrument_id"):
        instrument_history(pl.DataFrame({"injection_id": ["a"]}))


@settings(max_examples=30, deadline=None)
@given(data=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60), st.floats(1, 2)), min_size=1, max_size=15), cut=st.integers(0, 100))
def test_later_known_injections_never_change_an_older_row(data: list[tuple[int, int, float]], cut: int):
    rows = [
        run(n, hours=hour, known_after_hours=delay, tailing=value, plates=1e4 * value, pressure_ripple_pct=value)
        for n, (hour, delay, value) in enumerate(data)
    ]
    until = T0 + timedelta(hours=cut)
    early = [row for row in rows if row["known_time_utc"] <= until]
    assert history(rows).filter(pl.col("known_time_utc") <= until).equals(history(early))


def result(day: str, value: float = 100.0, **more: Any) -> dict[str, Any]:
    """A result as ``lot_history`` takes it; its identity is that of its injection, analyte and preparation."""
    at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    base = {"injection_id": f"i-{day}", "sample_name": "S1", "lot_id": "L1", "method_id": "ASSAY-01"}
    limits = {"spec_low": 95.0, "spec_high": 105.0, "replicate": 1}
    row = base | limits | {"value": value, "measured_at_utc": at, "known_time_utc": at + timedelta(hours=1)} | more
    return {"result_id": f"{row['injection_id']}/{row.pop('analyte', 'API')}/{row['replicate']}"} | row


def results(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=RESULT_SCHEMA)


def test_lot_history_step_by_step():
    """Margins 1.0, then 0.2 (104 of 95-105), then -0.5 (impurity 1.5 of at most 1.0)."""
    impurity = {"spec_low": None, "spec_high": 1.0, "method_id": "RS-01", "analyte": "IMP-A"}
    rows = [result("2025-01-01"), result("2025-01-02", 104.0, replicate=2), result("2025-01-03", 1.5, **impurity)]
    first, second, third = lot_history(results(rows)).rows(named=True)
    assert (first["lot_results_known"], first["lot_failures_known"], first["lot_min_margin"]) == (1, 0, 1)
    assert second["lot_min_margin"] == pytest.approx(0.2)
    assert second["lot_margin_assay"] == pytest.approx(0.6)
    assert second["lot_margin_rs"] is None
    assert (third["lot_results_known"], third["lot_failures_known"]) == (3, 1)
    assert third["lot_last_margin"] == pytest.approx(-0.5)
    assert third["lot_margin_rs"] == pytest.approx(-0.5)
    assert third["lot_margin_assay"] == pytest.approx(0.6)
    assert third["lot_margin_diss"] is None
    assert third["known_time_utc"] == datetime(2025, 1, 3, 1, tzinfo=UTC)
    assert third["event_time_utc"] == datetime(2025, 1, 3, tzinfo=UTC)


def test_the_worst_analyte_of_a_preparation_counts_and_preparations_are_averaged():
    """Preparation 1: 0.8 and 0.4 -> 0.4; preparation 2: 0.6; mean 0.5."""
    limits = {"spec_low": None, "spec_high": 1.0, "method_id": "RS-01"}
    rows = [
        result("2025-01-01", 0.2, analyte="IMP-A", **limits),
        result("2025-01-01", 0.6, analyte="IMP-B", **limits),
        result("2025-01-02", 0.4, analyte="IMP-A", replicate=2, **limits),
    ]
    assert lot_history(results(rows)).row(-1, named=True)["lot_margin_rs"] == pytest.approx(0.5)


def test_only_the_sample_measured_last_counts_for_its_method():
    rows = [result("2025-01-01", 100.0), result("2025-06-01", 96.0, sample_name="S2")]
    assert lot_history(results(rows)).row(-1, named=True)["lot_margin_assay"] == pytest.approx(0.2)


def test_values_known_together_make_one_row():
    rows = [result("2025-01-01", 99.0), result("2025-01-01", 101.0, replicate=2)]
    assert lot_history(results(rows)).height == 1


def test_a_correction_counts_from_its_own_known_time_on():
    corrected = result("2025-01-01", 90.0, known_time_utc=datetime(2025, 2, 1, tzinfo=UTC))
    before, after = lot_history(results([result("2025-01-01")])), lot_history(results([result("2025-01-01"), corrected]))
    assert after.head(1).equals(before)
    assert after["lot_results_known"].to_list() == [1, 1]
    assert after["lot_failures_known"].to_list() == [0, 1]


def test_an_entry_for_the_wrong_sample_takes_nothing_of_the_samples_own():
    """A failing entry of another result stands beside the sample's own from day 2, and leaves on day 3: without limits nothing counts."""
    own, wrong = result("2025-01-01", injection_id=None), result("2025-01-02", 90.0, injection_id=None, result_id="R-X")
    left = wrong | {"known_time_utc": datetime(2025, 1, 3, tzinfo=UTC), "spec_low": None, "spec_high": None}
    made = lot_history(results([own, wrong, left]))
    assert made["lot_results_known"].to_list() == [1, 2, 1]
    assert made["lot_failures_known"].to_list() == [0, 1, 0]
    assert made["lot_min_margin"].to_list() == [1.0, -1.0, 1.0]


def test_nothing_is_known_before_it_happened_and_values_without_limits_do_not_count():
    early = result("2025-01-02", known_time_utc=datetime(2025, 1, 1, tzinfo=UTC))
    free = result("2025-01-03", spec_low=None, spec_high=None, analyte="WATER")
    made = lot_history(results([early, free]))
    assert made["known_time_utc"].to_list()[0] == datetime(2025, 1, 2, tzinfo=UTC)
    assert made["lot_results_known"].to_list() == [1, 1]


@settings(max_examples=30, deadline=None)
@given(
    data=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(90, 110), st.integers(1, 2)), min_size=1, max_size=12),
    cut=st.integers(0, 20),
)
def test_later_known_results_never_change_an_older_row(data: list[tuple[int, int, float, int]], cut: int):
    rows = [
        result("2025-01-01", value, replicate=prep, injection_id=f"i{day}", measured_at_utc=T0 + timedelta(days=day))
        | {"known_time_utc": T0 + timedelta(days=day + delay)}
        for day, delay, value, prep in data
    ]
    until = T0 + timedelta(days=cut)
    early = [row for row in rows if row["known_time_utc"] <= until]
    assert lot_history(results(rows)).filter(pl.col("known_time_utc") <= until).equals(lot_history(results(early)))
