"""For the set of any model whose computations are kept, each input is read from the column of the computation that the set states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.features import extra, inputs
from lab_assets.features.context import context_features
from lab_assets.features.definitions import FEATURE_NAMES, FEATURE_SET_VERSION, FEATURES, set_version
from lab_assets.features.extra import ExtraFeature
from lab_assets.features.feature import Feature
from lab_assets.features.inputs import TODAY, ModelInputs, described, inputs_of, not_computed, resolve
from lab_assets.features.vector import assemble_online

VERSIONS = {"lot_min_margin": (1, 2, 3), "pressure_mean_bar": (1, 2), "ih_tailing": (1, 2), "share_seen": (1,), "gone": (1, 2)}
"""Former versions by feature; those that are features of today are of the version after the last."""
IS_TODAY = {feature.name: feature for feature in FEATURES}
TABLES = {"share_seen": "context", "gone": "lot_history"}


def _feature(name: str, version: int) -> Feature:
    known = IS_TODAY.get(name) or Feature(name=name, table=TABLES[name], meaning="made up")
    return replace(known, version=version, meaning=f"{known.meaning}, computation {version}")


def _today() -> tuple[Feature, ...]:
    changed = tuple(_feature(one.name, VERSIONS[one.name][-1] + 1) if one.name in VERSIONS else one for one in FEATURES)
    return (*changed, _feature("share_seen", 2))


CHANGED = _today()
FORMER = {made.former_column: made for name, versions in VERSIONS.items() for made in (_feature(name, version) for version in versions)}
CHOICES = {one.name: [one, *(made for made in FORMER.values() if made.name == one.name)] for one in (*CHANGED, *FORMER.values())}


@pytest.fixture(scope="module", autouse=True)
def changed() -> Iterator[None]:
    """Today's features with five changed or gone, whose former computations are kept: twice the share of the run, and so on."""
    kept = tuple(ExtraFeature(feature=made, value=lambda row: row["checkpoint_pct"]) for made in FORMER.values() if made.table == "context")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "FEATURES", CHANGED)
        patch.setattr(inputs, "FORMER_FEATURES", FORMER)
        patch.setattr(extra, "formers", lambda: kept)
        inputs.forget()
        yield
    inputs.forget()


@st.composite
def sets(draw: st.DrawFn) -> tuple[Feature, ...]:
    """A set that was once the program's, or a part of it: some features in some order, each by one of its computations."""
    names = draw(st.lists(st.sampled_from(sorted(CHOICES)), unique=True, min_size=1))
    return tuple(draw(st.sampled_from(CHOICES[name])) for name in names)


@given(sets())
def test_each_input_is_read_from_the_column_of_its_computation(features: tuple[Feature, ...]) -> None:
    found = resolve(set_version(features), [one.name for one in features])
    assert found is not None
    assert found.feature_set_version == FEATURE_SET_VERSION
    assert found.names == tuple(one.name for one in features)
    columns = {name: column for table in inputs.STORED_TABLES for name, column in found.stored(table).items()}
    for one in features:
        is_former = FORMER.get(one.former_column) is one
        assert found.former.get(one.name) == (one if is_former else None)
        if one.table != "context":
            assert columns[one.name] == (one.former_column if is_former else one.name)
    assert described(set_version(features), found.names) == {one.name: one for one in features}


@given(sets(), st.sampled_from(sorted(VERSIONS)))
def test_a_set_with_a_computation_that_nobody_knows_is_not_computed(features: tuple[Feature, ...], name: str) -> None:
    """What is said of its features is what is said of today's."""
    lost = (*(one for one in features if one.name != name), _feature(name, 9))
    version, names = set_version(lost), tuple(one.name for one in lost)
    assert resolve(version, names) is inputs_of(version, names) is None
    assert described(version, names).get(name) == next((one for one in CHANGED if one.name == name), None)


@pytest.mark.parametrize(
    ("name", "own_rows"),
    [("ih_tailing", True), ("lot_min_margin", True), ("gone", True), ("share_seen", False)],
    ids=str,
)
def test_a_computation_that_is_not_kept_is_named(monkeypatch: pytest.MonkeyPatch, name: str, own_rows: bool) -> None:
    """Rows of the set itself are used where they hold it; what is worked out when rows are put together, they do not."""
    old = (FORMER[f"{name}_v1"], FORMER["pressure_mean_bar_v1"], IS_TODAY["lot_results_known"])
    version, names = set_version(old), [one.name for one in old]
    monkeypatch.setattr(inputs, "FORMER_FEATURES", {column: made for column, made in FORMER.items() if column != f"{name}_v1"})
    inputs.forget()
    assert resolve(version, names) is None
    assert f"put {name}_v1.py into lab_assets/features/extra/former" in not_computed(version, names)
    own = ModelInputs(names=tuple(names), feature_set_version=version, former={"pressure_mean_bar": FORMER["pressure_mean_bar_v1"]})
    assert inputs_of(version, names) == (own if own_rows else None)
    inputs.forget()


