"""``governance.lineage``: what each version of each table was made from, read from the commits themselves.

Belongs here: from commits and declarations to lineage rows. Does not belong here: walking them (``lab_assets.governance.lineage``).

A commit carries in itself what it was made from, so that nothing can be lost between the commit and this table; what is here can be made
again from the logs at any time. Which columns feed which is declared by the stations, and written once for each declaration.

Every version of every table has its rows, of this table as well: those of its version N are written with version N + 1, which comes when
there is other news. So its newest version alone has none yet, and a run without news writes nothing: rows of the newest version would make
a version that lacks its own, without end. What another program committed states nothing: its row names ``external`` in place of inputs,
and ``written_by_others`` tells of it until the table is made anew or set back.

A table that was lost and began anew counts its versions from 0 again. Its rows name Delta's id of the table, by which they are told from
those of its earlier life, which stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.governance import LINEAGE
from lab_assets.contracts.ml import EVALUATIONS, TRAINING_SETS
from lab_assets.lake.commits import COMMIT_ID
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.log_history import history
from lab_assets.lake.opening import DamagedTableError, open_table
from lab_assets.lake.reader import LakeReader
from lab_assets.lake.table_life import TableLife, life_of, present_life
from lab_assets.provenance import code_version
from lab_assets.state.station_work import MADE_ANEW
from lab_assets.stations.runner import only_one

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.stations.station import Station

STATION: Final = LINEAGE.full_name
DECLARED: Final = "declared"
"""Input version of rows about columns: they hold for every version of the input."""
EXTERNAL: Final = "external"
"""Input of what another program wrote: nothing is known of what it was made from."""
_MODELS: Final = "#models"


def update_lineage(lake: Lakehouse, stations: Sequence[Station], *, run_id: str = "") -> int:
    """Add the lineage of every version that was committed since the last time.

    Returns:
        Version of ``governance.lineage`` afterwards.
    """
    with only_one(lake, STATION):
        lake.version(LINEAGE)  # made first where it is not there yet, so that its first version is recorded with the first rows
        progress = lake.ledger.progress(STATION)
        rows: list[dict[str, Any]] = []
        reached: dict[str, int] = {}
        # before the tables: reading one that is not there yet makes its first version
        evaluated = lake.versions_as_they_are([EVALUATIONS.full_name])[EVALUATIONS.full_name]
        if evaluated > progress.get(_MODELS, 0):
            rows += _rows_of_models(lake, since=progress.get(_MODELS, 0), until=evaluated)
            reached[_MODELS] = evaluated
        for table in contracts().values():
            version = lake.versions_as_they_are([table.full_name])[table.full_name]
            since = progress.get(table.full_name, -1)
            if version > since:
                reached[table.full_name] = version
                commits = _commits(lake, table, since, version)
                rows += rows_of_commits(table, commits, _table_id(lake, table))
        for station in stations:
            feeds = feeds_number(station)
            if progress.get(f"feeds:{station.name}") != feeds and lake.versions_as_they_are([station.name])[station.name] >= 0:
                reached[f"feeds:{station.name}"] = feeds
                rows += rows_of_columns(station, lake.version(station.target), run_id=run_id)
        new = _not_there(lake, rows)
        own = (STATION, str(reached.get(STATION)))
        if all((row["output"], row["output_version"]) == own for row in new):
            new = []
            reached.pop(STATION, None)
        version = lake.version(LINEAGE)
        if new:
            derivation = Derivation(inputs={"commits": "each"}, run_id=run_id, code_version=code_version())
            version = lake.append(LINEAGE, lake.local_rows(LINEAGE, new), derivation=derivation)
        if reached:
            lake.ledger.set_progress(STATION, reached)
        return version


def catch_up(lake: Lakehouse, *, run_id: str = "", say: Callable[[str], None]) -> None:
    """Bring lineage up to date after work that is done; it does not fail by it: what is wrong is said, and the next run does it again.

    Args:
        lake: Tables.
        run_id: Run that did the work.
        say: Given what kept it from being done.
    """
    from lab_assets.stations.all_stations import STATIONS

    try:
        update_lineage(lake, STATIONS, run_id=run_id)
    except Exception as error:  # noqa: BLE001 - the commits have it; the work itself is done
        say(f"{STATION} does not have the newest versions yet, the next run adds them: {error}")


def begun_anew(lake: Lakehouse, names: Iterable[str]) -> None:
    """Read the lineage of tables that began anew from their version 0 on."""
    lake.ledger.set_progress(STATION, dict.fromkeys(names, -1))


def _table_id(lake: Lakehouse, table: TableContract) -> str | None:
    life = present_life(lake, table)
    return None if life is None else life.table_id


def rows_to_come(lake: LakeReader, table: TableContract, since: int) -> list[dict[str, Any]]:
    """Return the lineage of the newest versions of a table, which their commits state and nobody has recorded yet; nothing is written.

    Args:
        lake: Tables.
        table: The table.
        since: Newest version that ``governance.lineage`` speaks of; -1 where it speaks of none.

    Raises:
        DamagedTableError: its log does not hold what was committed.
    """
    last = lake.versions_as_they_are([table.full_name])[table.full_name]
    if last <= since or (opened := open_table(table, lake.uri(table), lake.ledger)) is None:
        return []
    commits = history(opened, opened.version() - since)
    return rows_of_commits(table, [entry for entry in commits if int(entry["version"]) > since], life_of(opened).table_id)


def _commits(lake: Lakehouse, table: TableContract, since: int, until: int) -> list[dict[str, Any]]:
    """Return the commits between two versions; others may commit meanwhile, and history counts from the last one."""
    wanted, found = 0, list[dict[str, Any]]()
    newest = until
    while newest - since > wanted:
        wanted = newest - since
        found = lake.history(table, wanted)
        newest = int(found[0]["version"])
    return [entry for entry in found if since < int(entry["version"]) <= until]


def rows_of_commits(table: TableContract, history: Iterable[Mapping[str, Any]], table_id: str | None) -> list[dict[str, Any]]:
    """Return the lineage of some versions of a table, which Delta calls by an id, oldest first."""
    rows: list[dict[str, Any]] = []
    for entry in sorted(history, key=lambda entry: entry["version"]):
        version = int(entry["version"])
        found = Derivation.of_commit(entry)
        inputs = dict(found.inputs) if found is not None else {}
        if not inputs:
            inputs = _without_statement(table, entry, version)
        rows += [
            {
                "output": table.full_name,
                "output_version": str(version),
                "input": name,
                "input_version": str(read),
                "run_id": "" if found is None else found.run_id,
                "code_version": "" if found is None else found.code_version,
                "recorded_at_utc": datetime.fromtimestamp(entry["timestamp"] / 1000, tz=UTC),
                "output_table_id": table_id,
            }
            for name, read in sorted(inputs.items())
        ]
    return rows


def _without_statement(table: TableContract, entry: Mapping[str, Any], version: int) -> dict[str, int | str]:
    """Return what a commit was made from that names no inputs: it made, widened or arranged the table, or another program wrote it."""
    operation = str(entry.get("operation", ""))
    writer = entry.get("engineInfo") or entry.get("clientVersion") or "its writer"
    if operation == "CREATE TABLE" or operation.startswith(("ADD COLUMN", "SET TBLPROPERTIES")):
        return {f"contract:{table.full_name}": str(table.version)}
    if operation.startswith(("OPTIMIZE", "VACUUM")):
        return {table.full_name: version - 1}
    if entry.get(COMMIT_ID) is not None:
        return {"not stated": f"by {writer}"}
    return {EXTERNAL: f"{operation or 'commit'} by {writer}"}


def feeds_number(station: Station) -> int:
    """Return a number that changes when a station's declaration of columns does."""
    stated = json.dumps({name: list(sources) for name, sources in station.feeds.items()}, sort_keys=True)
    return int.from_bytes(hashlib.sha256(stated.encode()).digest()[:6], "big")


