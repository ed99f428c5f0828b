"""Waters Empower raw data export (``.arw``) of a simulated injection: one file a channel.

Belongs here: this layout (a line of quoted names, a line of values, then time and value by tab). Does not belong here: physics.
"""

from __future__ import annotations

from lab_assets.simulation.bench_work import Injection
from lab_assets.simulation.physics import FloatArray

PSI_PER_BAR = 14.503773773
"""1 bar = 1e5 Pa, 1 psi = 6894.757293168 Pa."""


def _file(injection: Injection, *, channel: str, description: str, unit: str, lines: list[str]) -> bytes:
    planned = injection.planned
    fields = {
        "SampleName": f'"{planned.sample_name}"',
        "Vial": f'"1:A,{planned.position}"',
        "Injection": "1",
        "Injection Name": f'"{planned.injection_name}"',
        "Sample Set Name": f'"{planned.sequence_id}"',
        "Channel": f'"{channel}"',
        "Channel Description": f'"{description}"',
        "Date Acquired": f'"{planned.injected_at:%Y-%m-%d %H:%M:%S}"',
        "Acq Method Set": f'"{planned.method_id}"',
        "System Name": f'"{injection.instrument.instrument_id}"',
        "Acquired By": f'"{planned.analyst}"',
        "Units": f'"{unit}"',
    }
    head = ["\t".join(f'"{name}"' for name in fields), "\t".join(fields.values())]
    return ("\r\n".join([*head, *lines]) + "\r\n").encode()


def _points(time_min: FloatArray, values: FloatArray, decimals: int) -> list[str]:
    return [f"{time:.6f}\t{value:.{decimals}f}" for time, value in zip(time_min.tolist(), values.tolist(), strict=True)]


def write_arw(injection: Injection) -> bytes:
    """Return the detector channel of one injection, AU."""
    trace = injection.trace
    lines = _points(trace.time_min, trace.signal_mau / 1000, 8)
    return _file(injection, channel="2489 ChA", description="2489 ChA 254nm", unit="AU", lines=lines)


def write_arw_pressure(injection: Injection) -> bytes:
    """Return the system pressure of one injection, psi, every 2 s."""
    trace = injection.trace
    lines = _points(trace.pressure_time_min, trace.pressure_bar * PSI_PER_BAR, 1)
    return _file(injection, channel="System Pressure", description="QSM System Pressure", unit="psi", lines=lines)
