"""``silver.injections``: each injection once, with the context that LIMS and certificates give it.

Belongs here: identity, context, and which injections are touched by news. Does not belong here: peaks (``peaks.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lab_assets.contracts.bronze import CALIBRATIONS, CHROMATOGRAMS, LIMS_SEQUENCES, PROCESSING_METHODS
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.silver import INJECTIONS, LOTS, SAMPLES
from lab_assets.engine.delta import Lakehouse
from lab_assets.pipeline.methods import NO_METHOD, key_column, windows_frame, windows_in_force

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

STATION: Final = "silver.injections"
CONTEXT: Final = (LIMS_SEQUENCES, SAMPLES, LOTS, CALIBRATIONS, PROCESSING_METHODS)

CONSUMERS: Final = ("silver.results", "features.injection_progress", "features.instrument_history")
"""Stations that work on every touched injection; ``silver.peaks`` works on those whose traces or windows changed."""


def injection_id() -> Column:
    """Return the identity of an injection as a Spark column over ``bronze.chromatograms``.

    Sixteen hex digits of the SHA-256 of source, instrument, name and time text: the same export read twice is the same
    injection, the same name on another instrument or day is not.
    """
    from pyspark.sql import functions as sf

    parts = [sf.coalesce(sf.col(name), sf.lit("")) for name in ("source", "instrument_name", "injection_name", "injected_at_text")]
    return sf.concat(sf.lit("inj_"), sf.substring(sf.sha2(sf.concat_ws("|", *parts), 256), 1, 16))


def update_injections(lake: Lakehouse) -> int:
    """Bring ``silver.injections`` up to date and leave what it touched in the queues of the stations behind it.

    New traces touch their own injections. News of the LIMS, of certificates or of processing methods touches the
    injections whose context it changes, whenever they arrived.

    Returns:
        Version of ``silver.injections`` afterwards.
    """
    import polars as pl

    progress = lake.ledger.progress(STATION)
    versions = {table.full_name: lake.version(table) for table in (CHROMATOGRAMS, *CONTEXT)}
    if all(progress.get(name) == version for name, version in versions.items()):
        return lake.version(INJECTIONS)
    context_news = any(progress.get(table.full_name) != versions[table.full_name] for table in CONTEXT)
    last_batch = progress.get("chromatograms#batch", 0)
    news = lake.polars(CHROMATOGRAMS, ["injection_name", "ingest_batch"], where=pl.col("ingest_batch") > last_batch)
    newest_batch = max(news["ingest_batch"].to_list(), default=last_batch)
    names = None if context_news else news["injection_name"].unique().to_list()
    version = _write(lake, _touched(lake, names, last_batch))
    lake.ledger.set_progress(STATION, {**versions, "chromatograms#batch": newest_batch})
    return version


def _touched(lake: Lakehouse, names: Sequence[str] | None, last_batch: int) -> DataFrame:
    """Return the injections of some names (all for ``None``) as they are now, where that differs from what stands.

    Beside the contract's columns: ``_again``, whether the traces are to be integrated again, and ``_new``.
    """
    traces = lake.read(CHROMATOGRAMS)
    if names is not None:
        traces = traces.join(named(lake, "injection_name", names), on="injection_name", how="left_semi")
    return _differing(lake, _with_context(lake, _one_per_injection(with_identity(traces), _units(lake))), last_batch)


def named(lake: Lakehouse, column: str, values: Sequence[str]) -> DataFrame:
    """Return some values as a small frame of one column, to keep the rows that carry one of them."""
    import pyarrow as pa
    from pyspark.sql import functions as sf

    return sf.broadcast(lake.spark.createDataFrame(pa.table({column: pa.array(values, pa.string())})))


def _units(lake: Lakehouse) -> list[str | None]:
    """Return the abscissa units seen in the lake; they are few, and one column is read."""
    return lake.polars(CHROMATOGRAMS, ["x_unit"])["x_unit"].unique().to_list()


def task_count(injections: int) -> int:
    """Return how many tasks share some injections: each writes a file, so few injections go into few files."""
    return max(2, min(64, injections // 400))


def with_identity(traces: DataFrame) -> DataFrame:
    """Add ``injection_id`` and keep, of each injection and channel, the row of the newest file."""
    from pyspark.sql import Window
    from pyspark.sql import functions as sf

    newest = Window.partitionBy("injection_id", "channel").orderBy(sf.desc("ingest_batch"), sf.desc("source_sha256"), sf.desc("source_row"))
    named = traces.withColumn("injection_id", injection_id())
    return named.withColumn("_order", sf.row_number().over(newest)).where("_order = 1").drop("_order")


def _one_per_injection(traces: DataFrame, units: Sequence[str | None]) -> DataFrame:
    from pyspark.sql import functions as sf

    def first(name: str) -> Column:
        return sf.first(name, ignorenulls=True).alias(name)

    minutes = traces.withColumn("_minutes", sf.element_at("x", -1) * _minutes_per_unit(units))
    return minutes.groupBy("injection_id", "injection_name", "source").agg(
        *(
            first(name)
            for name in ("sample_name", "instrument_name", "method_name", "operator", "injected_at_text", "injected_at_utc", "software")
        ),
        sf.max("zone_known").alias("zone_known"),
        sf.max("_minutes").alias("run_time_min"),
        sf.sort_array(sf.collect_set("channel")).alias("channels"),
        sf.max("ingest_batch").alias("_batch"),
        sf.min_by("source_sha256", "channel").alias("source_sha256"),
    )


def _minutes_per_unit(units: Sequence[str | None]) -> Column:
    """Return the factor to minutes by stated unit; an unknown unit gives no run time rather than a wrong one."""
    from pyspark.sql import functions as sf

    from lab_assets.domain.units import minutes_per

    factor = sf.lit(None).cast("double")
    for unit in units:
        try:
            known = minutes_per(unit or "")
        except ValueError:
            continue
        factor = sf.when(sf.col("x_unit") == unit, sf.lit(known)).otherwise(factor)
    return factor


def _latest(lake: Lakehouse, table: TableContract, key: str) -> DataFrame:
    """Return of each key the record that the LIMS recorded last."""
    from pyspark.sql import Window
    from pyspark.sql import functions as sf

    newest = Window.partitionBy(key).orderBy(sf.desc("recorded_at_utc"), sf.desc("ingest_batch"), sf.desc("source_row"))
    return lake.read(table).withColumn("_order", sf.row_number().over(newest)).where("_order = 1").drop("_order")


def _with_context(lake: Lakehouse, injections: DataFrame) -> DataFrame:
    from pyspark.sql import functions as sf

    def coalesced(*names: str) -> Column:
        return sf.coalesce(*(sf.when(sf.col(name) != "", sf.col(name)) for name in names))

    sequences = _latest(lake, LIMS_SEQUENCES, "injection_name").select(
        *("injection_name", "sequence_id", "position", "sample_role", "replicate", "method_id", "instrument_id", "column_id", "analyst"),
        *("weight_mg", "nominal_weight_mg", "standard_purity_pct"),
        sf.col("sample_name").alias("planned_sample"),
    )
    samples = lake.read(SAMPLES).select(sf.col("sample_name").alias("_sample"), "lot_id", "sample_type")
    lots = lake.read(LOTS).select(sf.col("lot_id").alias("_lot"), "product")
    rows = (
        injections.join(sequences, on="injection_name", how="left")
        .withColumn("sample_name", coalesced("planned_sample", "sample_name"))
        .withColumn("method_id", coalesced("method_id", "method_name"))
        .withColumn("instrument_id", coalesced("instrument_name", "instrument_id"))
        .withColumn("analyst", coalesced("analyst", "operator"))
        .withColumn("sample_role", sf.coalesce("sample_role", sf.lit("unknown")))
        .withColumn("known_time_utc", sf.expr("injected_at_utc + make_dt_interval(0, 0, 0, coalesce(run_time_min, 0) * 60)"))
    )
    rows = rows.join(samples, rows["sample_name"] == samples["_sample"], how="left")
    rows = rows.join(lots, rows["lot_id"] == lots["_lot"], how="left")
    rows = _with_windows(lake, rows)
    return _with_calibration(lake, rows)


def _with_windows(lake: Lakehouse, rows: DataFrame) -> DataFrame:
    from pyspark.sql import functions as sf

    keyed = rows.withColumn("method_key", key_column(sf.col("method_id"), sf.col("source")))
    windows = windows_frame(lake, windows_in_force(lake)).select("method_key", "processing_id")
    return keyed.join(windows, on="method_key", how="left").withColumn("processing_id", sf.coalesce("processing_id", sf.lit(NO_METHOD)))


def _with_calibration(lake: Lakehouse, rows: DataFrame) -> DataFrame:
    """Add the instrument's latest certificate before the injection; it is valid when no parameter failed and it had not expired."""
    from pyspark.sql import functions as sf

    certificates = (
        lake.read(CALIBRATIONS)
        .groupBy(sf.col("instrument_id").alias("_instrument"), sf.col("certificate_id").alias("calibration_id"))
        .agg(
            sf.max("performed_at_utc").alias("performed_at_utc"),
            sf.min("valid_until_utc").alias("valid_until_utc"),
            sf.min(sf.col("outcome") == "pass").alias("_passed"),
        )
    )
    in_force = (
        rows.select("injection_id", "instrument_id", "injected_at_utc")
        .join(certificates, (sf.col("instrument_id") == sf.col("_instrument")) & (sf.col("performed_at_utc") <= sf.col("injected_at_utc")))
        .groupBy("injection_id")
        .agg(
            sf.max_by("calibration_id", "performed_at_utc").alias("calibration_id"),
            sf.max_by((sf.col("valid_until_utc") >= sf.col("injected_at_utc")) & sf.col("_passed"), "performed_at_utc").alias(
                "calibration_valid"
            ),
        )
    )
    return rows.join(in_force, on="injection_id", how="left")


