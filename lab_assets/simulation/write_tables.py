"""Tabular files of the simulated laboratory: LIMS exports, chamber logs, calibration certificates, processing methods.

Belongs here: column names (the contracts' for LIMS, calibration and processing), number and date habits of each file. Does
not belong here: what happened (``lims_records.py``).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from lab_assets.simulation.chambers import ChamberHistory

Record = dict[str, Any]
LOCAL_ZONE: Final = "Europe/Berlin"


def iso(at: datetime) -> str:
    """Return a UTC moment as ``2025-03-01T08:30:00Z``."""
    return f"{at:%Y-%m-%dT%H:%M:%S}Z"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return iso(value) if isinstance(value, datetime) else f"{value:.10g}" if isinstance(value, float) else str(value)


def write_csv(records: Sequence[Record], columns: Sequence[str], *, renamed: Mapping[str, str] | None = None) -> bytes:
    """Return records as comma-separated text with a header line.

    Args:
        records: Rows; a missing key is an empty field.
        columns: Column names, in order.
        renamed: Other names for some columns, as after a change of the exporting system.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([(renamed or {}).get(name, name) for name in columns])
    writer.writerows([_cell(record.get(name)) for name in columns] for record in records)
    return buffer.getvalue().encode()


def _iso_log(history: ChamberHistory, times: Sequence[datetime], values: np.ndarray) -> bytes:
    head = [f"# chamber: {history.chamber.chamber_id}", "Timestamp (UTC),Temp (°C),RH [%],Set Temp (°C),Set RH [%]"]
    setting = f"{history.chamber.temperature_c:.1f},{history.chamber.humidity_pct:.1f}"
    rows = [f"{at:%Y-%m-%d %H:%M:%S},{temp:.2f},{rh:.1f},{setting}" for at, (temp, rh) in zip(times, values.tolist(), strict=True)]
    return ("\n".join([*head, *rows]) + "\n").encode()


def _local_log(history: ChamberHistory, times: Sequence[datetime], values: np.ndarray) -> bytes:
    zone = ZoneInfo(LOCAL_ZONE)
    head = f"Chamber,Time ({LOCAL_ZONE}),Temperature (°C),Humidity (%)"
    name = history.chamber.chamber_id
    rows = [
        f"{name},{at.astimezone(zone):%Y-%m-%d %H:%M:%S},{temp:.2f},{rh:.1f}" for at, (temp, rh) in zip(times, values.tolist(), strict=True)
    ]
    return ("\n".join([head, *rows]) + "\n").encode()


def _german_log(history: ChamberHistory, times: Sequence[datetime], values: np.ndarray) -> bytes:
    head = [
        f"# chamber: {history.chamber.chamber_id}",
        "# decimal: ,",
        "# dates: dmy",
        "# zone: UTC",
        "Zeit;Temperatur (°C);Feuchte (%)",
    ]
    rows = [
        f"{at:%d.%m.%Y %H:%M:%S};" + f"{temp:.2f};{rh:.1f}".replace(".", ",") for at, (temp, rh) in zip(times, values.tolist(), strict=True)
    ]
    return ("\r\n".join([*head, *rows]) + "\r\n").encode()


_LOGS: Final[dict[str, Callable[[ChamberHistory, Sequence[datetime], np.ndarray], bytes]]] = {
    "CH-25": _iso_log,
    "CH-30": _local_log,
    "CH-40": _german_log,
}


def write_chamber_log(history: ChamberHistory, *, since: datetime, until: datetime) -> bytes:
    """Return a chamber's hourly readings of one stretch of time, in the habit of its logger.

    Args:
        history: The chamber.
        since: First moment, UTC.
        until: No reading at or after this.
    """
    first = max(int(np.ceil((since - history.start) / timedelta(hours=1))), 0)
    last = min(int(np.ceil((until - history.start) / timedelta(hours=1))), history.temperature_c.size)
    times = [history.start + timedelta(hours=hour) for hour in range(first, last)]
    values = np.column_stack([history.temperature_c[first:last], history.humidity_pct[first:last]])
    return _LOGS[history.chamber.chamber_id](history, times, values)
