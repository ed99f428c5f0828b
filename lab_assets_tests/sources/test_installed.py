"""Readers of other packages: distributions with entry points, laid on the path as an installer does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lab_assets.cli.read import read
from lab_assets.compute import spark_python
from lab_assets.ingest.parsing import Staging, parse_one
from lab_assets.ingest.sandbox import Limits
from lab_assets.sources.all_readers import installed, read_file, recognise
from lab_assets.sources.base import ReadContext, UnreadableFileError
from lab_assets.sources.core.installed import GROUP
from lab_assets_tests.sources.builders import arw

app = typer.Typer()
app.command("read")(read)

SCALE = """
from lab_assets.sources.base import ReadResult

class ScaleReader:
    format = "scale"
    tables = ("documents",)

    def sniff(self, name, head):
        return 95 if head.startswith(b"SCALE ") else 0

    def read(self, data, context):
        row = {"document_name": context.file_name, "page": 1, "n_pages": 1, "text": data.decode(), "source_row": 1}
        return ReadResult(format=self.format, tables={"documents": [row]})

READER = ScaleReader()
"""
FILE = b"SCALE 12.5 g\n"
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Lays a distribution on the path: one module, and the entry points that are named."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    modules: list[str] = []

    def lay(module: str, code: str, **points: str) -> Path:
        modules.append(module)
        (site / f"{module}.py").write_text(code)
        about = site / f"{module}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (about / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
        installed.cache_clear()
        return site

    installed.cache_clear()
    yield lay
    installed.cache_clear()
    for module in modules:
        sys.modules.pop(module, None)


def test_nothing_is_brought_without_packages() -> None:
    installed.cache_clear()
    assert not installed().problems


@pytest.mark.parametrize("name", ["ScaleReader", "READER"])
def test_a_package_brings_a_reader(install: Install, tmp_path: Path, name: str) -> None:
    """As a class or as an instance; in the command, and where Spark's workers read files."""
    install("lab_scale", SCALE, scale=f"lab_scale:{name}")
    assert recognise("x.txt", FILE).format == "scale"
    assert recognise("x.txt", arw().encode()).format == "arw"
    assert read_file(FILE, ReadContext(file_name="a.txt")).tables["documents"][0]["text"] == "SCALE 12.5 g\n"
    raw = tmp_path / "raw.bin"
    raw.write_bytes(FILE)
    task = {"arrival_id": 1, "file_id": "f", "source": "s", "file_name": "a.txt", "raw_path": str(raw), "zone": "UTC"}
    staged = parse_one(task)
    assert (staged.state, staged.format, len(staged.tables["documents"])) == ("committed", "scale", 1)


def test_packages_are_looked_for_once_in_a_process(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("lab_scale", SCALE, scale="lab_scale:ScaleReader")
    assert recognise("x.txt", FILE) is recognise("y.txt", FILE)
    assert (installed.cache_info().misses, installed.cache_info().currsize) == (1, 1)


def test_children_of_a_worker_have_it(install: Install, tmp_path: Path) -> None:
    """A worker forks a child for its files; the child reads by the same packages."""
    import pyarrow as pa

    install("lab_scale", SCALE, scale="lab_scale:ScaleReader")
    (tmp_path / "raw.bin").write_bytes(FILE)
    task = {"arrival_id": 1, "file_id": "f", "source": "s", "file_name": "a.txt", "raw_path": str(tmp_path / "raw.bin"), "zone": "UTC"}
    limits = Limits(seconds=60, memory_bytes=2 << 30)
    staging = Staging(folder=str(tmp_path / "stage"), raw=str(tmp_path), batch=1, at_utc=datetime(2025, 1, 1, tzinfo=UTC), limits=limits)
    (outcome,) = next(iter(staging.parse_files([pa.RecordBatch.from_pylist([task])]))).to_pylist()
    assert (outcome["state"], outcome["format"]) == ("committed", "scale")


def test_another_interpreter_of_the_environment_has_it(install: Install) -> None:
    site = install("lab_scale", SCALE, scale="lab_scale:ScaleReader")
    code = f"from lab_assets.sources.all_readers import recognise; print(recognise('x', {FILE!r}).format)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "scale"


def test_sparks_python_has_it_before_it_forks(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark import daemon

    install("lab_scale", SCALE, scale="lab_scale:ScaleReader")
    loaded: list[bool] = []
    monkeypatch.setattr(spark_python, "PRELOADED", ())
    monkeypatch.setattr(daemon, "manager", lambda: loaded.append("lab_scale" in sys.modules))
    spark_python.main()
    assert loaded == [True]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("class ScaleReader: pass", "it is no reader; one has format, tables, sniff and read"),
        (SCALE.replace('"scale"', '"arw"'), "the format 'arw' is known already"),
        (SCALE.replace('"scale"', '"Scale 2"'), "its format 'Scale 2' is not small letters, digits and _"),
        (SCALE.replace('("documents",)', '("documents", "weights")'), "no contract describes weights"),
        (SCALE.replace("def sniff(self", "def __init__(self, model): pass\n    def sniff(self"), "TypeError: "),
    ],
)
def test_what_is_no_reader_is_left_out_and_stops_no_other(install: Install, code: str, why: str, tmp_path: Path) -> None:
    install("lab_broken", code, a="lab_broken:ScaleReader")
    install("lab_scale", SCALE, b="lab_scale:ScaleReader")
    (problem,) = installed().problems
    assert problem.startswith("reader 'a' of package lab_broken (lab_broken:ScaleReader): ")
    assert why in problem
    assert recognise("x.txt", FILE).format == "scale"
    with pytest.raises(UnreadableFileError, match="package lab_broken"):
        recognise("x.txt", b"hello\n")
    (tmp_path / "a.txt").write_bytes(FILE)
    result = CliRunner().invoke(app, [str(tmp_path / "a.txt"), "--json"])
    assert json.loads(result.stdout)[0]["format"] == "scale"
    assert f"left out: {problem}" in result.stderr


def test_of_two_packages_with_one_format_the_first_is_taken(install: Install) -> None:
    install("lab_scale", SCALE, a="lab_scale:READER")
    install("lab_twin", SCALE, b="lab_twin:READER")
    assert [type(reader).__module__ for reader in installed().readers] == ["lab_scale"]
    assert installed().problems == ("reader 'b' of package lab_twin (lab_twin:READER): the format 'scale' is known already",)


def test_a_package_that_fails_to_look_at_a_file_costs_no_other(install: Install) -> None:
    failing = SCALE.replace('"scale"', '"failing"').replace("return 95 if", "raise KeyError('x')\n        return 95 if")
    install("lab_failing", failing, a="lab_failing:READER")
    install("lab_scale", SCALE, b="lab_scale:READER")
    assert recognise("x.txt", FILE).format == "scale"
    assert recognise("x.arw", arw().encode()).format == "arw"
    with pytest.raises(UnreadableFileError, match="reader 'failing' failed to look at it: KeyError") as error:
        recognise("x.txt", b"hello\n")
    assert error.value.rule == "unknown_format"
