"""Training sets: the same rows of the same versions are frozen once."""

from __future__ import annotations

from datetime import timedelta

from lab_assets.contracts.features import INJECTION_PROGRESS
from lab_assets.contracts.ml import LABELS, TRAINING_SETS
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.domain.injection_identity import injection_id
from lab_assets.features.definitions import FEATURE_SET_VERSION, names_of
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.ml.training_sets import MIN_INJECTIONS, freeze_training_set
from lab_assets_tests.stations.rows import at, putting


def put_labelled_runs(lake: Lakehouse) -> None:
    """Write as many runs with features and outcomes as a training set needs, one lot a day."""
    runs, progress, labels = [], [], []
    for number in range(MIN_INJECTIONS):
        began, name = at(1) + timedelta(hours=4 * number), f"run-{number}"
        key = injection_id("hplc", "LC-1", name, began.isoformat())
        of_run = {"lot_id": f"L{number // 6}", "method_id": "ASSAY-01", "instrument_id": "LC-1", "injected_at_utc": began}
        common = {"injection_id": key, "sample_name": f"S{number // 6}", "sample_role": "sample", **of_run}
        runs.append(
            {**common, "injection_name": name, "source": "hplc", "known_time_utc": began, "zone_known": True, "channels": ["UV"],
             "processing_id": "p", "source_sha256": name}
        )  # fmt: skip
        values = {**dict.fromkeys(names_of("injection_progress")), "worst_margin_so_far": number / 10}
        known = {"event_time_utc": began, "known_time_utc": began, "feature_set_version": FEATURE_SET_VERSION}
        progress.append({"injection_id": key, "injection_name": name, "checkpoint_pct": 50, **values, **known})
        labels.append(
            {"injection_id": key, "is_oos": number % 5 == 0, "injected_at_utc": began, "known_time_utc": began + timedelta(days=1)}
        )
    put = putting(lake)
    put(INJECTIONS, *runs)
    put(INJECTION_PROGRESS, *progress)
    put(LABELS, *labels)


def test_the_same_rows_are_frozen_once(lakehouse: Lakehouse) -> None:
    put_labelled_runs(lakehouse)
    first = freeze_training_set(lakehouse, frozen_at_utc=at(20))
    assert (first.is_new, first.words()) == (True, f"{MIN_INJECTIONS} row(s) frozen")
    version = lakehouse.version(TRAINING_SETS)
    again = freeze_training_set(lakehouse, frozen_at_utc=at(21))
    assert (again.training_set_id, again.is_new) == (first.training_set_id, False)
    assert again.words() == "no news: the same rows of the same versions were frozen before"
    assert lakehouse.version(TRAINING_SETS) == version
