"""A partial trace in, a risk out; kept, explained, and repeated from what was recorded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable

from lab_assets.contracts.all_contracts import contracts
from lab_assets.features.definitions import CHECKPOINTS_PCT, FEATURE_SET_VERSION
from lab_assets.lake.archiving import grace_of, put_away
from lab_assets.lake.writer import LakeWriter
from lab_assets.service.reproduction import ReproductionError, reproduce
from lab_assets.service.scorer import reached_checkpoint
from lab_assets.service.store import find_prediction
from lab_assets.service.traces import TRACE_KEY, trace_path
from lab_assets.state.ledger import Ledger
from lab_assets_tests.service.laboratory import NOW, RUN_TIME_MIN, chromatogram, write


def body(until_min: float = 3.0, **change):
    x, y = chromatogram(until_min)
    return {
        "injection_name": "SEQ-1_003", "method_id": "ASSAY-01", "instrument_id": "HPLC-1",
        "x_min": x.tolist(), "y": y.tolist(), "y_unit": "mAU",
        "pressure": {"x_min": [0.0, 1.0, 2.0, 3.0], "y": [12.0, 12.1, 12.0, 12.2], "unit": "MPa"}, **change,
    }  # fmt: skip


@pytest.fixture(scope="module")
def answered(client):
    answer = client.post("/v1/runs/i-new/trace", user="analyst", json=body())
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_sample_lot_run_time_and_context_are_found(client, answered):
    """Half of 6 min is seen; the worklist names sample S-1, of LOT-1; 12.075 MPa are 120.75 bar, 9.77 % above the last run's 110 bar."""
    assert answered["checkpoint_pct"] == 50
    assert answered["lot_id"] == "LOT-1"
    kept = client.get(f"/v1/predictions/{answered['prediction_id']}", user="qa").json()
    features = kept["features"]
    assert features["pressure_mean_bar"] == pytest.approx(120.75)
    assert features["pressure_shift_pct"] == pytest.approx(100 * (120.75 / 110 - 1))
    assert features["lot_min_margin"] == 0.5
    assert features["storage_days"] == 2.0
    assert features["early_impurity_pct"] == pytest.approx(100 * 4.0 * 0.04 / 135.0 * (2 * 3.14159265) ** 0.5, rel=0.05)
    assert features["worst_margin_so_far"] > 0
    assert {name for name in kept["table_versions"] if not name.startswith(TRACE_KEY)} == {
        "features.instrument_history", "features.lot_history", "features.storage_exposure", "bronze.processing_methods",
        "bronze.specifications", "bronze.lims_sequences", "bronze.lims_samples", "bronze.lims_lots", "silver.injections", "silver.peaks",
    }  # fmt: skip


def test_a_run_of_the_past_is_scored_as_of_its_own_time_and_comes_out_again(client):
    """Started long before the lot's first result and seen for 3 min: nothing of the lot or the instrument was known then."""
    answer = client.post("/v1/runs/i-past/trace", user="analyst", json=body(injected_at="2001-01-01T01:00:00+01:00", run_time_min=6.0))
    assert answer.status_code == 200, answer.text
    client.state.log.flush()
    kept = find_prediction(client.lab.settings, answer.json()["prediction_id"])
    assert kept.as_of_utc == datetime(2001, 1, 1, 0, 3, tzinfo=UTC)
    assert {"lot_min_margin", "pressure_shift_pct"}.isdisjoint(kept.features)
    result = reproduce(client.lab.settings, kept, models=client.state.models)
    assert (result.reproduced, result.features_from, result.difference) == (True, "trace", 0.0)


def test_a_start_in_the_future_counts_as_now(client):
    answer = client.post("/v1/runs/i-ahead/trace", user="analyst", json=body(injected_at="2999-01-01T00:00:00Z"))
    client.state.log.flush()
    kept = find_prediction(client.lab.settings, answer.json()["prediction_id"])
    assert kept.as_of_utc == kept.predicted_at_utc


