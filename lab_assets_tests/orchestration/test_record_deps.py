"""Records (predictions, drift, training sets) depend in the graph on the tables that their work reads, no fewer and no more.

The tables of stations are held to their declarations by ``stations/test_declarations.py``; records have none, so their work is watched here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.features import INJECTION_PROGRESS
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.domain.injection_identity import injection_id
from lab_assets.features.definitions import FEATURE_SET_VERSION, names_of
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.reader import LakeReader
from lab_assets.orchestration.assets.scoring import scoring, watching
from lab_assets.orchestration.assets.training import MODEL_KEY, training
from lab_assets.stations.ml.drift_checks import check_recent, raise_drift_alert
from lab_assets.stations.ml.online import fold_online_log
from lab_assets.stations.ml.predictions import Scoring, score_waiting
from lab_assets.stations.ml.training_sets import TooFewLabelsError, freeze_training_set
from lab_assets_tests.stations.ml.models import bundle
from lab_assets_tests.stations.rows import at, putting

READS = ("polars", "scan", "rows", "version", "changes", "written", "files", "newest_rows")


@pytest.fixture
def read(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The tables that are read from now on, by name; two runs wait, one with features, one of which no worklist speaks yet."""
    put = putting(lakehouse)
    common = {
        "source": "hplc", "instrument_id": "LC-1", "method_id": "ASSAY-01", "injected_at_utc": at(5, 8), "known_time_utc": at(5, 9),
        "zone_known": True, "channels": ["UV"], "processing_id": "p",
    }  # fmt: skip
    for name, role in (("a", "sample"), ("b", "unknown")):
        key = injection_id("hplc", "LC-1", name, "08:00")
        put(INJECTIONS, {**common, "injection_id": key, "injection_name": name, "sample_role": role, "source_sha256": name})
        values = {**dict.fromkeys(names_of("injection_progress")), "worst_margin_so_far": 0.2, "feature_set_version": FEATURE_SET_VERSION}
        times = {"event_time_utc": at(5, 8), "known_time_utc": at(5, 8)}
        put(INJECTION_PROGRESS, {"injection_id": key, "injection_name": name, "checkpoint_pct": 50, **values, **times})
    seen: set[str] = set()

    def watched(name: str) -> Callable[..., Any]:
        plain = getattr(LakeReader, name)

        def reads(self: LakeReader, table: TableContract, *args: Any, **more: Any) -> Any:
            seen.add(table.full_name)
            return plain(self, table, *args, **more)

        return reads

    for name in READS:
        monkeypatch.setattr(LakeReader, name, watched(name))
    return seen


def score(lake: Lakehouse) -> None:
    fold_online_log(lake)
    assert score_waiting(lake, bundle(), Scoring(model_version="1", mode="stream", requested_by="t", predicted_at_utc=at(5, 9))).predictions


def watch(lake: Lakehouse) -> None:
    check_recent(lake, bundle(), model_version="1", checked_at_utc=at(20))
    raise_drift_alert(lake, model_version="1", at_utc=at(20))


def freeze(lake: Lakehouse) -> None:
    with pytest.raises(TooFewLabelsError):
        freeze_training_set(lake, frozen_at_utc=at(20))


@pytest.mark.parametrize(
    ("step", "work"), [(scoring, score), (watching, watch), (training, freeze)], ids=["scoring", "watching", "training"]
)
def test_a_step_depends_on_what_it_reads(
    lakehouse: Lakehouse, read: set[str], step: dg.AssetsDefinition, work: Callable[[Lakehouse], None]
) -> None:
    """Tables that a step writes itself are left out: one of them may be made of another of the same step; the model is no table."""
    work(lakehouse)
    own = {MODEL_KEY, *step.keys}
    declared = {dep.asset_key for spec in step.specs for dep in spec.deps} - own
    assert sorted({dg.AssetKey(name.split(".")) for name in read} - own) == sorted(declared)
