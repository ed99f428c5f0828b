"""Hand-made injections with traces of one Gaussian peak.

Belongs here: rows of traces, injections, worklists and windows that fit each other. Does not belong here: what is asserted of them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from lab_assets.domain.injection_identity import injection_id

EIGHT = datetime(2026, 3, 1, 8, tzinfo=UTC)
X_S = np.arange(0.0, 600.0, 0.5)
SIGMA_S = 6.0


def gaussian(area: float, at_s: float) -> list[float]:
    """Points of one peak of an area in unit x s."""
    return (area / (SIGMA_S * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((X_S - at_s) / SIGMA_S) ** 2)).tolist()


def trace(name: str, channel: str, area: float, **other: Any) -> dict[str, Any]:
    return {
        "injection_name": name,
        "source": "hplc",
        "instrument_name": "LC-1",
        "injected_at_text": "08:00",
        "channel": channel,
        "x": X_S.tolist(),
        "y": gaussian(area, 300.0),
        "x_unit": "s",
        "y_unit": "mAU",
        "y_factor": 1.0,
        "n_points": len(X_S),
        "x_last": float(X_S[-1]),
        "zone_known": True,
        "source_sha256": f"{name} one",
        "source_row": 1,
        **other,
    }


def injection(name: str, number: int, **other: Any) -> dict[str, Any]:
    at = EIGHT + timedelta(minutes=15 * number)
    return {
        "injection_id": injection_id("hplc", "LC-1", name, "08:00"),
        "injection_name": name,
        "source": "hplc",
        "method_id": "M-1",
        "sequence_id": "Q-1",
        "sample_role": "sample",
        "injected_at_utc": at,
        "run_time_min": 10.0,
        "channels": ["UV"],
        "zone_known": True,
        "processing_id": "p",
        "source_sha256": f"{name} one",
        "weight_mg": 50.0,
        "nominal_weight_mg": 50.0,
        "known_time_utc": at + timedelta(minutes=10),
        **other,
    }


WINDOW = {
    "method_name": "M-1",
    "analyte": "API",
    "channel": None,
    "integration": "detected",
    "calibration": "external_standard",
    "window_start": 4.5,
    "window_end": 5.5,
    "window_unit": "min",
    "result_unit": "%",
}


def planned(row: dict[str, Any]) -> dict[str, Any]:
    """The worklist entry of an injection."""
    taken = ("injection_name", "sequence_id", "sample_role", "method_id", "weight_mg", "nominal_weight_mg")
    return {**{name: row[name] for name in taken}, "sample_name": row["injection_name"], "position": 1, "recorded_at_utc": EIGHT}
