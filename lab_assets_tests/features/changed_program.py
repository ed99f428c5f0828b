"""A laboratory whose program is changed between two days: run as a program of its own, since what features there are is settled at import.

Belongs here: taking files, scoring as batch and service do, telling what came out. Does not belong here: the changes and what is asserted of
them (the tests).

``python -m lab_assets_tests.features.changed_program HOME ANSWER [RUN ...]`` takes what waits in the inbox of a home, scores it by the model
in the home, made there the first time, and writes what it sees to a file. Some of the named runs, or of all, are scored by the service too.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl

from lab_assets.contracts.features import INJECTION_PROGRESS, LOT_HISTORY
from lab_assets.contracts.ml import ALERTS, PREDICTIONS
from lab_assets.features.definitions import FEATURE_NAMES, FEATURE_SET_VERSION
from lab_assets.features.inputs import resolve
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.modeling.bundle import ModelBundle
from lab_assets.registry.serving import cache_bundle
from lab_assets.service.records import Prediction, Record
from lab_assets.service.reproduction import ReproductionError, reproduce
from lab_assets.service.requests import parse_trace
from lab_assets.service.run_rows import CachedRows
from lab_assets.service.scorer import FeatureSetMismatchError, Scorer
from lab_assets.service.serving import ServedModel
from lab_assets.service.store import Models, find_records
from lab_assets.service.table_cache import TableCache
from lab_assets.stations.ml.drift_checks import check_feature_set
from lab_assets.stations.ml.predictions import Scoring, score_waiting
from lab_assets_tests.service.laboratory import train
from lab_assets_tests.service.parity import posted_runs, runs_of
from lab_assets_tests.stations.small_laboratory import opened, run_stations

NOW = datetime(2027, 1, 1, tzinfo=UTC)
POSTED = 3


def model_of(home: Path) -> ModelBundle:
    """Return the model in service; the first program that runs in a home makes it."""
    folder = home / "in_service"
    if not folder.exists():
        train(1, FEATURE_NAMES).save(folder)
    return ModelBundle.load(folder)


def rows_by_set(lake: Lakehouse) -> dict[str, Any]:
    """Return digest and number of the rows of each feature set, over the columns of the first program."""
    found: dict[str, Any] = {}
    for table in (INJECTION_PROGRESS, LOT_HISTORY):
        columns = [name for name in table.column_names if not name.endswith(("_v1", "_v2"))]
        for (version,), rows in lake.polars(table, columns).sort(table.primary_key).group_by("feature_set_version"):
            digest = hashlib.sha256("\n".join(map(repr, rows.sort(table.primary_key).iter_rows())).encode()).hexdigest()
            found[f"{table.name} {version}"] = {"rows": rows.height, "digest": digest}
    return found


class Service:
    """The service's scoring, with its predictions kept here."""

    def __init__(self, lake: Lakehouse, bundle: ModelBundle) -> None:
        self.kept: list[Record] = []
        self._lake = lake
        tables = TableCache(lake.settings)
        self._scorer = Scorer(
            lake.settings,
            models=SimpleNamespace(current=ServedModel(name="oos_risk", version="1", bundle=bundle)),  # type: ignore[arg-type]
            log=SimpleNamespace(append=self._keep),  # type: ignore[arg-type]
            rows=lambda: CachedRows.of(tables),
            clock=lambda: NOW,
        )

    def _keep(self, record: Record, **_: object) -> None:
        self.kept.append(record)

    def score(self, runs: pl.DataFrame, bundle: ModelBundle) -> dict[str, Any]:
        """Score some runs as posted and as stored; say where batch and online differ."""
        inputs = resolve(bundle.info.feature_set_version, bundle.feature_names)
        if inputs is None:
            return {}
        differing: list[str] = []
        for one in posted_runs(self._lake, runs, inputs):
            name = one.run["injection_id"]
            made = self._scorer.score_trace(name, parse_trace(one.body), body=one.body, user="analyst")
            if made.prediction.features != one.batch:
                differing.append(f"{name} {one.checkpoint_pct}")
            self._scorer.score_injection(name, checkpoint_pct=one.checkpoint_pct, user="analyst")
        return {"differing": differing, "scored": len(self.kept)}

    def refusal(self, name: str) -> str:
        """Return why a stored run is not scored; empty where it is."""
        try:
            self._scorer.score_injection(name, checkpoint_pct=50, user="analyst")
        except FeatureSetMismatchError as error:
            return str(error)
        return ""


def not_reproduced(lake: Lakehouse, predictions: list[Prediction]) -> list[str]:
    """Return what came of the predictions that are not the same again."""
    models, found = Models(lake.settings), []
    for prediction in predictions:
        try:
            again = reproduce(lake.settings, prediction, models=models)
        except ReproductionError as error:
            found.append(str(error))
            continue
        if not again.reproduced:
            found.append(f"{prediction.mode} {prediction.injection_id} {prediction.checkpoint_pct}: {again.differing}")
    return found


def main(home: Path, late: list[str]) -> dict[str, Any]:
    """Take, score, post and repeat; return what is seen."""
    bundle, earlier = model_of(home), home / "online.json"
    with opened(home) as lake:
        lake.settings.context_grace_s = 0
        cache_bundle(lake.settings, bundle)
        Ingestor(lake).run()
        run_stations(lake)
        scoring = Scoring(model_version="1", mode="stream", requested_by="test", predicted_at_utc=datetime.now(UTC))
        reason = score_waiting(lake, bundle, scoring).reason
        runs = runs_of(lake).drop_nulls("lot_id")
        chosen = runs.filter(pl.col("injection_name").is_in(late) == bool(late)).tail(POSTED)
        service = Service(lake, bundle)
        online, refusal = service.score(chosen, bundle), service.refusal(chosen["injection_id"][0])
        kept = lake.polars(PREDICTIONS).sort("prediction_id")
        stored = [record.prediction for record in find_records(lake.settings, kept["prediction_id"].gather_every(7).to_list())]
        before = [Prediction.from_row(row) for row in json.loads(earlier.read_text())] if earlier.exists() else []
        made = [record.prediction for record in service.kept]
        earlier.write_text(json.dumps([asdict(one) for one in before + made], default=datetime.isoformat))
        return {
            "set": FEATURE_SET_VERSION,
            "reason": reason,
            "alert": check_feature_set(lake, bundle, model_version="1", at_utc=NOW) and lake.polars(ALERTS)["message"].to_list(),
            "rows": rows_by_set(lake),
            "predictions": {
                f"{row['injection_name']} {row['checkpoint_pct']}": [row["risk"], sorted(dict(row["features"]).items())]
                for row in kept.filter(pl.col("ended_at_utc").is_null())
                .join(runs.select("injection_id", "injection_name"), on="injection_id")
                .to_dicts()
            },
            "online": online,
            "posted": {f"{one.injection_id} {one.checkpoint_pct} {one.as_of_utc}": [one.risk, one.features] for one in made},
            "refusal": refusal,
            "repeated": len(stored + before + made),
            "not_reproduced": not_reproduced(lake, stored + before + made),
        }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(Path(sys.argv[1]), sys.argv[3:]), default=str))
