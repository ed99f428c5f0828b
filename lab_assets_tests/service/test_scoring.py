"""POST /v1/score: what is accepted, what is refused, what is answered."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lab_assets.features.definitions import FEATURE_NAMES, FEATURES
from lab_assets.features.vector import from_map

GOOD = {
    "injection_id": "i-9",
    "lot_id": "LOT-1",
    "checkpoint_pct": 50,
    "features": {"worst_margin_so_far": 1.0, "pressure_ripple_pct": 1.0},
}
BAD = {"checkpoint_pct": 75, "features": {"worst_margin_so_far": -2.5, "pressure_ripple_pct": 2.4}}


def possible(name: str, value: float) -> float:
    """A value turned into one that the quantity can have."""
    feature = next(feature for feature in FEATURES if feature.name == name)
    low = value if feature.minimum is None else max(value, feature.minimum)
    return low if feature.maximum is None else min(low, feature.maximum)


def test_answer_is_the_bundles_own_score(client):
    answer = client.post("/v1/score", user="analyst", json=GOOD)
    assert answer.status_code == 200, answer.text
    answered = answer.json()
    expected = client.lab.bundle.score_row(from_map({**GOOD["features"], "checkpoint_pct": 50.0}))
    assert (answered["risk"], answered["risk_low"], answered["risk_high"], answered["verdict"]) == (
        expected.risk, expected.low, expected.high, expected.verdict,
    )  # fmt: skip
    assert answered["model_name"] == "oos_risk"
    assert answered["model_version"] == "1"
    assert answered["model_digest"] == client.lab.bundle.digest
    assert answered["predicted_at_utc"] == "2026-03-02T12:00:00+00:00"
    assert set(answered["decision"]) == {"path", "checks", "reasons", "policy_version"}


def test_high_risk_adds_named_checks_from_the_drivers(client):
    answered = client.post("/v1/score", user="analyst", json=BAD).json()
    assert answered["risk"] > 0.5
    assert answered["decision"]["path"] in {"mandatory_checks", "standard"}
    if answered["decision"]["path"] == "mandatory_checks":
        assert "check pump seals and prime the pump" in answered["decision"]["checks"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"features": {"worst_margin_so_far": "1"}}, "features.worst_margin_so_far"),
        ({"features": {"worst_margin_so_far": True}}, "features.worst_margin_so_far"),
        ({"features": {"worst_margin_so_far": [1]}}, "features.worst_margin_so_far"),
        ({"features": {"no_such": 1.0}}, "features.no_such"),
        ({"features": {}}, "features"),
        ({"features": {}, "lot_id": None}, "features"),
        ({"features": {"ih_tailing": None}}, "features"),
        ({"features": None}, "features"),
        ({"features": [1, 2]}, "features"),
        ({"features": {"checkpoint_pct": 10, "ih_tailing": 1}}, "features.checkpoint_pct"),
        ({"checkpoint_pct": "50"}, "checkpoint_pct"),
        ({"checkpoint_pct": 50.5}, "checkpoint_pct"),
        ({"checkpoint_pct": True}, "checkpoint_pct"),
        ({"checkpoint_pct": 0}, "checkpoint_pct"),
        ({"checkpoint_pct": None}, "checkpoint_pct"),
        ({"injection_id": 7}, "injection_id"),
        ({"lot_id": "a\nb"}, "lot_id"),
        ({"lot_id": "x" * 201}, "lot_id"),
        ({"model": "oos_risk"}, "model"),
        ({"features": {"void_time_min": -5e9}}, "features.void_time_min"),
        ({"features": {"main_height_share": -1.01}}, "features.main_height_share"),
        ({"features": {"main_area_share": 7}}, "features.main_area_share"),
        ({"features": {"main_value_pct": 201.0}}, "features.main_value_pct"),
        ({"features": {"early_impurity_pct": 700}}, "features.early_impurity_pct"),
        ({"features": {"lot_results_known": 2, "lot_failures_known": 3}}, "features.lot_failures_known"),
        ({"features": {"method_is_assay": 1, "method_is_rs": 1}}, "features.method_is_rs"),
        ({"features": {"lot_failures_known": -1}}, "features.lot_failures_known"),
        ({"features": {"method_is_rs": 3}}, "features.method_is_rs"),
        ({"features": {"storage_mkt_c": -300.0}}, "features.storage_mkt_c"),
    ],
)
def test_what_breaks_a_rule_is_named_and_nothing_is_scored(client, change, field):
    before = client.state.log.pending
    answer = client.post("/v1/score", user="analyst", json={**GOOD, **change})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in [one["field"] for one in answer.json()["errors"]]
    assert client.state.log.pending <= before


def test_every_field_that_breaks_a_rule_is_named_with_what_it_needs(client):
    body = {"checkpoint_pct": 0, "lot_id": "", "features": {"void_time_min": -1, "nope": 1, "ih_tailing": "1"}}
    answer = client.post("/v1/score", user="analyst", json=body)
    assert {one["field"]: one["problem"] for one in answer.json()["errors"]} == {
        "checkpoint_pct": "needs a whole number from 1 to 100",
        "lot_id": "needs 1 to 200 printable characters",
        "features.void_time_min": "needs a number from 0 to 1440: it lies within the run, at most a day",
        "features.nope": "unknown feature",
        "features.ih_tailing": "needs a number or null",
    }


def test_values_far_outside_of_training_are_answered_with_a_warning_and_no_verdict(client):
    """The model's training rows lie within about 3.5 of 0: a margin of -3000 moves the risk like one of -3, but nothing was ever seen there."""
    near = client.post("/v1/score", user="analyst", json={"checkpoint_pct": 75, "features": {"worst_margin_so_far": -3.0}}).json()
    assert near["warnings"] == []
    body = {"checkpoint_pct": 75, "features": {"worst_margin_so_far": -3000.0}}
    far = client.post("/v1/score", user="analyst", json=body).json()
    assert (far["verdict"], far["decision"]["path"]) == ("cannot_tell_yet", "standard")
    assert len(far["warnings"]) == 1
    assert far["warnings"][0].startswith("worst_margin_so_far lies far outside of what the model was trained on (-")
    assert far["warnings"][0] in far["decision"]["reasons"]
    kept = client.get(f"/v1/decisions/d-{far['prediction_id']}", user="analyst").json()
    assert (kept["reasons"], kept["verdict"]) == (far["decision"]["reasons"], "cannot_tell_yet")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e309", "-1e400", "9" * 400])