def rows_of_columns(station: Station, version: int, *, run_id: str) -> list[dict[str, Any]]:
    """Return which input columns feed which columns of a table, from a version on."""
    at = datetime.now(UTC)
    return [
        {
            "output": station.name,
            "output_version": str(version),
            "output_column": column,
            "input": source.rpartition(".")[0],
            "input_version": DECLARED,
            "input_column": source.rpartition(".")[2],
            "run_id": run_id,
            "code_version": code_version(),
            "recorded_at_utc": at,
        }
        for column, sources in station.feeds.items()
        for source in dict.fromkeys(sources)
    ]


def _rows_of_models(lake: Lakehouse, *, since: int, until: int) -> list[dict[str, Any]]:
    """Return what models were trained from, by the evaluations that were added."""
    import polars as pl

    columns = ["model_name", "model_version", "run_id", "training_set_id", "evaluated_at_utc"]
    added = lake.changes(EVALUATIONS, columns, since=since, until=until).added.unique()
    rows: list[dict[str, Any]] = []
    for row in added.iter_rows(named=True):
        frozen = lake.polars(TRAINING_SETS, ["table_versions"], where=pl.col("training_set_id") == row["training_set_id"]).head(1)
        versions = dict(_pairs(frozen["table_versions"][0])) if frozen.height else {}
        inputs = {**versions, f"training_set:{row['training_set_id']}": "frozen"}
        rows += [
            {
                "output": f"model:{row['model_name']}",
                "output_version": row["model_version"] or row["run_id"],
                "input": name,
                "input_version": str(version),
                "run_id": row["run_id"],
                "code_version": code_version(),
                "recorded_at_utc": row["evaluated_at_utc"],
            }
            for name, version in inputs.items()
        ]
    return rows


def _pairs(entries: Any) -> list[tuple[str, int]]:
    if isinstance(entries, dict):
        return list(entries.items())
    return [(entry["key"], entry["value"]) if isinstance(entry, dict) else (entry[0], entry[1]) for entry in entries]


_KEY: Final = LINEAGE.primary_key
_BEFORE_IDS: Final = (*(name for name in _KEY if name != "output_table_id"), "recorded_at_utc")
"""What tells rows that were written before ids of tables were: a commit's moment is the same whenever it is read."""


