"""Features of runs that are in the tables, at the newest or at recorded versions, by the point-in-time join.

Belongs here: reading the join's inputs. Does not belong here: the join (``lab_assets.features.join``), posted traces (``scorer.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lab_assets.contracts.features import INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.features.inputs import TODAY, ModelInputs
from lab_assets.features.vector import to_map
from lab_assets.service.run_rows import DeltaRows
from lab_assets.service.table_cache import open_table, read_rows, rows_where
from lab_assets.settings import Settings

INJECTIONS: Final = "silver.injections"
FEATURE_TABLES: Final = tuple(table.full_name for table in (INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE))
_TEXTS: Final = ("injection_id", "lot_id", "method_id", "instrument_id", "sample_name")


def _spine() -> dict[str, Any]:
    import polars as pl

    times = dict.fromkeys(("injected_at_utc", "as_of_utc"), pl.Datetime("us", "UTC"))
    return {**dict.fromkeys(_TEXTS, pl.String()), "checkpoint_pct": pl.Int64(), **times}


class ReadBackError(Exception):
    """A run, or its features, are not in the tables."""


@dataclass(frozen=True, kw_only=True)
class RunFeatures:
    """Features of one run at one checkpoint and the table versions they came from."""

    injection_id: str
    lot_id: str | None
    features: dict[str, float]
    table_versions: dict[str, int]


def find_run(settings: Settings, injection_id: str, *, version: int | None = None) -> dict[str, Any]:
    """Return a run's row of ``silver.injections`` by id, or by name where no id fits.

    Raises:
        ReadBackError: no such run.
        TableUnavailableError: the table cannot be read.
    """
    columns = (*_TEXTS, "injected_at_utc")
    for key in ("injection_id", "injection_name"):
        rows = read_rows(settings, INJECTIONS, where={key: [injection_id]}, columns=columns, version=version)
        if rows:
            return rows[0]
    raise ReadBackError(f"no injection {injection_id!r} in {INJECTIONS}")


def features_at(
    settings: Settings,
    run: Mapping[str, Any],
    *,
    checkpoint_pct: int,
    at: datetime,
    versions: Mapping[str, int],
    inputs: ModelInputs = TODAY,
) -> RunFeatures:
    """Return a run's features as they were known at a moment, from feature tables at the given versions.

    Only the rows of the run, its instrument, lot and sample are read; of these that known then counts. A table without a version was not
    there.

    Args:
        settings: Where the tables are.
        run: Row of ``silver.injections``, as ``find_run`` gives it.
        checkpoint_pct: Share of the run seen.
        at: Nothing known later counts.
        versions: Version by ``layer.table``.
        inputs: What is asked for, and the feature set whose rows count.

    Raises:
        TableUnavailableError: a version is gone.
    """
    import polars as pl

    from lab_assets.features.join import RUN_KEYS, point_in_time_join, with_keys_as_known

    read, of_set = DeltaRows(settings, versions), [inputs.feature_set_version]
    progress = read.keyed(INJECTION_PROGRESS, injection_id=[run["injection_id"]], feature_set_version=of_set)
    spine = pl.DataFrame([{**run, "checkpoint_pct": checkpoint_pct, "as_of_utc": at}], schema=_spine())
    known = progress.filter(
        (pl.col("checkpoint_pct") == checkpoint_pct) & (pl.max_horizontal("event_time_utc", "known_time_utc") <= pl.lit(at))
    ).sort("known_time_utc")
    if known.height:
        spine = with_keys_as_known(spine, known.tail(1).select("injection_id", *RUN_KEYS)).select(spine.columns)
    of = spine.row(0, named=True)
    # the run's own row of the history is of its instrument and method, unless these were corrected since
    history = pl.concat(
        [
            read.keyed(INSTRUMENT_HISTORY, instrument_id=[of["instrument_id"]], method_id=[of["method_id"]], feature_set_version=of_set),
            read.keyed(INSTRUMENT_HISTORY, injection_id=[of["injection_id"]], feature_set_version=of_set),
        ]
    ).unique(maintain_order=True)
    joined = point_in_time_join(
        spine,
        progress=progress,
        instrument_history=history,
        lot_history=read.keyed(LOT_HISTORY, lot_id=[of["lot_id"]], feature_set_version=of_set),
        storage_exposure=read.keyed(STORAGE_EXPOSURE, sample_name=[of["sample_name"]], feature_set_version=of_set),
        inputs=inputs,
    )
    features = to_map(joined.row(0, named=True), inputs.names)
    return RunFeatures(injection_id=of["injection_id"], lot_id=of["lot_id"], features=features, table_versions=dict(versions))


def newest_features(
    settings: Settings, injection_id: str, *, checkpoint_pct: int, at: datetime, inputs: ModelInputs = TODAY
) -> RunFeatures:
    """Return a run's features at a checkpoint, those of today or a model's, from the newest tables.

    Raises:
        ReadBackError: the run, or its features at that checkpoint, are not there.
        TableUnavailableError: a table cannot be read.
    """
    opened = {name: open_table(settings, name) for name in (INJECTIONS, *FEATURE_TABLES)}
    versions = {name: table.version() for name, table in opened.items() if table is not None}
    run = find_run(settings, injection_id, version=versions.get(INJECTIONS))
    of_set = [inputs.feature_set_version]
    where = {"injection_id": [run["injection_id"]], "checkpoint_pct": [checkpoint_pct], "feature_set_version": of_set}
    if not read_rows(settings, INJECTION_PROGRESS.full_name, where=where, columns=("injection_id",)):
        raise ReadBackError(f"injection {injection_id!r} has no features at {checkpoint_pct} % of the run yet")
    return features_at(settings, run, checkpoint_pct=checkpoint_pct, at=at, versions=versions, inputs=inputs)


def sets_held(settings: Settings, versions: Mapping[str, int]) -> tuple[set[str], set[str]]:
    """Return the feature sets that the feature tables have rows of at the given versions, and the names of the tables' columns then.

    Raises:
        TableUnavailableError: a version is gone.
    """
    sets: set[str] = set()
    columns: set[str] = set()
    for name in FEATURE_TABLES:
        table = open_table(settings, name, version=versions[name]) if name in versions else None
        if table is not None:
            sets.update(rows_where(table, name, (), ["feature_set_version"])["feature_set_version"])
            columns.update(field.name for field in table.schema().fields)
    return sets, columns
