"""Watching the model: drift of its inputs and of its predictions.

A check of the same rows for the same model is the same check, whenever it is asked for: what was seen once does not persist by being
looked at again. Its identity ends in a digest of what was compared.

Belongs here: which rows are compared and what is kept. Does not belong here: distances and limits
(``lab_assets.modeling.drift``), schedules.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.ml import ALERTS, DRIFT, PREDICTIONS, TRAINING_SETS
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.provenance import code_version
from lab_assets.stations.runner import only_one

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.modeling.bundle import ModelBundle

RISK: Final = "prediction:risk"
WINDOW_DAYS: Final = 60
HISTORY_DAYS: Final = 366
"""Checks older than this say nothing about whether drift persists."""
_MEASURED: Final = (
    "subject", "psi", "ks", "ks_p_value", "psi_limit", "drifted", "rows", "missing_share", "missing_share_reference", "reference_rows",
)  # fmt: skip
CHECKPOINT_PCT: Final = 50
"""Compared at one checkpoint: what is known differs between checkpoints by design."""


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """What one check found.

    Attributes:
        check_id: Identity of the check; empty when there was nothing to compare.
        drifted: Subjects beyond their limits.
        subjects: Subjects compared.
        rows: Recent rows.
        persistent: Whether drift was there in two of the last three checks and in this one.
        reason: Why nothing was compared, when nothing was.
        is_new: Whether rows were written; not where the same rows were compared before.
    """

    check_id: str
    drifted: tuple[str, ...] = ()
    subjects: int = 0
    rows: int = 0
    persistent: bool = False
    reason: str = ""
    is_new: bool = False


def check_recent(lake: Lakehouse, bundle: ModelBundle, *, model_version: str, checked_at_utc: datetime, run_id: str = "") -> DriftReport:
    """Compare recent predictions of the serving model with the rows it was calibrated and tested on.

    Recent is the last ``WINDOW_DAYS`` of laboratory time (``as_of_utc``) among the predictions, so a laboratory that reads old
    files in is compared by when the runs were, not by when they were read.

    Args:
        lake: Tables.
        bundle: Serving model.
        model_version: Its registered version.
        checked_at_utc: Now.
        run_id: Run of the orchestrator.
    """
    with only_one(lake, DRIFT.full_name):
        reference = _reference(lake, bundle)
        recent = _recent(lake, bundle)
        if reference.height == 0 or recent.height == 0:
            return DriftReport(check_id="", reason="no out-of-sample reference or no recent prediction of the serving model")
        compared = _digest_of_compared(bundle, model_version, reference, recent)
        newest = _newest_check(lake, model_version)
        if newest.height and newest["check_id"][0].endswith(compared):
            return _report(lake, newest, is_new=False)
        rows = _compared(bundle, reference, recent)
        check_id = f"drift_{checked_at_utc:%Y%m%dT%H%M%S%f}_{compared}"
        of_check = {"check_id": check_id, "model_version": model_version, "checked_at_utc": checked_at_utc}
        derivation = _derivation(lake, bundle, model_version, run_id)
        lake.append(DRIFT, lake.local_rows(DRIFT, [of_check | row for row in rows]), derivation=derivation)
        return _report(lake, _newest_check(lake, model_version), is_new=True)


def _digest_of_compared(bundle: ModelBundle, model_version: str, reference: pl.DataFrame, recent: pl.DataFrame) -> str:
    """Return what names a comparison: the model, and which predictions; a prediction's identity follows from its features."""
    named = [bundle.digest, model_version, bundle.info.training_set_id, str(reference.height), *sorted(recent["prediction_id"])]
    return hashlib.sha256("|".join(named).encode()).hexdigest()[:16]


