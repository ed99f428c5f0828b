"""Chromeleon 7 text export of a simulated injection, from a German machine: one file a channel.

Belongs here: this layout (BOM, decimal comma, dd.mm.yyyy, tab separated, CR LF). Does not belong here: physics.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab_assets.simulation.bench_work import Injection
from lab_assets.simulation.physics import FloatArray


@dataclass(frozen=True, kw_only=True)
class _Signal:
    """One channel: its name, unit, points and the decimals it is written with."""

    channel: str
    unit: str
    time_min: FloatArray
    values: FloatArray
    decimals: int

    @property
    def step(self) -> str:
        """Sampling interval in s, as written."""
        return _comma(float(self.time_min[1] - self.time_min[0]) * 60, 1)


def _comma(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace(".", ",")


def _injection_fields(injection: Injection) -> dict[str, object]:
    planned = injection.planned
    return {
        "Data Vault": "ChromeleonLocal",
        "Injection": planned.injection_name,
        "Sample Name": planned.sample_name,
        "Injection Number": planned.position,
        "Position": planned.position,
        "Comment": "",
        "Processing Method": planned.method_id,
        "Instrument Method": planned.method_id,
        "Type": {"blank": "Blank", "standard": "Calibration Standard", "sample": "Unknown"}[planned.role],
        "Status": "Finished",
        "Injection Date": f"{planned.injected_at:%d.%m.%Y}",
        "Injection Time": f"{planned.injected_at:%H:%M:%S}",
        "Injection Volume (µl)": "10,0",
        "Dilution Factor": "1,0000",
        "Weight": _comma(planned.weight_mg or 1.0, 4),
    }


def _data_fields(injection: Injection, signal: _Signal) -> dict[str, object]:
    is_detector = signal.unit == "mAU"
    return {
        "Time Min. (min)": _comma(float(signal.time_min[0]), 6),
        "Time Max. (min)": _comma(float(signal.time_min[-1]), 6),
        "Data Points": signal.time_min.size,
        "Detector": "UV" if is_detector else "Pump",
        "Generating Data System": "Chromeleon 7.2.10.24543",
        "Exporting Data System": "Chromeleon 7.2.10.0",
        "Operator": injection.planned.analyst,
        "Signal Quantity": "Absorbance" if is_detector else "Pressure",
        "Signal Unit": signal.unit,
        "Signal Min.": _comma(float(signal.values.min()), 6),
        "Signal Max.": _comma(float(signal.values.max()), 6),
        "Channel": signal.channel,
        "Driver Name": "Vanquish",
        "Channel Type": "Evaluation",
        "Min. Step (s)": signal.step,
        "Max. Step (s)": signal.step,
        "Average Step (s)": signal.step,
    }


def _points(signal: _Signal) -> list[str]:
    """Return the table of points; the first has no step, as Chromeleon writes it."""
    step = signal.step
    rows = [
        f"{time:.6f}\t{step}\t{value:.{signal.decimals}f}".replace(".", ",")
        for time, value in zip(signal.time_min.tolist(), signal.values.tolist(), strict=True)
    ]
    rows[0] = rows[0].replace(f"\t{step}\t", "\tn.a.\t")
    return rows


def _file(injection: Injection, signal: _Signal) -> bytes:
    planned = injection.planned
    path = f"chrom://qc-lab/ChromeleonLocal/Instrument Data/{injection.instrument.instrument_id}/{planned.sequence_id}.seq"
    lines = [
        f"File Path\t{path}/{planned.position}.smp/{signal.channel}.channel/{signal.channel}.chm",
        f"Channel\t{signal.channel}",
        "",
        "Injection Information:",
        *(f"{name}\t{value}" for name, value in _injection_fields(injection).items()),
        "",
        "Chromatogram Data Information:",
        *(f"{name}\t{value}" for name, value in _data_fields(injection, signal).items()),
        "",
        "Signal Parameter Information:",
        "Signal Info\t",
        "",
        "Chromatogram Data:",
        f"Time (min)\tStep (s)\tValue ({signal.unit})",
        *_points(signal),
    ]
    return b"\xef\xbb\xbf" + ("\r\n".join(lines) + "\r\n").encode()


def write_chromeleon(injection: Injection) -> bytes:
    """Return the detector channel of one injection, mAU."""
    trace = injection.trace
    signal = _Signal(channel="UV_VIS_1", unit="mAU", time_min=trace.time_min, values=trace.signal_mau, decimals=6)
    return _file(injection, signal)


def write_chromeleon_pressure(injection: Injection) -> bytes:
    """Return the pump pressure of one injection, bar, every 2 s."""
    trace = injection.trace
    signal = _Signal(channel="Pump_Pressure", unit="bar", time_min=trace.pressure_time_min, values=trace.pressure_bar, decimals=3)
    return _file(injection, signal)
