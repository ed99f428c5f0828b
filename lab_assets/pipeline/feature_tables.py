"""The feature tables: partial traces, instrument history, lot history, storage exposure.

Belongs here: gathering what the feature functions need. Does not belong here: the functions (``lab_assets.features``).

Partial traces are worked on in Spark's workers. The three histories are computed in this process for the instruments, lots
and samples that news touches; with more history than one process holds, the same functions run grouped by their key in
``applyInPandas``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CALIBRATIONS, CHROMATOGRAMS, INSTRUMENT_STATUS
from lab_assets.contracts.features import INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.contracts.silver import INJECTIONS, PEAKS, RESULTS, SAMPLES, STORAGE_CONDITIONS
from lab_assets.engine.delta import Lakehouse
from lab_assets.features.definitions import FEATURE_SET_VERSION, names_of
from lab_assets.pipeline.changes import portions, put_of_injections, upsert_changes
from lab_assets.pipeline.identity import named, task_count, with_identity
from lab_assets.pipeline.methods import Windows, method_key, windows_in_force
from lab_assets.pipeline.results import specification_rows

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame

_STANDARD: Final = (
    *("analyte", "channel", "area", "height", "retention_time_min", "weight_mg", "nominal_weight_mg", "standard_purity_pct"),
    *("sample_role", "known_time_utc"),
)
_INPUT: Final = (
    *(
        "injection_id",
        "injection_name",
        "method_id",
        "product",
        "source",
        "sample_role",
        "weight_mg",
        "nominal_weight_mg",
        "injected_at_utc",
    ),
    *("run_time_min", "channel", "x", "y", "x_unit", "y_factor", "standards_json", "pressure_x", "pressure_y", "pressure_x_unit"),
    *("pressure_y_unit", "pressure_factor"),
)


def update_injection_progress(lake: Lakehouse) -> int:
    """Compute the partial-trace features of the injections that wait, at every checkpoint.

    Injections without a time or a method cannot be placed in a history and get no row.

    Returns:
        Version of ``features.injection_progress`` afterwards.
    """
    station = INJECTION_PROGRESS.full_name
    waiting = lake.ledger.queued(station)
    if not waiting:
        return lake.version(INJECTION_PROGRESS)
    worker = ProgressWorker(windows_in_force(lake), specification_rows(lake))
    for injection_ids in portions(waiting):
        traces = _progress_input(lake, injection_ids).repartition(task_count(len(injection_ids)))
        rows = lake.keeper.guard(traces.mapInArrow(worker.arrow, schema=INJECTION_PROGRESS.spark_ddl()).toArrow)
        put_of_injections(lake, INJECTION_PROGRESS, rows, injection_ids)
        lake.ledger.dequeue(station, injection_ids)
    return lake.version(INJECTION_PROGRESS)


def _progress_input(lake: Lakehouse, injection_ids: Sequence[str]) -> DataFrame:
    """Return one row an injection: its main trace, its pressure, and the standards of its sequence."""
    from pyspark.sql import Window
    from pyspark.sql import functions as sf

    wanted = named(lake, "injection_id", injection_ids)
    injections = lake.read(INJECTIONS)
    chosen = injections.join(wanted, on="injection_id", how="left_semi").where("injected_at_utc is not null and method_id is not null")
    standards = (
        injections.where(sf.col("sample_role").isin("standard", "suitability"))
        .join(lake.read(PEAKS).where("analyte is not null").drop("injection_name", "source_sha256"), on="injection_id")
        .groupBy("sequence_id")
        .agg(sf.to_json(sf.sort_array(sf.collect_list(sf.struct(*_STANDARD)))).alias("standards_json"))
    )
    names = chosen.select("injection_name").distinct()
    first_channel = Window.partitionBy("injection_id").orderBy("channel")
    traces = (
        with_identity(lake.read(CHROMATOGRAMS).join(names, on="injection_name", how="left_semi"))
        .withColumn("_order", sf.row_number().over(first_channel))
        .where("_order = 1")
        .select("injection_id", "channel", "x", "y", "x_unit", "y_factor")
    )
    newest = Window.partitionBy("injection_name").orderBy("signal", sf.desc("ingest_batch"))
    pressure = (
        lake.read(INSTRUMENT_STATUS)
        .where(sf.lower("signal").contains("pressure"))
        .join(names, on="injection_name", how="left_semi")
        .withColumn("_order", sf.row_number().over(newest))
        .where("_order = 1")
        .select(
            "injection_name",
            *(sf.col(name).alias(f"pressure_{name}") for name in ("x", "y", "x_unit", "y_unit")),
            sf.col("y_factor").alias("pressure_factor"),
        )
    )
    joined = (
        chosen.join(traces, on="injection_id").join(pressure, on="injection_name", how="left").join(standards, on="sequence_id", how="left")
    )
    return joined.select(*_INPUT)


class ProgressWorker:
    """Partial-trace features of whole traces; sent to Spark's workers."""

    def __init__(self, windows: Windows, specifications: Sequence[Mapping[str, Any]]) -> None:
        self.windows = windows
        self.specifications = list(specifications)

    def arrow(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Compute each batch; the function given to ``mapInArrow``."""
        import pyarrow as pa

        schema = INJECTION_PROGRESS.arrow_schema()
        arrays = ("x", "y", "pressure_x", "pressure_y")
        for batch in batches:
            scalars = batch.drop_columns(list(arrays)).to_pylist()
            columns = {name: batch.column(name) for name in arrays}
            made: list[dict[str, Any]] = []
            for position, row in enumerate(scalars):
                traces = {name: column[position].values for name, column in columns.items()}
                filled = {name: None if values is None else values.to_numpy() for name, values in traces.items()}
                made += self.rows({**row, **filled})
            yield pa.RecordBatch.from_pylist(made, schema=schema)

    def rows(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows of one injection, one a checkpoint."""
        from lab_assets.domain.units import to_minutes
        from lab_assets.features.progress import checkpoint_features
        from lab_assets.features.reference import expectation_from_rows
        from lab_assets.features.vector import storable

        started: datetime = run["injected_at_utc"]
        x_min = to_minutes(run["x"], run["x_unit"] or "min")
        run_time_min = run["run_time_min"] or float(x_min[-1])
        expectation = expectation_from_rows(
            self.windows.get(method_key(run["method_id"], run["source"]), ()),
            self.specifications,
            [_dated(row) for row in json.loads(run["standards_json"] or "[]")],
            method_id=run["method_id"],
            run_time_min=run_time_min,
            product=run["product"],
            channel=run["channel"],
            weight_mg=run["weight_mg"],
            nominal_weight_mg=run["nominal_weight_mg"],
            as_of_utc=started,
        )
        found = checkpoint_features(
            x_min, run["y"] * (run["y_factor"] or 1.0), run_time_min=run_time_min, expectation=expectation, pressure=_pressure(run)
        )
        names = names_of("injection_progress")
        return [
            {
                "injection_id": run["injection_id"],
                "injection_name": run["injection_name"],
                "checkpoint_pct": int(features["checkpoint_pct"]),
                "event_time_utc": (at := checkpoint_time(started, run_time_min, features["checkpoint_pct"])),
                "known_time_utc": at,
                "feature_set_version": FEATURE_SET_VERSION,
                **storable({name: features[name] for name in names}),
            }
            for features in found
        ]


def checkpoint_time(started: datetime, run_time_min: float, checkpoint_pct: float) -> datetime:
    """Return when a share of the run has passed; an instrument tells its trace as it runs."""
    return started + timedelta(minutes=run_time_min * checkpoint_pct / 100)


def _dated(row: dict[str, Any]) -> dict[str, Any]:
    known = row.get("known_time_utc")
    return {**row, "known_time_utc": datetime.fromisoformat(known) if known else None}


def _pressure(run: Mapping[str, Any]) -> Any:
    from lab_assets.domain.units import to_minutes
    from lab_assets.features.trace import pressure_trace

    if run["pressure_x"] is None or len(run["pressure_x"]) < 2:
        return None
    return pressure_trace(
        to_minutes(run["pressure_x"], run["pressure_x_unit"] or "min"),
        run["pressure_y"] * (run["pressure_factor"] or 1.0),
        unit=run["pressure_y_unit"],
    )


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