def _differing(lake: Lakehouse, rows: DataFrame, last_batch: int) -> DataFrame:
    """Keep the rows that are new, differ from what stands, or whose traces came again."""
    from pyspark.sql import functions as sf

    names = list(INJECTIONS.column_names)
    digest = sf.xxhash64(sf.to_json(sf.struct(*names))).alias("_digest")
    before = lake.read(INJECTIONS).select(
        "injection_id", sf.col("processing_id").alias("_processing_before"), digest.alias("_digest_before")
    )
    compared = rows.select(*names, "_batch", digest).join(before, on="injection_id", how="left")
    is_new, is_new_trace = sf.col("_digest_before").isNull(), sf.col("_batch") > last_batch
    again = is_new_trace | sf.col("_processing_before").isNull() | (sf.col("_processing_before") != sf.col("processing_id"))
    changed = compared.where(is_new | (sf.col("_digest") != sf.col("_digest_before")) | is_new_trace)
    return changed.select(*names, again.alias("_again"), is_new.alias("_new"))


def _write(lake: Lakehouse, touched: DataFrame) -> int:
    """Append what is new, merge what differs from what stands; metadata of injections is small, so it is brought here once.

    The queues are filled before the table is written: a run killed in between does both again.
    """
    told = lake.keeper.guard(touched.toArrow)
    if told.num_rows == 0:
        return lake.version(INJECTIONS)
    ids = told["injection_id"].to_pylist()
    lake.ledger.enqueue({**dict.fromkeys(CONSUMERS, ids), "silver.peaks": told.filter(told["_again"])["injection_id"].to_pylist()})
    rows = told.drop_columns(["_again", "_new"])
    return lake.append(INJECTIONS, rows) if all(told["_new"].to_pylist()) else lake.merge(INJECTIONS, rows)
