"""What the demonstration shows at its end, read from the tables.

Belongs here: small reads. Does not belong here: the steps (``demo.py``), printing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl


def row_counts(settings: Settings) -> dict[str, int]:
    """Return the number of rows of every table that was written, from the Delta logs."""
    from lab_assets.contracts.all_contracts import contracts
    from lab_assets.governance.relations import table_state

    counts: dict[str, int] = {}
    for name, table in contracts().items():
        version, rows = table_state(settings, table)
        if version is not None:
            counts[name] = rows or 0
    return counts


def test_metrics(settings: Settings, model_version: str | None, truth: Path) -> dict[str, dict[str, float]]:
    """Return metrics over all test rows by candidate; ``attainable`` from the simulator's truth on the same rows."""
    import polars as pl

    rows = _read(settings, "ml", "evaluations")
    if model_version is None:
        return {}
    own = rows.filter((pl.col("model_version") == model_version) & (pl.col("slice") == "all") & (pl.col("part") == "test"))
    found: dict[str, dict[str, float]] = {}
    for row in own.iter_rows(named=True):
        found.setdefault(row["candidate"], {})[row["metric"]] = row["value"]
    if own.height and truth.exists():
        found["attainable"] = _attainable(settings, own["training_set_id"][0], truth)
    return found


def _attainable(settings: Settings, training_set_id: str, truth: Path) -> dict[str, float]:
    """Judge the true risks on the test rows' outcomes: no model can be expected to do better."""
    import numpy as np
    import polars as pl

    from lab_assets.modeling.evaluation import evaluate

    sets, injections = _read(settings, "ml", "training_sets"), _read(settings, "silver", "injections")
    chosen = sets.filter(pl.col("training_set_id") == training_set_id)
    true = pl.read_parquet(truth, columns=["injection_name", "checkpoint_pct", "risk"])
    test = chosen.filter(pl.col("part") == "test").join(injections.select("injection_id", "injection_name"), on="injection_id")
    judged = test.join(true.with_columns(pl.col("checkpoint_pct").cast(pl.Int64)), on=["injection_name", "checkpoint_pct"])
    if judged.height == 0:
        return {}
    mean = chosen.filter(pl.col("part") == "train")["is_oos"].cast(float).mean()
    rate = mean if isinstance(mean, float) else 0.0
    labels, risks = judged["is_oos"].cast(float).to_numpy(), np.clip(judged["risk"].to_numpy(), 1e-6, 1 - 1e-6)
    return evaluate(labels, risks, lots=np.asarray(judged["lot_id"].to_list()), base_rate=rate).values()


def example_decisions(settings: Settings) -> list[dict[str, Any]]:
    """Return one decision of each path, the clearest one, with its prediction and drivers."""
    import polars as pl

    decisions, predictions, drivers = (
        _read(settings, "ml", "decisions"),
        _read(settings, "ml", "predictions"),
        _read(settings, "ml", "explanations"),
    )
    decided = decisions.join(predictions.select("prediction_id", "risk", "risk_low", "risk_high", "checkpoint_pct"), on="prediction_id")
    found: list[dict[str, Any]] = []
    for path, highest_first in (("mandatory_checks", True), ("standard", True), ("fast_track", False)):
        of_path = decided.filter(pl.col("path") == path).sort("risk", "prediction_id", descending=[highest_first, False])
        if of_path.height:
            row = of_path.row(0, named=True)
            words = drivers.filter(pl.col("prediction_id") == row["prediction_id"]).sort("rank")["words"].to_list()
            found.append({**row, "drivers": (words or drivers_now(settings, row["prediction_id"]))[:3]})
    return found


def drivers_now(settings: Settings, prediction_id: str) -> list[str]:
    """Return the drivers of a prediction in words, worked out as ``lab explain`` does; they are stored for risky runs only."""
    from lab_assets.service.evidence import gather
    from lab_assets.service.local import command_reader
    from lab_assets.service.store import find_record

    with command_reader(settings) as (models, views, _policy):
        evidence = gather(settings, find_record(settings, prediction_id), models=models, views=views, user=None)
    return [driver["words"] for driver in evidence["drivers"]]


def drift_counts(settings: Settings) -> dict[str, int]:
    """Return how many subjects the last drift check compared and found drifted."""
    import polars as pl

    rows = _read(settings, "ml", "drift")
    if rows.is_empty():
        return {}
    last = rows.filter(pl.col("checked_at_utc") == rows["checked_at_utc"].max())
    return {"subjects": last.height, "drifted": int(last["drifted"].sum())}


def _read(settings: Settings, layer: str, name: str) -> pl.DataFrame:
    from lab_assets.contracts.all_contracts import contract
    from lab_assets.lake.reader import standing_rows

    return standing_rows(settings, contract(f"{layer}.{name}"))
