"""Features of runs that are in the tables, at the newest or at recorded versions, by the point-in-time join.

Belongs here: reading the join's inputs. Does not belong here: the join (``lab_assets.features.join``), posted traces (``scoring.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lab_assets.features.vector import to_map
from lab_assets.service.table_cache import Snapshot, load_snapshot, open_table, read_rows
from lab_assets.settings import Settings

INJECTIONS: Final = "silver.injections"
JOINED: Final = ("injection_progress", "instrument_history", "lot_history", "storage_exposure")
_TEXTS: Final = ("injection_id", "lot_id", "method_id", "instrument_id", "sample_name")


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


def joined_features(
    settings: Settings, run: Mapping[str, Any], *, checkpoint_pct: int, at: datetime, versions: Mapping[str, int]
) -> dict[str, float]:
    """Return a run's features as they were known at a moment, from feature tables at the given versions.

    A table without a version was not there.

    Raises:
        TableUnavailableError: a version is gone.
    """
    import polars as pl

    from lab_assets.features.join import point_in_time_join

    names = {name: f"features.{name}" for name in JOINED}
    frames = {name: _at(settings, full_name, versions).frame for name, full_name in names.items()}
    times = dict.fromkeys(("injected_at_utc", "as_of_utc"), pl.Datetime("us", "UTC"))
    spine = pl.DataFrame(
        [dict(run) | {"checkpoint_pct": checkpoint_pct, "as_of_utc": at}],
        schema={**dict.fromkeys(_TEXTS, pl.String()), "checkpoint_pct": pl.Int64(), **times},
    )
    return to_map(
        point_in_time_join(
            spine,
            progress=frames["injection_progress"],
            instrument_history=frames["instrument_history"],
            lot_history=frames["lot_history"],
            storage_exposure=frames["storage_exposure"],
        ).row(0, named=True)
    )


def _at(settings: Settings, full_name: str, versions: Mapping[str, int]) -> Snapshot:
    from lab_assets.contracts.registry import contract
    from lab_assets.service.table_cache import empty_frame

    if full_name in versions:
        return load_snapshot(settings, full_name, version=versions[full_name])
    table = contract(full_name)
    return Snapshot(frame=empty_frame(table, table.column_names), version=-1)


def newest_features(settings: Settings, injection_id: str, *, checkpoint_pct: int, at: datetime) -> RunFeatures:
    """Return a run's features at a checkpoint from the newest tables.

    Raises:
        ReadBackError: the run, or its features at that checkpoint, are not there.
        TableUnavailableError: a table cannot be read.
    """
    opened = {name: open_table(settings, name) for name in (INJECTIONS, *(f"features.{table}" for table in JOINED))}
    versions = {name: table.version() for name, table in opened.items() if table is not None}
    run = find_run(settings, injection_id, version=versions.get(INJECTIONS))
    where = {"injection_id": [run["injection_id"]], "checkpoint_pct": [checkpoint_pct]}
    if not read_rows(settings, "features.injection_progress", where=where, columns=("injection_id",)):
        raise ReadBackError(f"injection {injection_id!r} has no features at {checkpoint_pct} % of the run yet")
    features = joined_features(settings, run, checkpoint_pct=checkpoint_pct, at=at, versions=versions)
    return RunFeatures(injection_id=run["injection_id"], lot_id=run["lot_id"], features=features, table_versions=versions)
