"""Parts of work run by the Python workers of a Spark Connect server.

Belongs here: handing parts to Spark and taking back what they made. Does not belong here: sessions (``session.py``), what the work is.

Spark is asked for one thing: to run parts on its workers, again on another where one dies. What goes in and comes out are opaque bytes,
so that no type is translated on the way and the result is the one that this process would have made. Workers need the package and the
files that a part names, nothing of this process.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from lab_assets.compute.parts import Part, PartsCompute, from_ipc, run_part, to_ipc
from lab_assets.compute.protocol import BatchFunction, WorkError
from lab_assets.compute.session import SessionKeeper
from lab_assets.compute.worker import Preparation

if TYPE_CHECKING:
    import pyarrow as pa

_MADE: Final = "part INT, rows BINARY"
_CELL_BYTES: Final = 8 << 20
"""Rows go back in cells of about this size; a message of Spark Connect holds 128 MB at most."""


class SparkCompute(PartsCompute):
    """Work in Spark's workers."""

    def __init__(self, keeper: SessionKeeper) -> None:
        """Prepare; the session is opened when it is first needed.

        Args:
            keeper: Keeps the session.
        """
        self._keeper = keeper

    def run(self, function: BatchFunction, parts: Sequence[Part], schema: pa.Schema, *, isolated: bool) -> pa.Table:  # noqa: ARG002 - a worker has no threads of ours
        """Run a function over each part in Spark's workers.

        Raises:
            SparkGoneError: the Spark server went away; the work may be repeated.
            WorkError: the function failed in a worker, or Spark could not run it.
        """
        import pyarrow as pa
        from pyspark import cloudpickle

        if not parts:
            return schema.empty_table()
        payloads = pa.table({"part": pa.array(range(len(parts)), pa.int32()), "payload": [part.payload for part in parts]})
        packed = cloudpickle.dumps(function)

        def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return run_parts(_unpacked(packed), batches, schema)

        def made() -> pa.Table:
            frame = self._keeper.session.createDataFrame(payloads)
            if len(parts) > 1:
                frame = frame.repartitionById(len(parts), "part")
            return frame.mapInArrow(work, _MADE).toArrow()

        cells = self._answered(made)
        ordered = sorted(zip(cells["part"].to_pylist(), range(cells.num_rows), strict=True))
        rows = cells["rows"]
        return pa.concat_tables([schema.empty_table(), *(from_ipc(rows[at].as_py()) for _, at in ordered)])

    def prepare(self, preparation: Preparation) -> None:  # noqa: ARG002 - workers of the embedded server are ready (``spark_python.py``)
        """Begin to open the session."""
        self._keeper.open_early()

    @property
    def is_starting(self) -> bool:
        """Whether work would have to wait until the session is open."""
        return self._keeper.is_opening

    def _answered(self, made: Callable[[], pa.Table]) -> pa.Table:
        from pyspark.errors import PySparkException

        try:
            return self._keeper.guard(made)
        except PySparkException as error:
            raise WorkError(str(error)) from error


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> BatchFunction:
    """Unpack a function once in a worker: what it knows of thousands of runs takes longer to unpack than a part's share of the work."""
    return pickle.loads(packed)  # noqa: S301 - packed by ``SparkCompute.run``


def run_parts(function: BatchFunction, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Run parts in a worker; yield a batch of one cell for each bounded piece of what they made."""
    import pyarrow as pa

    for batch in batches:
        for number, payload in zip(batch["part"].to_pylist(), batch["payload"].to_pylist(), strict=True):
            for made in _joined(run_part(function, payload, schema)):
                for piece in _pieces(made):
                    yield pa.record_batch({"part": pa.array([number], pa.int32()), "rows": pa.array([to_ipc(piece)], pa.binary())})


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Put small batches together up to the size of a cell: a group may have made a few rows, and each cell costs a message."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    n_bytes = 0
    for batch in batches:
        if waiting and n_bytes + batch.nbytes > _CELL_BYTES:
            yield pa.concat_batches(waiting)
            waiting, n_bytes = [], 0
        waiting.append(batch)
        n_bytes += batch.nbytes
    if waiting:
        yield pa.concat_batches(waiting)


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a batch in pieces of a bounded size, or of one row where a row is larger."""
    if batch.num_rows == 0:
        return
    each = max(1, batch.num_rows * _CELL_BYTES // max(batch.nbytes, _CELL_BYTES))
    for start in range(0, batch.num_rows, each):
        yield batch.slice(start, each)
