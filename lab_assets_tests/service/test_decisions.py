"""A decision is a record: whatever the rules of today are, page, REST and command show the decision that was made."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial

import orjson
import pytest
from deltalake import DeltaTable, write_deltalake

from lab_assets.contracts.ml import ONLINE_LOG
from lab_assets.decisions import review_path
from lab_assets.features.definitions import FEATURE_SET_VERSION
from lab_assets.features.vector import from_map
from lab_assets.service.records import Prediction, Record, driver_rows, to_arrow
from lab_assets.service.store import NotFoundError, find_decision, find_record
from lab_assets.state.database import open_database
from lab_assets_tests.service.laboratory import NOW, write

RISKY = {"checkpoint_pct": 75, "features": {"worst_margin_so_far": -2.5, "pressure_ripple_pct": 2.4}}
SAFE = {"checkpoint_pct": 75, "features": {"worst_margin_so_far": 2.5, "pressure_ripple_pct": 0.1}}


@pytest.fixture
def other_rules(monkeypatch):
    """From now on everything needs checks, by rules of another version."""

    def change() -> None:
        rules = partial(review_path.ReviewPolicy, version="review-99", fast_track_below=0.0, checks_from=0.0)
        monkeypatch.setattr(review_path, "ReviewPolicy", rules)

    return change


def queue_row(client, prediction_id):
    """The first page's row of a prediction; tables are looked at again after a second."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for row in client.state.views.first_page("analyst").queue or ():
            if row["prediction_id"] == prediction_id:
                return row
        time.sleep(0.1)
    raise AssertionError(f"{prediction_id} is not on the first page")


@pytest.mark.parametrize("body", [RISKY, SAFE], ids=["risky", "safe"])
@pytest.mark.parametrize("kept_in", ["memory", "table"])
def test_a_change_of_the_rules_changes_no_decision_made(client, command, other_rules, body, kept_in):
    run = f"i-rules-{kept_in}-{'risky' if body is RISKY else 'safe'}"
    made = client.post("/v1/score", user="analyst", json={**body, "injection_id": run}).json()
    client.state.log.flush()
    if kept_in == "table":
        client.state.log._tail.pop(made["prediction_id"])
    other_rules()
    assert client.post("/v1/score", user="analyst", json=body).json()["decision"]["policy_version"] == "review-99"

    decision = client.get(f"/v1/decisions/d-{made['prediction_id']}", user="analyst").json()
    assert {name: decision[name] for name in made["decision"]} == made["decision"]
    assert decision["policy_version"] == "review-2"
    evidence = orjson.loads(command("explain", made["prediction_id"], "--json").stdout)
    assert {name: evidence["decision"][name] for name in made["decision"]} == made["decision"]
    assert evidence["verdict"] == made["verdict"]
    page = client.get(f"/predictions/{made['prediction_id']}", user="analyst").text
    assert "by rules review-2" in page
    assert "review-99" not in page
    assert made["decision"]["reasons"][1].replace(">", "&gt;") in page
    row = queue_row(client, made["prediction_id"])
    assert (row["path"], list(row["checks"])) == (made["decision"]["path"], made["decision"]["checks"])


def stored_prediction(prediction_id: str, digest: str, features: dict[str, float], *, risk: float) -> Prediction:
    return Prediction(
        prediction_id=prediction_id, injection_id=f"i-{prediction_id}", lot_id="LOT-1", checkpoint_pct=50, risk=risk, risk_low=risk,
        risk_high=risk, raw_score=0.0, model_name="oos_risk", model_version="1", model_digest=digest, feature_set_version=FEATURE_SET_VERSION,
        features=features, table_versions={"features.lot_history": 0}, predicted_at_utc=NOW - timedelta(days=9), as_of_utc=None, mode="batch",
        requested_by="system:pipeline",
    )  # fmt: skip


