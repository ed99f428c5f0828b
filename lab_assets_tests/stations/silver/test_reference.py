"""Reference tables of silver: latest records, events once, instruments, and news without Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab_assets.compute.session import SessionKeeper
from lab_assets.contracts.bronze import CALIBRATIONS, LIMS_EVENTS, LIMS_LOTS, LIMS_SAMPLES
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.silver import INJECTIONS, INSTRUMENTS, LOTS, PROCESS_EVENTS, SAMPLES
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets.stations.all_stations import STATIONS
from lab_assets.stations.runner import update
from lab_assets.stations.silver.reference import INSTRUMENTS_STATION, LOTS_STATION, PROCESS_EVENTS_STATION, SAMPLES_STATION
from lab_assets.stations.station import Station
from lab_assets_tests.stations.rows import Put, at


def rows_of(lake: Lakehouse, contract: TableContract, key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in lake.polars(contract).to_dicts()}


@pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.name)
def test_empty_inputs_are_no_news_and_start_no_spark(station: Station, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    lake = Lakehouse(settings, SessionKeeper(settings), Ledger(open_database(settings)))
    assert update(lake, station).version == 0
    assert not (settings.run / "spark").exists()


def test_lots_keep_the_latest_record_whatever_order_the_exports_come_in(lakehouse: Lakehouse, put: Put) -> None:
    put(
        LIMS_LOTS,
        {"lot_id": "NEB25-0001", "product": "NEBRILAT-10", "site": "Plant North", "recorded_at_utc": at(2)},
        {"lot_id": "NEB25-0001", "product": "NEBRILAT-10", "site": "Plant East", "recorded_at_utc": at(3)},
        {"lot_id": "NEB25-0002", "product": "NEBRILAT-10", "site": "Plant North", "recorded_at_utc": at(3)},
    )
    first = update(lakehouse, LOTS_STATION).version
    assert {lot: row["site"] for lot, row in rows_of(lakehouse, LOTS, "lot_id").items()} == {
        "NEB25-0001": "Plant East",
        "NEB25-0002": "Plant North",
    }
    assert update(lakehouse, LOTS_STATION).version == first
    put(
        LIMS_LOTS,
        {"lot_id": "NEB25-0001", "product": "NEBRILAT-10", "site": "an older record", "recorded_at_utc": at(1)},
        {"lot_id": "NEB25-0002", "product": "NEBRILAT-10", "site": "corrected", "recorded_at_utc": at(4)},
        {"lot_id": "ORS25-0003", "product": "ORSALINE-50", "site": "Plant East", "recorded_at_utc": at(4)},
        batch=2,
    )
    assert update(lakehouse, LOTS_STATION).version > first
    assert {lot: row["site"] for lot, row in rows_of(lakehouse, LOTS, "lot_id").items()} == {
        "NEB25-0001": "Plant East",
        "NEB25-0002": "corrected",
        "ORS25-0003": "Plant East",
    }


def test_an_update_killed_before_its_progress_was_recorded_is_repeated_without_harm(lakehouse: Lakehouse, put: Put) -> None:
    put(LIMS_SAMPLES, {"sample_name": "S25-0001", "lot_id": "NEB25-0001", "sample_type": "release", "recorded_at_utc": at(2)})
    put(LIMS_EVENTS, {"event_id": "E1", "lot_id": "NEB25-0001", "event": "manufactured", "at_utc": at(1), "recorded_at_utc": at(1)})
    update(lakehouse, SAMPLES_STATION)
    events = update(lakehouse, PROCESS_EVENTS_STATION).version
    for station in ("silver.samples", "silver.process_events"):
        lakehouse.ledger.set_progress(station, dict.fromkeys(lakehouse.ledger.progress(station), 0))
    update(lakehouse, SAMPLES_STATION)
    assert lakehouse.row_count(SAMPLES) == 1
    assert update(lakehouse, PROCESS_EVENTS_STATION).version == events
    assert lakehouse.row_count(PROCESS_EVENTS) == 1


def test_events_are_appended_once(lakehouse: Lakehouse, put: Put) -> None:
    made = {"event_id": "E1", "lot_id": "L", "event": "manufactured", "at_utc": at(1), "recorded_at_utc": at(1)}
    taken = {"event_id": "E2", "lot_id": "L", "event": "sampled", "at_utc": at(2), "recorded_at_utc": at(2)}
    put(LIMS_EVENTS, made, made)
    first = update(lakehouse, PROCESS_EVENTS_STATION).version
    put(LIMS_EVENTS, made, batch=2)
    assert update(lakehouse, PROCESS_EVENTS_STATION).version == first
    put(LIMS_EVENTS, made, taken, batch=3)
    assert update(lakehouse, PROCESS_EVENTS_STATION).version == first + 1
    assert sorted(lakehouse.polars(PROCESS_EVENTS)["event_id"].to_list()) == ["E1", "E2"]


def test_instruments_show_their_latest_certificate_by_its_worst_parameter(lakehouse: Lakehouse, put: Put) -> None:
    injection = {"injection_name": "i", "zone_known": True, "channels": ["A"], "processing_id": "none", "instrument_id": "LC-01"}
    put(
        INJECTIONS,
        {**injection, "injection_id": "a", "injected_at_utc": at(5), "software": "new"},
        {**injection, "injection_id": "b", "injected_at_utc": at(4), "software": "old"},
        {**injection, "injection_id": "d", "injected_at_utc": at(6)},
        {**injection, "injection_id": "c", "instrument_id": None},
    )
    certificate = {"deviation": 0.1, "tolerance": 0.2, "unit": "nm", "performed_at_utc": at(1), "valid_until_utc": at(30)}
    second = {"certificate_id": "CAL-1", "instrument_id": "LC-01", "performed_at_utc": at(2)}
    put(
        CALIBRATIONS,
        {**certificate, "certificate_id": "CAL-0", "instrument_id": "LC-01", "parameter": "flow", "outcome": "pass"},
        {
            **certificate,
            "certificate_id": "CAL-1",
            "instrument_id": "LC-01",
            "parameter": "flow",
            "outcome": "pass",
            "performed_at_utc": at(2),
        },
        {**certificate, **second, "parameter": "wavelength", "outcome": "fail", "valid_until_utc": at(28)},
        {**certificate, "certificate_id": "CAL-9", "instrument_id": "LC-09", "parameter": "flow", "outcome": "pass"},
    )
    update(lakehouse, INSTRUMENTS_STATION)
    found = rows_of(lakehouse, INSTRUMENTS, "instrument_id")
    assert found.keys() == {"LC-01", "LC-09"}
    first = found["LC-01"]
    assert (first["injections"], first["software"], first["first_seen_utc"], first["last_seen_utc"]) == (3, "new", at(4), at(6))
    assert (first["calibration_id"], first["calibration_outcome"], first["calibration_due_utc"]) == ("CAL-1", "fail", at(28))
    assert (found["LC-09"]["injections"], found["LC-09"]["calibration_outcome"]) == (0, "pass")


def test_a_certificate_recorded_again_counts_as_it_was_recorded_last(lakehouse: Lakehouse, put: Put) -> None:
    """Recorded on day 3 as failed, good until day 20 and performed on day 2; corrected on day 5: passed, until day 30, performed on day 1."""
    certificate = {"certificate_id": "CAL-1", "instrument_id": "LC-01", "deviation": 0.1, "tolerance": 0.2, "unit": "nm"}
    wrong = {**certificate, "parameter": "flow", "outcome": "fail", "performed_at_utc": at(2), "valid_until_utc": at(20)}
    right = {**certificate, "parameter": "flow", "outcome": "pass", "performed_at_utc": at(1), "valid_until_utc": at(30)}
    lamp = {**certificate, "parameter": "lamp", "outcome": "pass", "performed_at_utc": at(1), "valid_until_utc": at(29)}

    def shown() -> tuple[Any, ...]:
        update(lakehouse, INSTRUMENTS_STATION)
        (row,) = lakehouse.polars(INSTRUMENTS).to_dicts()
        return row["calibration_id"], row["calibration_outcome"], row["calibration_due_utc"]

    put(CALIBRATIONS, *({**row, "recorded_at_utc": at(3)} for row in (wrong, lamp)))
    assert shown() == ("CAL-1", "fail", at(20))
    put(CALIBRATIONS, {**right, "recorded_at_utc": at(5)}, batch=2)
    assert shown() == ("CAL-1", "pass", at(29))
    put(CALIBRATIONS, {**wrong, "recorded_at_utc": at(4)}, batch=3)
    assert shown() == ("CAL-1", "pass", at(29)), "an older record comes last"
    earlier = {**right, "certificate_id": "CAL-0", "performed_at_utc": at(1, 12), "valid_until_utc": at(25), "recorded_at_utc": at(2)}
    put(CALIBRATIONS, earlier, {**lamp, "parameter": "flow", "valid_until_utc": at(28), "recorded_at_utc": at(6)}, batch=4)
    assert shown() == ("CAL-0", "pass", at(25)), "performed later than the corrected one, though before what that said first"
