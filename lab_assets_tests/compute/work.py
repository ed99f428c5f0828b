"""What a worker is given to do in tests; imports little, since a worker imports it too."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pyarrow as pa

from lab_assets.compute.parts import cut_rows, from_ipc
from lab_assets.compute.worker import Worker, threads_of

SEEN = pa.schema([("process", pa.int64()), ("parent", pa.int64()), ("threads", pa.int64())])
ROWS = pa.table({"n": [1]})


def look_around(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Return which process this is, its parent, and how many threads that has."""
    for _ in batches:
        row = {"process": os.getpid(), "parent": os.getppid(), "threads": threads_of(os.getppid())}
        yield pa.RecordBatch.from_pylist([row], schema=SEEN)


def die(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """End the process at work."""
    os.kill(os.getpid(), signal.SIGSEGV)
    yield from batches


def fail(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Raise."""
    raise KeyError("no such column")


def hang(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Fork a child and work for a minute."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
    yield from batches


def prepare_numbers() -> None:
    """Import what stands for a reader."""
    import fractions  # noqa: F401 # pyright: ignore[reportUnusedImport]


def imported(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Return whether the reader is imported already."""
    for _ in batches:
        yield pa.RecordBatch.from_pylist([{"process": int("fractions" in sys.modules), "parent": 0, "threads": 0}], schema=SEEN)


def run(worker: Worker, function: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]) -> dict[str, int]:
    (part,) = cut_rows(ROWS, 1)
    return from_ipc(worker.run(function, part.payload, SEEN)).to_pylist()[0]