def test_batch_decisions_and_drivers_are_read_from_their_tables(client, command):
    """Stored words and numbers no model would give: they are shown as they stand, in the order of their ranks."""
    one = stored_prediction("pred_stored", client.lab.bundle.digest, {"checkpoint_pct": 50.0, "worst_margin_so_far": 3.0}, risk=0.9)
    write(client.lab.settings, "ml.predictions", [asdict(one)])
    write(client.lab.settings, "ml.decisions", [
        {"decision_id": "d-pred_stored", "prediction_id": "pred_stored", "injection_id": one.injection_id, "lot_id": "LOT-1",
         "path": "mandatory_checks", "checks": ["an old check"], "reasons": ["an old reason"], "policy_version": "review-0",
         "decided_at_utc": NOW - timedelta(days=9), "verdict": "likely_fail"},
    ])  # fmt: skip
    write(client.lab.settings, "ml.explanations", [
        {"prediction_id": "pred_stored", "rank": rank, "feature": "worst_margin_so_far", "value": 3.0, "contribution": 7.5, "words": f"old words {rank}"}
        for rank in (2, 1)
    ])  # fmt: skip
    answer = client.get("/v1/predictions/pred_stored?explain=true", user="analyst").json()
    assert ([driver["words"] for driver in answer["drivers"]], answer["computed"]) == (
        ["old words 1", "old words 2"],
        "with the prediction",
    )
    evidence = orjson.loads(command("explain", "pred_stored", "--json").stdout)
    assert (evidence["decision"]["checks"], evidence["verdict"], evidence["computed"]) == (
        ["an old check"],
        "likely_fail",
        "with the prediction",
    )
    page = client.get("/predictions/pred_stored", user="analyst").text
    assert "an old check" in page
    assert "old words 1" in page
    assert "computed on request" not in page


def test_only_an_explanation_that_was_never_stored_is_computed_and_said_to_be(client, command):
    made = client.post("/v1/score", user="analyst", json=SAFE).json()
    answer = client.get(f"/v1/predictions/{made['prediction_id']}?explain=true", user="analyst").json()
    assert answer["computed"] == "on request"
    assert answer["drivers"][0]["feature"] == "worst_margin_so_far"
    assert "computed on request" in client.get(f"/predictions/{made['prediction_id']}", user="analyst").text
    client.state.log.flush()
    assert "on request" in command("explain", made["prediction_id"]).stdout


def test_drivers_of_mandatory_checks_are_kept_with_the_prediction(client, other_rules):
    other_rules()
    made = client.post("/v1/score", user="analyst", json=RISKY).json()
    assert made["decision"]["path"] == "mandatory_checks"
    client.state.log.flush()
    record = find_record(client.lab.settings, made["prediction_id"])
    assert record == client.state.log.get(made["prediction_id"])
    assert record.outcome.drivers == driver_rows(client.lab.bundle.explain(from_map(record.prediction.features)))
    assert client.get(f"/v1/predictions/{made['prediction_id']}?explain=true", user="analyst").json()["computed"] == "with the prediction"


def test_a_prediction_older_than_the_decisions_record_says_so_until_it_is_decided(tmp_path, client):
    """A table of before has no columns for decisions; nothing is made up, and the queue still shows the risk."""
    settings = client.lab.settings.model_copy(update={"home": tmp_path, "lake_uri": None})
    open_database(settings).dispose()
    one = stored_prediction("p-old", client.lab.bundle.digest, {"checkpoint_pct": 50.0}, risk=0.2)
    names = [name for name in ONLINE_LOG.column_names if name in Prediction.__dataclass_fields__]
    write_deltalake(settings.table_uri("ml", "online_log"), to_arrow([Record(prediction=one, outcome=None)]).select(names))
    assert "path" not in [field.name for field in DeltaTable(settings.table_uri("ml", "online_log")).schema().fields]
    assert find_record(settings, "p-old") == Record(prediction=one, outcome=None)
    with pytest.raises(NotFoundError, match="older than the record of decisions"):
        find_decision(settings, "d-p-old")