def test_the_name_of_who_asked_is_masked_by_policy(client, answered):
    path = f"/v1/predictions/{answered['prediction_id']}"
    assert client.get(path, user="qa").json()["requested_by"] == "analyst"
    masked = client.get(path, user="scientist").json()["requested_by"]
    assert masked.startswith("person-")
    through_sql = client.post("/v1/query", user="scientist", json={"sql": "SELECT analyst FROM silver.injections LIMIT 1"}).json()
    assert through_sql["rows"][0][0].startswith("person-")


def test_pseudonyms_equal_those_of_the_sql_gateway(client):
    shown = client.state.views.masked("silver.injections", {"analyst": "Ann Analyst"}, user="scientist")["analyst"]
    rows = client.post("/v1/query", user="scientist", json={"sql": "SELECT DISTINCT analyst FROM silver.injections"}).json()["rows"]
    assert rows == [[shown]]


@pytest.mark.parametrize(("table", "row"), [("silver.injektions", {"analyst": "x"}), ("silver.lots", {"analyst": "Ann Analyst"})])
def test_what_no_table_holds_is_never_shown_as_if_it_were_masked(client, table, row):
    """A wrong name would otherwise take every mask off."""
    with pytest.raises(KeyError, match=r"no table 'silver.injektions'|silver.lots has no column analyst: whose masks would apply"):
        client.state.views.masked(table, row, user="scientist")


def test_explanation_adds_up_in_words_and_numbers(client, answered):
    drivers = client.get(f"/v1/predictions/{answered['prediction_id']}?explain=true", user="analyst").json()["drivers"]
    assert [one["rank"] for one in drivers] == list(range(1, len(drivers) + 1))
    assert all("odds of a failure" in one["words"] for one in drivers)


def test_the_decision_can_be_asked_for_again(client, answered):
    decision = client.get(f"/v1/decisions/d-{answered['prediction_id']}", user="analyst").json()
    assert {name: decision[name] for name in ("path", "checks", "reasons", "policy_version")} == answered["decision"]


def test_it_is_in_the_delta_table_within_two_seconds_and_comes_out_again(client, answered):
    client.state.log.flush()
    settings = client.lab.settings
    rows = DeltaTable(settings.table_uri("ml", "online_log")).to_pyarrow_table().to_pylist()
    assert answered["prediction_id"] in {row["prediction_id"] for row in rows}
    kept = find_prediction(settings, answered["prediction_id"])
    result = reproduce(settings, kept, models=client.state.models)
    assert (result.reproduced, result.features_from, result.difference) == (True, "trace", 0.0)


def test_later_tables_change_nothing_about_an_old_prediction(client, answered):
    """A later lot result is appended; the prediction still comes out of the versions it recorded."""
    settings = client.lab.settings
    late = NOW - timedelta(hours=1)
    write(settings, "features.lot_history", [
        {"lot_id": "LOT-1", "event_time_utc": late, "known_time_utc": late, "feature_set_version": FEATURE_SET_VERSION, "lot_min_margin": -3.0},
    ])  # fmt: skip
    kept = find_prediction(settings, answered["prediction_id"], log=client.state.log)
    assert reproduce(settings, kept, models=client.state.models).reproduced


def test_an_old_prediction_comes_out_after_maintenance(client, answered):
    """The versions it names are replaced, their files archived and taken away: it is repeated all the same, to the last bit."""
    settings = client.lab.settings
    kept = find_prediction(settings, answered["prediction_id"], log=client.state.log)
    lake, taken = LakeWriter(settings, Ledger(client.lab.engine)), 0
    for name in sorted(name for name in kept.table_versions if name in contracts()):
        table = contracts()[name]
        lake.replace(table, lake.open(table).to_pyarrow_table().select(list(table.column_names)))
        taken += put_away(lake, table, now=datetime.now(UTC) + timedelta(days=2), grace=grace_of(settings, table)).files
        assert len(list(Path(lake.uri(table)).glob("*.parquet"))) == len(lake.open(table).file_uris())
    assert taken >= 3
    result = reproduce(settings, kept, models=client.state.models)
    assert (result.reproduced, result.features_from, result.difference) == (True, "trace", 0.0)


