"""Rows that nobody makes any more, beside those that a station makes: of former feature sets, in the feature tables.

Belongs here: keeping them where a table is set back, taking away those that rest on what is rolled back. Does not belong here: marking a
table to be made anew, the order of a restore (``restoring.py``), of a rollback (``rollback.py``), predictions.

Today's program computes today's set alone, and the model in service may score on a former one. What is lost of that is lost for ever: so a
restore sets back today's set, which its station makes anew, and the rows of all other sets stay. Only where nothing else can be right do
they go: with what another program wrote, and with the facts of a run that is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from lab_assets.contracts.core import TableContract
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.log_history import history
from lab_assets.lake.opening import open_table
from lab_assets.stations.governance.lineage import EXTERNAL, rows_of_commits
from lab_assets.stations.station import Station

if TYPE_CHECKING:
    import polars as pl

LOST_WITH_A_TABLE: Final = (
    "rows of former feature sets that it held do not come back: this program computes today's set alone, and only a backup has them"
)


def _former(within: tuple[str, str]) -> pl.Expr:
    """Return the condition of the rows that a station does not make, by what delimits those that it does (``Station.within``)."""
    import polars as pl

    column, value = within
    return pl.col(column) != value


def _former_rows(lake: Lakehouse, station: Station, version: int | None = None) -> pl.DataFrame:
    """Return the rows of former sets, of a version or the latest; none of a table that holds no such rows."""
    import polars as pl

    where = pl.lit(value=False) if station.within is None else _former(station.within)
    return lake.polars(station.target, list(station.target.column_names), version=version, where=where)


def restore_beside_former(lake: Lakehouse, station: Station, version: int) -> int:
    """Make an earlier version of a station's table the latest one, without losing a row of a former set.

    Rows of former sets are those that stand now, and those of that version beside them whose key none of them has. What another program
    committed since does not count as standing: then it is what stood before. Each commit leaves no fewer rows of former sets than should
    be there at the end, and repeating all of it is harmless.

    Args:
        lake: Tables.
        station: Whose table.
        version: Version to go back to.

    Returns:
        Version of the table afterwards.
    """
    target = station.target
    if station.within is None:
        return lake.restore(target, version)
    last = lake.versions_as_they_are([target.full_name])[target.full_name]
    ours = _before_others(lake, target, version, last)
    if ours == version:
        return lake.restore(target, version)
    if ours != last:
        lake.restore(target, ours)  # before a row is read: its columns may be others now
    kept, back = (_former_rows(lake, station, each) for each in (ours, version))
    if kept.join(back, on=kept.columns, how="anti", nulls_equal=True).is_empty():
        return lake.restore(target, version)
    sets = sorted({*kept[station.within[0]], *back[station.within[0]]})
    derivation = Derivation(inputs={target.full_name: version} | {f"features:{each}": ours for each in sets})
    missing = back.join(kept, on=list(target.primary_key), how="anti")
    if missing.height:
        lake.append(target, missing.to_arrow(), derivation=derivation)
    column, value = station.within
    made = lake.polars(target, list(target.column_names), version=version, where=~_former(station.within))
    return lake.replace_where(target, made.to_arrow(), f"`{column}` = '{value}'", derivation=derivation)


def _before_others(lake: Lakehouse, table: TableContract, version: int, last: int) -> int:
    """Return the last version of a table up to which nothing but the product wrote since an earlier one."""
    opened = open_table(table, lake.uri(table), lake.ledger)
    if opened is None or last <= version:
        return version
    since = [entry for entry in history(opened, last - version) if int(entry["version"]) > version]
    others = [int(row["output_version"]) for row in rows_of_commits(table, since, None) if row["input"] == EXTERNAL]
    return min(others) - 1 if others else last


def former_rows_since(lake: Lakehouse, station: Station, version: int) -> int:
    """Return how many rows of former sets stand that an earlier version of a station's table does not have."""
    if station.within is None:
        return 0
    standing, then = (_former_rows(lake, station, each) for each in (None, version))
    return standing.join(then, on=standing.columns, how="anti", nulls_equal=True).height


def take_away_former(lake: Lakehouse, station: Station, versions: Iterable[int], derivation: Derivation) -> int:
    """Take away the rows of former sets that some commits brought and that still stand.

    Nobody makes them again from what is known without the facts that are rolled back, so they must not count as known. What those commits
    had replaced does not come back, since others may have known better since; earlier versions hold it.

    Args:
        lake: Tables.
        station: Whose table.
        versions: Versions that the commits made.
        derivation: Why they go.

    Returns:
        Rows that are gone.
    """
    import polars as pl

    if station.within is None or (standing := _former_rows(lake, station)).is_empty():
        return 0
    columns = list(station.target.column_names)
    brought = [
        lake.changes(station.target, columns, since=version - 1, until=version).added.filter(_former(station.within))
        for version in versions
        if version > 0
    ]
    if not brought:
        return 0
    gone = standing.join(pl.concat(brought), on=columns, how="semi", nulls_equal=True)
    if gone.height:
        lake.delete_keys(station.target, gone.select(station.target.primary_key).to_arrow(), derivation=derivation)
    return gone.height
