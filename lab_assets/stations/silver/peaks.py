"""``silver.peaks``: every trace integrated, with analytes named by the processing method and the vendor's values beside.

Belongs here: which traces, with which windows, matched with which vendor peaks. Does not belong here: integration itself
(``lab_assets.domain.chromatography``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CHROMATOGRAMS, LIMS_SEQUENCES, PROCESSING_METHODS, VENDOR_PEAKS
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.domain.in_force import RECENCY, Row
from lab_assets.domain.injection_identity import with_identity
from lab_assets.domain.processing_methods import METHOD_COLUMNS, WINDOW_COLUMNS, ProcessingMethods, WindowSet
from lab_assets.stations.relations import injections_of_windows
from lab_assets.stations.station import Group, Input, Station, copied, keys_of, of
from lab_assets.stations.traces import (
    TRACE_COLUMNS,
    TRACE_NEWS,
    TRACE_PLACE,
    TRACE_POINTS,
    Place,
    chosen_traces,
    place_of,
    tasks_for,
    trace_rows,
)

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader


_KEY: Final = ("injection_id", "injection_name")
_RUN: Final = (*_KEY, "method_id", "stated_method_name", "source", "injected_at_utc")
_METHOD: Final = tuple(dict.fromkeys((*METHOD_COLUMNS, *WINDOW_COLUMNS, *RECENCY)))
_VENDOR: Final = ("retention_time", "retention_unit", "peak_name", "area", "area_unit", "plates", "tailing", "resolution")
_TRACE: Final = (*TRACE_PLACE, *TRACE_POINTS)
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


def _of_injections(_read: StationReader, changes: Changes) -> pl.DataFrame:
    return keys_of(changes.both, _KEY)


def _of_plans(read: StationReader, changes: Changes) -> pl.DataFrame:
    return read.keyed(INJECTIONS, _KEY, injection_name=changes.both["injection_name"])


def _of_windows(read: StationReader, changes: Changes) -> pl.DataFrame:
    return injections_of_windows(read, list(_KEY), changes.both)


def _of_traces(_read: StationReader, changes: Changes) -> pl.DataFrame:
    return keys_of(with_identity(changes.both), _KEY)


def _of_vendor_peaks(read: StationReader, changes: Changes) -> pl.DataFrame:
    return read.keyed(INJECTIONS, _KEY, injection_name=changes.both["injection_name"])


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Integrate the traces of some injections, by every set of windows that was in force for them by what was known at some time."""
    import polars as pl

    injections = read.keyed(INJECTIONS, _RUN, injection_name=keys["injection_name"]).join(keys, on="injection_id", how="semi")
    chosen = chosen_traces(read, injections)
    if chosen.is_empty():
        return read.empty(PEAKS, PEAKS.column_names)
    worker = PeakWorker(_known(read, injections, chosen))
    places = chosen.select("injection_name", "source_sha256").unique()
    rows = read.files(
        CHROMATOGRAMS,
        {name: name for name in _TRACE},
        injection_name=places["injection_name"].unique(),
        source_sha256=places["source_sha256"].unique(),
    )
    made = read.lake.compute.map_files(worker, [rows], PEAKS.arrow_schema(), tasks=tasks_for(chosen.height))
    return pl.DataFrame(pl.from_arrow(made))


def _known(read: StationReader, injections: pl.DataFrame, chosen: pl.DataFrame) -> dict[Place, KnownTrace]:
    """Return what is known of each chosen trace beside its points."""
    methods = ProcessingMethods(read.rows(PROCESSING_METHODS, _METHOD).iter_rows(named=True))
    planned: dict[str, set[str | None]] = {}
    plans = read.keyed(LIMS_SEQUENCES, ["injection_name", "method_id"], injection_name=injections["injection_name"])
    for name, method_id in plans.iter_rows():
        planned.setdefault(name, set()).add(method_id)
    windows = {
        row["injection_id"]: _every_windows(methods, row, planned.get(row["injection_name"], ()))
        for row in injections.iter_rows(named=True)
    }
    stated = read.keyed(VENDOR_PEAKS, [*_VENDOR_OF, "peak_no", *_VENDOR], injection_name=chosen["injection_name"])
    vendor: dict[Place, list[Row]] = {}
    for row in stated.sort("peak_no", *_VENDOR).iter_rows(named=True):
        vendor.setdefault(place_of(row, _VENDOR_OF), []).append({name: row[name] for name in _VENDOR})
    return {
        place_of(row, TRACE_PLACE): KnownTrace(
            injection_id=row["injection_id"], windows=windows[row["injection_id"]], vendor=vendor.get(place_of(row, _VENDOR_OF), [])
        )
        for row in chosen.iter_rows(named=True)
    }


