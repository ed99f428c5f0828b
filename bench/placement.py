"""Where work is quicker: on this machine or in the warm workers of Spark, by how much there is of it.

Belongs here: the measurement behind ``lab_assets.compute.placement``. Run as ``python -m bench.placement``; it starts a Spark server in a
folder of its own and ends it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lab_assets.compute.local import LocalCompute
from lab_assets.compute.protocol import Compute, FileRows
from lab_assets.compute.session import SessionKeeper
from lab_assets.compute.spark import SparkCompute
from lab_assets.compute.spark_server import stop_server
from lab_assets.domain.chromatography import detect_peaks
from lab_assets.ingest.parsing import Staging, import_readers, task_schema
from lab_assets.ingest.sandbox import Limits
from lab_assets.ingest.staged import outcome_schema
from lab_assets.settings import Settings

COUNTS = (1, 16, 32, 64, 128, 256, 512, 1024, 2048)
POINTS = 1800
TRACES = pa.schema([("name", pa.string()), ("x", pa.list_(pa.float64())), ("y", pa.list_(pa.float64()))])
FOUND = pa.schema([("name", pa.string()), ("peaks", pa.int64())])


def integrate(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Count the peaks of each trace."""
    for batch in batches:
        rows = zip(batch["name"].to_pylist(), batch["x"], batch["y"], strict=True)
        found = [{"name": name, "peaks": len(detect_peaks(x.values.to_numpy(), y.values.to_numpy()))} for name, x, y in rows]
        yield pa.RecordBatch.from_pylist(found, schema=FOUND)


def traces(count: int) -> pa.Table:
    """Make traces of five peaks each over ten minutes, sampled three times a second."""
    x = np.linspace(0, 10, POINTS)
    clean = sum(100 * np.exp(-(((x - at) / 0.08) ** 2) / 2) for at in (1.5, 3, 4.5, 6, 8))
    noise = np.random.default_rng(1)
    rows = [{"name": f"run {n}", "x": x, "y": clean + noise.normal(0, 0.2, POINTS)} for n in range(count)]
    return pa.Table.from_pylist(rows, schema=TRACES)


def arw_file(number: int) -> bytes:
    """Make an export of one channel as a Waters system writes it."""
    head = f'"SampleName"\t"S-{number}"\r"Channel"\t"UV"\r'
    return (head + "".join(f"{at / 180:.4f}\t{(at * 7919 + number) % 1000 / 1000:.4f}\r" for at in range(POINTS))).encode()


def best_s(work: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of some times."""
    taken: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def main() -> int:
    """Print a line for each amount: seconds on this machine and in Spark for integrating traces and for reading files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(home=folder / "lab")
        keeper = SessionKeeper(settings)
        local, spark = LocalCompute(), SparkCompute(keeper)
        local.prepare(import_readers)
        try:
            sys.stdout.write(
                f"{'':>6} {'integrate traces, s':>24} {'read files, s':>24}\n{'n':>6}{'local':>13}{'Spark':>12}{'local':>13}{'Spark':>12}\n"
            )
            for count in COUNTS:
                seconds = [best_s(work) for work in (*_integrating(folder, count, local, spark), *_reading(folder, count, local, spark))]
                sys.stdout.write(f"{count:>6}{seconds[0]:>13.3f}{seconds[1]:>12.3f}{seconds[2]:>13.3f}{seconds[3]:>12.3f}\n")
                sys.stdout.flush()
        finally:
            keeper.close()
            stop_server(settings)
    return 0


def _integrating(folder: Path, count: int, *computes: Compute) -> list[Callable[[], object]]:
    file = folder / f"{count}.parquet"
    pq.write_table(traces(count), file)
    rows = FileRows(files=[str(file)], schema=TRACES, columns={name: name for name in TRACES.names})
    tasks = max(1, min(64, count // 128))
    return [lambda compute=compute: compute.map_files(integrate, [rows], FOUND, tasks=tasks) for compute in computes]


def _reading(folder: Path, count: int, *computes: Compute) -> list[Callable[[], object]]:
    tasks = [
        {
            **dict.fromkeys(("file_id", "source", "file_name"), f"{n}.arw"),
            "arrival_id": n,
            "raw_path": str(folder / f"{n}.arw"),
            "zone": "UTC",
        }
        for n in range(count)
    ]
    for task in tasks:
        Path(str(task["raw_path"])).write_bytes(arw_file(int(str(task["arrival_id"]))))
    limits = Limits(seconds=60, memory_bytes=3 << 30)
    read = Staging(folder=str(folder / "staged"), raw=str(folder), batch=1, at_utc=datetime.now(UTC), limits=limits).parse_files
    table, parts = pa.Table.from_pylist(tasks, schema=task_schema()), max(1, min(count // 64, 64))
    return [lambda compute=compute: compute.map_rows(read, table, outcome_schema(), tasks=parts, isolated=True) for compute in computes]


if __name__ == "__main__":
    sys.exit(main())
