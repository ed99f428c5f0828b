"""Predictions follow what is known: superseded by later facts, ended when the run is no sample, never changed or lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from lab_assets.contracts.bronze import CHROMATOGRAMS
from lab_assets.contracts.features import INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.contracts.ml import DECISIONS, PREDICTIONS
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.domain.injection_identity import injection_id
from lab_assets.features import inputs
from lab_assets.features.definitions import FEATURE_SET_VERSION, FEATURES, names_of, set_version
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.ml import prediction_records, predictions
from lab_assets.stations.ml.predictions import Scored, Scoring, inputs_of_model, score_waiting
from lab_assets.stations.runner import mark_anew
from lab_assets_tests.stations.ml.models import NAMES, bundle
from lab_assets_tests.stations.rows import at, putting

NOW = at(20)
STARTED = at(5, 8)
OLD = set_version(feature for name in NAMES for feature in FEATURES if feature.name == name)


def run(name: str, **more: Any) -> dict[str, Any]:
    row = {
        "injection_id": injection_id("hplc", "LC-1", name, "08:00"), "injection_name": name, "source": "hplc", "instrument_id": "LC-1",
        "method_id": "ASSAY-01", "lot_id": "L1", "sample_name": "S1", "sample_role": "sample", "injected_at_utc": at(5, 8),
        "known_time_utc": at(5, 9), "zone_known": True, "channels": ["UV"], "processing_id": "p", "source_sha256": name,
    }  # fmt: skip
    return row | more


def progress(name: str, margin: float, *, known: datetime = STARTED, version: str = FEATURE_SET_VERSION) -> dict[str, Any]:
    values = {**dict.fromkeys(names_of("injection_progress")), "worst_margin_so_far": margin}
    row = {"injection_id": run(name)["injection_id"], "injection_name": name, "checkpoint_pct": 50, "event_time_utc": at(5, 8)}
    return {**row, **values, "known_time_utc": known, "feature_set_version": version}


def put(lake: Lakehouse, table: Any, *rows: dict[str, Any]) -> None:
    lake.append(table, lake.local_rows(table, rows))


def again(lake: Lakehouse, row: dict[str, Any]) -> None:
    """Put an injection in the place of what was known of it."""
    predicate = f"`injection_id` = '{row['injection_id']}'"
    lake.replace_where(INJECTIONS, lake.local_rows(INJECTIONS, [row]), predicate)


def score(lake: Lakehouse, *, now: datetime = NOW, version: str = FEATURE_SET_VERSION, seed: int = 3, **more: Any) -> Scored:
    return score_waiting(
        lake, bundle(version, seed), Scoring(model_version="1", mode="stream", requested_by="test", predicted_at_utc=now), **more
    )


def rows(lake: Lakehouse, table: Any = PREDICTIONS) -> list[dict[str, Any]]:
    key = table.primary_key[0]
    return lake.polars(table).sort("predicted_at_utc" if table is PREDICTIONS else "decided_at_utc", key).to_dicts()


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Lakehouse:
    """One sample with features, scored once; no time is left for a worklist to come."""
    lakehouse.settings.context_grace_s = 0
    put(lakehouse, INJECTIONS, run("a"))
    put(lakehouse, INJECTION_PROGRESS, progress("a", 0.2))
    assert score(lakehouse).predictions == 1
    return lakehouse


def test_without_news_nothing_is_scored_again(lake: Lakehouse) -> None:
    assert score(lake, now=NOW + timedelta(hours=1)).predictions == 0
    assert score(lake, now=NOW + timedelta(hours=1), everything=True) == Scored(table_versions=score(lake).table_versions)
    assert len(rows(lake)) == len(rows(lake, DECISIONS)) == 1


def test_a_fact_learned_later_supersedes_the_prediction_and_its_decision(lake: Lakehouse) -> None:
    """A corrected weight adds features with a later known time: the first prediction stays as it was made, marked as superseded."""
    (first,) = rows(lake)
    put(lake, INJECTION_PROGRESS, progress("a", 0.9, known=at(8)))
    later = NOW + timedelta(hours=1)
    done = score(lake, now=later)
    assert (done.predictions, done.superseded, done.ended) == (1, 1, 0)
    old, new = rows(lake)
    said = ("superseded_by", "ended_at_utc", "ended_reason")
    assert {name: value for name, value in old.items() if name not in said} == {k: v for k, v in first.items() if k not in said}
    assert (old["superseded_by"], old["ended_at_utc"]) == (new["prediction_id"], later)
    assert old["ended_reason"] == "scored again after a change of the moment up to which facts were known, the feature values"
    assert (new["superseded_by"], new["ended_at_utc"]) == (None, None)
    assert (new["as_of_utc"], dict(new["features"])["worst_margin_so_far"]) == (at(8), 0.9)
    assert new["risk"] != old["risk"]
    assert [(row["superseded_by"], row["ended_at_utc"]) for row in rows(lake, DECISIONS)] == [
        (f"d-{new['prediction_id']}", later),
        (None, None),
    ]


def test_the_order_in_which_facts_come_does_not_matter_for_what_counts(lake: Lakehouse) -> None:
    """Scored in two steps or in one, the prediction that counts is the same."""
    put(lake, INJECTION_PROGRESS, progress("a", 0.9, known=at(8)))
    score(lake, now=NOW + timedelta(hours=1))
    counting = {row["prediction_id"] for row in rows(lake) if row["ended_at_utc"] is None}
    for table in (PREDICTIONS, DECISIONS):
        lake.replace_where(table, lake.polars(table).clear().to_arrow(), "`prediction_id` IS NOT NULL")
    score(lake, everything=True)
    assert {row["prediction_id"] for row in rows(lake)} == counting


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (INJECTION_PROGRESS, {"injection_id": run("a")["injection_id"], "injection_name": "a", "checkpoint_pct": 50}),
        (INSTRUMENT_HISTORY, {"instrument_id": "LC-1", "method_id": "ASSAY-01", "injection_id": "another"}),
        (LOT_HISTORY, {"lot_id": "L1"}),
        (STORAGE_EXPOSURE, {"sample_name": "S1"}),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_news_of_each_feature_table_is_news_of_the_runs_it_speaks_of(lake: Lakehouse, table: Any, key: dict[str, Any]) -> None:
    """Of the run, its instrument, its lot or its sample; another run of another of each is left alone."""
    put(lake, INJECTIONS, run("b", lot_id="L2", sample_name="S2", instrument_id="LC-2"))
    tables = (INJECTIONS, INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE)
    before = lake.versions(tables)
    times = {"event_time_utc": at(5, 8), "known_time_utc": at(5, 8), "feature_set_version": FEATURE_SET_VERSION}
    put(lake, table, {**dict.fromkeys(names_of(table.name)), **times, **key})
    assert list(predictions._touched(lake, before, lake.versions(tables))) == [run("a")["injection_id"]]


def test_a_change_of_features_that_the_model_does_not_read_writes_nothing(lake: Lakehouse) -> None:
    """The lot's features changed, of which this model knows none: the same prediction stands."""
    values = {**dict.fromkeys(names_of("lot_history")), "lot_min_margin": 0.1}
    times = {"event_time_utc": at(1), "known_time_utc": at(1), "feature_set_version": FEATURE_SET_VERSION}
    put(lake, LOT_HISTORY, {"lot_id": "L1", **times, **values})
    before = lake.version(PREDICTIONS)
    assert score(lake, now=NOW + timedelta(hours=1)).predictions == 0
    assert lake.version(PREDICTIONS) == before


