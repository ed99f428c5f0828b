"""A home whose processes are ended with its test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab_assets.ops.processes import stop
from lab_assets.settings import Settings


@pytest.fixture
def home(settings: Settings) -> Iterator[Settings]:
    """A home whose processes are ended whatever the test did."""
    settings.run.mkdir(parents=True)
    yield settings
    stop(settings)
