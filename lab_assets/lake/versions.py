"""Looking at the versions of Delta tables.

Belongs here: history, difference, state at a time. Does not belong here: writing (``lab_assets.lake.writer``), what people
may see (``lab_assets.governance``; here every tagged column is hidden from everyone).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import FILES, QUARANTINED_ROWS
from lab_assets.contracts.core import TableContract
from lab_assets.lake import opening
from lab_assets.lake.data_files import commit_path, local_path
from lab_assets.lake.log_history import history
from lab_assets.lake.reader import NoSuchVersionError, latest_at, standing_rows
from lab_assets.settings import Settings
from lab_assets.state.ledger import ledger_of

if TYPE_CHECKING:
    from deltalake import DeltaTable

HIDDEN: Final = "***"
_LONGEST_ARRAY: Final = 8


class TableViewError(ValueError):
    """What was asked for does not exist."""


def written_table(settings: Settings, contract: TableContract) -> DeltaTable:
    """Open a table to read it, held against what the ledger knows was committed.

    Raises:
        TableViewError: nothing was written to it yet.
        DamagedTableError: its log does not hold what was committed.
    """
    table = opening.open_table(contract, settings.table_uri(contract.layer, contract.name), ledger_of(settings))
    if table is None:
        raise TableViewError(f"{contract.full_name} has no data yet")
    return table


def table_history(settings: Settings, contract: TableContract, *, limit: int | None = None) -> list[dict[str, Any]]:
    """Return the commits, newest first: version, time, operation, writer and rows."""
    table = written_table(settings, contract)
    local = not opening.is_remote(table.table_uri)
    commits: list[dict[str, Any]] = []
    for commit in history(table, limit):
        metrics = commit.get("operationMetrics") or {}
        rows, files = _metric(metrics, _ROWS_WRITTEN), _metric(metrics, _FILES_ADDED)
        if rows is None and local:
            rows, files = _added(local_path(table.table_uri), commit["version"])
        at = datetime.fromtimestamp(commit["timestamp"] / 1000, tz=UTC)
        commits.append(
            {
                "version": commit["version"],
                "at_utc": at.isoformat(timespec="milliseconds"),
                "operation": commit.get("operation"),
                "rows_written": rows,
                "files_added": files,
                "engine": commit.get("engineInfo") or commit.get("clientVersion"),
            }
        )
    return commits


_ROWS_WRITTEN: Final = ("num_added_rows", "num_output_rows", "numOutputRows", "num_copied_rows")
_FILES_ADDED: Final = ("num_added_files", "num_target_files_added", "numFilesAdded", "numAddedFiles", "numTargetFilesAdded", "numFiles")
"""What writers call them, deltalake by operation and Spark; restores and a table's creation count neither."""