def test_predictions_of_a_former_model_stand_until_their_runs_change(lake: Lakehouse) -> None:
    """Another model scores everything beside; then one run's features change, and another one turns out to be a blank."""
    put(lake, INJECTIONS, run("b"))
    put(lake, INJECTION_PROGRESS, progress("b", 0.4))
    assert score(lake).predictions == 1
    assert score(lake, seed=4).predictions == 2
    assert [row["ended_at_utc"] for row in rows(lake)] == [None] * 4
    put(lake, INJECTION_PROGRESS, progress("a", 0.9, known=at(8)))
    again(lake, run("b", sample_role="blank"))
    done = score(lake, now=NOW + timedelta(hours=1), seed=4)
    assert (done.predictions, done.superseded, done.ended) == (1, 2, 2)
    (counting,) = [row for row in rows(lake) if row["ended_at_utc"] is None]
    assert (counting["model_digest"], counting["as_of_utc"]) == (bundle(seed=4).digest, at(8))
    reasons = {row["model_digest"]: row["ended_reason"] for row in rows(lake) if row["superseded_by"] == counting["prediction_id"]}
    known = "the moment up to which facts were known, the feature values"
    assert reasons == {
        bundle().digest: f"scored again after a change of the model, {known}",
        bundle(seed=4).digest: f"scored again after a change of {known}",
    }


def test_news_ends_predictions_of_a_former_model_when_all_is_looked_at(lake: Lakehouse) -> None:
    """As after a restore: what changed meanwhile is news to them, and what did not is none."""
    put(lake, INJECTIONS, run("b"))
    put(lake, INJECTION_PROGRESS, progress("b", 0.4))
    score(lake)
    score(lake, seed=4)
    put(lake, INJECTION_PROGRESS, progress("a", 0.9, known=at(8)))
    mark_anew(lake, [PREDICTIONS.full_name], "restored to version 1")
    done = score(lake, now=NOW + timedelta(hours=1), seed=4)
    assert (done.predictions, done.superseded, done.ended) == (1, 2, 0)
    former = {row["injection_id"]: row["ended_at_utc"] for row in rows(lake) if row["model_digest"] == bundle().digest}
    assert former == {run("a")["injection_id"]: NOW + timedelta(hours=1), run("b")["injection_id"]: None}


