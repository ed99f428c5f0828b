"""``silver.peaks``: every trace integrated, with analytes named by the processing method and the vendor's values beside.

Belongs here: which traces, with which windows, matched with which vendor peaks. Does not belong here: integration itself
(``lab_assets.domain.chromatography``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CHROMATOGRAMS, VENDOR_PEAKS
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.changes import portions, put_of_injections
from lab_assets.stations.silver.methods import Windows, method_key, windows_in_force
from lab_assets.stations.traces import FEW_INJECTIONS, TRACE_PLACE, Place, chosen_traces, here, place_of, rows_of, tasks_for, trace_rows

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


Row = Mapping[str, Any]

STATION: Final = "silver.peaks"
_VENDOR: Final = (*("retention_time", "retention_unit", "peak_name", "area", "area_unit", "plates", "tailing", "resolution"),)
_TRACE: Final = (*TRACE_PLACE, "x", "y", "x_unit", "y_unit", "y_factor")
_VENDOR_OF: Final = ("source_sha256", "injection_name", "channel")
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
        put_of_injections(lake, PEAKS, _integrated(lake, injection_ids), injection_ids)
        lake.ledger.dequeue(STATION, injection_ids)
    return lake.version(PEAKS)


def _integrated(lake: Lakehouse, injection_ids: Sequence[str]) -> pa.Table:
    """Return the peaks of some injections; the traces of more than a few are shared among Spark's workers."""
    import pyarrow as pa

    chosen = chosen_traces(lake, injection_ids)
    worker = _worker(lake, chosen, injection_ids)
    if len(injection_ids) <= FEW_INJECTIONS:
        traces = here(lake, CHROMATOGRAMS, chosen, {name: name for name in _TRACE}).to_arrow()
        return pa.Table.from_batches(worker.arrow(traces.to_batches()), PEAKS.arrow_schema())
    rows = rows_of(lake, CHROMATOGRAMS, chosen).select(*_TRACE)
    if (tasks := tasks_for(len(injection_ids))) > 1:
        rows = rows.repartition(tasks)
    return lake.keeper.guard(rows.mapInArrow(worker.arrow, schema=PEAKS.spark_ddl()).toArrow)


def _worker(lake: Lakehouse, chosen: pl.DataFrame, injection_ids: Sequence[str]) -> PeakWorker:
    """Return the function for the workers with what it knows of each chosen trace."""
    import polars as pl

    injections = lake.polars(INJECTIONS, ["injection_id", "method_id", "source"], where=pl.col("injection_id").is_in(injection_ids))
    methods = {row["injection_id"]: method_key(row["method_id"], row["source"]) for row in injections.iter_rows(named=True)}
    names = chosen["injection_name"].unique().to_list()
    told = lake.polars(VENDOR_PEAKS, [*_VENDOR_OF, "peak_no", *_VENDOR], where=pl.col("injection_name").is_in(names))
    vendor = {
        key: rows.select(_VENDOR).to_dicts() for key, rows in told.sort("peak_no", *_VENDOR).group_by(_VENDOR_OF, maintain_order=True)
    }
    known = {
        place_of(row, TRACE_PLACE): KnownTrace(
            injection_id=row["injection_id"], method=methods[row["injection_id"]], vendor=vendor.get(place_of(row, _VENDOR_OF), [])
        )
        for row in chosen.iter_rows(named=True)
    }
    return PeakWorker(known, windows_in_force(lake))


@dataclass(frozen=True, kw_only=True)
class KnownTrace:
    """What is known of a trace beside its row.

    Attributes:
        injection_id: Its injection.
        method: Key of the windows that apply.
        vendor: The vendor's own peaks, in order.
    """

    injection_id: str
    method: str
    vendor: Sequence[Row]


class PeakWorker:
    """Integration of whole traces, in Spark's workers or here."""

    def __init__(self, known: Mapping[Place, KnownTrace], windows: Windows) -> None:
        self.known = known
        self.windows = windows

    def arrow(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Integrate the known traces of each batch; the function given to ``mapInArrow``."""
        import pyarrow as pa

        schema = PEAKS.arrow_schema()
        for batch in batches:
            peaks = [peak for trace in trace_rows(batch) for peak in self.peaks(trace)]
            yield pa.RecordBatch.from_pylist(peaks, schema=schema)

    def peaks(self, trace: Row) -> list[dict[str, Any]]:
        """Return the peaks of one trace; none of a trace that is not wanted."""
        known = self.known.get(place_of(trace, TRACE_PLACE))
        if known is None:
            return []
        return integrate_trace({**trace, "injection_id": known.injection_id}, self.windows.get(known.method, ()), known.vendor)


def integrate_trace(trace: Row, windows: Sequence[Row], vendor: Sequence[Row]) -> list[dict[str, Any]]:
    """Integrate one trace into rows of ``silver.peaks``.

    A channel with fixed windows gives exactly one row a window, whatever the trace looks like. On other channels peaks are
    detected over the whole trace, and the largest in each window carries the analyte's name.

    Args:
        trace: injection_id, injection_name, channel, x, y, x_unit, y_unit, y_factor, source_sha256.
        windows: Of its method, in force.
        vendor: The vendor's peaks of this trace.

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
    windows = [window for window in windows if (window["channel"] or trace["channel"]) == trace["channel"]]
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
