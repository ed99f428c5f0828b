"""Labels and frozen training sets.

Belongs here: what is learned from, with the version of every table it came from. Does not belong here: learning
(``lab_assets.modeling``), features.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.features import INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.contracts.ml import LABELS, TRAINING_SETS
from lab_assets.contracts.silver import INJECTIONS, RESULTS
from lab_assets.features.definitions import FEATURE_NAMES, FEATURE_SET_VERSION
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.changes import upsert_changes

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.modeling.training import TrainingMatrix

FEATURE_TABLES: Final = (INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE)
MIN_INJECTIONS: Final = 200
TRAIN_SHARE: Final = 0.5
CALIBRATE_SHARE: Final = 0.2
"""Failures are rare: the latest 30 % of the lots are kept for the test, so that the gate has some to judge by."""


class TooFewLabelsError(ValueError):
    """There is not enough to learn from yet."""


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """One frozen training set.

    Attributes:
        training_set_id: Digest of its rows and of the versions they came from.
        frame: Rows of ``ml.training_sets`` with the features as columns.
        table_versions: Version of every table read.
    """

    training_set_id: str
    frame: pl.DataFrame
    table_versions: dict[str, int]


def update_labels(lake: Lakehouse) -> int:
    """Label every sample injection whose reportable values are judged: any failing value makes it out of specification.

    Returns:
        Version of ``ml.labels`` afterwards.
    """
    import polars as pl

    station = LABELS.full_name
    versions = {table.full_name: lake.version(table) for table in (INJECTIONS, RESULTS)}
    if lake.ledger.progress(station) == versions:
        return lake.version(LABELS)
    columns = ["injection_id", "lot_id", "method_id", "sample_role", "injected_at_utc"]
    samples = lake.polars(INJECTIONS, columns).filter(pl.col("sample_role") == "sample").drop_nulls()
    results = lake.polars(RESULTS, ["injection_id", "analyte", "state", "known_time_utc"]).filter(pl.col("state") != "no_spec")
    judged = (
        results.drop_nulls()
        .group_by("injection_id")
        .agg(
            (pl.col("state") == "fail").any().alias("is_oos"),
            pl.col("analyte").filter(pl.col("state") == "fail").sort().alias("failing"),
            pl.col("known_time_utc").max(),
        )
    )
    written = upsert_changes(lake, LABELS, samples.drop("sample_role").join(judged, on="injection_id"))
    lake.ledger.set_progress(station, versions)
    return written


def assemble(lake: Lakehouse, spine: pl.DataFrame, versions: dict[str, int]) -> pl.DataFrame:
    """Join the features of a spine as they were known, from fixed versions of the feature tables."""
    from lab_assets.features.join import point_in_time_join

    tables = {table.name: lake.polars(table, version=versions[table.full_name]) for table in FEATURE_TABLES}
    return point_in_time_join(
        spine,
        progress=tables["injection_progress"],
        instrument_history=tables["instrument_history"],
        lot_history=tables["lot_history"],
        storage_exposure=tables["storage_exposure"],
    )


def versions_of(lake: Lakehouse, *tables: TableContract) -> dict[str, int]:
    """Return the latest version of some tables by name."""
    return {table.full_name: lake.version(table) for table in tables}


def spine_of(lake: Lakehouse, versions: dict[str, int]) -> pl.DataFrame:
    """Return every injection x checkpoint that has features, as the join wants it: as of the checkpoint itself."""
    import polars as pl

    progress = lake.polars(
        INJECTION_PROGRESS, ["injection_id", "checkpoint_pct", "event_time_utc"], version=versions[INJECTION_PROGRESS.full_name]
    )
    columns = ["injection_id", "lot_id", "method_id", "instrument_id", "sample_name", "sample_role"]
    injections = lake.polars(INJECTIONS, columns, version=versions[INJECTIONS.full_name])
    return (
        progress.rename({"event_time_utc": "as_of_utc"})
        .join(injections, on="injection_id")
        .with_columns(pl.col("checkpoint_pct").cast(pl.Int64))
    )


def freeze_training_set(lake: Lakehouse, *, frozen_at_utc: datetime) -> TrainingSet:
    """Build and keep a training set from the latest versions; the same rows from the same versions are kept once.

    Raises:
        TooFewLabelsError: fewer than ``MIN_INJECTIONS`` labelled injections, or one outcome only.
    """
    import polars as pl

    from lab_assets.modeling.split import split_by_time_and_lot

    versions = versions_of(lake, INJECTIONS, LABELS, *FEATURE_TABLES)
    labels = lake.polars(LABELS, ["injection_id", "is_oos", "injected_at_utc"], version=versions[LABELS.full_name])
    if labels.height < MIN_INJECTIONS or labels["is_oos"].n_unique() < 2:
        raise TooFewLabelsError(
            f"{labels.height} labelled injection(s) with {int(labels['is_oos'].sum())} out of specification: at least {MIN_INJECTIONS} "
            "with both outcomes are needed; ingest more files ('lab simulate' makes a demonstration laboratory)"
        )
    spine = spine_of(lake, versions).join(labels, on="injection_id").sort("injected_at_utc", "injection_id", "checkpoint_pct")
    rows = assemble(lake, spine, versions)
    parts = split_by_time_and_lot(
        rows["injected_at_utc"].to_numpy(), rows["lot_id"].to_numpy(), train_share=TRAIN_SHARE, calibrate_share=CALIBRATE_SHARE
    )
    rows = rows.with_columns(part=pl.Series(parts.tolist(), dtype=pl.String))
    set_id = _digest(rows, versions)
    known = lake.polars(TRAINING_SETS, ["training_set_id"])["training_set_id"].unique().to_list()
    if set_id not in known:
        lake.append(TRAINING_SETS, lake.local_rows(TRAINING_SETS, _stored(rows, set_id, versions, frozen_at_utc)))
    return TrainingSet(training_set_id=set_id, frame=rows, table_versions=versions)


def _digest(rows: pl.DataFrame, versions: dict[str, int]) -> str:
    digest = hashlib.sha256(json.dumps([versions, FEATURE_SET_VERSION], sort_keys=True).encode())
    digest.update(rows.hash_rows(seed=0).to_numpy().tobytes())
    return "ts_" + digest.hexdigest()[:16]


def _stored(rows: pl.DataFrame, set_id: str, versions: dict[str, int], frozen_at_utc: datetime) -> list[dict[str, Any]]:
    from lab_assets.features.vector import to_map

    carried = ("injection_id", "lot_id", "method_id", "instrument_id", "checkpoint_pct", "as_of_utc", "part", "is_oos")
    return [
        {
            "training_set_id": set_id,
            **{name: row[name] for name in carried},
            "checkpoint_pct": int(row["checkpoint_pct"]),
            "features": to_map(row),
            "feature_set_version": FEATURE_SET_VERSION,
            "table_versions": versions,
            "frozen_at_utc": frozen_at_utc,
        }
        for row in rows.iter_rows(named=True)
    ]


def matrix_of(frame: pl.DataFrame) -> TrainingMatrix:
    """Return a training set as arrays."""
    import numpy as np

    from lab_assets.features.vector import to_matrix
    from lab_assets.modeling.training import TrainingMatrix

    return TrainingMatrix(
        features=to_matrix(frame),
        labels=frame["is_oos"].cast(float).to_numpy(),
        lots=np.asarray(frame["lot_id"].to_list()),
        times=frame["as_of_utc"].to_numpy(),
        checkpoints=frame["checkpoint_pct"].cast(int).to_numpy(),
        methods=np.asarray(frame["method_id"].to_list()),
        names=FEATURE_NAMES,
    )
