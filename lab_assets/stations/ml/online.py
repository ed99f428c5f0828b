"""Online predictions on their way from the service's log into ``ml.predictions``, ``ml.decisions`` and ``ml.explanations``.

The log's own commits say what is new since the last time, and the number of the log's version goes into each commit here. So a fold that
is killed between two commits, or repeated, leaves each row once, and nothing lies outside of the tables that ties them to one machine.

Belongs here: the way between the tables. Does not belong here: the service's log (``lab_assets.service``), the rules of review
(``lab_assets.decisions``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.ml import DECISIONS, EXPLANATIONS, ONLINE_LOG, PREDICTIONS
from lab_assets.failpoints import failpoint
from lab_assets.lake.among import among
from lab_assets.lake.changes import rows_of
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.state.clock import utc_now

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.decisions.review_path import Decision
    from lab_assets.modeling.bundle import ModelBundle
    from lab_assets.modeling.explanation import Driver

WRITER: Final = "fold:online_log"
TARGETS: Final = (EXPLANATIONS, DECISIONS, PREDICTIONS)
"""In the order of their commits: what is in ``ml.predictions`` has its decision and its explanation."""
_ANEW: Final = -1
"""Version of the log that is noted where the next fold looks at all of it."""
_LOG: Final = logging.getLogger(__name__)


def fold_online_log(lake: Lakehouse, *, run_id: str = "", again: bool = False, now: datetime | None = None) -> int:
    """Append online predictions, their decisions and their explanations to the tables that hold those of all ways of scoring, each once.

    A prediction of before decisions were recorded is decided now, once, by the rules of now, and its reasons say so.

    Args:
        lake: Tables.
        run_id: Run that asks, for the lineage.
        again: Look at the whole log, as after a table was restored to an earlier version; what is there already stays as it is.
        now: Time of decisions that are made now; default: the clock's.

    Returns:
        Version of ``ml.predictions`` afterwards.
    """
    import polars as pl

    with folding_alone(lake):
        until, name = lake.version(ONLINE_LOG), ONLINE_LOG.full_name
        done = lake.ledger.progress(WRITER).get(name, 0)
        again = again or done == _ANEW
        if done == until and not again:
            return lake.version(PREDICTIONS)
        committed = {target.full_name: lake.transaction_version(target, WRITER) or 0 for target in TARGETS}
        since = 0 if again or done > until else max(done, min(committed.values()))
        rows = _log_rows(lake, since, until).unique("prediction_id", keep="first", maintain_order=True)
        undecided = _missing(lake, DECISIONS, rows).filter(pl.col("path").is_null())
        decisions, drivers = _decided_now(lake, undecided, now or utc_now())
        recorded = rows.filter(pl.col("path").is_not_null())
        news = {
            EXPLANATIONS.full_name: _missing(lake, EXPLANATIONS, pl.concat([_explanations(recorded), drivers])),
            DECISIONS.full_name: _missing(lake, DECISIONS, pl.concat([_decisions(recorded), decisions])),
            PREDICTIONS.full_name: _missing(lake, PREDICTIONS, _conformed(rows, PREDICTIONS)),
        }
        derivation = Derivation(inputs={name: until}, run_id=run_id)
        for target in TARGETS:
            new = news[target.full_name]
            failpoint(f"fold_{target.name}")
            if new.is_empty():
                continue
            if committed[target.full_name] < until:
                lake.append_once(target, new.to_arrow(), app=WRITER, version=until, derivation=derivation)
            else:  # the log, or this table, is of an earlier time than the number of the last write: what is missing is known by its ids
                lake.append(target, new.to_arrow(), derivation=derivation)
        failpoint("fold_progress")
        lake.ledger.set_progress(WRITER, {name: until})
        return lake.version(PREDICTIONS)


def fold_anew(lake: Lakehouse) -> None:
    """Have the next fold look at the whole log, as after a table that it fills was set back; called under ``folding_alone``."""
    lake.ledger.set_progress(WRITER, {ONLINE_LOG.full_name: _ANEW})


@contextmanager
def folding_alone(lake: Lakehouse) -> Iterator[None]:
    """Keep a second fold out: it would not see what the first one is about to commit."""
    folder = lake.settings.run / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "fold.online_log.lock"):
        yield


def _log_rows(lake: Lakehouse, since: int, until: int) -> pl.DataFrame:
    """Return the rows that the log's versions after ``since`` brought; a compacted file may bring older ones as well."""
    schema = _empty(ONLINE_LOG).schema
    files = lake.written_files(ONLINE_LOG, since=since, until=until) if since < until else []
    return rows_of(files, schema).select(list(ONLINE_LOG.column_names))


