from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from lab_assets.domain.calibration import apply_line
from lab_assets.domain.chromatography import integrate_window
from lab_assets_tests.samples import needs_samples, samples_dir


def test_triangle_over_a_sloped_baseline() -> None:
    """A triangle of base 2 and height 3 has area 3, whatever straight line lies under it."""
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    window = integrate_window(x, np.array([0.0, 0, 3, 0, 0]) + 5 * x + 7, start_min=0.5, end_min=3.5)
    assert window.area == pytest.approx(3.0)
    assert (window.height, window.retention_time_min, window.n_points) == (pytest.approx(3.0), 2.0, 3)
    assert (window.start_min, window.end_min) == (1.0, 3.0)


def test_points_on_the_ends_are_outside() -> None:
    x = np.arange(5.0)
    assert integrate_window(x, x, start_min=0.0, end_min=4.0).n_points == 3


def test_dip_has_negative_area() -> None:
    assert integrate_window([0.0, 1, 2, 3], [0.0, -1, -1, 0], start_min=-1, end_min=4).area == pytest.approx(-2.0)


def test_unusable_windows_and_traces_are_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        integrate_window([0.0, 1], [0.0, 1], start_min=2, end_min=1)
    with pytest.raises(ValueError, match="holds 1 points"):
        integrate_window([0.0, 1, 2], [0.0, 1, 2], start_min=0, end_min=2)
    with pytest.raises(ValueError, match="ascend"):
        integrate_window([0.0, 2, 1], [0.0, 1, 2], start_min=0, end_min=2)
    with pytest.raises(ValueError, match="finite"):
        integrate_window([0.0, 1, 2], [0.0, np.nan, 2], start_min=0, end_min=2)
    with pytest.raises(ValueError, match="equally long"):
        integrate_window([0.0, 1, 2], [0.0, 1], start_min=0, end_min=2)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@needs_samples
@pytest.mark.parametrize("sample", ["A1", "A2", "A3"])
def test_published_areas_and_concentrations(sample: str) -> None:
    """Areas and concentrations published with the sequence (actolonen/Analysis_Lab), every compound and detector."""
    folder = samples_dir()
    assert folder is not None
    folder /= "hplc_sequence"
    lines = {(row["Compound"], row["Detector"]): row for row in _rows(folder / "standards_linear-model.tsv")}
    published = [row for row in _rows(folder / "compound_concentrations.tsv") if row["Sample"] == sample]
    trace = _rows(folder / f"{sample}.txt")
    assert len(published) >= 8
    for row in published:
        line = lines[row["Compound"], row["Detector"]]
        points = [(float(p["Minutes"]), float(p["Intensity"])) for p in trace if p["Detector"] == row["Detector"]]
        x, y = np.array(points).T
        area = integrate_window(x, y, start_min=float(line["Peak_start"]), end_min=float(line["Peak_end"])).area
        assert area == pytest.approx(float(row["Area"]), rel=1e-9)
        amount = apply_line(area, slope=float(line["Slope"]), intercept=float(line["Intercept"]))
        assert amount == pytest.approx(float(row["Concentration"]), rel=1e-9)
