"""ANDI/AIA chromatography files (ASTM E1947, netCDF-3) of a simulated injection.

Belongs here: this layout (times in seconds, stamps with offset, single precision). Does not belong here: physics.
The pressure goes to a file of its own, as data systems export every signal separately.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from lab_assets.simulation.bench_work import Injection

_STRING_SIZES = (2, 4, 8, 16, 32, 64, 128, 255)
AREA_BIAS = 1.0004
"""This data system's baseline lies a little lower than the simulator's."""


def _open(buffer: io.BytesIO, injection: Injection, *, detector: str, unit: str) -> Any:
    """Return an open netCDF file with dimensions for strings and the global attributes."""
    from scipy.io import netcdf_file

    planned = injection.planned
    stamp = f"{planned.injected_at:%Y%m%d%H%M%S}+0000"
    file = netcdf_file(buffer, "w", version=1)
    for size in _STRING_SIZES:
        file.createDimension(f"_{size}_byte_string", size)
    attributes = {
        "dataset_completeness": "C1+C2",
        "aia_template_revision": "1.0",
        "netcdf_revision": "2.3.2",
        "languages": "English only",
        "administrative_comments": "none",
        "dataset_origin": "Agilent OpenLab CDS 2.7",
        "dataset_owner": planned.analyst,
        "dataset_date_time_stamp": stamp,
        "injection_date_time_stamp": stamp,
        "experiment_title": planned.sequence_id,
        "operator_name": planned.analyst,
        "separation_experiment_type": "liquid chromatography",
        "company_method_name": f"{planned.method_id}.amx",
        "company_method_id": planned.method_id,
        "source_file_reference": f"{planned.injection_name}.dx",
        "sample_id": planned.sample_name,
        "sample_name": planned.sample_name,
        "sample_type": {"blank": "blank", "standard": "standard", "sample": "sample"}[planned.role],
        "sample_injection_volume": "10.0",
        "sample_amount": f"{planned.weight_mg or 1:g}",
        "detection_method_name": planned.method_id,
        "detector_name": detector,
        "detector_unit": unit,
        "instrument_name": injection.instrument.instrument_id,
        "retention_unit": "seconds",
    }
    for name, text in attributes.items():
        setattr(file, name, text)
    return file


def _scalars(file: Any, values: dict[str, float]) -> None:
    for name, value in values.items():
        file.createVariable(name, "f", ())[...] = np.float32(value)


def _add_trace(file: Any, y: np.ndarray, interval_s: float) -> None:
    file.createDimension("point_number", y.size)
    scalars = {
        "detector_maximum_value": float(y.max()),
        "detector_minimum_value": float(y.min()),
        "actual_run_time_length": interval_s * (y.size - 1),
        "actual_sampling_interval": interval_s,
        "actual_delay_time": 0.0,
    }
    _scalars(file, scalars)
    ordinates = file.createVariable("ordinate_values", "f", ("point_number",))
    ordinates[:] = y.astype(np.float32)
    ordinates.uniform_sampling_flag = "Y"


def _add_peaks(file: Any, injection: Injection) -> None:
    """The data system's own peak table: seconds, area in mAU x s."""
    peaks = sorted(injection.peaks.values(), key=lambda peak: peak.retention_min)
    if not peaks:
        return
    file.createDimension("peak_number", len(peaks))
    columns = {
        "peak_retention_time": [peak.retention_min * 60 for peak in peaks],
        "peak_start_time": [peak.start_min * 60 for peak in peaks],
        "peak_end_time": [peak.end_min * 60 for peak in peaks],
        "peak_area": [peak.area_mau_min * 60 * AREA_BIAS for peak in peaks],
        "peak_height": [peak.height_mau for peak in peaks],
        "peak_efficiency": [peak.plates * 0.98 for peak in peaks],
        "peak_asymmetry": [peak.tailing for peak in peaks],
    }
    for name, values in columns.items():
        file.createVariable(name, "f", ("peak_number",))[:] = np.array(values, dtype=np.float32)
    names = file.createVariable("peak_name", "c", ("peak_number", "_32_byte_string"))
    names[:] = np.array([list(peak.name.ljust(32, "\0")) for peak in peaks], dtype="S1")


def _finish(file: Any, buffer: io.BytesIO) -> bytes:
    file.flush()
    data = buffer.getvalue()
    file.close()
    return data


def write_andi(injection: Injection) -> bytes:
    """Return the detector file of one injection with its peak table."""
    buffer = io.BytesIO()
    file = _open(buffer, injection, detector="DAD1A", unit="mAU")
    file.detector_method_comments = "Sig=254,4 Ref=360,100"
    _add_trace(file, injection.trace.signal_mau, injection.state.interval_s)
    _add_peaks(file, injection)
    return _finish(file, buffer)


def write_andi_pressure(injection: Injection) -> bytes:
    """Return the pump pressure file of one injection, bar, every 2 s."""
    buffer = io.BytesIO()
    file = _open(buffer, injection, detector="Pressure", unit="bar")
    _add_trace(file, injection.trace.pressure_bar, 2.0)
    return _finish(file, buffer)
