"""``silver.injections``: each injection once, with the context that LIMS and certificates give it.

Belongs here: context, and which injections are touched by news. Does not belong here: identity (``identity.py``), peaks
(``peaks.py``).

Injections are told by a few short columns, a hundred bytes each, so they are joined in this process: a million take about a
second. Their traces are never read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lab_assets.contracts.bronze import CALIBRATIONS, CHROMATOGRAMS, LIMS_SEQUENCES, PROCESSING_METHODS
from lab_assets.contracts.silver import INJECTIONS, LOTS, SAMPLES
from lab_assets.domain.injection_identity import newest_of_channels
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.silver.methods import NO_METHOD, method_key, processing_id, windows_in_force

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

STATION: Final = "silver.injections"
CONTEXT: Final = (LIMS_SEQUENCES, SAMPLES, LOTS, CALIBRATIONS, PROCESSING_METHODS)
CONSUMERS: Final = ("silver.results", "features.injection_progress", "features.instrument_history")
"""Stations that work on every touched injection; ``silver.peaks`` works on those whose traces or windows changed."""

_OF_THE_FILE: Final = ("sample_name", "instrument_name", "method_name", "operator", "injected_at_text", "injected_at_utc", "software")
_TRACE: Final = ("injection_name", "source", "channel", "x_unit", "x_last", "zone_known", "ingest_batch", "source_sha256", "source_row")
_PLANNED: Final = (
    *("injection_name", "sequence_id", "position", "sample_role", "replicate", "method_id", "instrument_id", "column_id", "analyst"),
    *("weight_mg", "nominal_weight_mg", "standard_purity_pct"),
)


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
    last_batch = progress.get("chromatograms#batch", 0)
    fresh = lake.polars(CHROMATOGRAMS, ["injection_name", "ingest_batch"], where=pl.col("ingest_batch") > last_batch)
    newest_batch = max(fresh["ingest_batch"].to_list(), default=last_batch)
    context_news = any(progress.get(table.full_name) != versions[table.full_name] for table in CONTEXT)
    traces = _traces(lake, None if context_news else fresh["injection_name"].unique().to_list())
    version = _write(lake, _with_context(lake, one_per_injection(traces)), last_batch)
    lake.ledger.set_progress(STATION, {**versions, "chromatograms#batch": newest_batch})
    return version


def _traces(lake: Lakehouse, names: Sequence[str] | None) -> pl.DataFrame:
    """Return what is told of each trace beside its points, for some injection names or for all."""
    import polars as pl

    where = None if names is None else pl.col("injection_name").is_in(names)
    return lake.polars(CHROMATOGRAMS, list(dict.fromkeys((*_TRACE, *_OF_THE_FILE))), where=where)


def one_per_injection(traces: pl.DataFrame) -> pl.DataFrame:
    """Return one row an injection: of each channel the newest file counts, and the first channel that tells a thing tells it.

    Args:
        traces: Rows of ``bronze.chromatograms`` without their points.

    Returns:
        The file's columns with ``injection_id``, ``run_time_min``, ``channels``, ``_batch`` of the newest file.
    """
    import polars as pl

    minutes = pl.col("x_last") * pl.col("x_unit").replace_strict(_minutes_per(traces["x_unit"]), return_dtype=pl.Float64)
    newest = newest_of_channels(traces.with_columns(_minutes=minutes))
    return (
        newest.sort("channel")
        .group_by("injection_id", "injection_name", "source")
        .agg(
            *(pl.col(name).drop_nulls().first() for name in _OF_THE_FILE),
            pl.col("zone_known").max(),
            pl.col("_minutes").max().alias("run_time_min"),
            pl.col("channel").unique().sort().alias("channels"),
            pl.col("ingest_batch").max().alias("_batch"),
            pl.col("source_sha256").first(),
        )
    )


def _minutes_per(units: pl.Series) -> dict[str | None, float | None]:
    """Return the factor to minutes by stated unit; an unknown unit gives no run time rather than a wrong one."""
    from lab_assets.domain.units import minutes_per

    factors: dict[str | None, float | None] = {}
    for unit in units.unique().to_list():
        try:
            factors[unit] = minutes_per(unit or "")
        except ValueError:
            factors[unit] = None
    return factors


def _with_context(lake: Lakehouse, injections: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    def coalesced(*names: str) -> pl.Expr:
        return pl.coalesce(pl.when(pl.col(name) != "").then(pl.col(name)) for name in names)

    plans = lake.polars(LIMS_SEQUENCES).sort("recorded_at_utc", "ingest_batch", "source_row").unique("injection_name", keep="last")
    planned = plans.select(*_PLANNED, pl.col("sample_name").alias("planned_sample"))
    rows = injections.join(planned, on="injection_name", how="left").with_columns(
        sample_name=coalesced("planned_sample", "sample_name"),
        method_id=coalesced("method_id", "method_name"),
        instrument_id=coalesced("instrument_name", "instrument_id"),
        analyst=coalesced("analyst", "operator"),
        sample_role=pl.col("sample_role").fill_null("unknown"),
        known_time_utc=pl.col("injected_at_utc") + pl.duration(microseconds=pl.col("run_time_min").fill_null(0.0) * 60e6),
    )
    rows = rows.join(lake.polars(SAMPLES, ["sample_name", "lot_id", "sample_type"]), on="sample_name", how="left")
    rows = rows.join(lake.polars(LOTS, ["lot_id", "product"]), on="lot_id", how="left")
    return with_calibration(_with_windows(lake, rows), lake.polars(CALIBRATIONS))


def _with_windows(lake: Lakehouse, rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    processing = {key: processing_id(windows) for key, windows in windows_in_force(lake).items()}
    keys = (method_key(*of) for of in rows.select("method_id", "source").iter_rows())
    return rows.with_columns(processing_id=pl.Series([processing.get(key, NO_METHOD) for key in keys], dtype=pl.String))


def with_calibration(rows: pl.DataFrame, parameters: pl.DataFrame) -> pl.DataFrame:
    """Add the instrument's latest certificate before the injection; it is valid when no parameter failed and it had not expired.

    Args:
        rows: Injections with ``instrument_id`` and ``injected_at_utc``.
        parameters: Rows of ``bronze.calibrations``, one a parameter of a certificate.
    """
    import polars as pl

    certificates = (
        parameters.drop_nulls("performed_at_utc")
        .group_by("instrument_id", pl.col("certificate_id").alias("calibration_id"))
        .agg(pl.col("performed_at_utc").max(), pl.col("valid_until_utc").min(), (pl.col("outcome") == "pass").all().alias("_passed"))
        .sort("performed_at_utc", "calibration_id")
    )
    dated = rows.sort("injected_at_utc", nulls_last=True)
    found = dated.join_asof(
        certificates,
        left_on="injected_at_utc",
        right_on="performed_at_utc",
        by="instrument_id",
        strategy="backward",
        check_sortedness=False,
    )
    return found.with_columns(calibration_valid=(pl.col("valid_until_utc") >= pl.col("injected_at_utc")) & pl.col("_passed"))


def _write(lake: Lakehouse, rows: pl.DataFrame, last_batch: int) -> int:
    """Append what is new, merge what differs from what stands or whose traces came again.

    The queues are filled before the table is written: a run killed in between does both again.
    """
    import polars as pl

    names = list(INJECTIONS.column_names)
    standing = lake.polars(INJECTIONS)
    made = rows.select(*names, "_batch").cast({**standing.schema})
    unchanged = made.join(standing, on=names, how="semi", nulls_equal=True)["injection_id"]
    is_new_trace = pl.col("_batch") > last_batch
    touched = made.filter(is_new_trace | ~pl.col("injection_id").is_in(unchanged.implode()))
    if touched.is_empty():
        return lake.version(INJECTIONS)
    before = standing.select("injection_id", processing_before="processing_id")
    touched = touched.join(before, on="injection_id", how="left")
    again = touched.filter(is_new_trace | pl.col("processing_before").ne_missing(pl.col("processing_id")))
    ids = touched["injection_id"].to_list()
    lake.ledger.enqueue({**dict.fromkeys(CONSUMERS, ids), "silver.peaks": again["injection_id"].to_list()})
    arrow = touched.select(names).to_arrow()
    return lake.append(INJECTIONS, arrow) if touched["processing_before"].is_null().all() else lake.merge(INJECTIONS, arrow)
