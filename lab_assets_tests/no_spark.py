"""A laboratory without Spark, for tests that need none: whoever asks for a session is named.

Belongs here: the keeper that opens nothing. Does not belong here: fixtures.
"""

from __future__ import annotations

from typing import NoReturn

from lab_assets.compute.session import SessionKeeper
from lab_assets.settings import Settings


class SparkNotAskedForError(AssertionError):
    """A test that did not ask for Spark came to need it."""


class NoSparkKeeper(SessionKeeper):
    """Keeps no session."""

    def __init__(self, settings: Settings, test: str) -> None:
        """Prepare to refuse.

        Args:
            settings: Of the laboratory.
            test: Name of the test, for the message.
        """
        super().__init__(settings)
        self._test = test

    @property
    def session(self) -> NoReturn:
        """None: raises."""
        raise SparkNotAskedForError(f"{self._test} asked for a Spark session; use the fixture spark_lakehouse")

    def open_early(self) -> None:
        """Open nothing: a hint that Spark may be needed is no need."""
