"""The folders of ``samples/``: one a format, with files of ours and what ``lab read --json --rows --zone UTC`` says of them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from lab_assets.ingest.logger_formats import load_loggers
from lab_assets.sources.base import ReadContext
from lab_assets.sources.core.archives import is_item_folder, pack_folder

SAMPLES = Path(__file__).parent / "samples"
EXPECTED = "expected.json"
_BESIDE = {EXPECTED, "formats"}
"""What a folder holds besides samples; descriptions of loggers lie in ``formats/``, as in ``LAB_HOME``."""


def sample_folders() -> list[Path]:
    return sorted(path for path in SAMPLES.iterdir() if path.is_dir())


def files_of(folder: Path) -> list[Path]:
    """The samples of a folder; an instrument's folder (.D, .raw) is one sample."""
    return sorted(path for path in folder.iterdir() if path.name not in _BESIDE)


def bytes_of(sample: Path) -> bytes:
    if not is_item_folder(sample.name):
        return sample.read_bytes()
    packed = io.BytesIO()
    pack_folder(sample, packed)
    return packed.getvalue()


def context_of(sample: Path) -> ReadContext:
    loggers, problems = load_loggers(sample.parent / "formats")
    assert problems == []
    return ReadContext(file_name=sample.name, zone="UTC", loggers=loggers)


def expected(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / EXPECTED).read_text(encoding="utf-8"))


def good_samples() -> list[Path]:
    """The samples that are read; those expected to be refused are left out."""
    return [folder / report["file"] for folder in sample_folders() for report in expected(folder) if report["state"] == "ok"]


def samples_by_format() -> dict[str, bytes]:
    """The bytes of one sample that is read of each format that has a folder."""
    return {sample.parent.name: bytes_of(sample) for sample in reversed(good_samples())}
