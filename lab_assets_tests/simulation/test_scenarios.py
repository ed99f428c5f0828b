"""Each scenario changes what it says, and all of them together change nothing before their start."""

from __future__ import annotations

import csv
import hashlib
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from lab_assets.simulation.bench_work import preparation_of
from lab_assets.simulation.chambers import simulate_chambers
from lab_assets.simulation.instruments import FAILING_PUMP_DAYS, System
from lab_assets.simulation.lots import make_lots, release_sample, stability_samples
from lab_assets.simulation.run import SimulationSummary
from lab_assets.simulation.scenarios import Scenarios, add_months, month_starts, parse_scenarios
from lab_assets.simulation.world import ANALYSTS, INSTRUMENTS
from lab_assets_tests.simulation.small_laboratory import START

END = add_months(START, 12)
BEGIN = datetime(2025, 6, 1, tzinfo=UTC)
NONE = Scenarios(starts={})


def _playing(name: str) -> Scenarios:
    return Scenarios(starts={name: BEGIN})


def test_names_and_dates_are_parsed() -> None:
    played = parse_scenarios(["failing_pump@2025-03-04", "ageing_column"], start=START, end=END)
    assert played.starts["failing_pump"] == datetime(2025, 3, 4, tzinfo=UTC)
    assert played.starts["ageing_column"] == datetime(2025, 8, 8, tzinfo=UTC)  # 60 % of 365 days is day 219


@pytest.mark.parametrize("text", ["nonsense", "failing_pump@soon", "failing_pump@2031-01-01"])
def test_bad_scenarios_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="scenario"):
        parse_scenarios([text], start=START, end=END)


def test_a_scenario_is_given_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        parse_scenarios(["failing_pump", "failing_pump@2025-05-01"], start=START, end=END)


def test_months_of_a_period() -> None:
    months = month_starts(datetime(2024, 11, 15, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC))
    assert [f"{month:%Y-%m-%d}" for month in months] == ["2024-11-15", "2024-12-01", "2025-01-01"]
    assert add_months(datetime(2024, 11, 30, tzinfo=UTC), 3) == datetime(2025, 2, 28, tzinfo=UTC)


def test_failing_pump_wears_ripples_and_is_serviced() -> None:
    plain, failing = (System(INSTRUMENTS[0], seed=1, start=START, scenarios=played) for played in (NONE, _playing("failing_pump")))
    before, late = BEGIN - timedelta(days=1), BEGIN + timedelta(days=FAILING_PUMP_DAYS - 1)
    assert failing.pump_wear(before) == plain.pump_wear(before)
    assert failing.pump_wear(late) > plain.pump_wear(late) + 2
    assert failing.pump_wear(BEGIN + timedelta(days=FAILING_PUMP_DAYS)) == 0.0
    assert failing.next_injection("x", late).flow < plain.next_injection("x", late).flow - 0.02


def test_ageing_column_loses_plates_and_tails() -> None:
    plain, ageing = (System(INSTRUMENTS[0], seed=1, start=START, scenarios=played) for played in (NONE, _playing("ageing_column")))
    for system in (plain, ageing):
        for number in range(60):
            system.next_injection(f"i{number}", BEGIN + timedelta(hours=number))
    last = [system.next_injection("last", BEGIN + timedelta(days=3)) for system in (plain, ageing)]
    # 60 injections at eight times the age cost exp(-7 * 60 / 480) = 0.417 of the plates
    assert last[1].plates / last[0].plates == pytest.approx(0.417, abs=0.001)
    assert last[1].tail_min > 1.5 * last[0].tail_min


def test_chamber_excursion_heats_ch30_for_six_days_and_degrades() -> None:
    calm, hot = (simulate_chambers(seed=2, start=START, end=END, scenarios=played) for played in (NONE, _playing("chamber_excursion")))
    first = int((BEGIN - START).total_seconds() // 3600)
    difference = hot["CH-30"].temperature_c - calm["CH-30"].temperature_c
    assert not difference[:first].any()
    assert difference[first + 72] == pytest.approx(15.0)
    assert not difference[first + 144 :].any()
    assert np.array_equal(hot["CH-40"].temperature_c, calm["CH-40"].temperature_c)
    lot = make_lots(1, seed=2, start=START, end=END, scenarios=NONE)[0]
    pulls = [stability_samples(lot, history, end=END) for history in (calm, hot)]
    late = [next(pull for pull in pull_list if pull.chamber_id == "CH-30" and pull.months == 6) for pull_list in pulls]
    assert late[1].potency_pct < late[0].potency_pct
    assert late[1].impurity_a_pct > late[0].impurity_a_pct


def test_bad_analyst_day_makes_slips_the_rule() -> None:
    sample = release_sample(make_lots(1, seed=2, start=START, end=END, scenarios=NONE)[0])
    usual, bad = (preparation_of(ANALYSTS[-1], sample, method_id="ASSAY-01", bad_day=flag) for flag in (False, True))
    assert usual.weights == pytest.approx((0.95, 0.05))
    assert bad.weights == pytest.approx((0.1, 0.9))


def test_drifting_product_loses_one_per_cent_a_month() -> None:
    plain, drifting = (make_lots(60, seed=3, start=START, end=END, scenarios=played) for played in (NONE, _playing("drifting_product")))
    for one, two in zip(plain, drifting, strict=True):
        months = max((one.manufactured_at - BEGIN) / timedelta(days=30.4), 0.0) if one.product.prefix == "NEB" else 0.0
        assert one.potency_pct - two.potency_pct == pytest.approx(months, abs=1e-9)
        assert one.dissolution_pct - two.dissolution_pct == pytest.approx(0.8 * months, abs=1e-9)


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
    }


def _rows_before(path: Path, moment: datetime, column: str) -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO(path.read_text()))
    return [row for row in rows if row[column] < f"{moment:%Y-%m-%dT%H:%M:%SZ}"]


def test_nothing_before_the_start_changes(plain: SimulationSummary, disturbed: SimulationSummary) -> None:
    begin = datetime(2025, 2, 20, tzinfo=UTC)
    injected: dict[str, datetime] = {}
    for path in sorted((plain.out_dir / "lims").glob("sequences_*.csv")):
        for row in csv.DictReader(io.StringIO(path.read_text())):
            injected[row["injection_name"]] = datetime.fromisoformat(row["recorded_at_utc"])
    one, two = _digests(plain.out_dir), _digests(disturbed.out_dir)
    early = [name for name in one if name.startswith("hplc_") and injected[Path(name).stem] < begin - timedelta(hours=1)]
    late = [name for name in two if name.startswith("hplc_") and one.get(name) != two[name]]
    assert len(early) > 30
    assert late
    assert all(one[name] == two.get(name) for name in early)
    for name in ("samples", "events", "sequences", "lots"):
        for month in ("2025-01", "2025-02"):
            paths = [folder / "lims" / f"{name}_{month}.csv" for folder in (plain.out_dir, disturbed.out_dir)]
            before = [_rows_before(path, begin, "recorded_at_utc") for path in paths if path.exists()]
            assert all(rows == before[0] for rows in before)


def test_updates_rename_columns(disturbed: SimulationSummary) -> None:
    texts = [path.read_text() for path in (disturbed.out_dir / "hplc_shimadzu").glob("*.txt")]
    assert {("Plate Count(USP)" in text, "Version\t5.97" in text) for text in texts} == {(True, True), (False, False)}
    headers = {path.name: path.read_text().splitlines()[0] for path in (disturbed.out_dir / "lims").glob("results_*.csv")}
    assert ",value," in headers["results_2025-01.csv"]
    assert ",result_value," in headers["results_2025-02.csv"]