def test_a_changed_prediction_does_not_come_out(client, answered):
    kept = find_prediction(client.lab.settings, answered["prediction_id"], log=client.state.log)
    forged = replace(kept, features={**kept.features, "lot_min_margin": 0.9}, risk=kept.risk + 1e-6)
    result = reproduce(client.lab.settings, forged, models=client.state.models)
    assert not result.reproduced
    assert result.differing == ("lot_min_margin",)


def test_a_changed_trace_is_noticed(client):
    answered = client.post("/v1/runs/i-other/trace", user="analyst", json=body(sample_name="S-9")).json()
    kept = find_prediction(client.lab.settings, answered["prediction_id"], log=client.state.log)
    digest = next(name for name in kept.table_versions if name.startswith(TRACE_KEY)).removeprefix(TRACE_KEY)
    path = trace_path(client.lab.settings.raw, digest)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ReproductionError, match="changed"):
        reproduce(client.lab.settings, kept, models=client.state.models)


def test_posted_features_are_repeated_with_a_note(client):
    answered = client.post("/v1/score", user="analyst", json={"checkpoint_pct": 25, "features": {"ih_tailing": 1.3}}).json()
    result = reproduce(
        client.lab.settings,
        find_prediction(client.lab.settings, answered["prediction_id"], log=client.state.log),
        models=client.state.models,
    )
    assert result.reproduced
    assert result.features_from == "caller"
    assert "caller" in result.note


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"x_min": [0.0, 1.0]}, "y"),
        ({"x_min": [1.0, 0.5], "y": [1.0, 2.0]}, "x_min"),
        ({"x_min": [-1.0, 0.5], "y": [1.0, 2.0]}, "x_min"),
        ({"x_min": [0.0], "y": [1.0]}, "x_min"),
        ({"x_min": [0.0, "1"], "y": [1.0, 2.0]}, "x_min"),
        ({"x_min": [0.0, True], "y": [1.0, 2.0]}, "x_min"),
        ({"y": None}, "y"),
        ({"method_id": None}, "method_id"),
        ({"run_time_min": 0}, "run_time_min"),
        ({"run_time_min": "6"}, "run_time_min"),
        ({"pressure": {"x_min": [0.0, 1.0], "y": [1.0, 2.0]}}, "pressure.unit"),
        ({"pressure": {"x_min": [0.0, 1.0], "y": [1.0, 2.0], "unit": "bar", "more": 1}}, "pressure.more"),
        ({"pressure": 7}, "pressure"),
        ({"operator": "Ann"}, "operator"),
        ({"x_min": [0.0, 0.1], "y": [1.0, 2.0]}, "x_min"),
        ({"method_id": "NOPE", "run_time_min": 6.0}, "method_id"),
        ({"instrument_id": "HPLC-9"}, "run_time_min"),
        ({"y_unit": "furlong"}, "y_unit"),
        ({"y_unit": "bar"}, "y_unit"),
        ({"y_unit": "mV"}, "y_unit"),
        ({"pressure": {"x_min": [0.0, 1.0], "y": [1.0, 2.0], "unit": "furlong"}}, "pressure.unit"),
        ({"x_unit": "furlong"}, "x_unit"),
        ({"y": [value - 1000 for value in chromatogram(3.0)[1].tolist()]}, "y"),
        ({"x_min": [60 * value for value in chromatogram(3.0)[0].tolist()]}, "x_min"),
        ({"pressure": {"x_min": [0.0, 60.0, 120.0], "y": [12.0, 12.1, 12.0], "unit": "MPa"}}, "pressure.x_min"),
        ({"pressure": {"x_min": [0.0, 1.0, 2.0], "y": [-12.0, -12.1, -12.0], "unit": "MPa"}}, "pressure.y"),
        ({"injected_at": "2025-06-01T12:00:00"}, "injected_at"),
        ({"injected_at": "yesterday"}, "injected_at"),
        ({"injected_at": 1748779200}, "injected_at"),
    ],
)
def test_what_breaks_a_rule_is_named(client, change, field):
    answer = client.post("/v1/runs/i-new/trace", user="analyst", json=body(**change))
    assert answer.status_code == 422, answer.text
    assert field in [one["field"] for one in answer.json()["errors"]]


