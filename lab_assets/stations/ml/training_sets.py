"""Frozen training sets.

Belongs here: what is learned from, with the version of every table it came from. Does not belong here: learning
(``lab_assets.modeling``), features.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.features import INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.contracts.ml import LABELS, TRAINING_SETS
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.features.definitions import FEATURE_NAMES, FEATURE_SET_VERSION
from lab_assets.features.inputs import TODAY, ModelInputs
from lab_assets.lake.among import among
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.provenance import code_version
from lab_assets.stations.runner import only_one, settled_versions, words_of_made_first

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
        made_first: Tables that it rests on and that were made anew before it, each with the reason.
        is_new: Whether it was written; not where the same rows of the same versions were frozen before.
    """

    training_set_id: str
    frame: pl.DataFrame
    table_versions: dict[str, int]
    made_first: dict[str, str] = field(default_factory=dict[str, str])
    is_new: bool = True

    def words(self) -> str:
        """Return what was done, for people."""
        done = f"{self.frame.height} row(s) frozen" if self.is_new else "no news: the same rows of the same versions were frozen before"
        return "; ".join([*words_of_made_first(self.made_first), done])


def assemble(lake: Lakehouse, spine: pl.DataFrame, versions: dict[str, int], *, inputs: ModelInputs = TODAY) -> pl.DataFrame:
    """Join the features of a spine, those of today or a model's, as they were known, from fixed versions of the feature tables.

    Only rows that the join can choose are read: those of the spine's injections, instruments, lots and samples, and the runs' own history
    wherever they were once known to be.
    """
    import polars as pl

    from lab_assets.features.join import LOOKBACK_DAYS, point_in_time_join

    def of(*columns: str) -> pl.Expr:
        return pl.all_horizontal(among(column, spine[column]) for column in columns if column in spine.columns)

    def rows(table: TableContract, where: pl.Expr) -> pl.DataFrame:
        return lake.polars(table, version=versions[table.full_name], where=where)

    history = of("instrument_id") | of("injection_id")
    if isinstance(first := spine["as_of_utc"].min(), datetime):
        history &= pl.col("event_time_utc") >= first - timedelta(days=LOOKBACK_DAYS + 1)

    return point_in_time_join(
        spine,
        progress=rows(INJECTION_PROGRESS, of("injection_id", "injection_name")),
        instrument_history=rows(INSTRUMENT_HISTORY, history),
        lot_history=rows(LOT_HISTORY, of("lot_id")),
        storage_exposure=rows(STORAGE_EXPOSURE, of("sample_name")),
        inputs=inputs,
    )


def spine_of(
    lake: Lakehouse,
    versions: dict[str, int],
    injections: pl.DataFrame,
    *,
    latest: bool,
    feature_set_version: str = FEATURE_SET_VERSION,
) -> pl.DataFrame:
    """Return every checkpoint of some injections that has features, as the join wants it: with lot, method and so on as known then.

    Args:
        lake: Tables.
        versions: Version of the feature tables.
        injections: ``injection_id`` and ``RUN_KEYS``; further columns pass through. With ``injection_name`` files without the runs are
            skipped.
        latest: As of the newest known row of the checkpoint (what a risk should rest on now), or of the first (what could be known when
            the checkpoint was reached, from which is learned).
        feature_set_version: Feature set of the rows.
    """
    import polars as pl

    from lab_assets.features.join import RUN_KEYS, with_keys_as_known

    known_by = [name for name in ("injection_id", "injection_name") if name in injections.columns]
    of_them = pl.all_horizontal(among(name, injections[name]) for name in known_by)
    progress = lake.polars(
        INJECTION_PROGRESS,
        ["injection_id", "checkpoint_pct", "event_time_utc", "known_time_utc", *RUN_KEYS],
        version=versions[INJECTION_PROGRESS.full_name],
        where=of_them & (pl.col("feature_set_version") == feature_set_version),
    )
    chosen = progress.sort("known_time_utc").unique(
        ["injection_id", "checkpoint_pct"], keep="last" if latest else "first", maintain_order=True
    )
    as_of = pl.max_horizontal("event_time_utc", "known_time_utc").alias("as_of_utc")
    return with_keys_as_known(injections, chosen.select("injection_id", pl.col("checkpoint_pct").cast(pl.Int64), as_of, *RUN_KEYS))


def freeze_training_set(lake: Lakehouse, *, frozen_at_utc: datetime, run_id: str = "") -> TrainingSet:
    """Build and keep a training set from the latest versions; the same rows from the same versions are kept once.

    Raises:
        TooFewLabelsError: fewer than ``MIN_INJECTIONS`` labelled injections, or one outcome only.
    """
    import polars as pl

    from lab_assets.modeling.split import split_by_time_and_lot

    with only_one(lake, TRAINING_SETS.full_name):
        versions, made_first = settled_versions(lake, (INJECTIONS, LABELS, *FEATURE_TABLES), run_id=run_id)
        known = lake.polars(LABELS, ["injection_id", "is_oos", "injected_at_utc", "known_time_utc"], version=versions[LABELS.full_name])
        labels = known.sort("known_time_utc").unique("injection_id", keep="last", maintain_order=True).drop("known_time_utc")
        labels = labels.drop_nulls("is_oos")
        if labels.height < MIN_INJECTIONS or labels["is_oos"].n_unique() < 2:
            raise TooFewLabelsError(
                f"{labels.height} labelled injection(s) with {int(labels['is_oos'].sum())} out of specification: at least {MIN_INJECTIONS} "
                "with both outcomes are needed; ingest more files ('lab simulate' makes a demonstration laboratory)"
            )
        columns = ["injection_id", "lot_id", "method_id", "instrument_id", "sample_name", "sample_role"]
        injections = lake.polars(INJECTIONS, columns, version=versions[INJECTIONS.full_name]).join(labels, on="injection_id")
        # features are looked up by the lot known then; runs are parted by the lot they turned out to be of
        injections = injections.with_columns(_lot_id="lot_id")
        spine = spine_of(lake, versions, injections, latest=False).sort("injected_at_utc", "injection_id", "checkpoint_pct")
        rows = assemble(lake, spine, versions).with_columns(lot_id="_lot_id").drop("_lot_id")
        parts = split_by_time_and_lot(
            rows["injected_at_utc"].to_numpy(), rows["lot_id"].to_numpy(), train_share=TRAIN_SHARE, calibrate_share=CALIBRATE_SHARE
        )
        rows = rows.with_columns(part=pl.Series(parts.tolist(), dtype=pl.String))
        set_id = _digest(rows, versions)
        is_new = lake.polars(TRAINING_SETS, ["training_set_id"], where=pl.col("training_set_id") == set_id).is_empty()
        if is_new:
            stored = lake.local_rows(TRAINING_SETS, _stored(rows, set_id, versions, frozen_at_utc))
            lake.append(TRAINING_SETS, stored, derivation=Derivation(inputs=dict(versions), run_id=run_id, code_version=code_version()))
        return TrainingSet(training_set_id=set_id, frame=rows, table_versions=versions, made_first=made_first, is_new=is_new)


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
