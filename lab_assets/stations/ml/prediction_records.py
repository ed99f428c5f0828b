"""What is kept of predictions: their identity, their decisions and explanations, and what is said of them later.

Belongs here: holding new predictions against those kept, and marking both tables alike. Does not belong here: which runs are scored
(``predictions.py``), the rules (``lab_assets.decisions``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.ml import DECISIONS, PREDICTIONS
from lab_assets.domain.in_force import utc
from lab_assets.lake.among import among
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.ml import ended_reasons

if TYPE_CHECKING:
    from lab_assets.decisions.review_path import Decision
    from lab_assets.modeling.bundle import ModelBundle
    from lab_assets.modeling.explanation import Driver

EXPLAIN_FROM_RISK: Final = 0.05
"""Exact explanations cost a millisecond each: lower risks are explained on request."""


def prediction_id(bundle_digest: str, row: Mapping[str, Any], features: Mapping[str, float]) -> str:
    """Return the identity of a prediction made from tables: by which model, of what run and lot, as of when, from what.

    Args:
        bundle_digest: Digest of the model.
        row: ``injection_id``, ``checkpoint_pct``, ``lot_id`` and ``as_of_utc``.
        features: What the model was given.
    """
    values = ",".join(f"{name}={value!r}" for name, value in sorted(features.items()))
    of = f"{row['injection_id']}|{int(row['checkpoint_pct'])}|{row['lot_id'] or ''}|{utc(row['as_of_utc']).isoformat()}"
    return "pred_" + hashlib.sha256(f"{bundle_digest}|{of}|{values}".encode()).hexdigest()[:20]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What becomes of the predictions: new ones, and what is said now of those that stand."""

    new: list[dict[str, Any]]
    ended: list[dict[str, Any]]
    again: list[str]


_AT_ONCE: Final = 20_000
"""Superseded predictions whose feature values are held beside the new ones at one time."""
_COMPARED: Final = ("model_name", "model_version", "model_digest", "feature_set_version", "lot_id", "as_of_utc", "features")


def compared(lake: Lakehouse, made: Sequence[dict[str, Any]], standing: Sequence[dict[str, Any]], waiting: set[str], now: datetime) -> Plan:
    """Hold predictions against those kept: what is new, what is superseded or ended by it, and what counts again.

    What a restore or rollback ended is held against what comes out as what counts is: what is said of it in the end does not depend on
    whether there was one in between.

    Args:
        lake: Tables; of predictions that are superseded it is read what they were made from.
        made: What came out now.
        standing: What is kept of these runs, and whether it counts.
        waiting: Runs of which nothing is said yet.
        now: Time of what ends.
    """
    by_id = {row["prediction_id"]: row for row in standing}
    chosen = {(row["injection_id"], row["checkpoint_pct"]): row for row in made}
    ends: list[dict[str, Any]] = []
    superseded: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for row in standing:
        if row["injection_id"] in waiting or not (row["ended_at_utc"] is None or ended_reasons.waits(row["ended_reason"])):
            continue
        successor = chosen.get((row["injection_id"], row["checkpoint_pct"]))
        if successor is None:
            ends.append(ended(row["prediction_id"], now, ended_reasons.NO_SAMPLE))
        elif successor["prediction_id"] != row["prediction_id"]:
            superseded.append((row, successor))
    names = (row["prediction_id"] for row in chosen.values())
    again = [name for name in names if name in by_id and by_id[name]["ended_at_utc"] is not None]
    for row in _superseded(lake, superseded, now):
        if row["ended_at_utc"] is not None:
            ends.append(row)
        elif by_id[row["prediction_id"]]["ended_at_utc"] is not None:
            again.append(row["prediction_id"])
    return Plan(new=[row for row in made if row["prediction_id"] not in by_id], ended=ends, again=again)


def _superseded(lake: Lakehouse, pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]], now: datetime) -> Iterator[dict[str, Any]]:
    """Say of predictions by what they are superseded and why, or that they count.

    One of a former model counts that had been ended until this scoring and that its model would give again: another model's scoring alone
    ends none. Predictions are read in the order of their moments, so that files are skipped.
    """
    import polars as pl

    def moment(pair: tuple[dict[str, Any], dict[str, Any]]) -> tuple[bool, datetime]:
        at = pair[0]["as_of_utc"]
        return at is not None, now if at is None else at

    ordered = sorted(pairs, key=moment)
    for start in range(0, len(ordered), _AT_ONCE):
        portion = ordered[start : start + _AT_ONCE]
        where = among("prediction_id", pl.Series([before["prediction_id"] for before, _ in portion]))
        if (first := portion[0][0]["as_of_utc"]) is not None:
            where &= pl.col("as_of_utc").is_between(first, portion[-1][0]["as_of_utc"])
        stood = {row["prediction_id"]: row for row in lake.polars(PREDICTIONS, ["prediction_id", *_COMPARED], where=where).to_dicts()}
        for before, after in portion:
            if ended_reasons.waits(before["ended_reason"]) and _comes_out_again(stood[before["prediction_id"]], after):
                yield counting(before["prediction_id"])
                continue
            reason = ended_reasons.superseded(stood[before["prediction_id"]], after)
            yield ended(before["prediction_id"], now, reason, superseded_by=after["prediction_id"])


