"""Results as a station: which news reaches them, in whichever order it comes."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lab_assets.contracts.bronze import LIMS_LOTS, LIMS_RESULTS, LIMS_SAMPLES, SPECIFICATIONS
from lab_assets.contracts.gold import LOT_DISPOSITION
from lab_assets.contracts.silver import RESULTS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.gold.lot_disposition import LOT_DISPOSITION_STATION
from lab_assets.stations.runner import update
from lab_assets.stations.silver.reference import LOTS_STATION, SAMPLES_STATION
from lab_assets.stations.silver.results import RESULTS_STATION
from lab_assets_tests.stations.rows import Put, at, putting
from lab_assets_tests.stations.small_laboratory import opened

ENTRY = {
    "result_id": "R1", "sample_name": "S1", "method_id": "ASSAY-01", "analyte": "API", "value": 90.0, "unit": "%", "replicate": 1,
    "measured_at_utc": at(5), "recorded_at_utc": at(5, 2),
}  # fmt: skip
SAMPLE = {"sample_name": "S1", "lot_id": "L1", "sample_type": "release", "recorded_at_utc": at(4)}
LOT = {"lot_id": "L1", "product": "P", "manufactured_at_utc": at(2), "recorded_at_utc": at(2)}
LIMIT = {
    "spec_id": "SP", "product": "P", "method_id": "ASSAY-01", "analyte": "API", "spec_low": 95.0, "spec_high": 105.0, "unit": "%",
    "effective_from_utc": at(1), "recorded_at_utc": at(1),
}  # fmt: skip
RECORDS = {LIMS_RESULTS: ENTRY, LIMS_SAMPLES: SAMPLE, LIMS_LOTS: LOT, SPECIFICATIONS: LIMIT}


def current(lake: Lakehouse) -> list[dict[str, Any]]:
    return lake.polars(RESULTS, where=pl.col("is_current")).to_dicts()


def test_a_result_that_comes_before_its_lot_is_judged_when_the_lot_comes(lakehouse: Lakehouse, put: Put) -> None:
    """90 % against 95 to 105 %: the lot's record is the last to arrive; then the result fails, and it counts against its lot."""
    for table in (LIMS_RESULTS, LIMS_SAMPLES, SPECIFICATIONS):
        put(table, RECORDS[table])
    update(lakehouse, RESULTS_STATION)
    assert [(row["state"], row["spec_low"]) for row in current(lakehouse)] == [("no_spec", None)]
    put(LIMS_LOTS, LOT, batch=2)
    for station in (LOTS_STATION, SAMPLES_STATION, RESULTS_STATION, LOT_DISPOSITION_STATION):
        update(lakehouse, station)
    assert [(row["state"], row["spec_low"], row["lot_id"]) for row in current(lakehouse)] == [("fail", 95.0, "L1")]
    (lot,) = lakehouse.polars(LOT_DISPOSITION).to_dicts()
    assert (lot["lot_id"], lot["failing_tests"]) == ("L1", ["ASSAY-01/API"])


@pytest.mark.parametrize("order", permutations(range(4)), ids=str)
def test_records_give_the_same_result_in_whichever_order_they_arrive(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Lot, sample and limit were recorded before the result: whoever looks later sees one version, judged."""
    tables = list(RECORDS)
    with opened(tmp_path / "lab") as lake:
        put = putting(lake)
        for place in order:
            put(tables[place], RECORDS[tables[place]])
            update(lake, RESULTS_STATION)
        (row,) = lake.polars(RESULTS).to_dicts()
        assert (row["state"], row["result_version"], row["is_current"], row["known_time_utc"]) == ("fail", 1, True, at(5, 2))


def test_a_lot_recorded_after_the_result_adds_a_version_and_keeps_what_was_known(lakehouse: Lakehouse, put: Put) -> None:
    for table in (LIMS_RESULTS, LIMS_SAMPLES, SPECIFICATIONS):
        put(table, RECORDS[table])
    put(LIMS_LOTS, {**LOT, "recorded_at_utc": at(9)})
    update(lakehouse, RESULTS_STATION)
    rows = lakehouse.polars(RESULTS).sort("result_version").to_dicts()
    assert [(row["state"], row["known_time_utc"], row["superseded_by"]) for row in rows] == [
        ("no_spec", at(5, 2), 2),
        ("fail", at(9), None),
    ]


def test_news_of_another_lot_looks_at_nothing(lakehouse: Lakehouse, put: Put) -> None:
    for table, row in RECORDS.items():
        put(table, row)
    update(lakehouse, RESULTS_STATION)
    put(LIMS_LOTS, {**LOT, "lot_id": "L2"}, batch=2)
    outcome = update(lakehouse, RESULTS_STATION)
    assert (outcome.news, outcome.groups) == ({"bronze.lims_lots": 1}, 0)