def not_among(held: Iterable[Mapping[str, Any]], rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows, each once, that are not among those that are held."""
    keys, before_ids = set[tuple[Any, ...]](), set[tuple[Any, ...]]()
    for row in held:
        keys.add(_named(row, _KEY))
        if not row.get("output_table_id"):
            before_ids.add(_named(row, _BEFORE_IDS))
    new = {key: row for row in rows if (key := _named(row, _KEY)) not in keys and _named(row, _BEFORE_IDS) not in before_ids}
    return list(new.values())


def _named(row: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in names)


def _not_there(lake: Lakehouse, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out rows that a run that was killed before it noted its progress has written already."""
    import polars as pl

    outputs = sorted({row["output"] for row in rows})
    if not outputs:
        return []
    versions = sorted({row["output_version"] for row in rows})
    where = pl.col("output").is_in(outputs) & pl.col("output_version").is_in(versions)
    return not_among(lake.polars(LINEAGE, [*_KEY, "recorded_at_utc"], where=where).iter_rows(named=True), rows)


def without_doubled(lake: Lakehouse, *, run_id: str = "") -> pl.DataFrame:
    """Take away every further row of a key, as two programs left them that wrote at once; of each key the row that came first stays.

    Returns:
        The rows that are gone.
    """
    import polars as pl

    with only_one(lake, STATION):
        version = lake.version(LINEAGE)
        rows = lake.polars(LINEAGE, version=version).sort("recorded_at_utc", maintain_order=True)
        is_further = pl.int_range(pl.len()).over(_KEY) > 0
        gone = rows.filter(is_further)
        if gone.height:
            derivation = Derivation(inputs={STATION: version}, run_id=run_id, code_version=code_version())
            lake.replace(LINEAGE, rows.filter(~is_further).to_arrow(), derivation=derivation)
        return gone


_COMPLETE: Final = "check:lineage"


def missing_lineage(lake: Lakehouse) -> dict[str, list[int]]:
    """Return the versions of each table that no lineage row speaks of; an empty dict when none is missing.

    The newest version of this table itself is not looked for: its rows are written with the next one. Versions that were found to have
    theirs before are not looked at again.
    """
    import polars as pl

    known, last = lake.ledger.progress(_COMPLETE), lake.versions_as_they_are(list(contracts()))
    last[STATION] = max(last[STATION] - 1, -1)
    moved = {name: version for name, version in last.items() if version != known.get(name, -1)}
    wanted = {name: range(min(known.get(name, -1), version) + 1, version + 1) for name, version in moved.items()}
    numbers = sorted({str(version) for versions in wanted.values() for version in versions})
    of_tables = pl.col("output").is_in(list(wanted)) & pl.col("output_column").is_null() & pl.col("output_version").is_in(numbers)
    recorded = set(lake.polars(LINEAGE, ["output", "output_version"], where=of_tables).iter_rows()) if numbers else set[Any]()
    missing = {
        name: gone for name, versions in wanted.items() if (gone := [each for each in versions if (name, str(each)) not in recorded])
    }
    reached = {name: version for name, version in moved.items() if name not in missing}
    if reached:
        lake.ledger.set_progress(_COMPLETE, reached)
    return missing


def written_by_others(lake: LakeReader) -> dict[str, list[int]]:
    """Return, by table, the recorded versions that another program wrote and that the table still rests on.

    It does no longer where the table was set back to before them since, its station has made every row anew, or it began anew.
    """
    import polars as pl

    last = lake.versions_as_they_are(list(contracts()))
    if last[STATION] < 0:
        return {}
    is_restore = (pl.col("input") == pl.col("output")) & pl.col("output_column").is_null()
    columns = ["output", "output_version", "output_table_id", "recorded_at_utc", "input", "input_version"]
    rows = lake.polars(LINEAGE, columns, where=(pl.col("input") == EXTERNAL) | is_restore)
    lives = {name: _life_if_whole(lake, name) for name in set(rows.filter(pl.col("input") == EXTERNAL)["output"])}
    others: dict[str, set[int]] = {}
    back: dict[str, list[tuple[int, int]]] = {}
    for name, version, table_id, at_utc, given, read in rows.iter_rows():
        if (life := lives.get(name)) is not None and not life.holds(table_id, at_utc):
            continue
        if given == EXTERNAL:
            others.setdefault(name, set()).add(int(version))
        elif read.isdecimal():
            back.setdefault(name, []).append((int(read), int(version)))
    found: dict[str, list[int]] = {}
    for name, versions in others.items():
        anew = lake.ledger.progress(name).get(MADE_ANEW, -1)
        resting = [
            version
            for version in sorted(versions)
            if anew < version <= last.get(name, -1) and not any(to < version < at for to, at in back.get(name, ()))
        ]
        if resting:
            found[name] = resting
    return found


def _life_if_whole(lake: LakeReader, name: str) -> TableLife | None:
    """Return the life of a table; ``None`` where there is none, or its log is damaged, which others say."""
    try:
        return present_life(lake, contracts()[name])
    except DamagedTableError:
        return None