def test_a_trace_with_nan_is_refused(client):
    text = '{"injection_name":"a","method_id":"ASSAY-01","instrument_id":"b","y_unit":"mAU","x_min":[0,1],"y":[0,NaN]}'
    answer = client.post("/v1/runs/i-new/trace", user="analyst", content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "y", "problem": "needs finite numbers"}]


@pytest.mark.parametrize(("until_min", "expected"), [(0.6, 10), (1.49, 10), (1.5, 25), (2.99, 25), (3.0, 50), (4.5, 75), (6.0, 75)])
def test_checkpoints_are_reached_in_order(until_min, expected):
    """6 min: checkpoints lie at 0.6, 1.5, 3.0 and 4.5 min."""
    x, _ = chromatogram(until_min)
    assert expected in CHECKPOINTS_PCT
    assert reached_checkpoint(x, RUN_TIME_MIN) == expected


def test_a_known_method_without_standards_is_scored_from_what_is_there(client):
    answer = client.post(
        "/v1/runs/i-x/trace",
        user="analyst",
        json=body(run_time_min=6.0, injection_name="SEQ-9_001", instrument_id="HPLC-9", y_unit="counts"),
    )
    assert answer.status_code == 200, answer.text


def test_what_would_be_right_is_said(client):
    problem = {}
    for change in ({"method_id": "NOPE"}, {"y_unit": "mV"}):
        for one in client.post("/v1/runs/i-new/trace", user="analyst", json=body(**change)).json()["errors"]:
            problem[one["field"]] = one["problem"]
    assert "known are ASSAY-01" in problem["method_id"]
    assert "send the signal in mAU or a multiple of it" in problem["y_unit"]


@pytest.mark.parametrize(("unit", "factor"), [("AU", 1e-3), ("uAU", 1e3), ("µAU", 1e3), ("mau", 1.0)])
def test_a_signal_is_turned_into_the_unit_of_the_standards(client, unit, factor):
    """1 mAU is 0.001 AU and 1000 µAU: the same run in another unit has the same risk, features within rounding, and comes out again."""
    answered = client.post("/v1/runs/i-new/trace", user="analyst", json=body()).json()
    y = [value * factor for value in body()["y"]]
    answer = client.post("/v1/runs/i-new/trace", user="analyst", json=body(y=y, y_unit=unit)).json()
    assert answer["warnings"] == []
    first, second = (find_prediction(client.lab.settings, one["prediction_id"], log=client.state.log) for one in (answered, answer))
    assert second.features == pytest.approx(first.features, rel=1e-6)
    assert answer["risk"] == pytest.approx(answered["risk"])
    assert reproduce(client.lab.settings, second, models=client.state.models).reproduced


def test_a_signal_far_above_the_standards_is_answered_with_a_warning_and_no_verdict(client):
    """A thousand times too high: 900 mAU of the main peak become 900,000, the standards' highest peak is 900."""
    y = [1000 * value for value in body(4.0)["y"]]
    answer = client.post("/v1/runs/i-high/trace", user="analyst", json={**body(4.0), "y": y}).json()
    assert any("1e+03 times the highest peak of the standards: check its unit and scale" in one for one in answer["warnings"])
    assert (answer["verdict"], answer["decision"]["path"]) == ("cannot_tell_yet", "standard")
    kept = client.get(f"/v1/decisions/d-{answer['prediction_id']}", user="analyst").json()
    assert set(answer["warnings"]) <= set(kept["reasons"])


