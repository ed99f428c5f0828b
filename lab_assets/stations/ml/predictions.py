"""Scoring of injections whose features are in the tables: predictions, decisions, explanations.

Belongs here: which rows are scored and what is kept of it. Does not belong here: the model (``lab_assets.modeling``), the
rules (``lab_assets.decisions``), online requests (``lab_assets.service``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.ml import DECISIONS, EXPLANATIONS, PREDICTIONS
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.features.definitions import FEATURE_SET_VERSION
from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.stations.ml.training_sets import FEATURE_TABLES, assemble, spine_of, versions_of

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.decisions.review_path import Decision
    from lab_assets.modeling.bundle import ModelBundle
    from lab_assets.modeling.explanation import Driver

EXPLAIN_FROM_RISK: Final = 0.05
"""Exact explanations cost a millisecond each: lower risks are explained on request."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What one scoring did.

    Attributes:
        predictions: Rows written to ``ml.predictions``.
        paths: Decisions by suggested path.
        table_versions: Versions the features came from.
        versions: Version of each table written.
    """

    predictions: int = 0
    paths: dict[str, int] = field(default_factory=dict)
    table_versions: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)


def score_waiting(
    lake: Lakehouse,
    bundle: ModelBundle,
    *,
    model_version: str,
    mode: str,
    requested_by: str,
    predicted_at_utc: datetime,
    again: bool = False,
) -> Scored:
    """Score every injection x checkpoint with features that this model has not scored.

    Identities of predictions follow from model, injection, checkpoint and feature values, so repeating is harmless and a
    corrected feature gives a new prediction beside the old one.

    Args:
        lake: Tables.
        bundle: Verified model.
        model_version: Its registered version.
        mode: ``stream`` for what just arrived, ``batch`` for a deliberate scoring.
        requested_by: Who asked.
        predicted_at_utc: Now.
        again: Also look at rows scored before, for corrected features.
    """
    import polars as pl

    versions = versions_of(lake, INJECTIONS, *FEATURE_TABLES)
    spine = spine_of(lake, versions).filter(pl.col("sample_role").is_in(["sample", "unknown"]))
    columns = ["prediction_id", "injection_id", "checkpoint_pct", "model_digest"]
    done = lake.polars(PREDICTIONS, columns).filter(pl.col("model_digest") == bundle.digest)
    if not again:
        spine = spine.join(done.drop_nulls(["injection_id"]), on=["injection_id", "checkpoint_pct"], how="anti")
    if spine.height == 0:
        return Scored(table_versions=versions)
    rows = assemble(lake, spine, versions)
    known = set(done["prediction_id"].to_list())
    made = [row for row in _predictions(rows, bundle, model_version, versions) if row["prediction_id"] not in known]
    for row in made:
        row.update(mode=mode, requested_by=requested_by, predicted_at_utc=predicted_at_utc)
    return _keep(lake, bundle, made, versions, predicted_at_utc)


def prediction_id(bundle_digest: str, injection_id: str, checkpoint_pct: int, features: dict[str, float]) -> str:
    """Return the identity of a prediction made from tables."""
    values = ",".join(f"{name}={value!r}" for name, value in sorted(features.items()))
    return "pred_" + hashlib.sha256(f"{bundle_digest}|{injection_id}|{checkpoint_pct}|{values}".encode()).hexdigest()[:20]


def _predictions(rows: pl.DataFrame, bundle: ModelBundle, model_version: str, versions: dict[str, int]) -> list[dict[str, Any]]:
    from lab_assets.features.vector import to_map, to_matrix

    scores = bundle.score(to_matrix(rows))
    made: list[dict[str, Any]] = []
    for position, row in enumerate(rows.iter_rows(named=True)):
        features = to_map(row)
        checkpoint = int(row["checkpoint_pct"])
        made.append(
            {
                "prediction_id": prediction_id(bundle.digest, row["injection_id"], checkpoint, features),
                **{name: row[name] for name in ("injection_id", "lot_id", "as_of_utc")},
                "checkpoint_pct": checkpoint,
                "risk": float(scores.risk[position]),
                "risk_low": float(scores.low[position]),
                "risk_high": float(scores.high[position]),
                "raw_score": float(scores.raw[position]),
                "model_name": bundle.info.model_name,
                "model_version": model_version,
                "model_digest": bundle.digest,
                "feature_set_version": FEATURE_SET_VERSION,
                "features": features,
                "table_versions": versions,
                "_verdict": str(scores.verdict[position]),
            }
        )
    return made


def _keep(lake: Lakehouse, bundle: ModelBundle, made: Sequence[dict[str, Any]], versions: dict[str, int], at: datetime) -> Scored:
    decisions, explanations, paths = [], [], dict[str, int]()
    for row, drivers in zip(made, _drivers(bundle, made), strict=True):
        decision = decide_for(row, row["_verdict"], drivers)
        paths[decision.path] = paths.get(decision.path, 0) + 1
        decisions.append(
            {
                "decision_id": f"d-{row['prediction_id']}",
                **{name: row[name] for name in ("prediction_id", "injection_id", "lot_id")},
                "path": decision.path,
                "checks": list(decision.checks),
                "reasons": list(decision.reasons),
                "policy_version": decision.policy_version,
                "decided_at_utc": at,
                "verdict": row["_verdict"],
            }
        )
        explanations += [
            {
                "prediction_id": row["prediction_id"],
                **{name: getattr(driver, name) for name in ("rank", "feature", "contribution", "words")},
                "value": driver.value if isfinite(driver.value) else None,
            }
            for driver in drivers
        ]
    # predictions last: a run killed before that line scores the rows again and finds their decisions kept
    written = in_parallel(
        [
            lambda: _append_new(lake, DECISIONS, decisions, "decision_id"),
            lambda: _append_new(lake, EXPLANATIONS, explanations, "prediction_id"),
        ]
    )
    predictions = _append_new(lake, PREDICTIONS, list(made), "prediction_id")
    return Scored(predictions=len(made), paths=paths, table_versions=versions, versions=dict([*written, predictions]))


def _append_new(lake: Lakehouse, contract: TableContract, rows: list[dict[str, Any]], key: str) -> tuple[str, int]:
    """Append the rows whose key is not there yet; return the table's name and version."""
    known = set(lake.polars(contract, [key])[key].to_list())
    new = [row for row in rows if row[key] not in known]
    version = lake.append(contract, lake.local_rows(contract, new)) if new else lake.version(contract)
    return contract.full_name, version


def _drivers(bundle: ModelBundle, made: Sequence[dict[str, Any]]) -> list[list[Driver]]:
    """Return the drivers of each prediction, none below ``EXPLAIN_FROM_RISK``; a call for all rows costs half of a call for each."""
    import numpy as np

    from lab_assets.features.vector import from_map

    told = [position for position, row in enumerate(made) if row["risk"] >= EXPLAIN_FROM_RISK]
    drivers: list[list[Driver]] = [[] for _ in made]
    if told:
        explained = bundle.explain_rows(np.vstack([from_map(made[position]["features"]) for position in told]))
        for position, found in zip(told, explained, strict=True):
            drivers[position] = found
    return drivers


def decide_for(prediction: dict[str, Any], verdict: str, drivers: Sequence[Driver]) -> Decision:
    """Return the decision for a prediction and its drivers."""
    from lab_assets.decisions.review_path import decide

    return decide(
        risk=prediction["risk"],
        risk_low=prediction["risk_low"],
        risk_high=prediction["risk_high"],
        verdict=verdict,  # type: ignore[arg-type]  # the bundle's verdicts are the policy's
        features=prediction["features"],
        drivers=drivers,
    )
