"""``docs/add-an-instrument.md`` is true: its files are written as they stand there and its commands say what it shows."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lab_assets.cli.read import read
from lab_assets.contracts.bronze import MEASUREMENTS, PROVENANCE
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.sources.all_readers import READERS, find_own_readers, installed
from lab_assets.sources.core.installed import GROUP
from lab_assets_tests.sources.sample_folders import SAMPLES

PAGE = (PROJECT_ROOT / "docs" / "add-an-instrument.md").read_text(encoding="utf-8")
FILES = {name.rpartition("/")[2]: text for name, text in re.findall(r"`([\w./-]+)`[^`\n]*:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL)}
SHOWN = re.findall(r"\$ lab read ([^\n]+)\n(.*?)```", PAGE, re.DOTALL)
FROSTGUARD = SAMPLES / "logger_frostguard"

app = typer.Typer()
app.command("read")(read)


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the page's files, its package installed and its description in place."""
    package = tomllib.loads(FILES["pyproject.toml"])["project"]
    about = tmp_path / "site" / f"{package['name'].replace('-', '_')}-{package['version']}.dist-info"
    about.mkdir(parents=True)
    about.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {package['name']}\nVersion: {package['version']}\n")
    known = {reader.format for reader in READERS}  # who tries the page out in the product itself has the reader twice
    points = "".join(f"{name} = {value}\n" for name, value in package["entry-points"][GROUP].items() if name not in known)
    about.joinpath("entry_points.txt").write_text(f"[{GROUP}]\n{points}")
    (tmp_path / "site" / "aquapoint_kf.py").write_text(FILES["aquapoint_kf.py"])
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / "frostguard.yaml").write_text(FILES["frostguard.yaml"])
    for name in ("FG-0042_2025-10.csv", "KF_2025-03-04.txt"):
        (tmp_path / name).write_text(FILES[name])
    (tmp_path / "FG-0042_2025-11.csv").write_text(FILES["FG-0042_2025-10.csv"].replace("Probe 1 (°C)", "Probe 1 (°F)"))
    (tmp_path / "KF_cut.txt").write_text("".join(FILES["KF_2025-03-04.txt"].splitlines(keepends=True)[:17]))
    settings = Settings(home=tmp_path, zone="UTC", strict_sources=[])
    monkeypatch.setattr("lab_assets.settings.get_settings", lambda: settings)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    installed.cache_clear()
    yield tmp_path
    installed.cache_clear()
    sys.modules.pop("aquapoint_kf", None)


@pytest.mark.parametrize(("files", "output"), SHOWN, ids=[files for files, _ in SHOWN])
def test_shown_output_is_what_the_command_prints(laboratory: Path, files: str, output: str) -> None:
    result = CliRunner().invoke(app, files.split())
    assert result.stderr == ""
    assert result.stdout.splitlines() == output.splitlines()


def test_the_shown_row_is_the_third(laboratory: Path) -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (report,) = json.loads(CliRunner().invoke(app, ["--json", "--rows", "KF_2025-03-04.txt"]).stdout)
    assert report["rows"]["measurements"][2] == json.loads(shown)
    assert "hunter2" in FILES["KF_2025-03-04.txt"]
    assert "hunter2" not in json.dumps(report)


def test_the_table_of_columns_is_the_contracts() -> None:
    shown = re.findall(r"^\| `(\w+)` \| (\S+) \| ([^|]+) \| (yes|no) \|$", PAGE, re.MULTILINE)
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    columns = [column for column in MEASUREMENTS.columns if column.name not in engine]
    assert shown == [(column.name, column.kind, column.meaning, "yes" if column.nullable else "no") for column in columns]
    assert not any(column.unit for column in columns)


def test_the_page_and_the_sample_of_its_logger_are_one() -> None:
    assert len(SHOWN) == 3
    assert FILES["FG-0042_2025-10.csv"] == (FROSTGUARD / "FG-0042_2025-10.csv").read_text(encoding="utf-8")
    assert FILES["frostguard.yaml"] == (FROSTGUARD / "formats" / "frostguard.yaml").read_text(encoding="utf-8")


def test_the_page_s_reader_registers_itself_by_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Laid below a package with no other file, as a newcomer lays it below ``vendors``."""
    folder = tmp_path / "made_up_sources" / "vendors" / "aquapoint"
    folder.mkdir(parents=True)
    (folder / "aquapoint_kf.py").write_text(FILES["aquapoint_kf.py"])
    monkeypatch.syspath_prepend(tmp_path)
    (reader,) = find_own_readers("made_up_sources", tmp_path / "made_up_sources")
    assert (reader.format, reader.sniff("x", FILES["KF_2025-03-04.txt"].encode())) == ("aquapoint_kf", 100)
    for module in [name for name in sys.modules if name.startswith("made_up_sources")]:
        del sys.modules[module]