def test_a_name_that_nobody_knows_is_not_computed() -> None:
    lost = Feature(name="unheard_of", table="context", meaning="")
    assert resolve(set_version([lost]), ["unheard_of"]) is None


def test_rows_of_other_sets_are_read_by_the_columns_they_held() -> None:
    """Rows of the own set have the inputs under their own names; those of a set in between had columns for what was former then."""
    old = (FORMER["lot_min_margin_v1"], FORMER["ih_tailing_v2"])
    found = resolve(set_version(old), ["lot_min_margin", "ih_tailing"])
    assert found is not None
    own, between = found.of_rows("fs1-own", held=()), found.of_rows("fs1-between", held={"lot_min_margin_v1", "ih_tailing"})
    read = [(one.stored("lot_history")["lot_min_margin"], one.stored("instrument_history")["ih_tailing"]) for one in (found, own, between)]
    assert read == [("lot_min_margin_v1", "ih_tailing_v2"), ("lot_min_margin", "ih_tailing"), ("lot_min_margin_v1", "ih_tailing")]
    assert own.former == between.former == found.former


def test_what_was_computed_just_now_is_read_as_rows_of_any_set_are() -> None:
    found = resolve(set_version([FORMER["pressure_mean_bar_v1"]]), ["pressure_mean_bar"])
    assert found is not None
    computed = {"pressure_mean_bar": 300.0, "pressure_mean_bar_v1": 100.0}
    for one in (found, found.of_rows("fs1-own", held=())):
        made = assemble_online(one.as_row(computed), None, None, None, checkpoint_pct=50, method_id=None, inputs=one)
        assert made == {"pressure_mean_bar": 100.0}


def test_values_that_somebody_brings_go_by_their_columns() -> None:
    old = (FORMER["lot_min_margin_v2"], FORMER["share_seen_v1"], IS_TODAY["lot_results_known"])
    found = resolve(set_version(old), [one.name for one in old])
    assert found is not None
    brought = {"lot_min_margin": 1.0, "lot_min_margin_v2": 2.0, "share_seen_v1": 3.0, "lot_results_known": 4.0}
    assert found.of_posted(brought) == {"lot_min_margin": 2.0, "share_seen": 3.0, "lot_results_known": 4.0}
    assert TODAY.of_posted(brought) == {"lot_min_margin": 1.0, "lot_results_known": 4.0}


def test_what_is_worked_out_of_other_features_is_worked_out_of_the_models_own() -> None:
    """The shift of the pressure is the same computation today: the model's is that of the mean that it knows, 110 against 100 bar."""
    old = (FORMER["pressure_mean_bar_v1"], IS_TODAY["pressure_shift_pct"], FORMER["share_seen_v1"])
    found = resolve(set_version(old), [one.name for one in old])
    assert found is not None
    progress = {"pressure_mean_bar": 300.0, "pressure_mean_bar_v1": 110.0}
    instrument = {"ih_pressure_mean_bar": 100.0}
    made = assemble_online(progress, instrument, None, None, checkpoint_pct=25, method_id=None, inputs=found)
    assert made == pytest.approx({"pressure_mean_bar": 110.0, "pressure_shift_pct": 10.0, "share_seen": 25.0})


def test_a_former_feature_of_the_context_takes_its_features_place() -> None:
    shift = replace(IS_TODAY["pressure_shift_pct"], version=0)
    kept = (ExtraFeature(feature=shift, value=lambda row: row["pressure_mean_bar"] or nan),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extra, "formers", lambda: kept)
        asked = ModelInputs(names=("pressure_shift_pct",), former={"pressure_shift_pct": shift})
        row = {"pressure_mean_bar": 110.0, "ih_pressure_mean_bar": 100.0}
        assert context_features(row, checkpoint_pct=10, method_id=None, inputs=asked)["pressure_shift_pct"] == 110.0
        assert context_features(row, checkpoint_pct=10, method_id=None)["pressure_shift_pct"] == pytest.approx(10.0)
        assert isnan(
            context_features({**row, "pressure_mean_bar": None}, checkpoint_pct=10, method_id=None, inputs=asked)["pressure_shift_pct"]
        )


def test_todays_inputs_are_todays_columns() -> None:
    assert resolve(set_version(CHANGED), [one.name for one in CHANGED]) == ModelInputs(names=tuple(one.name for one in CHANGED))
    assert ModelInputs(names=FEATURE_NAMES, feature_set_version=FEATURE_SET_VERSION) == TODAY
