"""Which traces are worked on, and that it does not matter where: peaks and partial-trace features of hand-made injections."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lab_assets.compute.placement import FEW, PlacedCompute
from lab_assets.compute.session import SessionKeeper
from lab_assets.contracts.bronze import CHROMATOGRAMS, INSTRUMENT_STATUS, LIMS_SEQUENCES, PROCESSING_METHODS, VENDOR_PEAKS
from lab_assets.contracts.features import INJECTION_PROGRESS
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.features.injection_progress import INJECTION_PROGRESS_STATION
from lab_assets.stations.reading import StationReader
from lab_assets.stations.runner import update
from lab_assets.stations.silver.peaks import PEAKS_STATION
from lab_assets.stations.traces import TRACE_PLACE, chosen_traces, place_of, tasks_for
from lab_assets_tests.stations.chromatography import WINDOW, X_S, injection, planned, trace
from lab_assets_tests.stations.rows import Put


def put_sequence(lake: Lakehouse, put: Put) -> list[str]:
    """A standard and two samples; one was exported twice, has two detectors and a pressure. Returns the injections' identities."""
    rows = [injection("std", 0, sample_role="standard"), injection("a", 1), injection("b", 2)]
    lake.append(INJECTIONS, lake.local_rows(INJECTIONS, rows))
    put(LIMS_SEQUENCES, *map(planned, rows))
    put(PROCESSING_METHODS, {**WINDOW, "source": "cds"})
    put(CHROMATOGRAMS, trace("std", "UV", 600.0), trace("a", "UV", 111.0), trace("b", "UV", 1200.0), trace("b", "FLD", 60.0))
    put(CHROMATOGRAMS, trace("a", "UV", 660.0, source_sha256="a two"), batch=2)
    vendor = {"injection_name": "a", "channel": "UV", "peak_no": 1, "retention_time": 5.0, "retention_unit": "min", "area": 661.0}
    put(
        VENDOR_PEAKS, {**vendor, "source_sha256": "a two", "area_unit": "mAU*s"}, {**vendor, "source_sha256": "a one", "area": 1.0}, batch=2
    )
    pressure = {key: value for key, value in trace("b", "UV", 0.0).items() if key in INSTRUMENT_STATUS.column_names}
    bars = {"signal": "Pump Pressure", "y": (200.0 + 5.0 * np.sin(X_S)).tolist(), "y_unit": "bar"}
    oven = {"signal": "Column Oven", "y": [40.0] * len(X_S), "y_unit": "C"}
    put(INSTRUMENT_STATUS, {**pressure, **bars}, {**pressure, **oven})
    return [row["injection_id"] for row in rows]


@pytest.fixture
def sequence(lakehouse: Lakehouse, put: Put) -> list[str]:
    """See ``put_sequence``."""
    return put_sequence(lakehouse, put)