def _compared(bundle: ModelBundle, reference: pl.DataFrame, recent: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a check, one a subject, without what names it."""
    from lab_assets.modeling.drift import check_drift

    names = [name for name in bundle.feature_names if name != "checkpoint_pct"]
    found = check_drift(
        _matrix(reference, names, bundle),
        _matrix(recent, names, bundle),
        names=[*names, RISK],
        reference_lots=reference["lot_id"].to_numpy(),
        recent_lots=recent["lot_id"].fill_null("").to_numpy(),
    )
    window = {"window_start_utc": recent["as_of_utc"].min(), "window_end_utc": recent["as_of_utc"].max()}
    return [window | {name: _finite(getattr(each, name)) for name in _MEASURED} for each in found]


def _newest_check(lake: Lakehouse, model_version: str) -> pl.DataFrame:
    """Return the rows of a model's newest check, in the order of their subjects."""
    import polars as pl

    rows = lake.polars(DRIFT, where=pl.col("model_version") == model_version)
    return rows.filter(pl.col("checked_at_utc") == pl.col("checked_at_utc").max()).sort("subject")


def _report(lake: Lakehouse, check: pl.DataFrame, *, is_new: bool) -> DriftReport:
    return DriftReport(
        check_id=check["check_id"][0],
        drifted=tuple(check.filter("drifted")["subject"]),
        subjects=check.height,
        rows=check["rows"][0],
        persistent=_persistent(lake, check["checked_at_utc"][0]),
        is_new=is_new,
    )


def _derivation(lake: Lakehouse, bundle: ModelBundle, model_version: str, run_id: str) -> Derivation:
    inputs: dict[str, int | str] = {table.full_name: lake.version(table) for table in (PREDICTIONS, TRAINING_SETS)}
    return Derivation(inputs={**inputs, f"model:{bundle.info.model_name}": model_version}, run_id=run_id, code_version=code_version())


def _reference(lake: Lakehouse, bundle: ModelBundle) -> pl.DataFrame:
    """Return the rows the model did not train on, as predictions would show them."""
    import polars as pl

    own = (
        (pl.col("training_set_id") == bundle.info.training_set_id)
        & (pl.col("part") != "train")
        & (pl.col("checkpoint_pct") == CHECKPOINT_PCT)
    )
    return lake.polars(TRAINING_SETS, ["lot_id", "as_of_utc", "features"], where=own)


def _recent(lake: Lakehouse, bundle: ModelBundle) -> pl.DataFrame:
    import polars as pl

    mine = (
        (pl.col("model_digest") == bundle.digest)
        & (pl.col("checkpoint_pct") == CHECKPOINT_PCT)
        & pl.col("as_of_utc").is_not_null()
        & pl.col("ended_at_utc").is_null()
    )
    newest = lake.scan(PREDICTIONS).filter(mine).select(pl.col("as_of_utc").max()).collect().item()
    columns = ["prediction_id", "lot_id", "as_of_utc", "features"]
    if newest is None:
        return lake.polars(PREDICTIONS, columns, where=pl.lit(False))  # noqa: FBT003 - a literal of polars
    return lake.polars(PREDICTIONS, columns, where=mine & (pl.col("as_of_utc") > newest - timedelta(days=WINDOW_DAYS)))


def _matrix(frame: pl.DataFrame, names: list[str], bundle: ModelBundle) -> Any:
    """Return features and risk, shape (n, len(names) + 1); the risk is computed anew so that both sides are the same model's."""
    import numpy as np

    from lab_assets.features.vector import from_map

    full = np.vstack([from_map(_as_map(features), bundle.feature_names) for features in frame["features"].to_list()])
    risk = bundle.score(full).risk
    columns = [bundle.feature_names.index(name) for name in names]
    return np.column_stack([full[:, columns], risk])


def _as_map(features: Any) -> dict[str, float]:
    """Return a Delta map, which polars hands out as a list of key and value, as a dict."""
    return {entry["key"]: entry["value"] for entry in features} if isinstance(features, list) else dict(features)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - NaN is not equal to itself


def _persistent(lake: Lakehouse, at: datetime) -> bool:
    """Return whether the check made then completes a drift that persists."""
    import polars as pl

    from lab_assets.modeling.drift import persistent

    since = at - timedelta(days=HISTORY_DAYS)
    checks = lake.polars(DRIFT, ["check_id", "checked_at_utc", "drifted"], where=pl.col("checked_at_utc").is_between(since, at))
    history = checks.group_by("check_id").agg(pl.col("checked_at_utc").first(), pl.col("drifted").any()).sort("checked_at_utc")
    return persistent(history["drifted"].to_list())


def raise_drift_alert(lake: Lakehouse, *, model_version: str, at_utc: datetime, run_id: str = "") -> str | None:
    """Raise an alert where the model's newest check found drift and none was raised for it yet.

    Args:
        lake: Tables.
        model_version: Registered version of the model.
        at_utc: Now.
        run_id: Run of the orchestrator.

    Returns:
        Identity of the alert; ``None`` where there is nothing to raise.
    """
    import polars as pl

    with only_one(lake, ALERTS.full_name):
        version = lake.version(DRIFT)
        check = _newest_check(lake, model_version)
        if not check["drifted"].any():
            return None
        alert = _alert(check, at_utc)
        if lake.polars(ALERTS, ["alert_id"], where=pl.col("alert_id") == alert["alert_id"]).height:
            return None
        derivation = Derivation(inputs={DRIFT.full_name: version}, run_id=run_id, code_version=code_version())
        lake.append(ALERTS, lake.local_rows(ALERTS, [alert]), derivation=derivation)
        return alert["alert_id"]


def _alert(check: pl.DataFrame, at: datetime) -> dict[str, Any]:
    drifted, first = check.filter("drifted")["subject"].to_list(), check.row(0, named=True)
    window = f"between {first['window_start_utc']:%Y-%m-%d} and {first['window_end_utc']:%Y-%m-%d} ({first['rows']} rows)"
    return {
        "alert_id": f"alert-{first['check_id']}",
        "kind": "prediction_drift" if RISK in drifted else "drift",
        "severity": "warning",
        "subject": ", ".join(drifted[:10]),
        "message": f"{len(drifted)} of {check.height} subjects drifted {window}",
        "raised_at_utc": at,
    }


def check_alias_moved(lake: Lakehouse, *, at_utc: datetime) -> bool:
    """Put the registry's champion alias back where the ledger has it, and raise an alert when it was elsewhere.

    Returns:
        Whether it had been moved.
    """
    from lab_assets.registry.serving import check_alias, registry_of

    with only_one(lake, ALERTS.full_name):
        alert = check_alias(registry_of(lake.settings), lake.ledger.engine, at_utc=at_utc)
        if alert is None:
            return False
        derivation = Derivation(inputs={"model:registry": "latest"}, code_version=code_version())
        lake.append(ALERTS, lake.local_rows(ALERTS, [alert]), derivation=derivation)
        return True


def check_feature_set(lake: Lakehouse, bundle: ModelBundle, *, model_version: str, at_utc: datetime) -> str:
    """Raise an alert, once for each model and feature set of the program, where the program does not compute the model's features.

    Returns:
        What is said then; empty where it does.
    """
    import polars as pl

    from lab_assets.features.definitions import FEATURE_SET_VERSION
    from lab_assets.registry.serving import uncomputed_features

    message = uncomputed_features(bundle.info, model_version)
    alert_id = f"alert-features-{bundle.digest[:12]}-{FEATURE_SET_VERSION}"
    with only_one(lake, ALERTS.full_name):
        if not message or lake.polars(ALERTS, ["alert_id"], where=pl.col("alert_id") == alert_id).height:
            return message
        alert = {
            "alert_id": alert_id,
            "kind": "feature_set",
            "severity": "critical",
            "subject": f"model {bundle.info.model_name} {model_version}",
            "message": message,
            "raised_at_utc": at_utc,
        }
        derivation = Derivation(inputs={f"model:{bundle.info.model_name}": model_version}, code_version=code_version())
        lake.append(ALERTS, lake.local_rows(ALERTS, [alert]), derivation=derivation)
        return message