def test_a_prediction_that_ended_says_since_when_and_why(client, command):
    """As after a restore of what it rests on: page, REST and command all say so."""
    one = stored_prediction("pred_ended", client.lab.bundle.digest, {"checkpoint_pct": 50.0, "worst_margin_so_far": 3.0}, risk=0.9)
    end = {"superseded_by": None, "ended_at_utc": NOW, "ended_reason": "silver.injections was restored to version 0"}
    write(client.lab.settings, "ml.predictions", [asdict(one) | end])
    write(client.lab.settings, "ml.decisions", [
        {"decision_id": "d-pred_ended", "prediction_id": "pred_ended", "injection_id": one.injection_id, "lot_id": "LOT-1",
         "path": "mandatory_checks", "checks": [], "reasons": [], "policy_version": "review-0", "decided_at_utc": NOW, "verdict": "likely_fail",
         **end},
    ])  # fmt: skip
    assert "silver.injections was restored to version 0" in client.get("/predictions/pred_ended", user="analyst").text
    assert client.get("/v1/decisions/d-pred_ended", user="analyst").json()["ended_reason"] == end["ended_reason"]
    assert orjson.loads(command("explain", "pred_ended", "--json").stdout)["ended"]["ended_reason"] == end["ended_reason"]
    assert "it does not count any more" in command("explain", "pred_ended").stdout
    assert client.get("/v1/predictions/pred_ended", user="analyst").json()["ended"] == {
        **end,
        "ended_at_utc": NOW.isoformat(),
    }


def test_what_ended_does_not_stand_in_the_queue(client):
    """The riskiest run's last prediction ended, and the earlier one of it counts again; another run's only one ended, of the service."""
    end = {"superseded_by": None, "ended_at_utc": NOW, "ended_reason": "none of a sample"}
    digest = client.lab.bundle.digest
    earlier, later = (
        replace(stored_prediction(name, digest, {"checkpoint_pct": 50.0}, risk=0.999), injection_id="i-again", predicted_at_utc=NOW + ahead)
        for name, ahead in (("pred_again", timedelta(hours=1)), ("pred_again_ended", timedelta(hours=2)))
    )
    answered = client.post(
        "/v1/score", user="analyst",
        json={"injection_id": "i-online-ended", "lot_id": "LOT-1", "checkpoint_pct": 50, "features": {"worst_margin_so_far": -9.0}},
    ).json()  # fmt: skip
    shown = [row["prediction_id"] for row in client.state.views.first_page("analyst").queue]
    assert answered["prediction_id"] in shown
    online = replace(stored_prediction(answered["prediction_id"], digest, {"checkpoint_pct": 50.0}, risk=0.9), mode="online")
    write(client.lab.settings, "ml.predictions", [asdict(earlier), asdict(later) | end, asdict(online) | end])
    time.sleep(1.1)  # tables are looked at once a second
    shown = [row["prediction_id"] for row in client.state.views.first_page("analyst").queue]
    assert "pred_again" in shown
    assert not {"pred_again_ended", answered["prediction_id"]} & {*shown}


def test_of_what_one_batch_scored_the_highest_risks_are_shown(client):
    """More runs than are looked at, all of one moment: the riskiest are among them, and none is asked for by its identity alone."""
    at = NOW + timedelta(days=1)
    digest = client.lab.bundle.digest
    made = [
        replace(stored_prediction(f"pred_batch_{n}", digest, {"checkpoint_pct": 50.0}, risk=(n * 37 % 1000) / 1000), predicted_at_utc=at)
        for n in range(1000)
    ]
    write(client.lab.settings, "ml.predictions", [asdict(one) for one in made])
    time.sleep(1.1)
    shown = [row["risk"] for row in client.state.views.first_page("analyst").queue if row["prediction_id"].startswith("pred_batch_")]
    assert shown[:20] == sorted((one.risk for one in made), reverse=True)[:20]
