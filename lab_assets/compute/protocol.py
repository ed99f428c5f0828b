"""What the product asks of whatever computes for it: one function over rows, in parts.

Belongs here: the protocol and how rows of data files are named. Does not belong here: who runs it (``local.py``, ``spark.py``), which of
them (``placement.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

BatchFunction = Callable[["Iterator[pa.RecordBatch]"], "Iterator[pa.RecordBatch]"]
"""Pure function over the batches of one part or one group; it can be pickled, and yields batches of the schema that was asked for."""


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """Rows of some Parquet files, such as the data files of a Delta table's version.

    Attributes:
        files: Paths or URIs, in the order in which their rows are worked on.
        schema: Columns of the table; a column that an older file does not have is read as null.
        columns: Columns to read, each with the name the function sees.
        where: Rows to read: each column with the values it may have. All must hold; nothing given reads every row.
        constants: Text columns that every row carries beside, such as the name of its table.
    """

    files: Sequence[str]
    schema: pa.Schema
    columns: Mapping[str, str]
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, "Sequence[Any]"])
    constants: Mapping[str, str] = field(default_factory=dict[str, str])


class Compute(Protocol):
    """Runs a function over rows, in this process or in Spark's workers; the result is the same, row by row and in the same order."""

    def map_rows(self, function: BatchFunction, rows: pa.Table, schema: pa.Schema, *, tasks: int = 1, isolated: bool = False) -> pa.Table:
        """Run a function over rows that this process holds.

        Args:
            function: Called once for each task, with its rows as one batch.
            rows: Cut into ``tasks`` consecutive parts of about the same size.
            schema: Of what the function yields.
            tasks: Number of parts that may be worked on at the same time.
            isolated: The function forks or may end its process: it never runs in this process, whose threads would not survive a fork.

        Returns:
            What the function yielded, in the order of the rows.

        Raises:
            SparkGoneError: the Spark server went away; the work may be repeated.
            TypeError: the function yielded another schema.
            WorkError: the function raised in another process.
        """
        ...

    def map_files(
        self, function: BatchFunction, rows: Sequence[FileRows], schema: pa.Schema, *, tasks: int = 1, group_by: str | None = None
    ) -> pa.Table:
        """Run a function over rows of data files; those who work read them, so that they need not pass through this process.

        Args:
            function: Without ``group_by`` called once for each task, with a few rows a batch; with it called once for each group,
                with all rows of the group as one batch.
            rows: Which rows; all entries show the function the same columns.
            schema: Of what the function yields.
            tasks: Number of parts that may be worked on at the same time; with ``group_by`` the rows of one part are in memory together.
            group_by: Column, by the name the function sees, whose equal values belong together.

        Returns:
            What the function yielded, in the order of the files and rows; groups in the order of their first row.

        Raises:
            FileNotFoundError: a file is gone.
            SparkGoneError: the Spark server went away; the work may be repeated.
            TypeError: the function yielded another schema.
            WorkError: the function raised in another process.
        """
        ...


class WorkError(RuntimeError):
    """A function failed in another process; the message holds its error."""