def _every_windows(methods: ProcessingMethods, run: Row, planned: Iterable[str | None]) -> list[WindowSet]:
    """Return every set of windows by which a run was ever to be integrated, the one in force now last.

    A worklist may be corrected to another method: what was known before rests on peaks by the earlier one.
    """
    former = sorted({run["stated_method_name"] or None, *planned} - {run["method_id"]}, key=lambda name: name or "")
    found: dict[str, WindowSet] = {}
    for method_id in (*former, run["method_id"]):
        for windows in methods.every_windows(method_id, run["source"], at=run["injected_at_utc"]):
            found.pop(windows.processing_id, None)
            found[windows.processing_id] = windows
    *earlier, current = found.values()
    return [*(windows for windows in earlier if windows.rows), current]


@dataclass(frozen=True, kw_only=True)
class KnownTrace:
    """What is known of a trace beside its row.

    Attributes:
        injection_id: Its injection.
        windows: Every set of windows that was ever in force for it, the one in force now last.
        vendor: The vendor's own peaks, in order.
    """

    injection_id: str
    windows: Sequence[WindowSet]
    vendor: Sequence[Row]


class PeakWorker:
    """Integration of whole traces, wherever they are worked on."""

    def __init__(self, known: Mapping[Place, KnownTrace]) -> None:
        self.known = known

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Integrate the known traces of each batch."""
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
        *earlier, current = known.windows
        found: list[dict[str, Any]] = []
        for windows in (*earlier, current):
            by = {"processing_id": windows.processing_id, "is_current": windows is current}
            rows = integrate_trace({**trace, "injection_id": known.injection_id}, windows.rows, known.vendor)
            found += [{**row, **by} for row in rows]
        return found


def integrate_trace(trace: Row, windows: Sequence[Row], vendor: Sequence[Row]) -> list[dict[str, Any]]:
    """Integrate one trace into rows of ``silver.peaks``.

    A channel with fixed windows gives exactly one row a window, whatever the trace looks like. On other channels peaks are
    detected over the whole trace, and the largest in each window carries the analyte's name.

    Args:
        trace: injection_id, injection_name, channel, x, y, x_unit, y_unit, y_factor, source_sha256.
        windows: Of its method, in force.
        vendor: The vendor's peaks of this trace.

    Returns:
        Rows with every column of the contract but the processing; none when the abscissa's unit is not a time.
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
    stated = row or {}
    return {
        "vendor_peak_name": stated.get("peak_name"),
        **{f"vendor_{name}": stated.get(name) for name in ("area", "area_unit", "plates", "tailing", "resolution")},
    }


_INJECTIONS: Final = Input(table=INJECTIONS, columns=(*_RUN, "processing_id"), touches=_of_injections)
_TRACES: Final = Input(table=CHROMATOGRAMS, columns=TRACE_COLUMNS, news=TRACE_NEWS, touches=_of_traces)
_VENDOR_PEAKS: Final = Input(table=VENDOR_PEAKS, columns=(*_VENDOR_OF, "peak_no", *_VENDOR), touches=_of_vendor_peaks)
_METHODS: Final = Input(table=PROCESSING_METHODS, columns=_METHOD, reads="whole", touches=_of_windows)
_PLANS: Final = Input(table=LIMS_SEQUENCES, columns=("injection_name", "method_id"), touches=_of_plans)
_FROM_POINTS: Final = of(CHROMATOGRAMS, "x", "y", "x_unit", "y_factor") + of(
    PROCESSING_METHODS, "integration", "window_start", "window_end", "window_unit"
)
_PROCESSED_BY: Final = (
    of(PROCESSING_METHODS, *WINDOW_COLUMNS, "effective_from_utc", "recorded_at_utc", "ingested_at_utc")
    + of(LIMS_SEQUENCES, "method_id")
    + of(INJECTIONS, "method_id", "stated_method_name", "source", "injected_at_utc")
)
_MATCHED: Final = of(VENDOR_PEAKS, "retention_time", "retention_unit") + of(CHROMATOGRAMS, "x", "y", "x_unit")

PEAKS_STATION: Final = Station(
    target=PEAKS,
    inputs=(_INJECTIONS, _TRACES, _VENDOR_PEAKS, _METHODS, _PLANS),
    make=_make,
    group=Group(columns=("injection_id",), also=("injection_name",)),
    kinds=("spark", "polars", "deltalake"),
    feeds={
        **copied(PEAKS, _INJECTIONS),
        "channel": of(CHROMATOGRAMS, "channel"),
        "source_sha256": of(CHROMATOGRAMS, "source_sha256"),
        "peak_no": _FROM_POINTS,
        "analyte": _FROM_POINTS + of(PROCESSING_METHODS, "analyte", "channel"),
        "integration": of(PROCESSING_METHODS, "integration"),
        **dict.fromkeys(_MEASURES, _FROM_POINTS),
        "processing_id": _PROCESSED_BY,
        "is_current": _PROCESSED_BY,
        "area_unit": of(CHROMATOGRAMS, "y_unit"),
        "height_unit": of(CHROMATOGRAMS, "y_unit"),
        "vendor_peak_name": of(VENDOR_PEAKS, "peak_name") + _MATCHED,
        **{f"vendor_{name}": of(VENDOR_PEAKS, name) + _MATCHED for name in ("area", "area_unit", "plates", "tailing", "resolution")},
    },
)
