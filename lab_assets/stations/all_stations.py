"""Every station, in the order in which tables follow from one another.

Belongs here: finding them, and asking for them. Does not belong here: declarations.

A module in one of the folders below that names its ``Station`` as a constant is found by that; nothing lists it.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from lab_assets.stations import features, gold, silver
from lab_assets.stations.station import Station

_FOLDERS: Final = (silver, features, gold)
_ONE_OF_ITS_FOLDER: Final = "lab_assets.stations.ml.labels"
"""The only station among modules that keep records; importing those costs more than naming this."""


def found_stations() -> list[Station]:
    """Return the stations that modules of the layers' folders declare, layer by layer, by module and by order in it."""
    names = [found.name for folder in _FOLDERS for found in iter_modules(folder.__path__, f"{folder.__name__}.")]
    modules = [import_module(name) for name in (*names, _ONE_OF_ITS_FOLDER)]
    declared = {id(each): each for module in modules for each in vars(module).values() if isinstance(each, Station)}
    return list(declared.values())


def in_flow_order(given: list[Station]) -> tuple[Station, ...]:
    """Return stations so that an input always stands before what is made from it; otherwise as they were given.

    Raises:
        ValueError: two make the same table, or tables are made from one another in a circle.
    """
    waiting = {each.name: each for each in given}
    if len(waiting) < len(given):
        names = [each.name for each in given]
        name = next(name for name in names if names.count(name) > 1)
        makers = sorted(each.make.__module__ for each in given if each.name == name)
        raise ValueError(f"two stations make {name}: in {' and in '.join(makers)}")
    made: list[Station] = []
    while waiting:
        ready = next((each for each in waiting.values() if not any(i.name in waiting and i.name != each.name for i in each.inputs)), None)
        if ready is None:
            raise ValueError(f"made from one another in a circle: {sorted(waiting)}")
        made.append(waiting.pop(ready.name))
    return tuple(made)


STATIONS: Final = in_flow_order(found_stations())


@cache
def stations() -> dict[str, Station]:
    """Return every station by the name of its table; an input always stands before what is made from it."""
    return {station.name: station for station in STATIONS}


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


def upstream(names: set[str]) -> list[str]:
    """Return those of some tables that stations make, and the tables that they rest on, directly or not, in flow order."""
    found = set(names)
    for name, each in reversed(stations().items()):
        if name in found:
            found.update(given.name for given in each.inputs)
    return [name for name in stations() if name in found]
