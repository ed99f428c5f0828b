"""Dagster's history of runs: finished runs go after a while; those that wrote to tables are packed first.

Belongs here: which runs may go, and packing them. Does not belong here: how Dagster keeps them (``private``), when it is done
(``maintenance.py``).

A run that lineage or an approval names is part of a record. Its entry in Dagster and all its events are kept as lines of JSON in
``dagster/packed_runs``, named by the day of packing, for as long as records are (``LAB_RECORD_YEARS``); 'lab run log' reads them.
"""

import io
import itertools
import json
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg

from lab_assets.lake.archive_folder import write_durably
from lab_assets.lake.reader import LakeReader, standing_rows
from lab_assets.settings import Settings
from lab_assets.upkeep.removal import Removal, size_of

_AT_ONCE: Final = 500
_LEVEL: Final = 9
_NAME: Final = re.compile(r"^(\d{4})-(\d{2})-(\d{2})\.\d+\.jsonl\.zst$", re.ASCII)


def packed_folder(settings: Settings) -> Path:
    """Return where packed runs lie."""
    return settings.home / "dagster" / "packed_runs"


def runs_of_records(lake: LakeReader) -> set[str]:
    """Return the runs that lineage names: they wrote a version of a table, or trained a model that may have been approved."""
    from lab_assets.contracts.governance import LINEAGE

    return set(standing_rows(lake.settings, LINEAGE, ["run_id"])["run_id"].drop_nulls().unique())


def remove_old_runs(
    settings: Settings, instance: dg.DagsterInstance, of_records: set[str], *, now: datetime, dry_run: bool = False
) -> list[Removal]:
    """Remove finished runs that are older than the setting, with events and logs, and packed runs older than records are kept.

    The newest run of each table and check stays, whatever its age: automation goes by it.

    Args:
        settings: Whose home.
        instance: Its Dagster.
        of_records: Runs that are packed before they go.
        now: The moment.
        dry_run: Only say what would go.
    """
    folder = Path(instance.root_directory) / "storage"
    before = size_of(folder) + size_of(packed_folder(settings))
    old = _finished(instance, before=now - timedelta(days=settings.run_days))
    if dry_run:
        freed = sum(_shard_bytes(folder, run_id) for run_id in old)
    else:
        for first in range(0, len(old), _AT_ONCE):
            _remove(settings, instance, old[first : first + _AT_ONCE], of_records, now=now)
        freed = max(before - size_of(folder) - size_of(packed_folder(settings)), 0)
    return [Removal(what="finished runs in Dagster", items=len(old), bytes=freed), _remove_packed(settings, now=now, dry_run=dry_run)]


def packed_run(settings: Settings, run_id: str) -> list[dict[str, Any]]:
    """Return what was packed of a run: first its entry, then its events; empty for a run that was not packed."""
    import zstandard

    for path in sorted(packed_folder(settings).glob("*.jsonl.zst"), reverse=True):
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
            lines = [json.loads(line) for line in io.TextIOWrapper(stream, encoding="utf-8") if run_id in line]
        if found := [line for line in lines if line["run_id"] == run_id]:
            return found
    return []


def events_of(settings: Settings, instance: dg.DagsterInstance, run_id: str) -> list[dict[str, Any]]:
    """Return what a run did: time, level, step and message of each event, wherever they are kept; empty for a run that nobody knows."""
    kept = list(instance.all_logs(run_id)) if instance.has_run(run_id) else []
    packed = [] if kept else packed_run(settings, run_id)[1:]
    entries = kept or [dg.deserialize_value(json.dumps(line["event"]), dg.EventLogEntry) for line in packed]
    return [
        {
            "at_utc": datetime.fromtimestamp(entry.timestamp, UTC).isoformat(timespec="milliseconds"),
            "level": logging.getLevelName(entry.level),
            "step": entry.step_key,
            "message": entry.message,
        }
        for entry in entries
    ]


def _finished(instance: dg.DagsterInstance, *, before: datetime) -> list[str]:
    """Return the finished runs that did not change since a moment and by which no automation goes, oldest first."""
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    found = instance.get_run_ids(dg.RunsFilter(statuses=ended, updated_before=before))
    stay = _newest(instance) if found else set()
    return [run_id for run_id in reversed(found) if run_id not in stay]


def _newest(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs by which automation goes: of each asset the last that planned, made, observed, skipped or failed to make it."""
    found: set[str] = set()
    for record in instance.get_asset_records():
        entry = record.asset_entry
        last = (
            *(entry.last_materialization_record, entry.last_observation_record),
            *(entry.last_failed_to_materialize_record, entry.last_skipped_materialize_record),
        )
        found |= {each.run_id for each in last if each is not None}
        found |= {run_id for run_id in (entry.last_run_id, entry.last_planned_materialization_run_id) if run_id}
    return found


def _remove(settings: Settings, instance: dg.DagsterInstance, run_ids: Sequence[str], of_records: set[str], *, now: datetime) -> None:
    """Remove runs with their events and what their steps printed; those of records are on the disk, packed, before."""
    from lab_assets.orchestration.private.stored_rows import remove_leftover_rows

    if packed := [run_id for run_id in run_ids if run_id in of_records]:
        _pack(settings, instance, instance.get_run_records(dg.RunsFilter(run_ids=packed)), now=now)
    for run_id in run_ids:
        instance.delete_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    remove_leftover_rows(instance)


def _pack(settings: Settings, instance: dg.DagsterInstance, records: Sequence[dg.RunRecord], *, now: datetime) -> None:
    import zstandard

    from lab_assets.orchestration.private.stored_rows import stored_events

    sink = io.BytesIO()
    with zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).stream_writer(sink, closefd=False) as stream:
        for record in records:
            run_id = record.dagster_run.run_id
            times = {"started_s": record.start_time, "ended_s": record.end_time, "created_utc": record.create_timestamp.isoformat()}
            entry = {"run_id": run_id, **times, "run": json.loads(dg.serialize_value(record.dagster_run))}
            stream.write(json.dumps(entry).encode() + b"\n")
            for event in stored_events(instance, run_id):
                stream.write(f'{{"run_id": "{run_id}", "event": {event}}}\n'.encode())
    folder = packed_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    free = (folder / f"{now:%Y-%m-%d}.{number}.jsonl.zst" for number in itertools.count())
    write_durably(next(path for path in free if not path.exists()), sink.getvalue())


def _shard_bytes(folder: Path, run_id: str) -> int:
    return sum(size_of(path) for path in (folder / "history" / "runs").glob(f"{run_id}.db*"))


def _remove_packed(settings: Settings, *, now: datetime, dry_run: bool) -> Removal:
    """Remove packed runs that were packed longer ago than records are kept."""
    from lab_assets.upkeep.removal import removed

    named = ((path, _NAME.match(path.name)) for path in packed_folder(settings).glob("*.jsonl.zst"))
    limit = now - timedelta(days=366 * settings.record_years)
    old = [path for path, match in named if match and datetime(*map(int, match.groups()), tzinfo=UTC) < limit]
    return removed("packed runs older than records are kept", old, dry_run=dry_run)
