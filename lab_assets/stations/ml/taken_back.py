"""Predictions that were made from what is taken back: of a table that is restored, or of a run that is rolled back.

Belongs here: which these are. Does not belong here: taking back (``restoring.py``, ``rollback.py``), marking (``prediction_records.py``).

One rule for both. A prediction that counts, of the model that scored last, ends at once when a version that it names holds what is taken
back, or was made from it as the commits say: nobody should rely on it until the tables are made anew. The next scoring looks at every run.
What comes out the same is valid and counts again, as if nothing had been; what does not is said to be superseded or ended, and why, as if it
had counted until then. That it waited in between is in the history of ``ml.predictions`` and in the audit trail, which names the version.

Others stay: what rests on earlier versions alone, what the service answered (it was given what it rests on, and is never scored again), and
predictions of former models, of which the next scoring could not say whether they come out the same. These end when their run's facts do
turn out other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.ml import PREDICTIONS
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.opening import DamagedTableError
from lab_assets.stations.all_stations import downstream, stations
from lab_assets.stations.ml.predictions import of_last_model
from lab_assets.stations.ml.training_sets import FEATURE_TABLES

SCORED_FROM: Final = frozenset(table.full_name for table in (INJECTIONS, *FEATURE_TABLES))
"""Tables that predictions are made from, and whose versions they name."""
ARRANGING: Final = ("OPTIMIZE", "SET TBLPROPERTIES", "ADD COLUMN", "CREATE")
"""Operations that change no row."""


def resting_on(lake: Lakehouse, since: Mapping[str, int]) -> list[str]:
    """Return the predictions that end when tables are taken back.

    Args:
        lake: Tables.
        since: First version that is taken back, by table.
    """
    import polars as pl

    first = {name: version for name, version in _first_resting(lake, since).items() if name in SCORED_FROM}
    if not first:
        return []
    counts = pl.col("ended_at_utc").is_null() & (pl.col("mode") != "online") & of_last_model(lake)
    found: list[str] = []
    for name, named in lake.polars(PREDICTIONS, ["prediction_id", "table_versions"], where=counts).iter_rows():
        versions = dict(named or ())
        if any(versions.get(table, -1) >= version for table, version in first.items()):
            found.append(name)
    return found


def _first_resting(lake: Lakehouse, since: Mapping[str, int]) -> dict[str, int]:
    """Return the first version, by table, that holds what is taken back or was made from it; tables without such a version are left out."""
    first = dict(since)
    rested = {*since, *downstream(set(since))}
    for name in (name for name in stations() if name in rested):
        if versions := _versions_resting(lake, contract(name), first):
            first[name] = min([*versions, first.get(name, versions[0])])
    return first


def _versions_resting(lake: Lakehouse, table: TableContract, first: Mapping[str, int]) -> list[int]:
    """Return the versions of a table whose commits read what is taken back; of one that does not say what it read, that is assumed."""
    if lake.versions_as_they_are([table.full_name])[table.full_name] < 0:
        return []
    try:
        history = lake.history(table)
    except DamagedTableError:
        return [0]
    found: list[int] = []
    for entry in history:
        if Derivation.of_commit(entry) is None:
            if not str(entry.get("operation")).startswith(ARRANGING):
                found.append(int(entry["version"]))
        elif _has_read(entry, first):
            found.append(int(entry["version"]))
    return found


def _has_read(entry: Mapping[str, Any], first: Mapping[str, int]) -> bool:
    """Return whether a commit says that it read some version from the first on, by table."""
    stated = Derivation.of_commit(entry)
    inputs = {} if stated is None else stated.inputs
    return any(str(read).isdecimal() and int(read) >= first[name] for name, read in inputs.items() if name in first)


def versions_made_of(lake: Lakehouse, tables: Iterable[TableContract], since: Mapping[str, int]) -> dict[str, list[int]]:
    """Return the versions of some tables whose commits say that they were made of what is taken back, by table.

    Args:
        lake: Tables.
        tables: The tables.
        since: First version that is taken back, by table.
    """
    first = _first_resting(lake, since)
    return {table.full_name: [int(entry["version"]) for entry in lake.history(table) if _has_read(entry, first)] for table in tables}