def changed(until_min: float, *, times: float = 1.0, plus=0.0, slower: float = 1.0, late_min: float = 0.0, **change):
    """A body whose signal is multiplied and added to, whose clock is slower or starts late, or of which other fields are changed."""
    x, y = chromatogram(until_min)
    signal = times * y + (plus(x) if callable(plus) else plus)
    return body(until_min, y=signal.tolist(), x_min=(slower * (late_min + x)).tolist(), **change)


def peak(at: float, height: float, width: float):
    return lambda x: height * np.exp(-((x - at) ** 2) / (2 * width**2))


@pytest.mark.parametrize(
    ("posted", "words"),
    [
        (changed(3.0, times=10), "the signal's noise is "),  # before the main peak: as if the impurity were 3 %
        (changed(3.0, times=30), "the signal's noise is "),
        (changed(4.8, times=10), "main_area_share has a value it cannot have"),
        (changed(3.0, times=0.1), "the signal's noise is 0.1 times that beside the standards' peaks"),
        (changed(3.0, times=0), "the signal's noise is 0 times that beside the standards' peaks"),
        (changed(4.8, times=-1), "the signal goes further below zero"),
        (changed(6.0, slower=1.5), "the trace ends at 9 min, the run was planned for 6 min"),
        (changed(2.0, late_min=2.0), "nothing is seen from 0 to 2 min"),
        (changed(3.0, instrument_id="HPLC-99", run_time_min=6.0), "no table knows the instrument HPLC-99"),
        (changed(3.0, sample_name="S-999"), "no table knows the sample S-999"),
        (changed(3.0, lot_id="LOT-999"), "no table knows the lot LOT-999"),
    ],
)
def test_what_hardly_can_be_is_answered_with_a_warning_and_no_verdict(client, posted, words):
    """Every height, area and noise of a signal of another scale is changed alike; the standards say what noise the detector has."""
    answer = client.post("/v1/runs/i-odd/trace", user="analyst", json=posted)
    assert answer.status_code == 200, answer.text
    answered = answer.json()
    assert [one for one in answered["warnings"] if one.startswith(words)], answered["warnings"]
    assert (answered["verdict"], answered["decision"]["path"]) == ("cannot_tell_yet", "standard")
    kept = client.get(f"/v1/decisions/d-{answered['prediction_id']}", user="analyst").json()
    assert set(answered["warnings"]) <= set(kept["reasons"])


def test_a_prediction_with_a_warning_comes_out_again(client):
    answered = client.post("/v1/runs/i-odd/trace", user="analyst", json=changed(3.0, times=10)).json()
    kept = find_prediction(client.lab.settings, answered["prediction_id"], log=client.state.log)
    assert reproduce(client.lab.settings, kept, models=client.state.models).reproduced


@pytest.mark.parametrize(
    "posted",
    [
        changed(4.8),
        changed(4.8, plus=peak(3.6, -270.0, 0.06)),  # 70 % of the content
        changed(4.8, plus=peak(3.6, 270.0, 0.06)),  # 130 %
        changed(3.0, plus=peak(1.2, 40.0, 0.04)),  # an impurity of 3 %, six times its limit
        changed(3.0, plus=-20.0),  # a detector set to zero on another solvent
        changed(6.0, slower=1.05),
    ],
)
def test_a_strong_failure_or_a_small_oddity_is_not_warned_away(client, posted):
    answer = client.post("/v1/runs/i-strong/trace", user="analyst", json=posted)
    assert answer.status_code == 200, answer.text
    assert [one for one in answer.json()["warnings"] if "baseline_offset_pct" not in one] == []


@pytest.mark.parametrize("path", ["/v1/predictions/p-none", "/v1/predictions/' OR 1=1 --", "/v1/decisions/d-p-none", "/v1/decisions/x"])
def test_what_is_not_there_is_not_found(client, path):
    assert client.get(path, user="analyst").status_code == 404