def _missing(lake: Lakehouse, target: TableContract, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of predictions that a table does not hold yet."""
    if rows.is_empty():
        return rows
    ids = rows["prediction_id"].unique()
    held = lake.polars(target, ["prediction_id"], where=among("prediction_id", ids))
    return rows.join(held.unique(), on="prediction_id", how="anti", maintain_order="left")


def _decisions(recorded: pl.DataFrame) -> pl.DataFrame:
    """Return the decisions that were recorded with their predictions."""
    import polars as pl

    named = recorded.with_columns(
        pl.concat_str(pl.lit("d-"), "prediction_id").alias("decision_id"), pl.col("predicted_at_utc").alias("decided_at_utc")
    )
    lists = [pl.col(column).fill_null([]) for column in ("checks", "reasons")]
    return _conformed(named.with_columns(lists), DECISIONS)


def _explanations(recorded: pl.DataFrame) -> pl.DataFrame:
    """Return the drivers that were recorded with their predictions."""
    texts = recorded.select("prediction_id", "drivers").drop_nulls("drivers")
    found = [{"prediction_id": name, **driver} for name, text in texts.iter_rows() for driver in json.loads(text)]
    return _frame(found, EXPLANATIONS)


def _decided_now(lake: Lakehouse, undecided: pl.DataFrame, now: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decide predictions of before decisions were recorded.

    Returns:
        Rows of ``ml.decisions`` and of ``ml.explanations``.
    """
    decisions: list[dict[str, Any]] = []
    explanations: list[dict[str, Any]] = []
    for (digest, version), rows in undecided.group_by(["model_digest", "model_version"], maintain_order=True):
        bundle = bundle_named(lake, str(digest), str(version))
        for row in rows.iter_rows(named=True):
            verdict, decision, drivers = _decide(row, bundle)
            decisions.append(
                {
                    "decision_id": f"d-{row['prediction_id']}",
                    **{name: row[name] for name in ("prediction_id", "injection_id", "lot_id")},
                    "path": decision.path,
                    "checks": list(decision.checks),
                    "reasons": [*decision.reasons, "decided afterwards: no decision was recorded when the risk was given"],
                    "policy_version": decision.policy_version,
                    "decided_at_utc": now,
                    "verdict": verdict,
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
    return _frame(decisions, DECISIONS), _frame(explanations, EXPLANATIONS)


def bundle_named(lake: Lakehouse, digest: str, version: str) -> ModelBundle | None:
    """Return the exact model of a prediction; ``None`` where it cannot be had any more."""
    from lab_assets.modeling.bundle_info import BundleError
    from lab_assets.registry.mlflow_registry import UnknownVersionError
    from lab_assets.registry.serving import bundle_of

    try:
        return bundle_of(lake.settings, digest, version=version)
    except (BundleError, UnknownVersionError, OSError) as error:
        _LOG.warning("predictions of model version %s are decided without it, for standard review: %s", version, error)
        return None


def _decide(row: dict[str, Any], bundle: ModelBundle | None) -> tuple[str, Decision, list[Driver]]:
    """Return verdict, decision and drivers of one prediction; without its model neither outcome can be excluded."""
    from lab_assets.decisions.review_path import decide
    from lab_assets.features.vector import from_map

    features = dict(row["features"])
    try:
        vector = None if bundle is None else from_map(features, bundle.feature_names)
    except ValueError:
        vector = None  # made with features that this program does not know
    low, high = (row["risk"] if end is None else end for end in (row["risk_low"], row["risk_high"]))
    known: dict[str, Any] = {"risk": row["risk"], "risk_low": low, "risk_high": high, "features": features}
    if bundle is None or vector is None:
        return "cannot_tell_yet", decide(**known, verdict="cannot_tell_yet"), []
    known["verdict"] = bundle.score_row(vector).verdict
    decision = decide(**known)
    drivers = bundle.explain(vector) if decision.path == "mandatory_checks" else []
    return known["verdict"], decide(**known, drivers=drivers), drivers


def _frame(rows: list[dict[str, Any]], table: TableContract) -> pl.DataFrame:
    """Return rows as a frame with the contract's columns; what a row does not name is empty."""
    import polars as pl

    schema = _empty(table).schema
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def _conformed(rows: pl.DataFrame, table: TableContract) -> pl.DataFrame:
    """Return a frame with exactly the contract's columns; one that it lacks is empty."""
    import polars as pl

    schema = _empty(table).schema
    return rows.select((pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in schema.items())


def _empty(table: TableContract) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(pl.from_arrow(table.arrow_schema().empty_table()))
