"""The stations are found by being there, and stand in flow order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab_assets.contracts.all_contracts import contracts
from lab_assets.stations.all_stations import STATIONS, downstream, found_stations, in_flow_order, stations
from lab_assets.stations.station import Input


def test_every_derived_table_has_a_station() -> None:
    derived = {name for name, table in contracts().items() if table.layer in {"silver", "features", "gold"}} | {"ml.labels"}
    assert set(stations()) == derived


def test_an_input_stands_before_what_is_made_from_it() -> None:
    place = {station.name: number for number, station in enumerate(STATIONS)}
    for station in STATIONS:
        assert all(place[each.name] < place[station.name] for each in station.inputs if each.name in place and each.name != station.name)


def test_flow_order_does_not_depend_on_where_stations_were_found() -> None:
    for start in (found_stations()[::-1], sorted(found_stations(), key=lambda station: station.name)):
        made: set[str] = set()
        for station in in_flow_order(start):
            assert not [each.name for each in station.inputs if each.name in stations() and each.name not in {*made, station.name}]
            made.add(station.name)


def test_two_stations_of_one_table_are_refused() -> None:
    trends = stations()["gold.method_trends"]
    found = (
        r"two stations make gold.lot_disposition: in lab_assets.stations.gold.lot_disposition and in lab_assets.stations.gold.method_trends"
    )
    with pytest.raises(ValueError, match=found):
        in_flow_order([*STATIONS, replace(stations()["gold.lot_disposition"], make=trends.make)])


def test_a_circle_is_refused() -> None:
    peaks, results = stations()["silver.peaks"], stations()["silver.results"]
    backwards = Input(table=results.target, columns=("result_id",))
    with pytest.raises(ValueError, match=r"circle: \['silver.peaks', 'silver.results'\]"):
        in_flow_order([replace(peaks, inputs=(*peaks.inputs, backwards)), results])


def test_what_rests_on_a_table_is_found_in_flow_order() -> None:
    resting = downstream({"silver.results"})
    assert resting.index("gold.lot_disposition") < resting.index("gold.exceptions")
    assert "silver.lots" not in resting
