"""Where work is done: small work on this machine, large work in Spark's workers.

Belongs here: the rule, with what was measured. Does not belong here: doing the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lab_assets.compute.local import LocalCompute
from lab_assets.compute.parts import Part, PartsCompute
from lab_assets.compute.protocol import BatchFunction
from lab_assets.compute.session import SessionKeeper
from lab_assets.compute.spark import SparkCompute
from lab_assets.compute.worker import Preparation

if TYPE_CHECKING:
    import pyarrow as pa

FEW: Final = 256
"""Rows, such as traces or files to read, that this machine works on without Spark.

A warm server takes 0.2 s for the smallest job; a trace takes 1.6 ms and a small file 3 ms on one core. Two cores of Spark's get even with
one of this process at about 250 traces (``bench/placement.py``); a server that has to be started first takes as long as thousands.
"""

LITTLE_BYTES: Final = 64 << 20
"""Bytes of files that it reads without Spark."""


class PlacedCompute(PartsCompute):
    """The compute of a laboratory: chooses for each work by its size.

    Attributes:
        local: This machine.
        spark: Spark's workers; the server is started when it is first needed.
    """

    def __init__(self, keeper: SessionKeeper, *, few: int = FEW) -> None:
        """Prepare; nothing is started.

        Args:
            keeper: Keeps the session with Spark.
            few: Most rows that this machine works on.
        """
        self._few = few
        self.local = LocalCompute()
        self.spark = SparkCompute(keeper)

    def choose(self, n_items: int, n_bytes: int = 0) -> LocalCompute | SparkCompute:
        """Return who works on some items.

        Args:
            n_items: Rows, such as traces or files to read.
            n_bytes: Size of all of them, where it is known.
        """
        return self.local if n_items <= self._few and n_bytes <= LITTLE_BYTES else self.spark

    def choose_at_once(self, n_items: int, n_bytes: int) -> LocalCompute | SparkCompute:
        """Return who works on some items where more is to come: this machine as long as Spark is starting, if they are not too large.

        Args:
            n_items: Rows, such as files to read.
            n_bytes: Size of all of them.
        """
        chosen = self.choose(n_items, n_bytes)
        return self.local if self.spark.is_starting and n_bytes <= LITTLE_BYTES else chosen

    def prepare(self, n_items: int, preparation: Preparation) -> None:
        """Begin to get ready for isolated work on some items; this machine gets ready in any case: it begins while Spark starts.

        Args:
            n_items: Rows, such as files to read.
            preparation: Called once where that will be done.
        """
        self.local.prepare(preparation)
        if self.choose(n_items) is self.spark:
            self.spark.prepare(preparation)

    def run(self, function: BatchFunction, parts: Sequence[Part], schema: pa.Schema, *, isolated: bool) -> pa.Table:
        """Run a function over each part, where that is quicker."""
        return self.choose(sum(part.n_rows for part in parts)).run(function, parts, schema, isolated=isolated)
