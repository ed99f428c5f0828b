"""Watching the model: drift of its inputs and of its predictions.

Belongs here: which rows are compared and what is kept. Does not belong here: distances and limits
(``lab_assets.modeling.drift``), schedules.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.ml import ALERTS, DRIFT, PREDICTIONS, TRAINING_SETS
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.provenance import code_version

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.modeling.bundle import ModelBundle

RISK: Final = "prediction:risk"
WINDOW_DAYS: Final = 60
HISTORY_DAYS: Final = 366
"""Checks older than this say nothing about whether drift persists."""
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
    """

    check_id: str
    drifted: tuple[str, ...] = ()
    subjects: int = 0
    rows: int = 0
    persistent: bool = False
    reason: str = ""


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
    from lab_assets.modeling.drift import check_drift

    reference = _reference(lake, bundle)
    recent = _recent(lake, bundle)
    if reference.height == 0 or recent.height == 0:
        return DriftReport(check_id="", reason="no out-of-sample reference or no recent prediction of the serving model")
    names = [name for name in bundle.feature_names if name != "checkpoint_pct"]
    found = check_drift(
        _matrix(reference, names, bundle),
        _matrix(recent, names, bundle),
        names=[*names, RISK],
        reference_lots=reference["lot_id"].to_numpy(),
        recent_lots=recent["lot_id"].fill_null("").to_numpy(),
    )
    start, end = recent["as_of_utc"].min(), recent["as_of_utc"].max()
    check_id = f"drift_{checked_at_utc:%Y%m%dT%H%M%S%f}"
    rows = [
        {
            "check_id": check_id,
            "model_version": model_version,
            "window_start_utc": start,
            "window_end_utc": end,
            "checked_at_utc": checked_at_utc,
            **{name: _finite(getattr(each, name)) for name in ("subject", "psi", "ks", "ks_p_value", "psi_limit", "drifted", "rows")},
            **{name: _finite(getattr(each, name)) for name in ("missing_share", "missing_share_reference", "reference_rows")},
        }
        for each in found
    ]
    derivation = _derivation(lake, bundle, model_version, run_id)
    lake.append(DRIFT, lake.local_rows(DRIFT, rows), derivation=derivation)
    drifted = tuple(each.subject for each in found if each.drifted)
    report = DriftReport(check_id=check_id, drifted=drifted, subjects=len(found), rows=recent.height, persistent=_persistent(lake))
    if drifted:
        lake.append(ALERTS, lake.local_rows(ALERTS, [_alert(report, checked_at_utc, start, end)]), derivation=derivation)
    return report


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
    columns = ["lot_id", "as_of_utc", "features"]
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


def _persistent(lake: Lakehouse) -> bool:
    import polars as pl

    from lab_assets.modeling.drift import persistent

    since = datetime.now(UTC) - timedelta(days=HISTORY_DAYS)
    checks = lake.polars(DRIFT, ["check_id", "checked_at_utc", "drifted"], where=pl.col("checked_at_utc") > since)
    history = checks.group_by("check_id").agg(pl.col("checked_at_utc").first(), pl.col("drifted").any()).sort("checked_at_utc")
    return persistent(history["drifted"].to_list())


def _alert(report: DriftReport, at: datetime, start: Any, end: Any) -> dict[str, Any]:
    of_risk = RISK in report.drifted
    return {
        "alert_id": f"alert-{report.check_id}",
        "kind": "prediction_drift" if of_risk else "drift",
        "severity": "warning",
        "subject": ", ".join(report.drifted[:10]),
        "message": f"{len(report.drifted)} of {report.subjects} subjects drifted between {start:%Y-%m-%d} and {end:%Y-%m-%d} ({report.rows} rows)",
        "raised_at_utc": at,
    }


def check_alias_moved(lake: Lakehouse, *, at_utc: datetime) -> bool:
    """Put the registry's champion alias back where the ledger has it, and raise an alert when it was elsewhere.

    Returns:
        Whether it had been moved.
    """
    from lab_assets.registry.serving import check_alias, registry_of

    alert = check_alias(registry_of(lake.settings), lake.ledger.engine, at_utc=at_utc)
    if alert is None:
        return False
    lake.append(
        ALERTS, lake.local_rows(ALERTS, [alert]), derivation=Derivation(inputs={"model:registry": "latest"}, code_version=code_version())
    )
    return True
