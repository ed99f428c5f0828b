"""A model made with a part of today's features keeps serving; one whose features are computed otherwise today is refused in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lab_assets.features import definitions
from lab_assets.features.definitions import FEATURE_NAMES, FEATURE_SET_VERSION, FEATURES
from lab_assets.ops.status import lab_status
from lab_assets.registry import serving
from lab_assets.registry.serving import cache_bundle
from lab_assets.service.reproduction import ReproductionError, reproduce
from lab_assets.service.scorer import FeatureSetMismatchError, Subject, answer
from lab_assets.service.serving import ServedModel
from lab_assets.service.store import Models
from lab_assets.service.stored_features import newest_features
from lab_assets_tests.service.laboratory import NOW, train, write

EARLIER = tuple(name for name in FEATURE_NAMES if name not in {"ih_tailing", "storage_gap_min"})
"""The set of before two features were added."""
EARLIER_VERSION = definitions.set_version(tuple(feature for feature in FEATURES if feature.name in EARLIER))


def served(bundle) -> ServedModel:
    return ServedModel(name="oos_risk", version="0", bundle=bundle)


@pytest.fixture(scope="module")
def earlier(lab):
    bundle = train(5, EARLIER, EARLIER_VERSION)
    cache_bundle(lab.settings, bundle)
    return bundle


def subject(settings) -> Subject:
    found = newest_features(settings, "i-1", checkpoint_pct=50, at=NOW)
    return Subject(
        injection_id="i-1", lot_id=found.lot_id, checkpoint_pct=50, features=found.features, table_versions=found.table_versions, as_of=NOW
    )


def test_a_model_of_fewer_features_is_given_those_and_replayed(lab, earlier):
    about = subject(lab.settings)
    made = answer(about, served(earlier), now=NOW, user="analyst").prediction
    assert about.features.keys() - made.features.keys() == {"ih_tailing", "storage_gap_min"}
    assert made.feature_set_version == EARLIER_VERSION != FEATURE_SET_VERSION
    again = reproduce(lab.settings, made, models=Models(lab.settings))
    assert (again.reproduced, again.features_from, again.differing) == (True, "tables", ())


def test_a_prediction_of_before_the_set_grew_rests_on_the_rows_of_its_own_set(lab, earlier):
    """The lot's state has rows of both sets; what was kept says the value of the earlier one."""
    at = NOW - timedelta(days=3)
    write(lab.settings, "features.lot_history", [
        {"lot_id": "LOT-1", "event_time_utc": at, "known_time_utc": at, "feature_set_version": EARLIER_VERSION, "lot_min_margin": 0.25},
    ])  # fmt: skip
    about = subject(lab.settings)
    own = {"lot_min_margin": 0.25, "checkpoint_pct": 50.0, "method_is_assay": 1.0, "method_is_rs": 0.0, "method_is_diss": 0.0}
    made = answer(replace(about, features=own), served(earlier), now=NOW, user="analyst").prediction
    assert reproduce(lab.settings, made, models=Models(lab.settings)).reproduced


def test_features_that_are_computed_otherwise_today_are_refused(lab, earlier):
    other = train(6, EARLIER, "fs1-000000")
    with pytest.raises(FeatureSetMismatchError, match=r"fs1-000000.*does not compute"):
        answer(subject(lab.settings), served(other), now=NOW, user="analyst")
    made = answer(subject(lab.settings), served(earlier), now=NOW, user="analyst").prediction
    with pytest.raises(ReproductionError, match="fs1-000000"):
        reproduce(lab.settings, replace(made, feature_set_version="fs1-000000"), models=Models(lab.settings))


def test_lab_status_names_a_model_whose_features_are_not_computed(lab, earlier, monkeypatch):
    other = train(6, EARLIER, "fs1-000000")
    cache_bundle(lab.settings, other)
    now = serving.current_serving(lab.engine)
    for bundle, problems in ((earlier, []), (other, ["new runs have no score: the model oos_risk 1 uses feature set fs1-000000, which"])):
        monkeypatch.setattr(serving, "current_serving", lambda *_, digest=bundle.digest, **__: replace(now, digest=digest))
        found = [problem for problem in lab_status(lab.settings).problems if "score" in problem]
        assert [problem[: len(said)] for problem, said in zip(found, problems, strict=True)] == problems
