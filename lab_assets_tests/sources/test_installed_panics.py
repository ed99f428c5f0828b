"""A package whose library, written in Rust, panics: the readers of others go on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from lab_assets.sources.all_readers import installed, recognise
from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core import installed as packages

PANIC = "from polars.exceptions import PanicException\n\n"
SCALE = """
class ScaleReader:
    format = "{name}"
    tables = ("documents",)

    def sniff(self, name, head):
        {sniff}

    def read(self, data, context):
        raise NotImplementedError
"""


@pytest.fixture
def scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules, of which ``a_panics`` and ``b_scale`` are entry points."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "b_scale.py").write_text(SCALE.format(name="scale", sniff="return 95 if head.startswith(b'SCALE ') else 0"))
    points = [EntryPoint(name, f"{name}:ScaleReader", packages.GROUP) for name in ("a_panics", "b_scale")]
    monkeypatch.setattr(packages, "entry_points", lambda **_: points)
    installed.cache_clear()
    yield tmp_path
    installed.cache_clear()
    for module in ("a_panics", "b_scale"):
        sys.modules.pop(module, None)


def test_a_package_that_panics_when_imported_is_left_out(scale: Path) -> None:
    (scale / "a_panics.py").write_text(PANIC + "raise PanicException('poisoned')\n")
    assert recognise("x.txt", b"SCALE 12.5 g\n").format == "scale"
    assert installed().problems == ("reader 'a_panics' (a_panics:ScaleReader): PanicException: poisoned",)


def test_a_package_that_panics_at_a_file_costs_no_other_reader(scale: Path) -> None:
    (scale / "a_panics.py").write_text(PANIC + SCALE.format(name="panicking", sniff="raise PanicException('poisoned')"))
    assert recognise("x.txt", b"SCALE 12.5 g\n").format == "scale"
    with pytest.raises(UnreadableFileError, match="reader 'panicking' failed to look at it: PanicException: poisoned"):
        recognise("x.txt", b"hello\n")
