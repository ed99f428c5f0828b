"""Parts of work run on this machine without Spark: in this process, or in one beside it that has no threads.

Belongs here: running parts in order. Does not belong here: the process beside (``worker.py``), what the work is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab_assets.compute.parts import Part, PartsCompute, from_ipc, run_part
from lab_assets.compute.protocol import BatchFunction
from lab_assets.compute.worker import Preparation, worker_of_this_process

if TYPE_CHECKING:
    import pyarrow as pa


class LocalCompute(PartsCompute):
    """Work in this process, one part after the other; the rows of one part are in memory at a time."""

    def run(self, function: BatchFunction, parts: Sequence[Part], schema: pa.Schema, *, isolated: bool) -> pa.Table:
        """Run a function over each part.

        Raises:
            WorkError: an isolated function failed, or its process ended.
        """
        import pyarrow as pa

        if not isolated:
            batches = [batch for part in parts for batch in run_part(function, part.payload, schema)]
            return pa.Table.from_batches(batches, schema)
        worker = worker_of_this_process()
        made = [from_ipc(worker.run(function, part.payload, schema)) for part in parts]
        return pa.concat_tables([schema.empty_table(), *made])

    def prepare(self, preparation: Preparation) -> None:
        """Begin to get ready for isolated work.

        Args:
            preparation: Called once where that will be done, such as one that imports what it needs.
        """
        worker_of_this_process().start(preparation)
