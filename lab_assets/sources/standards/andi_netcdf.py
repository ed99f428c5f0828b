# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# (scipy.io has no types)
"""ANDI/AIA chromatography, ASTM E1947: netCDF-3 with one detector trace and a peak table.

Belongs here: this format with the habits of its writers (units spelled freely, attributes missing, names of zero bytes, times in
minutes beside an interval in seconds, ordinates packed into integers). Does not belong here: conversion of units; the trace is as
sampled, in the unit of the retention times. A ``scale_factor`` of the ordinates is an intensity multiplier and stays beside the
numbers; an ``add_offset`` cannot stay beside them, so that then both are applied, with a warning.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, UnreadableFileError
from lab_assets.sources.core.decoding import stem
from lab_assets.sources.core.quantities import time_unit
from lab_assets.sources.core.trace_rows import FloatArray, InjectionHeader, Trace, check_rising, injection_time, trace_rows
from lab_assets.sources.standards.netcdf_layout import check_layout

_MAGICS: Final = (b"CDF\x01", b"CDF\x02")
_UNSUPPORTED_MAGICS: Final = {b"CDF\x05": "netCDF-3 with 64-bit data (CDF-5)", b"\x89HDF\r\n\x1a\n": "netCDF-4 (HDF5)"}
_MARKS: Final = (b"ordinate_values", b"aia_template_revision")
_PLACEHOLDERS: Final = frozenset({"", "none", "n/a", "unknown"})
_DEFAULT_UNIT: Final = "seconds"
"""Unit of times when ``retention_unit`` is missing (ASTM E1947)."""
_PEAK_NUMBERS: Final = {
    "peak_retention_time": "retention_time",
    "peak_start_time": "start_time",
    "peak_end_time": "end_time",
    "peak_area": "area",
    "peak_height": "height",
    "peak_amount": "amount",
    "peak_efficiency": "plates",
    "peak_asymmetry": "tailing",
    "peak_resolution": "resolution",
}
_SAME_LENGTH: Final = 0.1
"""Share by which run time and length of a trace may differ and still be one time."""
_RESCUED: Final = (
    "sample_id",
    "sample_type",
    "sample_injection_volume",
    "sample_amount",
    "experiment_title",
    "separation_experiment_type",
    "detector_method_comments",
    "dataset_completeness",
    "aia_template_revision",
)


class AndiNetcdfReader:
    """Reader of ANDI chromatography files."""

    format: str = "andi_netcdf"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status", "vendor_peaks")

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: netCDF's magic bytes, and the variable every ANDI file has."""
        del name
        marked = any(mark in head for mark in _MARKS)
        if head.startswith(tuple(_UNSUPPORTED_MAGICS)):
            return 90 if marked else 0
        if not head.startswith(_MAGICS):
            return 0
        return 100 if marked else 40

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one file: one injection, one detector.

        Raises:
            UnreadableFileError: ``truncated`` for a damaged file, ``missing_variable``, ``empty``, ``not_finite``, ``unsupported``
                for containers and data that are not ANDI chromatography.
        """
        attributes, variables, packing = _open(data)
        warnings: list[str] = []
        header = _header(attributes, context, warnings)
        trace = _trace(attributes, variables, packing, warnings)
        tables = trace_rows([trace], header)
        rejected: list[RejectedRow] = []
        if not trace.is_status:
            unit = _first(attributes, "retention_unit", "retention_units") or _DEFAULT_UNIT
            peaks, rejected = _peaks(variables, header.injection_name, trace, unit, attributes.get("peak_amount_unit"))
            if peaks:
                tables["vendor_peaks"] = peaks
        return ReadResult(format=self.format, tables=tables, rejected=rejected, warnings=warnings)


def _open(data: bytes) -> tuple[dict[str, str], dict[str, Any], Mapping[str, Any]]:
    """Return global attributes as text, variables as arrays, and the attributes of the ordinates."""
    from scipy.io import netcdf_file

    for magic, container in _UNSUPPORTED_MAGICS.items():
        if data.startswith(magic):
            raise UnreadableFileError("unsupported", f"the container is {container}; convert it with 'nccopy -k classic' or export again")
    check_layout(data)
    try:
        with netcdf_file(io.BytesIO(data), "r", mmap=False) as dataset:
            attributes = {name: _text(value) for name, value in vars(dataset)["_attributes"].items()}
            ordinates = dataset.variables.get("ordinate_values")
            packing = {} if ordinates is None else dict(vars(ordinates)["_attributes"])
            return attributes, {name: np.array(variable.data) for name, variable in dataset.variables.items()}, packing
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, MemoryError, EOFError) as error:
        reason = f"the netCDF file is cut or damaged ({type(error).__name__}); transfer it again"
        raise UnreadableFileError("truncated", reason) from error


def _text(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value)
    raw = value.split(b"\x00", 1)[0]
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace").strip()


def _first(attributes: Mapping[str, str], *names: str) -> str | None:
    """Return the first of these attributes that says something."""
    return next((attributes[name] for name in names if attributes.get(name, "").casefold() not in _PLACEHOLDERS), None)


def _header(attributes: Mapping[str, str], context: ReadContext, warnings: list[str]) -> InjectionHeader:
    at_text = _first(attributes, "injection_date_time_stamp")
    at_utc, zone_known = injection_time(at_text, context, warnings)
    return InjectionHeader(
        injection_name=stem(_first(attributes, "source_file_reference") or context.file_name),
        sample_name=_first(attributes, "sample_name"),
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=zone_known,
        instrument_name=_first(attributes, "instrument_name", "instrument_id"),
        software=_first(attributes, "dataset_origin"),
        method_name=stem(_first(attributes, "detection_method_name", "company_method_name", "detection_method_table_name") or "") or None,
        operator=_first(attributes, "operator_name"),
        rescued={name: attributes[name] for name in _RESCUED if attributes.get(name, "").casefold() not in _PLACEHOLDERS},
    )


def _number(variables: Mapping[str, Any], name: str) -> float | None:
    array = variables.get(name)
    if array is None or np.size(array) != 1 or np.asarray(array).dtype.kind not in "fiu":
        return None
    value = float(np.asarray(array).reshape(-1)[0])
    return value if np.isfinite(value) else None


def _trace(attributes: Mapping[str, str], variables: Mapping[str, Any], packing: Mapping[str, Any], warnings: list[str]) -> Trace:
    ordinates = variables.get("ordinate_values")
    if ordinates is None and {"mass_values", "scan_acquisition_time"} & variables.keys():
        raise UnreadableFileError("unsupported", "a file of mass spectra (ANDI/MS); export the chromatogram of a detector")
    if ordinates is None or ordinates.ndim != 1 or ordinates.dtype.kind not in "fiu":
        raise UnreadableFileError("missing_variable", "there is no ordinate_values, so no trace; export the raw data too")
    if ordinates.size == 0:
        raise UnreadableFileError("empty", "the trace has no points")
    y = ordinates.astype(np.float64)
    y, y_factor = _unpacked(y, packing, warnings)
    if not np.isfinite(y).all():
        raise UnreadableFileError("not_finite", "the trace has a value that is not finite", f"point {int(np.argmin(np.isfinite(y))) + 1}")
    x = _abscissa(variables, y.size)
    check_rising(x)
    return Trace(
        name=_first(attributes, "detector_name") or "detector",
        x=x,
        y=y,
        x_unit=_x_unit(attributes, variables, x, warnings),
        y_unit=_first(attributes, "detector_unit", "detector_units") or "",
        y_factor=y_factor,
    )


def _unpacked(y: FloatArray, packing: Mapping[str, Any], warnings: list[str]) -> tuple[FloatArray, float]:
    """Return the ordinates and their multiplier, as the netCDF conventions for packed data state them."""
    factor, offset = (_attribute_number(packing, name, default) for name, default in (("scale_factor", 1.0), ("add_offset", 0.0)))
    if offset == 0:
        return y, factor
    warnings.append(f"the ordinates are packed; scale_factor {factor:g} and add_offset {offset:g} are applied")
    with np.errstate(over="ignore", invalid="ignore"):
        return y * factor + offset, 1.0


def _attribute_number(packing: Mapping[str, Any], name: str, default: float) -> float:
    value = packing.get(name)
    if value is None:
        return default
    try:
        number = float(_text(value)) if isinstance(value, bytes) else float(np.asarray(value).reshape(-1)[0])
    except (ValueError, TypeError, IndexError) as error:
        raise UnreadableFileError("not_a_number", f"{name} of the ordinates is not a number") from error
    if not np.isfinite(number) or (name == "scale_factor" and number == 0):
        raise UnreadableFileError("not_finite", f"{name} of the ordinates is {number:g}")
    return number


def _abscissa(variables: Mapping[str, Any], n_points: int) -> FloatArray:
    """Return stated times of a trace that is not uniform, else delay + i x interval."""
    stated = variables.get("raw_data_retention")
    if stated is not None and stated.shape == (n_points,) and stated.dtype.kind in "fiu" and n_points > 1:
        times = stated.astype(np.float64)
        if np.isfinite(times).all() and np.all(np.diff(times) > 0):
            return times
    interval = _number(variables, "actual_sampling_interval")
    if interval is None or interval <= 0:
        raise UnreadableFileError("missing_variable", "actual_sampling_interval is missing or not positive; times are unknown")
    return (_number(variables, "actual_delay_time") or 0.0) + np.arange(n_points, dtype=np.float64) * interval


def _x_unit(attributes: Mapping[str, str], variables: Mapping[str, Any], x: FloatArray, warnings: list[str]) -> str:
    """Return the unit of the trace's times, as stated for the retention times.

    Some writers state minutes for retention times while the sampling interval stays in seconds, which the standard asks for. Then
    the stated run time is a sixtieth of the trace's length, or the peaks end long before the trace does.
    """
    unit = _first(attributes, "retention_unit", "retention_units")
    if unit is None:
        warnings.append(f"no unit of time is stated; {_DEFAULT_UNIT}, the default of ASTM E1947, are taken")
        return _DEFAULT_UNIT
    if time_unit(unit) != "min":
        return unit
    run_time = _number(variables, "actual_run_time_length") or 0.0
    times = np.asarray(variables.get("peak_retention_time", ()))
    times = times.astype(np.float64) if times.dtype.kind in "fiu" else np.empty(0)
    longest = float(np.max(times[np.isfinite(times)], initial=0.0))
    if abs(x[-1] - 60 * run_time) < _SAME_LENGTH * x[-1]:
        stated = f"the stated run time, {run_time:g}"
    elif abs(x[-1] - run_time) >= _SAME_LENGTH * x[-1] and 0 < longest * 20 < x[-1]:
        stated = "retention times"
    else:
        return unit
    warnings.append(f"{stated} in {unit}, but the trace, {x[-1]:g} long, is sampled in seconds")
    return _DEFAULT_UNIT


def _peaks(
    variables: Mapping[str, Any], injection_name: str, trace: Trace, unit: str, amount_unit: str | None
) -> tuple[list[Row], list[RejectedRow]]:
    """Return the peak table; a peak with a value that is not finite is rejected."""
    columns = [array for name, array in variables.items() if name in _PEAK_NUMBERS and array.ndim == 1]
    count = max((int(array.size) for array in columns), default=0)
    names = _peak_names(variables.get("peak_name"))
    numbers = {name: array for name, array in variables.items() if array.shape == (count,) and array.dtype.kind in "fiu"}
    rows: list[Row] = []
    rejected: list[RejectedRow] = []
    for index in range(count):
        row: Row = dict.fromkeys(_PEAK_NUMBERS.values())
        row |= {_PEAK_NUMBERS[name]: float(array[index]) for name, array in numbers.items() if name in _PEAK_NUMBERS}
        others = {name: array for name, array in numbers.items() if name not in _PEAK_NUMBERS and name != "ordinate_values"}
        row |= {
            "injection_name": injection_name,
            "channel": trace.name,
            "peak_no": index + 1,
            "peak_name": (names[index] if index < len(names) else "") or None,
            "retention_unit": unit,
            "area_unit": None,
            "height_unit": None,
            "amount_unit": amount_unit or None,
            "rescued": {name: str(array[index]) for name, array in others.items()},
            "source_row": index + 1,
        }
        wrong = [column for column in _PEAK_NUMBERS.values() if row[column] is not None and not np.isfinite(row[column])]
        if wrong:
            reason = f"{wrong[0]} of peak {index + 1} is not finite"
            rejected.append(
                RejectedRow(table="vendor_peaks", source_row=index + 1, rule="not_finite", reason=reason, column=wrong[0], row=row)
            )
        else:
            rows.append(row)
    return rows, rejected


def _peak_names(cells: Any) -> list[str]:
    """Return the names of the peaks: a row of characters each, or one row for an only peak."""
    characters = np.asarray(cells) if cells is not None else np.empty((0, 0), "S1")
    if characters.dtype.kind != "S" or characters.ndim not in {1, 2}:
        return []
    return [_text(row.tobytes()) for row in np.atleast_2d(characters)]


READERS: Final = (AndiNetcdfReader(),)
