"""Runs of a laboratory as an instrument would have posted them while they went on, beside what batch makes of them.

Belongs here: posted bodies from bronze rows, both sides' features. Does not belong here: verdicts (the tests).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from lab_assets.contracts.bronze import CHROMATOGRAMS, INSTRUMENT_STATUS
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.domain.in_force import Row
from lab_assets.domain.units import to_minutes
from lab_assets.features.definitions import CHECKPOINTS_PCT
from lab_assets.features.inputs import TODAY, ModelInputs
from lab_assets.features.vector import to_map
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.ml.training_sets import FEATURE_TABLES, assemble, spine_of

_RUN = ["injection_id", "injection_name", "lot_id", "method_id", "instrument_id", "sample_name", "injected_at_utc", "run_time_min"]


@dataclass(frozen=True)
class Posted:
    """One run at one checkpoint: what is posted, and the features that batch gave it.

    Attributes:
        run: Row of ``silver.injections``.
        checkpoint_pct: Share of the run seen.
        as_of_utc: What was known then is used.
        batch: Features by the feature tables and the point-in-time join.
        body: Body of ``POST /v1/runs/{injection_id}/trace``.
    """

    run: Row
    checkpoint_pct: int
    as_of_utc: datetime
    batch: dict[str, float]
    body: bytes


def posted_runs(lake: Lakehouse, injections: pl.DataFrame, inputs: ModelInputs = TODAY) -> Iterator[Posted]:
    """Give every checkpoint of some runs, rows of ``runs_of``, that batch made when it was reached, with features of today or a model's."""
    versions = lake.versions(FEATURE_TABLES)
    columns = ["injection_id", "lot_id", "method_id", "instrument_id", "sample_name"]
    spine = spine_of(lake, versions, injections.select(columns), latest=False, feature_set_version=inputs.feature_set_version)
    combined = assemble(lake, spine, versions, inputs=inputs)
    batch = {(row["injection_id"], int(row["checkpoint_pct"])): row for row in combined.iter_rows(named=True)}
    names = pl.col("injection_name").is_in(injections["injection_name"].implode())
    traces = {
        row["injection_name"]: row for row in lake.polars(CHROMATOGRAMS, where=names).sort("channel", descending=True).iter_rows(named=True)
    }
    pressures = {
        row["injection_name"]: row
        for row in lake.polars(INSTRUMENT_STATUS, where=names).sort("signal", descending=True).iter_rows(named=True)
        if "pressure" in row["signal"].lower()
    }
    for run in injections.iter_rows(named=True):
        for checkpoint in CHECKPOINTS_PCT:
            row = batch[run["injection_id"], checkpoint]
            body = body_of(run, traces[run["injection_name"]], pressures.get(run["injection_name"]), checkpoint)
            yield Posted(run, checkpoint, row["as_of_utc"], to_map(row, inputs.names), json.dumps(body).encode())


def runs_of(lake: Lakehouse) -> pl.DataFrame:
    """Return the runs of a laboratory in order of time."""
    return lake.polars(INJECTIONS, _RUN).drop_nulls(["injected_at_utc", "run_time_min"]).sort("injected_at_utc", "injection_id")


def body_of(run: Row, trace: Row, pressure: Row | None, checkpoint_pct: int) -> dict[str, Any]:
    """Return what an instrument would have posted when it reached a checkpoint."""
    until_min = checkpoint_pct / 100 * run["run_time_min"]
    x_min, y = _so_far(trace, until_min)
    body = {
        "injection_name": run["injection_name"],
        "method_id": run["method_id"],
        "instrument_id": run["instrument_id"],
        "channel": trace["channel"],
        "injected_at": run["injected_at_utc"].isoformat(),
        "run_time_min": run["run_time_min"],
        "x_min": x_min,
        "y": y,
        "y_unit": trace["y_unit"],
    }
    if pressure is not None:
        x_min, y = _so_far(pressure, until_min)
        if len(x_min) >= 2:
            body["pressure"] = {"x_min": x_min, "y": y, "unit": pressure["y_unit"]}
    return body


def _so_far(signal: Row, until_min: float) -> tuple[Sequence[float], Sequence[float]]:
    x_min = to_minutes(np.asarray(signal["x"], dtype=np.float64), signal["x_unit"] or "min")
    seen = x_min <= until_min
    return x_min[seen].tolist(), (np.asarray(signal["y"], dtype=np.float64) * (signal["y_factor"] or 1.0))[seen].tolist()