def _comes_out_again(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether a former model would make the same prediction of a run of which another model was given these features."""
    given = after["features"]
    if before["model_digest"] == after["model_digest"] or not (own := dict(before["features"])).keys() <= given.keys():
        return False
    return prediction_id(before["model_digest"], after, {name: given[name] for name in own}) == before["prediction_id"]


def ended(prediction: str, at: datetime, reason: str, *, superseded_by: str | None = None) -> dict[str, Any]:
    """Return what is said of a prediction that does not count any more."""
    return {"prediction_id": prediction, "superseded_by": superseded_by, "ended_at_utc": at, "ended_reason": reason}


def counting(prediction: str) -> dict[str, Any]:
    """Return what is said of a prediction that counts."""
    return {"prediction_id": prediction, **COUNTS}


COUNTS: Final = {"superseded_by": None, "ended_at_utc": None, "ended_reason": None}
"""What is said of a prediction that counts."""


def mark(lake: Lakehouse, ends: Sequence[dict[str, Any]], derivation: Derivation) -> None:
    """Write what is said now of predictions, and of the decisions that follow from them: ended, superseded or counting again.

    One commit a table, so that nobody sees half of it; of what is said already, none. Decisions come first: predictions tell what is left
    to be said, and a process that dies in between leaves them to be marked again, with their decisions.

    Args:
        lake: Tables.
        ends: ``prediction_id`` with ``superseded_by``, ``ended_at_utc`` and ``ended_reason``.
        derivation: Where it came from.
    """
    import polars as pl

    if not ends:
        return
    schema = {
        "prediction_id": pl.String(),
        "superseded_by": pl.String(),
        "ended_at_utc": pl.Datetime("us", "UTC"),
        "ended_reason": pl.String(),
    }
    said = pl.DataFrame([{name: row[name] for name in schema} for row in ends], schema=schema)
    for table, key, prefix in ((DECISIONS, "decision_id", "d-"), (PREDICTIONS, "prediction_id", "")):
        own = said.with_columns(superseded_by=pl.lit(prefix) + pl.col("superseded_by"))
        names = list(dict.fromkeys((key, "prediction_id")))
        held = lake.polars(table, [*names, *COUNTS], where=among("prediction_id", said["prediction_id"]))
        rows = held.select(names).join(own.join(held, on=own.columns, how="anti", nulls_equal=True), on="prediction_id")
        if rows.height:
            lake.update(table, key, rows.select(key, *COUNTS).to_arrow(), derivation=derivation)


def decided(
    bundle: ModelBundle | None, made: Sequence[dict[str, Any]], at: datetime
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, int]]:
    """Return the decisions and explanations of predictions, and the number of decisions by path; without the model none is explained."""
    decisions: list[dict[str, Any]] = []
    explanations: list[dict[str, Any]] = []
    paths: dict[str, int] = {}
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
    return decisions, explanations, paths


def _drivers(bundle: ModelBundle | None, made: Sequence[dict[str, Any]]) -> list[list[Driver]]:
    """Return the drivers of each prediction, none below ``EXPLAIN_FROM_RISK``; a call for all rows costs half of a call for each."""
    import numpy as np

    from lab_assets.features.vector import from_map

    chosen = [position for position, row in enumerate(made) if row["risk"] >= EXPLAIN_FROM_RISK]
    drivers: list[list[Driver]] = [[] for _ in made]
    if chosen and bundle is not None:
        explained = bundle.explain_rows(np.vstack([from_map(made[position]["features"], bundle.feature_names) for position in chosen]))
        for position, found in zip(chosen, explained, strict=True):
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


def append_new(
    lake: Lakehouse, contract: TableContract, rows: list[dict[str, Any]], key: str, derivation: Derivation, *, since: int | None
) -> None:
    """Append the rows whose key is not there yet; given a version, it is looked for in what was written after that."""
    import polars as pl

    if not rows:
        return
    version = lake.version(contract)
    if since is not None and since <= version:
        written = lake.written(contract, [key], since=since, until=version)[key]
    else:
        written = lake.polars(contract, [key], where=among(key, pl.Series([row[key] for row in rows])))[key]
    held = set(written)
    lake.append(contract, lake.local_rows(contract, [row for row in rows if row[key] not in held]), derivation=derivation)