def test_a_reason_says_what_is_different_now(lake: Lakehouse) -> None:
    """Another lot alone; then predictions as an earlier program named them, whose identity alone is another."""
    again(lake, run("a", lot_id="L2"))
    score(lake, now=NOW + timedelta(hours=1))
    (first, second) = rows(lake)
    assert (first["ended_reason"], first["superseded_by"]) == ("scored again after a change of the lot", second["prediction_id"])
    earlier = [{**second, "prediction_id": f"pred_old_{number}"} for number in range(3)]
    lake.replace_where(PREDICTIONS, lake.local_rows(PREDICTIONS, earlier), "`prediction_id` IS NOT NULL")
    assert score(lake, now=NOW + timedelta(hours=2), everything=True).superseded == 3
    named = "scored again under another identity: model, lot, moment and feature values are the same"
    assert {row["ended_reason"] for row in rows(lake)} == {named, None}


def test_many_superseded_predictions_are_compared_in_portions(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is held against its own successor, also one whose moment nobody wrote down."""
    monkeypatch.setattr(prediction_records, "_AT_ONCE", 2)
    for number, name in enumerate("bcde"):
        put(lake, INJECTIONS, run(name))
        put(lake, INJECTION_PROGRESS, progress(name, 0.2 + number / 10))
    score(lake)
    kept = rows(lake)
    earlier = [{**row, "prediction_id": f"pred_old_{row['injection_id']}"} for row in kept]
    earlier[0]["as_of_utc"] = None
    earlier[1]["features"] = [("worst_margin_so_far", 9.0)]
    lake.replace_where(PREDICTIONS, lake.local_rows(PREDICTIONS, earlier), "`prediction_id` IS NOT NULL")
    assert score(lake, now=NOW + timedelta(hours=1), everything=True).superseded == 5
    reasons = {row["injection_id"]: row["ended_reason"] for row in rows(lake) if row["ended_at_utc"] is not None}
    assert reasons.pop(earlier[0]["injection_id"]) == "scored again after a change of the moment up to which facts were known"
    assert reasons.pop(earlier[1]["injection_id"]) == "scored again after a change of the feature values"
    assert set(reasons.values()) == {"scored again under another identity: model, lot, moment and feature values are the same"}


@pytest.mark.parametrize("role", ["standard", "blank", "suitability"])
def test_a_run_that_turns_out_to_be_no_sample_ends_its_predictions(lake: Lakehouse, role: str) -> None:
    again(lake, run("a", sample_role=role))
    later = NOW + timedelta(hours=1)
    done = score(lake, now=later)
    assert (done.predictions, done.superseded, done.ended) == (0, 0, 1)
    (row,) = rows(lake)
    assert (row["superseded_by"], row["ended_at_utc"]) == (None, later)
    assert row["ended_reason"] == "the run is no sample by what is known now, or has no features any more"
    (decision,) = rows(lake, DECISIONS)
    assert decision["ended_at_utc"] == later


def test_a_prediction_that_ended_counts_again_when_its_run_is_a_sample_after_all(lake: Lakehouse) -> None:
    (first,) = rows(lake)
    again(lake, run("a", sample_role="blank"))
    score(lake, now=NOW + timedelta(hours=1))
    again(lake, run("a"))
    done = score(lake, now=NOW + timedelta(hours=2))
    assert (done.predictions, done.superseded, done.ended) == (0, 0, 0)
    assert rows(lake) == [first]
    assert [row["ended_at_utc"] for row in rows(lake, DECISIONS)] == [None]


def test_a_run_without_context_waits_until_its_grace_time_is_over(lakehouse: Lakehouse) -> None:
    """Its trace arrived at noon and sixty seconds are given for a worklist: nothing is scored before, it is scored then without news."""
    noon = at(20, 12)
    lakehouse.settings.context_grace_s = 60
    put(lakehouse, INJECTIONS, run("b", sample_role="unknown", lot_id=None))
    put(lakehouse, INJECTION_PROGRESS, progress("b", 0.2))
    trace = {
        "injection_name": "b", "source": "hplc", "instrument_name": "LC-1", "injected_at_text": "08:00", "channel": "UV",
        "x": [0.0, 1.0], "y": [0.0, 1.0], "x_unit": "s", "n_points": 2, "zone_known": True, "ingested_at_utc": noon,
    }  # fmt: skip
    putting(lakehouse)(CHROMATOGRAMS, trace)
    first = score(lakehouse, now=noon + timedelta(seconds=59))
    assert (first.predictions, first.waiting) == (0, 1)
    assert score(lakehouse, now=noon + timedelta(seconds=59)).waiting == 0, "without news and before its time it is not looked at"
    assert score(lakehouse, now=noon + timedelta(seconds=61)).predictions == 1
    assert lakehouse.ledger.attention(PREDICTIONS.full_name) == []


def test_a_worklist_within_the_grace_time_spares_the_run_a_score_as_unknown(lakehouse: Lakehouse) -> None:
    noon = at(20, 12)
    lakehouse.settings.context_grace_s = 60
    put(lakehouse, INJECTIONS, run("b", sample_role="unknown", lot_id=None))
    put(lakehouse, INJECTION_PROGRESS, progress("b", 0.2))
    trace = {
        "injection_name": "b", "source": "hplc", "instrument_name": "LC-1", "injected_at_text": "08:00", "channel": "UV",
        "x": [0.0, 1.0], "y": [0.0, 1.0], "x_unit": "s", "n_points": 2, "zone_known": True, "ingested_at_utc": noon,
    }  # fmt: skip
    putting(lakehouse)(CHROMATOGRAMS, trace)
    score(lakehouse, now=noon)
    again(lakehouse, run("b", sample_role="standard"))
    score(lakehouse, now=noon + timedelta(seconds=90))
    assert rows(lakehouse) == []


def test_a_run_killed_between_writing_and_marking_is_finished_by_the_next(lake: Lakehouse) -> None:
    """The new prediction is there and the old one not yet marked, as a kill leaves it: the next look marks it."""
    put(lake, INJECTION_PROGRESS, progress("a", 0.9, known=at(8)))
    score(lake, now=NOW + timedelta(hours=1))
    ids = [row["prediction_id"] for row in rows(lake)]
    unmarked = lake.polars(PREDICTIONS).with_columns(
        superseded_by=pl.lit(None, pl.String), ended_at_utc=pl.lit(None, pl.Datetime("us", "UTC")), ended_reason=pl.lit(None, pl.String)
    )
    lake.replace_where(PREDICTIONS, unmarked.to_arrow(), "`prediction_id` IS NOT NULL")
    done = score(lake, now=NOW + timedelta(hours=2), everything=True)
    assert (done.predictions, done.superseded) == (0, 1)
    assert [row["prediction_id"] for row in rows(lake)] == ids
    assert [row["superseded_by"] for row in rows(lake)] == [ids[1], None]


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Version of a set of before the margin, which tables keep, was computed otherwise; its former file is lost."""
    raised = tuple(replace(feature, version=1 + (feature.name == NAMES[1])) for feature in FEATURES)
    monkeypatch.setattr(inputs, "FEATURES", raised)
    inputs.forget()
    yield OLD
    inputs.forget()


def test_a_model_is_given_rows_of_its_own_feature_set_only(lake: Lakehouse, old: str) -> None:
    """Rows of two sets lie beside each other: a model of the earlier one goes on scoring by its own rows, to the same values."""
    given = inputs_of_model(bundle(old))
    assert given is not None
    assert (given.feature_set_version, given.former) == (old, {})
    put(lake, INJECTION_PROGRESS, progress("a", -0.7, version=old))
    assert score(lake, version=old).predictions == 1
    margins = {row["feature_set_version"]: dict(row["features"])["worst_margin_so_far"] for row in rows(lake)}
    assert margins == {FEATURE_SET_VERSION: 0.2, old: -0.7}
    assert [row["ended_at_utc"] for row in rows(lake)] == [None, None], "each model's predictions stand by themselves"


def test_a_model_without_rows_of_its_feature_set_says_so(lake: Lakehouse, old: str) -> None:
    done = score(lake, version=old)
    assert done.predictions == 0
    assert done.reason.startswith(
        f"1 of 1 run(s) have no score: new runs have no score: the model oos_risk 1 uses feature set {old}, which"
    )
    assert "put worst_margin_so_far_v1.py into lab_assets/features/extra/former, or promote a model" in done.reason


def test_a_model_of_a_set_that_nobody_knows_scores_nothing_and_ends_nothing(lake: Lakehouse) -> None:
    before = (rows(lake), lake.ledger.progress(PREDICTIONS.full_name))
    done = score(lake, version="fs-unknown", everything=True)
    assert done == Scored(reason=done.reason)
    assert "uses feature set fs-unknown, which this program" in done.reason
    assert (rows(lake), lake.ledger.progress(PREDICTIONS.full_name)) == before
