"""Traces on their way to those who work on them: which rows are wanted, and how a worker knows what belongs to them.

Belongs here: choosing rows of the trace tables and reading no others. Does not belong here: what is computed from them (``peaks.py``,
``injection_progress.py``).

What is known of an injection beside its points is short. It is gathered in this process and goes to the workers with the function,
so that Spark has one thing to do: to read the wanted traces and hand them over. A run that just ended is a few traces, a millisecond
of work each; the same function works on those in this process, since a Spark job alone takes longer than all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CHROMATOGRAMS
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.domain.injection_identity import PARTS, newest_of_channels
from lab_assets.lake.lakehouse import Lakehouse

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame

Place = tuple[str | None, ...]
TRACE_PLACE: Final = ("source_sha256", *PARTS, "channel")
SIGNAL_PLACE: Final = ("source_sha256", *PARTS, "signal")
"""Columns that tell a trace from every other: a file has each channel of an injection once (``lab_assets.sources.core.channels``)."""

FEW: Final = 500
"""As many names go into a plan as literals, by which Delta passes over files; more are sent beside it and joined."""

FEW_INJECTIONS: Final = 32
"""Injections whose traces are worked on in this process."""

_SHARED_BY_A_TASK: Final = 400


def chosen_traces(lake: Lakehouse, injection_ids: Sequence[str]) -> pl.DataFrame:
    """Return the traces of some injections without their points, of each channel the row of the newest file.

    Returns:
        ``injection_id``, ``ingest_batch`` and the columns of ``TRACE_PLACE``.
    """
    import polars as pl

    of_them = pl.col("injection_id").is_in(injection_ids)
    names = lake.polars(INJECTIONS, ["injection_name"], where=of_them)["injection_name"].unique().to_list()
    columns = [*TRACE_PLACE, "ingest_batch", "source_row"]
    newest = newest_of_channels(lake.polars(CHROMATOGRAMS, columns, where=pl.col("injection_name").is_in(names)))
    return newest.filter(of_them).drop("source_row")


def rows_of(lake: Lakehouse, table: TableContract, chosen: pl.DataFrame) -> DataFrame:
    """Return the rows of a trace table that hold chosen ones; a worker picks those by their place.

    Args:
        lake: Tables.
        table: Table with ``injection_name`` and ``ingest_batch``.
        chosen: Rows with these two columns.
    """
    from pyspark.sql import functions as sf

    batches, names = chosen["ingest_batch"].unique().to_list(), chosen["injection_name"].unique().to_list()
    rows = lake.read(table)
    if len(batches) <= FEW:
        rows = rows.where(sf.col("ingest_batch").isin(batches))
    if len(names) <= FEW:
        return rows.where(sf.col("injection_name").isin(names))
    return rows.join(_frame(lake, names), on="injection_name", how="left_semi")


def here(lake: Lakehouse, table: TableContract, chosen: pl.DataFrame, columns: Mapping[str, str]) -> pl.DataFrame:
    """Return the rows that ``rows_of`` returns, in this process.

    Args:
        lake: Tables.
        table: As there.
        chosen: As there.
        columns: Columns wanted, each with the name it shall have.
    """
    import polars as pl

    among = pl.col("ingest_batch").is_in(chosen["ingest_batch"].unique().implode())
    wanted = among & pl.col("injection_name").is_in(chosen["injection_name"].unique().implode())
    return lake.polars(table, [*columns], where=wanted).rename({**columns})


def tasks_for(injections: int) -> int:
    """Return how many tasks share some injections: a Parquet file of many short traces would be one task."""
    return max(1, min(64, injections // _SHARED_BY_A_TASK))


def place_of(row: Mapping[str, Any], columns: Sequence[str]) -> Place:
    """Return the place of a row."""
    return tuple(row[name] for name in columns)


def trace_rows(batch: pa.RecordBatch | pa.Table, arrays: Sequence[str] = ("x", "y")) -> Iterator[dict[str, Any]]:
    """Yield rows with their arrays as numpy, which ``to_pylist`` would make lists of Python numbers."""
    columns = {name: batch.column(name) for name in arrays}
    for position, row in enumerate(batch.drop_columns(list(arrays)).to_pylist()):
        yield {**row, **{name: column[position].values.to_numpy() for name, column in columns.items()}}


def _frame(lake: Lakehouse, names: Sequence[str]) -> DataFrame:
    import pyarrow as pa
    from pyspark.sql import functions as sf

    return sf.broadcast(lake.spark.createDataFrame(pa.table({"injection_name": pa.array(names, pa.string())})))
