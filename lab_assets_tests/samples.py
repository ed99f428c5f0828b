"""Where real instrument files are looked for: ``shared/samples`` beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

_SAMPLES = Path(__file__).resolve().parent.parent.parent / "shared" / "samples"


def samples_dir() -> Path | None:
    """Return the folder of real sample files, or ``None`` where it is absent."""
    return _SAMPLES if _SAMPLES.is_dir() else None


needs_samples = pytest.mark.skipif(samples_dir() is None, reason=f"real sample files are not at {_SAMPLES}")
