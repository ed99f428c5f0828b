"""Chromeleon 7 text export of a simulated injection, from a German machine: one file a channel.

Belongs here: this layout (BOM, decimal comma, dd.mm.yyyy, tab separated, CR LF). Does not belong here: physics.
"""

from __future__ import annotations

from lab_assets.simulation.bench_work import Injection
from lab_assets.simulation.physics import FloatArray


def _comma(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace(".", ",")


def _file(injection: Injection, *, channel: str, unit: str, time_min: FloatArray, values: FloatArray, decimals: int) -> bytes:
    planned = injection.planned
    step_s = float(time_min[1] - time_min[0]) * 60
    step = _comma(step_s, 1)
    path = f"chrom://qc-lab/ChromeleonLocal/Instrument Data/{injection.instrument.instrument_id}/{planned.sequence_id}.seq"
    lines = [
        f"File Path\t{path}/{planned.position}.smp/{channel}.channel/{channel}.chm",
        f"Channel\t{channel}",
        "",
        "Injection Information:",
        "Data Vault\tChromeleonLocal",
        f"Injection\t{planned.injection_name}",
        f"Sample Name\t{planned.sample_name}",
        f"Injection Number\t{planned.position}",
        f"Position\t{planned.position}",
        "Comment\t",
        f"Processing Method\t{planned.method_id}",
        f"Instrument Method\t{planned.method_id}",
        f"Type\t{ {'blank': 'Blank', 'standard': 'Calibration Standard', 'sample': 'Unknown'}[planned.role] }",
        "Status\tFinished",
        f"Injection Date\t{planned.injected_at:%d.%m.%Y}",
        f"Injection Time\t{planned.injected_at:%H:%M:%S}",
        "Injection Volume (µl)\t10,0",
        "Dilution Factor\t1,0000",
        f"Weight\t{_comma(planned.weight_mg or 1.0, 4)}",
        "",
        "Chromatogram Data Information:",
        f"Time Min. (min)\t{_comma(float(time_min[0]), 6)}",
        f"Time Max. (min)\t{_comma(float(time_min[-1]), 6)}",
        f"Data Points\t{time_min.size}",
        f"Detector\t{'UV' if unit == 'mAU' else 'Pump'}",
        "Generating Data System\tChromeleon 7.2.10.24543",
        "Exporting Data System\tChromeleon 7.2.10.0",
        f"Operator\t{planned.analyst}",
        "Signal Quantity\t" + ("Absorbance" if unit == "mAU" else "Pressure"),
        f"Signal Unit\t{unit}",
        f"Signal Min.\t{_comma(float(values.min()), 6)}",
        f"Signal Max.\t{_comma(float(values.max()), 6)}",
        f"Channel\t{channel}",
        "Driver Name\tVanquish",
        "Channel Type\tEvaluation",
        f"Min. Step (s)\t{step}",
        f"Max. Step (s)\t{step}",
        f"Average Step (s)\t{step}",
        "",
        "Signal Parameter Information:",
        "Signal Info\t",
        "",
        "Chromatogram Data:",
        f"Time (min)\tStep (s)\tValue ({unit})",
    ]
    points = [
        f"{time:.6f}\t{step}\t{value:.{decimals}f}".replace(".", ",")
        for time, value in zip(time_min.tolist(), values.tolist(), strict=True)
    ]
    points[0] = points[0].replace(f"\t{step}\t", "\tn.a.\t")
    return b"\xef\xbb\xbf" + ("\r\n".join([*lines, *points]) + "\r\n").encode()


def write_chromeleon(injection: Injection) -> bytes:
    """Return the detector channel of one injection, mAU."""
    trace = injection.trace
    return _file(injection, channel="UV_VIS_1", unit="mAU", time_min=trace.time_min, values=trace.signal_mau, decimals=6)


def write_chromeleon_pressure(injection: Injection) -> bytes:
    """Return the pump pressure of one injection, bar, every 2 s."""
    trace = injection.trace
    return _file(injection, channel="Pump_Pressure", unit="bar", time_min=trace.pressure_time_min, values=trace.pressure_bar, decimals=3)