def _metric(metrics: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """Return the first of some metrics that a commit states."""
    return next((int(metrics[name]) for name in names if metrics.get(name) is not None), None)


def _added(folder: Path, version: int) -> tuple[int | None, int | None]:
    """Return the rows and files that a commit added, as its file says; nothing for a commit file that was cleaned up."""
    try:
        lines = commit_path(folder, version).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None, None
    added = [file for line in lines if (file := json.loads(line).get("add")) is not None]
    return sum(int(json.loads(file.get("stats") or "{}").get("numRecords", 0)) for file in added), len(added)


def table_at(settings: Settings, contract: TableContract, when: int | datetime, *, limit: int) -> tuple[int, int, list[dict[str, Any]]]:
    """Return a table as it was: version, number of rows and the first rows, tagged columns hidden.

    Args:
        settings: Where the lake is.
        contract: Table.
        when: A version, or a time with a zone.
        limit: Most rows returned.

    Raises:
        TableViewError: there was no such version.
    """
    table = _loaded(settings, contract, when)
    data = table.to_pyarrow_dataset()
    return table.version(), data.count_rows(), [shown(contract, row) for row in data.head(limit).to_pylist()]


def rejected_rows(settings: Settings, *, table: str | None = None, rule: str | None = None) -> list[dict[str, Any]]:
    """Return rows that were refused while the others of their file went on, newest first; their values are hidden.

    Args:
        settings: Where the lake is.
        table: Only rows meant for this one, ``bronze.NAME``.
        rule: Only rows that broke this rule.

    Returns:
        Rows of ``bronze.quarantined_rows``, and ``replaced``: whether a later file of the same path was committed.
    """
    files = standing_rows(settings, FILES, ["state", "supersedes"]).to_dicts()
    replaced = {file["supersedes"] for file in files if file["state"] == "committed"}
    rows = standing_rows(settings, QUARANTINED_ROWS).to_dicts()
    wanted = [row for row in rows if table in {None, f"bronze.{row['table_name']}"} and rule in {None, row["rule"]}]
    wanted.sort(key=lambda row: (-row["ingest_batch"], row["source_file"], row["source_row"], row["column_name"] or ""))
    return [{**shown(QUARANTINED_ROWS, row), "replaced": row["source_sha256"] in replaced} for row in wanted]


def _loaded(settings: Settings, contract: TableContract, when: int | datetime) -> DeltaTable:
    table = written_table(settings, contract)
    if isinstance(when, int) and not 0 <= when <= table.version():
        raise TableViewError(f"{contract.full_name} has versions 0 to {table.version()}, not {when}")
    try:
        version = when if isinstance(when, int) else latest_at(contract, table, when)
    except NoSuchVersionError as error:
        raise TableViewError(str(error)) from error
    opening.require_whole_log(contract.full_name, table.table_uri, ledger_of(settings), through=version)
    table.load_as_version(version)
    return table


def table_difference(settings: Settings, contract: TableContract, old: int, new: int) -> dict[str, list[dict[str, Any]]]:
    """Return rows only in the new and only in the old version (``added``, ``removed``), tagged columns hidden.

    Only files that one version has and the other has not are read, so the cost follows the difference.

    Raises:
        TableViewError: there is no such version.
    """
    before, after = (_loaded(settings, contract, version) for version in (old, new))
    old_files, new_files = set(before.file_uris()), set(after.file_uris())
    gone, come = _rows(before, old_files - new_files), _rows(after, new_files - old_files)
    gone_count, come_count = Counter(map(_key, gone)), Counter(map(_key, come))
    return {
        "added": [shown(contract, row) for row in _only(come, come_count - gone_count)],
        "removed": [shown(contract, row) for row in _only(gone, gone_count - come_count)],
    }


def _rows(table: DeltaTable, uris: set[str]) -> list[dict[str, Any]]:
    if not uris:
        return []
    root = table.table_uri.rstrip("/")
    dataset = table.to_pyarrow_dataset()
    kept = [fragment for fragment in dataset.get_fragments() if f"{root}/{fragment.path}" in uris or _absolute(root, fragment.path) in uris]
    return [row for fragment in kept for row in fragment.to_table(schema=dataset.schema).to_pylist()]


def _absolute(root: str, path: str) -> str:
    return str(Path(root.removeprefix("file://")) / path)


def _key(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, default=repr)


def _only(rows: Iterable[dict[str, Any]], left: Counter[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for row in rows:
        key = _key(row)
        if left[key] > 0:
            left[key] -= 1
            found.append(row)
    return found


def shown(contract: TableContract, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for the screen: tagged columns hidden, long arrays shortened to their length."""
    tagged = contract.tagged_columns()
    return {name: HIDDEN if name in tagged and value is not None else _short(value) for name, value in row.items()}


def _short(value: Any) -> Any:
    if isinstance(value, list) and len(value) > _LONGEST_ARRAY:
        return f"[{len(value)} values]"
    if isinstance(value, bytes):
        return f"[{len(value)} bytes]"
    return dict(value) if isinstance(value, list) and value and isinstance(value[0], tuple) else value
