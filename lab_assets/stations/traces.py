"""Traces on their way to those who work on them: which rows are wanted, and how a worker knows what belongs to them.

Belongs here: choosing rows of the trace tables. Does not belong here: what is computed from them.

What is known of an injection beside its points is short. It is gathered in this process and goes to the workers with the function, so that
they have one thing to do: read the wanted traces and work on them. Few traces are worked on in this process, by the same function
(``lab_assets.compute``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CHROMATOGRAMS
from lab_assets.domain.in_force import RECENCY
from lab_assets.domain.injection_identity import PARTS, newest_of_channels

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from lab_assets.stations.reading import StationReader

Place = tuple[str | None, ...]
TRACE_PLACE: Final = ("source_sha256", *PARTS, "channel")
"""Columns that identify a trace: a file has each channel of an injection once (``lab_assets.sources.core.channels``)."""
TRACE_POINTS: Final = ("x", "y", "x_unit", "y_unit", "y_factor")
TRACE_COLUMNS: Final = tuple(dict.fromkeys((*TRACE_PLACE, *RECENCY, *TRACE_POINTS)))
"""Columns of ``bronze.chromatograms`` that a station declares which works on traces."""
TRACE_NEWS: Final = tuple(dict.fromkeys((*TRACE_PLACE, "ingest_batch")))
"""Columns by which a new trace is noticed: points never change in place."""

_SHARED_BY_A_TASK: Final = 400


def chosen_traces(read: StationReader, injections: pl.DataFrame) -> pl.DataFrame:
    """Return the traces of some injections without their points, of each channel the row of the newest file.

    Args:
        read: Of a station that declares ``TRACE_COLUMNS``.
        injections: Rows with ``injection_id`` and ``injection_name``.

    Returns:
        ``injection_id`` and the columns of ``TRACE_PLACE`` and of ``RECENCY``.
    """
    columns = list(dict.fromkeys((*TRACE_PLACE, *RECENCY)))
    newest = newest_of_channels(read.keyed(CHROMATOGRAMS, columns, injection_name=injections["injection_name"]))
    return newest.join(injections.select("injection_id"), on="injection_id", how="semi")


def tasks_for(traces: int) -> int:
    """Return how many tasks share some traces: a Parquet file of many short traces would be one task."""
    return max(1, min(64, traces // _SHARED_BY_A_TASK))


def place_of(row: Mapping[str, Any], columns: Sequence[str]) -> Place:
    """Return the place of a row."""
    return tuple(row[name] for name in columns)


def trace_rows(batch: pa.RecordBatch | pa.Table, arrays: Sequence[str] = ("x", "y")) -> Iterator[dict[str, Any]]:
    """Yield rows with their arrays as numpy, which ``to_pylist`` would make lists of Python numbers."""
    columns = {name: batch.column(name) for name in arrays}
    for position, row in enumerate(batch.drop_columns(list(arrays)).to_pylist()):
        yield {**row, **{name: column[position].values.to_numpy() for name, column in columns.items()}}
