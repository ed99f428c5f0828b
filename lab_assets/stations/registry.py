"""Every station, in the order in which tables follow from one another.

Belongs here: the list, and asking it. Does not belong here: declarations.
"""

from __future__ import annotations

from functools import cache

from lab_assets.stations.features.histories import LOT_HISTORY_STATION, STORAGE_EXPOSURE_STATION
from lab_assets.stations.features.injection_progress import INJECTION_PROGRESS_STATION
from lab_assets.stations.features.instrument_history import INSTRUMENT_HISTORY_STATION
from lab_assets.stations.gold.exceptions import EXCEPTIONS_STATION
from lab_assets.stations.gold.lot_disposition import LOT_DISPOSITION_STATION
from lab_assets.stations.gold.method_trends import METHOD_TRENDS_STATION
from lab_assets.stations.gold.suitability import SUITABILITY_STATION
from lab_assets.stations.gold.time_to_release import TIME_TO_RELEASE_STATION
from lab_assets.stations.ml.labels import LABELS_STATION
from lab_assets.stations.silver.injections import INJECTIONS_STATION
from lab_assets.stations.silver.media import DOCUMENTS_STATION, IMAGES_STATION
from lab_assets.stations.silver.peaks import PEAKS_STATION
from lab_assets.stations.silver.reference import INSTRUMENTS_STATION, LOTS_STATION, PROCESS_EVENTS_STATION, SAMPLES_STATION
from lab_assets.stations.silver.results import RESULTS_STATION
from lab_assets.stations.silver.storage_conditions import STORAGE_CONDITIONS_STATION
from lab_assets.stations.station import Station

STATIONS: tuple[Station, ...] = (
    LOTS_STATION,
    SAMPLES_STATION,
    PROCESS_EVENTS_STATION,
    STORAGE_CONDITIONS_STATION,
    IMAGES_STATION,
    DOCUMENTS_STATION,
    INJECTIONS_STATION,
    PEAKS_STATION,
    RESULTS_STATION,
    INSTRUMENTS_STATION,
    INJECTION_PROGRESS_STATION,
    LOT_HISTORY_STATION,
    STORAGE_EXPOSURE_STATION,
    INSTRUMENT_HISTORY_STATION,
    LABELS_STATION,
    LOT_DISPOSITION_STATION,
    METHOD_TRENDS_STATION,
    SUITABILITY_STATION,
    TIME_TO_RELEASE_STATION,
    EXCEPTIONS_STATION,
)


@cache
def stations() -> dict[str, Station]:
    """Return every station by the name of its table; an input always stands before what is made from it.

    Raises:
        ValueError: the order of ``STATIONS`` breaks this.
    """
    made: dict[str, Station] = {}
    targets = {station.name for station in STATIONS}
    for station in STATIONS:
        if late := [each.name for each in station.inputs if each.name in targets and each.name not in made and each.name != station.name]:
            raise ValueError(f"{station.name} stands before its input(s) {late}")
        made[station.name] = station
    return made


def station(name: str) -> Station:
    """Return the station of a table.

    Raises:
        KeyError: no station makes it; the message says what does.
    """
    try:
        return stations()[name]
    except KeyError:
        raise KeyError(f"no station makes {name!r}: bronze holds what files say, and records are kept as they were made") from None


def downstream(names: set[str]) -> list[str]:
    """Return the tables that rest on some tables, directly or not, in flow order."""
    found = set(names)
    order: list[str] = []
    for name, each in stations().items():
        if name not in names and any(given.name in found for given in each.inputs):
            found.add(name)
            order.append(name)
    return order
