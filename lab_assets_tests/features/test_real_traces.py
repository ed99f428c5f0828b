"""Partial traces of real runs: published areas of an organic-acid sequence (see the sample folder's licence and tables)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab_assets.features.expectation import ExpectedPeak, MethodExpectation
from lab_assets.features.progress import checkpoint_features, progress_features
from lab_assets.sources.all_readers import read_file
from lab_assets.sources.base import ReadContext
from lab_assets_tests.samples import needs_samples, samples_dir

CHANNEL = "SPD-20A 210nm"


def sequence() -> Path:
    folder = samples_dir()
    assert folder is not None
    return folder / "hplc_sequence"


def trace(name: str) -> tuple[Any, Any]:
    path = sequence() / f"{name}.txt"
    rows = read_file(path.read_bytes(), ReadContext(file_name=path.name)).tables["chromatograms"]
    row = next(row for row in rows if row["channel"] == CHANNEL)
    return np.asarray(row["x"]), np.asarray(row["y"]) * (row["y_factor"] or 1.0)


def published(name: str) -> tuple[ExpectedPeak, float]:
    """Return window and area of acetate as the authors publish them."""
    with (sequence() / "standards_linear-model.tsv").open() as lines:
        line = next(r for r in csv.DictReader(lines, delimiter="\t") if (r["Compound"], r["Detector"]) == ("Acetate", CHANNEL))
    with (sequence() / "compound_concentrations.tsv").open() as lines:
        rows = csv.DictReader(lines, delimiter="\t")
        area = next(r for r in rows if (r["Sample"], r["Compound"], r["Detector"]) == (name, "Acetate", CHANNEL))
    window = ExpectedPeak(analyte="Acetate", channel=CHANNEL, start_min=float(line["Peak_start"]), end_min=float(line["Peak_end"]))
    return window, float(area["Area"])


@needs_samples
@pytest.mark.parametrize("name", ["A1", "A2", "A3"])
def test_content_of_a_finished_window_is_the_published_area(name: str):
    """With the published area as the one that means 100 %, acetate is 100 % at half of the run; the baselines differ a little at the ends."""
    window, area = published(name)
    x, y = trace(name)
    expectation = MethodExpectation(
        method_id="ACIDS", run_time_min=50, windows=(window,), main_analyte="Acetate", reference_area={"Acetate": area}
    )
    rows = checkpoint_features(x, y, run_time_min=50, expectation=expectation, checkpoints=(25, 50, 100))
    assert rows[1]["main_value_pct"] == pytest.approx(100, abs=3)
    assert rows[2]["main_value_pct"] == rows[1]["main_value_pct"]
    assert np.isnan(rows[0]["main_value_pct"])


@needs_samples
def test_replicates_of_a_standard_agree():
    first, second = (progress_features(*trace(name), checkpoint_pct=100, run_time_min=30.1) for name in ("STD100-1", "STD100-2"))
    assert first["peaks_so_far"] == second["peaks_so_far"]
    assert first["last_peak_plates"] == pytest.approx(second["last_peak_plates"], rel=0.03)
    assert first["last_peak_tailing"] == pytest.approx(second["last_peak_tailing"], abs=0.02)
