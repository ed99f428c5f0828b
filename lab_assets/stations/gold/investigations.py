"""Failing results and their investigations, as lot dispositions and exceptions read them.

Belongs here: from events to results and back. Does not belong here: when an investigation is closed (``lab_assets.domain.investigations``).

A station that uses it declares the columns that are said to be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lab_assets.contracts.silver import PROCESS_EVENTS, RESULTS
from lab_assets.domain.investigations import INVESTIGATION_EVENTS, Investigation, investigations

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.stations.reading import StationReader

EVENT_COLUMNS: Final = ("event_id", "sample_name", "event")
"""Columns of ``silver.process_events`` by which investigations are found."""


def is_failing() -> pl.Expr:
    """Hold for results that are out of specification now."""
    import polars as pl

    return pl.col("is_current") & (pl.col("state") == "fail")


def investigations_of(read: StationReader, samples: pl.Series) -> dict[str | None, Investigation]:
    """Return how the investigations of some samples stand, whichever lot their events name.

    Reads ``silver.process_events``: ``EVENT_COLUMNS``.
    """
    return investigations(read.keyed(PROCESS_EVENTS, EVENT_COLUMNS, sample_name=samples).iter_rows(named=True))


def failing_results_of(read: StationReader, columns: Sequence[str], events: pl.DataFrame) -> pl.DataFrame:
    """Return the failing results that the investigations among some events are about.

    Reads ``silver.results``: ``sample_name``, ``is_current``, ``state``.
    """
    import polars as pl

    samples = events.filter(pl.col("event").is_in(INVESTIGATION_EVENTS))["sample_name"]
    wanted = dict.fromkeys((*columns, "is_current", "state"))
    return read.keyed(RESULTS, list(wanted), sample_name=samples).filter(is_failing())