def worked(lake: Lakehouse) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Integrate and describe injections anew, and return both tables in order."""
    update(lake, PEAKS_STATION, rebuild=True)
    update(lake, INJECTION_PROGRESS_STATION, rebuild=True)
    return (
        lake.polars(PEAKS).sort("injection_id", "channel", "peak_no"),
        lake.polars(INJECTION_PROGRESS).sort("injection_id", "checkpoint_pct"),
    )


def test_a_few_traces_worked_on_in_this_process_give_what_sparks_workers_give(
    spark_lakehouse: Lakehouse, put_spark: Put, keeper: SessionKeeper
) -> None:
    put_sequence(spark_lakehouse, put_spark)
    local = worked(spark_lakehouse)
    for table in (PEAKS, INJECTION_PROGRESS):
        empty = spark_lakehouse.polars(table).clear().to_arrow()
        spark_lakehouse.replace_where(table, empty, "`injection_id` IS NOT NULL")
        assert spark_lakehouse.row_count(table) == 0
    spark_lakehouse.compute = PlacedCompute(keeper, few=0)
    remote = worked(spark_lakehouse)
    assert [frame.height for frame in local] == [4, 12]  # four traces of one peak each; three runs at four checkpoints
    for one, other in zip(local, remote, strict=True):
        assert one.equals(other, null_equal=True)


def test_spark_works_on_injections_of_which_no_pressure_is_known(spark_lakehouse: Lakehouse, put_spark: Put, keeper: SessionKeeper) -> None:
    spark_lakehouse.compute = PlacedCompute(keeper, few=0)
    row = injection("a", 1)
    spark_lakehouse.append(INJECTIONS, spark_lakehouse.local_rows(INJECTIONS, [row]))
    put_spark(LIMS_SEQUENCES, planned(row))
    put_spark(CHROMATOGRAMS, trace("a", "UV", 600.0))
    found, progress = worked(spark_lakehouse)
    assert (found.height, progress["checkpoint_pct"].to_list()) == (1, [10, 25, 50, 75])


@pytest.mark.parametrize("few", [FEW, 0])
def test_injections_without_a_trace_have_no_peaks(lakehouse: Lakehouse, no_spark: SessionKeeper, few: int) -> None:
    row = injection("a", 1)
    lakehouse.append(INJECTIONS, lakehouse.local_rows(INJECTIONS, [row]))
    lakehouse.compute = PlacedCompute(no_spark, few=few)
    assert [frame.height for frame in worked(lakehouse)] == [0, 0]


def test_of_a_trace_exported_twice_the_newer_counts_with_its_own_vendor_peaks(lakehouse: Lakehouse, sequence: list[str]) -> None:
    """660 mAU*s are 11 mAU*min; the file that came first had 111."""
    found, _ = worked(lakehouse)
    (row,) = found.filter(pl.col("injection_name") == "a").to_dicts()
    assert (row["analyte"], row["source_sha256"], row["vendor_area"]) == ("API", "a two", 661.0)
    assert row["area"] == pytest.approx(11.0, rel=1e-3)


def test_a_run_is_described_by_first_channel_pressure_and_its_sequences_standards(lakehouse: Lakehouse, sequence: list[str]) -> None:
    """Standard 600 and sample "a" 660 mAU*s at equal weights: at 75 % of the run its content is known, 110 %."""
    _, progress = worked(lakehouse)
    last = {row["injection_id"]: row for row in progress.filter(pl.col("checkpoint_pct") == 75).to_dicts()}
    _, a, b = (last[each] for each in sequence)
    assert a["main_value_pct"] == pytest.approx(110.0, rel=0.01)
    assert (a["pressure_mean_bar"], b["pressure_mean_bar"]) == (None, pytest.approx(200.0, abs=0.5))


def test_only_the_traces_of_the_injections_asked_for_are_chosen(lakehouse: Lakehouse, sequence: list[str]) -> None:
    read = StationReader(lakehouse, PEAKS_STATION, {each.name: lakehouse.version(each.table) for each in PEAKS_STATION.inputs})
    asked = lakehouse.polars(INJECTIONS).filter(pl.col("injection_id").is_in(sequence[1:]))
    chosen = chosen_traces(read, asked)
    places = {place_of(row, TRACE_PLACE) for row in chosen.to_dicts()}
    assert places == {
        ("a two", "hplc", "LC-1", "a", "08:00", "UV"),
        ("b one", "hplc", "LC-1", "b", "08:00", "UV"),
        ("b one", "hplc", "LC-1", "b", "08:00", "FLD"),
    }


def test_a_name_that_another_instrument_uses_too_is_another_injection(lakehouse: Lakehouse, sequence: list[str], put: Put) -> None:
    put(CHROMATOGRAMS, trace("a", "UV", 9999.0, instrument_name="LC-2", source_sha256="c"), batch=3)
    found, _ = worked(lakehouse)
    assert found.filter(pl.col("injection_name") == "a")["source_sha256"].to_list() == ["a two"]


@pytest.mark.parametrize(("injections", "tasks"), [(1, 1), (799, 1), (800, 2), (5000, 12), (10**6, 64)])
def test_tasks_grow_with_the_work(injections: int, tasks: int) -> None:
    assert tasks_for(injections) == tasks
