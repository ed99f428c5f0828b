"""What an instrument's partial trace is scored by is, to the last bit, what batch makes of the finished run: every feature, every checkpoint.

250 runs of a simulated laboratory, each at four checkpoints; ``LAB_PARITY=1000`` takes as many as that.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from lab_assets.contracts.bronze import LIMS_SEQUENCES, PROCESSING_METHODS
from lab_assets.features.definitions import CHECKPOINTS_PCT, FEATURE_NAMES
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.service.expectations import RunBooks, unknown_names
from lab_assets.service.requests import parse_trace
from lab_assets.service.run_rows import CachedRows, DeltaRows
from lab_assets.service.scorer import trace_subject
from lab_assets.service.table_cache import TableCache
from lab_assets.simulation.run import simulate
from lab_assets.stations.features.histories import LOT_HISTORY_STATION, STORAGE_EXPOSURE_STATION
from lab_assets.stations.features.injection_progress import INJECTION_PROGRESS_STATION
from lab_assets.stations.features.instrument_history import INSTRUMENT_HISTORY_STATION
from lab_assets.stations.runner import update
from lab_assets.stations.silver.injections import INJECTIONS_STATION
from lab_assets.stations.silver.peaks import PEAKS_STATION
from lab_assets.stations.silver.reference import INSTRUMENTS_STATION, LOTS_STATION, PROCESS_EVENTS_STATION, SAMPLES_STATION
from lab_assets.stations.silver.results import RESULTS_STATION
from lab_assets.stations.silver.storage_conditions import STORAGE_CONDITIONS_STATION
from lab_assets_tests.service.parity import Posted, posted_runs, runs_of
from lab_assets_tests.stations.small_laboratory import opened

RUNS = int(os.environ.get("LAB_PARITY", "250"))
LATER = datetime(2027, 1, 1, tzinfo=UTC)
REVISED = datetime(2025, 1, 6, tzinfo=UTC)
STATIONS = (
    LOTS_STATION, SAMPLES_STATION, PROCESS_EVENTS_STATION, STORAGE_CONDITIONS_STATION, INJECTIONS_STATION, PEAKS_STATION, RESULTS_STATION,
    INSTRUMENTS_STATION, INJECTION_PROGRESS_STATION, LOT_HISTORY_STATION, STORAGE_EXPOSURE_STATION, INSTRUMENT_HISTORY_STATION,
)  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A laboratory in which every fourth worklist holds no standards, and whose methods are revised in its fourth month."""
    home = tmp_path_factory.mktemp("parity")
    simulate(home / "inbox", seed=17, n_lots=RUNS // 8, start=datetime(2024, 10, 1, tzinfo=UTC), months=5)
    _without_standards(home / "inbox" / "lims")
    _revised(home / "inbox" / "lims")
    with opened(home) as made:
        Ingestor(made).run()
        for station in STATIONS:
            update(made, station)
        yield made


def _without_standards(folder: Path) -> None:
    for path in folder.glob("sequences*.csv"):
        plans = pl.read_csv(path, infer_schema=False)
        alone = plans["sequence_id"].unique().sort().gather_every(4, offset=1)
        is_standard = pl.col("sample_role").is_in(["standard", "suitability"])
        plans.filter(~(pl.col("sequence_id").is_in(alone.implode()) & is_standard)).write_csv(path)


def _revised(folder: Path) -> None:
    """Windows become a little wider from a day on, recorded that day."""
    (path,) = folder.glob("processing_methods*.csv")
    methods = pl.read_csv(path, infer_schema=False)
    stamp = pl.lit(REVISED.strftime("%Y-%m-%dT%H:%M:%SZ"))
    wider = pl.col("window_end").cast(pl.Float64) + 0.02
    methods.with_columns(wider.cast(pl.String), effective_from_utc=stamp, recorded_at_utc=stamp).write_csv(
        folder / "processing_methods_2.csv"
    )


@pytest.fixture(scope="module")
def posted(lake) -> list[Posted]:
    runs = runs_of(lake)
    return list(posted_runs(lake, runs.gather_every(max(runs.height // RUNS, 1)).head(RUNS)))


def test_the_laboratory_has_what_makes_it_hard(lake, posted):
    """Enough runs, of sequences without standards too, before and after the revision of their method."""
    plans = lake.polars(LIMS_SEQUENCES, ["sequence_id", "injection_name", "sample_role"])
    has_standard = plans.group_by("sequence_id").agg((pl.col("sample_role") == "standard").any())
    alone = set(has_standard.filter(~pl.col("sample_role"))["sequence_id"])
    of_alone = set(plans.filter(pl.col("sequence_id").is_in(sorted(alone)))["injection_name"])
    started = {one.run["injection_name"]: one.run["injected_at_utc"] for one in posted}
    assert len(posted) == RUNS * len(CHECKPOINTS_PCT)
    assert len(of_alone & started.keys()) >= RUNS // 10
    assert min(sum(at < REVISED for at in started.values()), sum(at >= REVISED for at in started.values())) >= RUNS // 10
    assert lake.polars(PROCESSING_METHODS, ["effective_from_utc"])["effective_from_utc"].n_unique() == 2
    seen = Counter(name for one in posted for name in one.batch)
    assert not [name for name in FEATURE_NAMES if not seen[name]]


def test_every_feature_is_equal_to_the_last_bit(lake, posted):
    tables, books = TableCache(lake.settings), RunBooks()
    differing: Counter[str] = Counter()
    for one in posted:
        made = trace_subject(one.run["injection_id"], parse_trace(one.body), read=CachedRows.of(tables), now=LATER, books=books)
        assert (made.checkpoint_pct, made.as_of) == (one.checkpoint_pct, one.as_of_utc)
        assert made.lot_id == one.run["lot_id"]
        differing.update(name for name in made.features.keys() | one.batch.keys() if made.features.get(name) != one.batch.get(name))
    assert not differing


def test_the_same_from_the_tables_at_fixed_versions(lake, posted):
    """What a prediction is repeated from: rows of the recorded versions, by key."""
    read = DeltaRows(lake.settings, CachedRows.of(TableCache(lake.settings)).versions)
    for one in posted[:: max(len(posted) // 40, 1)]:
        assert trace_subject(one.run["injection_id"], parse_trace(one.body), read=read, now=LATER).features == one.batch


def test_no_real_run_is_warned_of_and_one_of_another_scale_always_is(lake, posted):
    """As it is, and with its signal 10 and 30 times too high and 10 times too low; without any standards nothing tells the scale."""
    read = CachedRows.of(TableCache(lake.settings))
    told = 0
    for one in posted[:: max(len(posted) // 100, 1)]:
        name, request = one.run["injection_id"], parse_trace(one.body)
        made = trace_subject(name, request, read=read, now=LATER)
        assert (made.warnings, made.problems, unknown_names(read, request)) == ((), (), [])
        if "baseline_noise_pct" not in made.features:
            continue
        told += 1
        for times in (10, 30, 0.1):
            other = replace(request, trace=replace(request.trace, y=times * request.trace.y))
            assert any("scale" in word for word in trace_subject(name, other, read=read, now=LATER).warnings)
    assert told >= 20
