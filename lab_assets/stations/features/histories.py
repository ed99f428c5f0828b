"""The histories among the feature tables: instrument, lot, storage exposure.

Belongs here: gathering what the feature functions need. Does not belong here: the functions (``lab_assets.features``), partial
traces (``injection_progress.py``).

They are computed in this process for the instruments, lots and samples that news touches; with more history than one process
holds, the same functions run grouped by their key in ``applyInPandas``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_assets.contracts.bronze import CALIBRATIONS
from lab_assets.contracts.features import INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.contracts.silver import INJECTIONS, PEAKS, RESULTS, SAMPLES, STORAGE_CONDITIONS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.changes import upsert_changes
from lab_assets.stations.silver.methods import method_key, windows_in_force

if TYPE_CHECKING:
    import polars as pl


def update_instrument_history(lake: Lakehouse) -> int:
    """Recompute the history of every instrument that waiting injections belong to, and write what differs.

    Returns:
        Version of ``features.instrument_history`` afterwards.
    """
    import polars as pl

    from lab_assets.features.history import instrument_history

    station = INSTRUMENT_HISTORY.full_name
    injection_ids = lake.ledger.queued(station)
    if not injection_ids:
        return lake.version(INSTRUMENT_HISTORY)
    columns = ["injection_id", "instrument_id", "method_id", "column_id", "sample_role", "source", "injected_at_utc", "known_time_utc"]
    weights = ["weight_mg", "standard_purity_pct"]
    injections = lake.polars(INJECTIONS, [*columns, *weights])
    touched = injections.filter(pl.col("injection_id").is_in(injection_ids))["instrument_id"].drop_nulls().unique()
    rows = injections.filter(pl.col("instrument_id").is_in(touched.to_list()))
    rows = rows.join(_main_peaks(lake, rows), on="injection_id", how="left").join(_pressures(lake), on="injection_id", how="left")
    rows = rows.join(_calibration_due(lake), on="instrument_id", how="left")
    response = pl.col("area") / (pl.col("weight_mg") * pl.col("standard_purity_pct").fill_null(100.0) / 100.0)
    rows = rows.with_columns(standard_response=response)
    version = upsert_changes(lake, INSTRUMENT_HISTORY, instrument_history(rows))
    lake.ledger.dequeue(station, injection_ids)
    return version


def _main_peaks(lake: Lakehouse, injections: pl.DataFrame) -> pl.DataFrame:
    """Return the peak of each injection's main analyte, the one its method measures against its own standard."""
    import polars as pl

    windows = windows_in_force(lake)
    main = {
        key: row["analyte"]
        for key, rows in windows.items()
        for row in reversed(rows)
        if row["calibration"] == "external_standard" and (row["reference_analyte"] or row["analyte"]) == row["analyte"]
    }
    keyed = injections.select("injection_id", "method_id", "source").with_columns(
        main=pl.struct("method_id", "source").map_elements(
            lambda key: main.get(method_key(key["method_id"], key["source"])), return_dtype=pl.String
        )
    )
    peaks = lake.polars(PEAKS, ["injection_id", "channel", "analyte", "area", "plates", "tailing", "retention_time_min"])
    named = peaks.join(keyed.select("injection_id", "main"), on="injection_id").filter(pl.col("analyte") == pl.col("main"))
    first = named.sort("channel").unique("injection_id", keep="first")
    return first.select("injection_id", "area", "plates", "tailing", "retention_time_min")


def _pressures(lake: Lakehouse) -> pl.DataFrame:
    """Return each injection's pressure as its last checkpoint saw it."""
    import polars as pl

    progress = lake.polars(INJECTION_PROGRESS, ["injection_id", "checkpoint_pct", "pressure_mean_bar", "pressure_ripple_pct"])
    latest = progress.sort("checkpoint_pct").unique("injection_id", keep="last")
    return latest.select(pl.exclude("checkpoint_pct"))


def _calibration_due(lake: Lakehouse) -> pl.DataFrame:
    import polars as pl

    certificates = lake.polars(CALIBRATIONS, ["instrument_id", "performed_at_utc", "valid_until_utc"])
    latest = certificates.sort("performed_at_utc").group_by("instrument_id").agg(pl.col("valid_until_utc").last())
    return latest.rename({"valid_until_utc": "calibration_due_utc"})


def update_lot_history(lake: Lakehouse) -> int:
    """Bring the history of lots up to date with their results.

    Returns:
        Version of ``features.lot_history`` afterwards.
    """
    from lab_assets.features.history import LOT_HISTORY_INPUT, lot_history

    station = LOT_HISTORY.full_name
    version = lake.version(RESULTS)
    if lake.ledger.progress(station).get(RESULTS.full_name) == version:
        return lake.version(LOT_HISTORY)
    results = lake.polars(RESULTS, list(LOT_HISTORY_INPUT)).drop_nulls(["lot_id"])
    written = upsert_changes(lake, LOT_HISTORY, lot_history(results))
    lake.ledger.set_progress(station, {RESULTS.full_name: version})
    return written


def update_storage_exposure(lake: Lakehouse) -> int:
    """Bring the storage of samples up to date with the chambers' days.

    Returns:
        Version of ``features.storage_exposure`` afterwards.
    """
    from lab_assets.features.exposure import storage_exposure

    station = STORAGE_EXPOSURE.full_name
    versions = {table.full_name: lake.version(table) for table in (SAMPLES, STORAGE_CONDITIONS)}
    if lake.ledger.progress(station) == versions:
        return lake.version(STORAGE_EXPOSURE)
    written = upsert_changes(lake, STORAGE_EXPOSURE, storage_exposure(lake.polars(SAMPLES), lake.polars(STORAGE_CONDITIONS)))
    lake.ledger.set_progress(station, versions)
    return written
