"""The two commands that show this room's work on plain files: ``lab peaks`` and ``lab stability fit``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lab_assets.cli import peaks, stability
from lab_assets_tests.samples import needs_samples, samples_dir

app = typer.Typer()
app.command()(peaks.peaks)
app.add_typer(stability.app, name="stability")
RUN = CliRunner()
PEAK_COLUMNS = {
    "peak_no", "analyte", "retention_time_min", "start_min", "end_min", "area", "area_unit", "height", "height_unit", "plates", "tailing",
    "resolution", "signal_to_noise", "vendor_area", "vendor_plates", "vendor_tailing", "vendor_resolution",
}  # fmt: skip
FIT = ["stability", "fit", "--batch", "Batch", "--time", "Month", "--value", "Potency"]


def _table(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@needs_samples
def test_peaks_of_a_file_as_json() -> None:
    """The DIONEX file of the AIA round robin: seven anions, µS, times in seconds."""
    folder = samples_dir()
    assert folder is not None
    result = RUN.invoke(app, ["peaks", "--json", str(folder / "andi_cdf" / "DIONEX.CDF")])
    assert result.exit_code == 0
    (report,) = json.loads(result.stdout)
    assert set(report) == {"file", "injection_name", "channel", "peaks"}
    assert all(set(peak) >= PEAK_COLUMNS for peak in report["peaks"])
    sulfate = report["peaks"][-1]
    assert sulfate["retention_time_min"] * 60 == pytest.approx(409.6, abs=0.5)
    assert (sulfate["area_unit"], sulfate["height_unit"], sulfate["analyte"]) == ("µS*min", "µS", None)
    assert sulfate["vendor_area"] == 73447952.0
    assert sum(peak["vendor_area"] is not None for peak in report["peaks"]) == 7


@needs_samples
def test_peaks_for_people_and_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    folder = samples_dir()
    assert folder is not None
    result = RUN.invoke(app, ["peaks", str(folder / "andi_cdf" / "ACID.CDF"), str(tmp_path / "none.txt")])
    assert result.exit_code == 1
    assert "µV*min" in result.stdout
    assert "none.txt" in result.stderr


def test_file_without_a_chromatogram_is_named(tmp_path: Path) -> None:
    result = RUN.invoke(app, ["peaks", "--json", _table(tmp_path / "a.txt", "hello\n")])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == []
    assert "a.txt" in result.stderr


@needs_samples
def test_fit_as_json_and_for_people() -> None:
    folder = samples_dir()
    assert folder is not None
    file = str(folder / "stability" / "potency_three_batches.csv")
    result = RUN.invoke(app, [*FIT, file, "--lower", "95", "--json"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert set(document) == {"model", "p_slopes", "p_intercepts", "shelf_life", "shelf_life_rounded", "per_batch", "warnings"}
    assert document["shelf_life"] == pytest.approx(25.9957631369, abs=1e-6)
    assert list(document["per_batch"]) == ["b2", "b5", "b7"]
    people = RUN.invoke(app, [*FIT, file, "--lower", "95"])
    assert "cics" in people.stdout
    assert "25 (25.9958 unrounded)" in people.stdout


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_fit_reads_the_usual_delimiters_and_a_byte_order_mark(tmp_path: Path, delimiter: str) -> None:
    """100 - 0.5 t meets 95 at 10."""
    rows = [("Batch", "Month", "Potency"), *((b, str(t), str(100 - 0.5 * t)) for b in "abc" for t in (0, 3, 6, 9))]
    file = _table(tmp_path / "a.csv", "\ufeff" + "\n".join(delimiter.join(row) for row in rows) + "\n\n")
    result = RUN.invoke(app, [*FIT, file, "--lower", "95", "--json"])
    assert json.loads(result.stdout)["shelf_life"] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Batch,Month\na,0\n", "no column Potency"),
        ("Batch,Month,Potency\na,0,x\n", "line 2: Potency is not a number"),
        ("Batch,Month,Potency\n,0,1\n", "line 2: no Batch"),
        ("Batch,Month,Potency\na,0,1\n", "at least three observations"),
        ("", "no column"),
    ],
)
def test_fit_names_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    result = RUN.invoke(app, [*FIT, _table(tmp_path / "a.csv", text), "--lower", "95"])
    assert result.exit_code == 1
    assert message in result.stderr


def test_fit_without_a_limit_is_a_usage_error(tmp_path: Path) -> None:
    assert RUN.invoke(app, [*FIT, _table(tmp_path / "a.csv", "")]).exit_code == 2
    assert RUN.invoke(app, [*FIT, str(tmp_path / "none.csv"), "--lower", "1"]).exit_code == 1