def test_numbers_that_are_not_finite_are_named(client, literal):
    body = f'{{"checkpoint_pct": 50, "features": {{"ih_tailing": {literal}}}}}'
    answer = client.post("/v1/score", user="analyst", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"] == [{"field": "features.ih_tailing", "problem": "needs a finite number"}]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b'"text"', 422),
        (b"\xff\xfe", 400),
        (b'{"checkpoint_pct": 50, "checkpoint_pct": 50, "features": {"ih_tailing": 1}}', 400),
        (b'{"checkpoint_pct": 50, "features": {"ih_tailing": 1, "ih_tailing": 2}}', 400),
        (b'{"a":' * 100_000, 400),
        (b"[" * 500_000, 400),
        (b'{"checkpoint_pct": 50, "lot_id": "\\ud800", "features": {"ih_tailing": 1}}', 422),
        (b" " * (1024 * 1024 + 1), 413),
    ],
)
def test_hostile_bodies_are_refused_before_anything_is_computed(client, body, status):
    answer = client.post("/v1/score", user="analyst", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text


def test_a_body_that_never_says_its_length_is_cut_off(client):
    async def endless():
        for _ in range(64):
            yield b" " * 65_536

    answer = client.post("/v1/score", user="analyst", content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_escaped_quotes_before_a_colon_are_not_a_repeated_key(client):
    answer = client.post("/v1/score", user="analyst", json={**GOOD, "lot_id": 'odd": name'})
    assert answer.status_code == 200, answer.text
    assert answer.json()["lot_id"] == 'odd": name'


def test_a_form_is_not_json(client):
    answer = client.post("/v1/score", user="analyst", content=json.dumps(GOOD), headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_order_of_features_and_nulls_do_not_matter(client):
    """Reordered features and explicit nulls give the same risk to the last bit."""
    rng = np.random.default_rng(5)
    values = {name: possible(name, float(rng.normal())) for name in FEATURE_NAMES if name not in {"checkpoint_pct", "void_time_min"}}
    first = client.post("/v1/score", user="analyst", json={"checkpoint_pct": 25, "features": values}).json()
    second = client.post(
        "/v1/score", user="analyst", json={"checkpoint_pct": 25, "features": {**dict(reversed(values.items())), "void_time_min": None}}
    ).json()
    assert first["risk"] == second["risk"]
    assert first["prediction_id"] != second["prediction_id"]
