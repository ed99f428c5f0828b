"""``silver.peaks``: every trace integrated, with analytes named by the processing method and the vendor's values beside.

Belongs here: which traces, with which windows, matched with which vendor peaks. Does not belong here: integration itself
(``lab_assets.domain.chromatography``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CHROMATOGRAMS, VENDOR_PEAKS
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.engine.delta import Lakehouse
from lab_assets.pipeline.changes import portions, put_of_injections
from lab_assets.pipeline.identity import named, task_count, with_identity
from lab_assets.pipeline.methods import key_column, windows_frame, windows_in_force

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


STATION: Final = "silver.peaks"
_VENDOR: Final = (*("retention_time", "retention_unit", "peak_name", "area", "area_unit", "plates", "tailing", "resolution"),)
_MEASURES: Final = (
    "retention_time_min",
    "start_min",
    "end_min",
    "area",
    "height",
    "width_half_min",
    "plates",
    "tailing",
    "resolution",
    "signal_to_noise",
)


def update_peaks(lake: Lakehouse) -> int:
    """Integrate the traces that wait; peaks their injections had before are replaced in the same commit.

    Returns:
        Version of ``silver.peaks`` afterwards.
    """
    for injection_ids in portions(lake.ledger.queued(STATION)):
        rows = lake.keeper.guard(_traces(lake, injection_ids).mapInArrow(integrate, schema=PEAKS.spark_ddl()).toArrow)
        put_of_injections(lake, PEAKS, rows, injection_ids)
        lake.ledger.dequeue(STATION, injection_ids)
    return lake.version(PEAKS)


def _traces(lake: Lakehouse, injection_ids: Sequence[str]) -> DataFrame:
    """Return the traces to integrate with ``windows_json`` and ``vendor_json`` beside."""
    from pyspark.sql import functions as sf

    wanted = named(lake, "injection_id", injection_ids)
    context = (
        lake.read(INJECTIONS)
        .join(wanted, on="injection_id", how="left_semi")
        .select("injection_id", "injection_name", "method_id", "source")
    )
    traces = lake.read(CHROMATOGRAMS).join(context.select("injection_name").distinct(), on="injection_name", how="left_semi")
    traces = with_identity(traces).join(context.select("injection_id", "method_id"), on="injection_id")
    traces = traces.withColumn("method_key", key_column(sf.col("method_id"), sf.col("source")))
    traces = traces.join(windows_frame(lake, windows_in_force(lake)), on="method_key", how="left")
    vendor = (
        lake.read(VENDOR_PEAKS)
        .groupBy("source_sha256", "injection_name", "channel")
        .agg(sf.to_json(sf.sort_array(sf.collect_list(sf.struct("peak_no", *_VENDOR)))).alias("vendor_json"))
    )
    columns = ("injection_id", "injection_name", "channel", "x", "y", "x_unit", "y_unit", "y_factor", "source_sha256", "windows_json")
    joined = traces.select(*columns).join(vendor, on=["source_sha256", "injection_name", "channel"], how="left")
    return joined.repartition(task_count(len(injection_ids)))


def integrate(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Integrate each trace of each batch; the function given to ``mapInArrow``."""
    import pyarrow as pa

    schema = PEAKS.arrow_schema()
    for batch in batches:
        peaks = [peak for trace in _rows(batch) for peak in integrate_trace(trace)]
        yield pa.RecordBatch.from_pylist(peaks, schema=schema)


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield rows with the trace as numpy arrays, which ``to_pylist`` would make lists of Python numbers."""
    scalars = batch.drop_columns(["x", "y"]).to_pylist()
    xs, ys = batch.column("x"), batch.column("y")
    for position, row in enumerate(scalars):
        yield {**row, "x": xs[position].values.to_numpy(), "y": ys[position].values.to_numpy()}


def integrate_trace(trace: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Integrate one trace into rows of ``silver.peaks``.

    A channel with fixed windows gives exactly one row a window, whatever the trace looks like. On other channels peaks are
    detected over the whole trace, and the largest in each window carries the analyte's name.

    Args:
        trace: injection_id, injection_name, channel, x, y, x_unit, y_unit, y_factor, source_sha256, windows_json, vendor_json.

    Returns:
        Rows with every column of the contract; none when the abscissa's unit is not a time.
    """
    from lab_assets.domain.chromatography import detect_peaks, largest_in_window, match_vendor_peaks
    from lab_assets.domain.units import area_unit, minutes_per, normalise_signal_unit, to_minutes

    try:
        x_min = to_minutes(trace["x"], trace["x_unit"] or "min")
    except ValueError:
        return []
    y = trace["y"] * (trace["y_factor"] or 1.0)
    windows = [w for w in json.loads(trace["windows_json"] or "[]") if (w["channel"] or trace["channel"]) == trace["channel"]]
    common = {
        **{name: trace[name] for name in ("injection_id", "injection_name", "channel", "source_sha256")},
        "area_unit": area_unit(trace["y_unit"]),
        "height_unit": normalise_signal_unit(trace["y_unit"]) or "",
    }
    fixed = [window for window in windows if window["integration"] == "fixed_window"]
    if fixed:
        found = [row for window in fixed if (row := _window_row(x_min, y, window)) is not None]
        return [{**common, "peak_no": number, "integration": "fixed_window", **row} for number, row in enumerate(found, 1)]
    peaks = detect_peaks(x_min, y)
    analytes: dict[int, str] = {}
    for window in windows:
        factor = minutes_per(window["window_unit"])
        peak = largest_in_window(peaks, start_min=window["window_start"] * factor, end_min=window["window_end"] * factor)
        if peak is not None:
            analytes[peak.peak_no] = window["analyte"]
    vendor = json.loads(trace["vendor_json"] or "[]")
    matched = match_vendor_peaks(peaks, [_vendor_time_min(row) for row in vendor])
    return [
        {
            **common,
            "peak_no": peak.peak_no,
            "integration": "detected",
            "analyte": analytes.get(peak.peak_no),
            **{name: getattr(peak, name) for name in _MEASURES},
            **_vendor_values(vendor[index] if index is not None else None),
        }
        for peak, index in zip(peaks, matched, strict=True)
    ]


def _window_row(x_min: Any, y: Any, window: Mapping[str, Any]) -> dict[str, Any] | None:
    from lab_assets.domain.chromatography import integrate_window
    from lab_assets.domain.units import minutes_per

    factor = minutes_per(window["window_unit"])
    try:
        inside = integrate_window(x_min, y, start_min=window["window_start"] * factor, end_min=window["window_end"] * factor)
    except ValueError:  # the trace does not reach into the window
        return None
    return {
        "analyte": window["analyte"],
        "retention_time_min": inside.retention_time_min,
        "start_min": inside.start_min,
        "end_min": inside.end_min,
        "area": inside.area,
        "height": inside.height,
    }


def _vendor_time_min(row: Mapping[str, Any]) -> float | None:
    from lab_assets.domain.units import to_minutes

    time = row.get("retention_time")
    if time is None:
        return None
    try:
        return float(to_minutes(time, row.get("retention_unit") or "min"))
    except ValueError:
        return None


def _vendor_values(row: Mapping[str, Any] | None) -> dict[str, Any]:
    told = row or {}
    return {
        "vendor_peak_name": told.get("peak_name"),
        "vendor_area": told.get("area"),
        "vendor_area_unit": told.get("area_unit"),
        "vendor_plates": told.get("plates"),
        "vendor_tailing": told.get("tailing"),
        "vendor_resolution": told.get("resolution"),
    }
