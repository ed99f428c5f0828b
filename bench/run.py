"""Benchmarks on this machine: each figure beside the floor or peer measured in the same run. Ratios count, not absolute times.

Belongs here: what is quick to measure and needs no service. Does not belong here: tests; nothing here passes or fails.
Run as ``make bench`` or ``.venv/bin/python bench/run.py``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from lab_assets.features.expectation import ExpectedPeak, MethodExpectation
from lab_assets.features.progress import progress_features
from lab_assets.ingest.parsing import Staging
from lab_assets.ingest.sandbox import Limits
from lab_assets.simulation.run import simulate
from lab_assets.sources.all_readers import read_file
from lab_assets.sources.base import ReadContext

ROUNDS = 3
TRACES = {".txt", ".cdf", ".arw"}
N_POINTS = 5000


class Figure(NamedTuple):
    """One line of the table."""

    what: str
    measured: str
    beside: str
    ratio: str


def main() -> None:
    """Measure everything and print one table."""
    with tempfile.TemporaryDirectory() as folder:
        inbox = Path(folder) / "inbox"
        simulate(inbox, seed=7, n_lots=1, start=datetime(2024, 7, 1, tzinfo=UTC), months=1)
        files = sorted(path for path in inbox.rglob("*") if path.suffix in TRACES)
        figures = [parsing(files)]
    figures += [features(), checkpoints()]
    table = Table("What", "Measured", "Beside", "Ratio", title="Benchmarks (best of 3 rounds unless a percentile is named)")
    for figure in figures:
        table.add_row(*figure)
    Console().print(table)


def best_s(work: Callable[[], object]) -> float:
    """Return the shortest duration of a few rounds, after one to warm up."""
    work()
    return min(_timed_s(work) for _ in range(ROUNDS))


def _timed_s(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def parsing(files: list[Path]) -> Figure:
    """Compare what a Spark worker does to a batch (read, validate, lay down as Parquet) with reading alone, both on one core."""
    columns = ("arrival_id", "file_id", "source", "file_name", "raw_path", "zone", "strict", "renames")
    rows = [(number, f"{number:064d}", "hplc", path.name, str(path), "UTC", False, None) for number, path in enumerate(files, start=1)]
    batch = pa.RecordBatch.from_pylist([dict(zip(columns, row, strict=True)) for row in rows])

    def alone() -> None:
        for path in files:
            read_file(path.read_bytes(), ReadContext(file_name=path.name))

    with tempfile.TemporaryDirectory() as folder:
        limits = Limits(seconds=120, memory_bytes=3 << 30)
        staging = Staging(folder=folder, raw=folder, batch=1, at_utc=datetime.now(UTC), limits=limits)
        floor_s, worker_s = best_s(alone), best_s(lambda: list(staging.parse_files([batch])))
    rate, floor_rate = len(files) / worker_s, len(files) / floor_s
    beside = f"reading alone: {floor_rate:.0f} files/s"
    return Figure(f"{len(files)} trace files through a worker", f"{rate:.0f} files/s", beside, f"{worker_s / floor_s:.2f}x its time")


def run_of_8_min() -> tuple[np.ndarray, np.ndarray, MethodExpectation]:
    """Return a run of one main peak of area 100 at 4.8 min, and what is expected of it."""
    x_min = np.linspace(0, 8, N_POINTS)
    noise = np.random.default_rng(3).normal(0, 0.01, N_POINTS)
    y = 4 + 0.5 * x_min + 100 / (0.05 * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((x_min - 4.8) / 0.05) ** 2) + noise
    window = ExpectedPeak(analyte="API", channel="", start_min=4.4, end_min=5.4)
    expectation = MethodExpectation(
        method_id="ASSAY-01",
        run_time_min=8.0,
        windows=(window,),
        main_analyte="API",
        spec_low={"API": 95.0},
        spec_high={"API": 105.0},
        reference_area={"API": 100.0},
    )
    return x_min, y, expectation


def _latencies_ms(work: Callable[[], object], *, times: int = 100) -> np.ndarray:
    work()
    return np.array([1000 * _timed_s(work) for _ in range(times)])


def features() -> Figure:
    """Time the features of a partial trace, as the service computes them, beside sorting the same points."""
    x_min, y, expectation = run_of_8_min()
    spent = _latencies_ms(lambda: progress_features(x_min, y, checkpoint_pct=75, run_time_min=8.0, expectation=expectation))
    floor = _latencies_ms(lambda: np.sort(y))
    p50, p95 = np.percentile(spent, [50, 95])
    beside = f"sorting the points: {np.median(floor):.2f} ms"
    return Figure(f"features of {N_POINTS} points at 75 %", f"p50 {p50:.2f} ms, p95 {p95:.2f} ms", beside, f"{p50 / np.median(floor):.0f}x")


def checkpoints() -> Figure:
    """Compare an early with a late checkpoint: the cost follows the points seen."""
    x_min, y, expectation = run_of_8_min()

    def median_ms(share: float) -> float:
        work = partial(progress_features, x_min, y, checkpoint_pct=share, run_time_min=8.0, expectation=expectation)
        return float(np.median(_latencies_ms(work)))

    early, late = median_ms(25.0), median_ms(100.0)
    return Figure("features at 100 % of the run", f"p50 {late:.2f} ms", f"at 25 %: {early:.2f} ms", f"{late / early:.1f}x")


if __name__ == "__main__":
    main()
