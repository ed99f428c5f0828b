"""Groups that a station made anew, put in the place of those that stand.

Belongs here: one commit of what differs. Does not belong here: what differs (``runner.py``), Delta (``lab_assets.lake``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lab_assets.stations.station import Station

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.derivation import Derivation
    from lab_assets.lake.lakehouse import Lakehouse

MOST_NAMED: Final = 5000
"""Groups that a condition names, at most: Delta's parser of conditions ends its process at some tens of thousands of names."""


def replace_groups(lake: Lakehouse, station: Station, rows: pl.DataFrame, groups: pl.DataFrame, derivation: Derivation) -> None:
    """Put rows in the place of all that some groups have in a station's table, in one commit.

    Few groups are named, and only files that hold some of their rows are written anew; with many, the table is.

    Args:
        lake: Tables.
        station: Whose table, and what a group is.
        rows: What the groups have from now on, in the table's columns.
        groups: Keys of the groups.
        derivation: Where the rows came from.
    """
    import polars as pl

    target = station.target
    if groups.height <= MOST_NAMED:
        lake.replace_where(target, rows.to_arrow(), _predicate(station, groups), derivation=derivation)
        return
    own = None if station.within is None else pl.col(station.within[0]) == station.within[1]
    standing = lake.polars(target, list(target.column_names), where=own).cast(dict(rows.schema))  # pyright: ignore[reportArgumentType]
    written = rows_outside(station, standing, groups).vstack(rows).to_arrow()
    if station.within is None:
        lake.replace(target, written, derivation=derivation)
    else:  # rows beside them may have columns that the contract has no more
        lake.replace_where(target, written, _own(station.within), derivation=derivation)


def rows_of(station: Station, rows: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of some groups."""
    return _keyed(station, rows).join(groups, left_on=_key_of(station), right_on=station.group.names, how="semi").select(rows.columns)


def rows_outside(station: Station, rows: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of all other groups."""
    return _keyed(station, rows).join(groups, left_on=_key_of(station), right_on=station.group.names, how="anti").select(rows.columns)


def _keyed(station: Station, rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows.with_columns(pl.coalesce(station.group.columns).alias("__key")) if station.group.coalesce else rows


def _key_of(station: Station) -> list[str]:
    return ["__key"] if station.group.coalesce else list(station.group.names)


def _predicate(station: Station, groups: pl.DataFrame) -> str:
    predicate = station.group.predicate(groups)
    return predicate if station.within is None else f"({predicate}) AND {_own(station.within)}"


def _own(within: tuple[str, str]) -> str:
    return f"`{within[0]}` = '{within[1]}'"
