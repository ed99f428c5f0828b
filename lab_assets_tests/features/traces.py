"""Traces with known answers: Gaussian peaks on a straight baseline."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from lab_assets.features.expectation import ExpectedPeak, MethodExpectation

RUN_MIN = 8.0
SD_MIN = 0.05
AREA = {"IMP-A": 0.5, "API": 100.0}
APEX_MIN = {"IMP-A": 1.6, "API": 4.8}
API_HEIGHT = AREA["API"] / (SD_MIN * sqrt(2 * pi))

EXPECTATION = MethodExpectation(
    method_id="ASSAY-01",
    run_time_min=RUN_MIN,
    windows=(
        ExpectedPeak(analyte="IMP-A", channel="", start_min=1.3, end_min=1.9),
        ExpectedPeak(analyte="API", channel="", start_min=4.4, end_min=5.4),
    ),
    main_analyte="API",
    spec_low={"API": 95.0},
    spec_high={"API": 105.0, "IMP-A": 1.0},
    reference_area={"API": 100.0, "IMP-A": 100.0},
    reference_height={"API": API_HEIGHT},
    reference_retention_min={"API": 4.7},
)


def gaussian(x: NDArray[np.float64], *, area: float, apex: float, sd: float = SD_MIN) -> NDArray[np.float64]:
    """Return a peak of a known area (signal*min)."""
    return area / (sd * sqrt(2 * pi)) * np.exp(-0.5 * ((x - apex) / sd) ** 2)


def known_trace(*, n: int = 1201, noise: float = 0.01, seed: int = 3) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return an 8 min run: baseline 4 + 0.5/min, a void disturbance of 8 at 0.7 min, IMP-A and API."""
    x = np.linspace(0, RUN_MIN, n)
    y = 4 + 0.5 * x + 8 * np.exp(-0.5 * ((x - 0.7) / 0.03) ** 2) + np.random.default_rng(seed).normal(0, noise, n)
    return x, y + sum(gaussian(x, area=AREA[name], apex=APEX_MIN[name]) for name in AREA)
