"""Ingestion: from finished files in the inbox to committed rows in bronze, each exactly once.

Belongs here: the order of steps and what a restart repeats. Does not belong here: formats, schedules.

Every step leaves a state from which a restart goes on: bytes in the raw store before the ledger knows them, the ledger
before anything is read, staged rows before Delta, Delta (idempotent by batch number) before the ledger's last word.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout

from lab_assets.contracts.bronze import FILES, QUARANTINED_ROWS, READER_TABLES
from lab_assets.contracts.core import TableContract
from lab_assets.engine.delta import Lakehouse, in_parallel
from lab_assets.engine.failpoints import failpoint
from lab_assets.engine.inbox import Candidate, look
from lab_assets.engine.ledger import Ledger, NewArrival, Outcome
from lab_assets.engine.parsing import INPUT_DDL, OUTCOME_DDL, Staging, outcome_schema
from lab_assets.engine.raw_store import NotAFileError, RawStore, StillChangingError

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[str], None]
_OUTCOMES = "outcomes.parquet"
_COPIES_AT_ONCE: Final = 8


class IngestBusyError(RuntimeError):
    """Another run is ingesting; it takes the waiting files as well."""


@dataclass(kw_only=True)
class IngestReport:
    """What one ingestion did.

    Attributes:
        batches: Batches committed, oldest first.
        states: Arrivals by final state.
        reasons: Quarantined arrivals by rule.
        rows: Rows appended, by bronze table.
        tables: Version of each bronze table that was written.
        files_per_s: Files read and committed per second.
    """

    batches: list[int] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    files_per_s: float = 0.0


class Ingestor:
    """Takes finished files in bounded batches."""

    def __init__(self, lakehouse: Lakehouse, *, say: Progress = lambda _line: None) -> None:
        self.lakehouse = lakehouse
        self.settings = lakehouse.settings
        self.ledger: Ledger = lakehouse.ledger
        self.raw = RawStore(self.settings.raw)
        self.say = say

    def run(self) -> IngestReport:
        """Finish what a killed run left, then take everything that is ready.

        Raises:
            IngestBusyError: another process is ingesting.
        """
        folder = self.settings.run / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        report = IngestReport()
        started = time.monotonic()
        try:
            with FileLock(folder / "ingest.lock", timeout=0):
                for batch, state in self.ledger.unfinished_batches():
                    self.say(f"batch {batch}: finishing what an interrupted run left ({state})")
                    self._finish(batch, report, staged=state == "staged")
                while True:
                    self._take(self.settings.batch_files)
                    batch = self.ledger.open_batch(self.settings.batch_files)
                    if batch is None:
                        break
                    self._finish(batch, report, staged=False)
        except Timeout as error:
            raise IngestBusyError("another run is ingesting and takes the waiting files as well") from error
        files = sum(report.states.values())
        report.files_per_s = files / max(time.monotonic() - started, 1e-9)
        return report

    def waiting(self) -> int:
        """Count files that are ready and not yet taken, and arrivals not yet committed."""
        found = look(self.settings.inbox, self.ledger.taken_paths(), stable_s=self.settings.stable_s)
        return len(found.ready) + len(found.refused)

    def _take(self, limit: int) -> None:
        """Copy ready files into the raw store and record them."""
        found = look(self.settings.inbox, self.ledger.taken_paths(), stable_s=self.settings.stable_s)
        if found.ready:
            self.lakehouse.keeper.open_early()  # the server starts while files are copied
        # each copy waits for the disk, so several wait together
        with ThreadPoolExecutor(max_workers=_COPIES_AT_ONCE, thread_name_prefix="copy") as pool:
            copied = pool.map(self._copy, found.ready[:limit])
            arrivals = [arrival for arrival in copied if arrival is not None]
        for candidate, reason in found.refused[:limit]:
            arrivals.append(_refused(candidate, f"{candidate.file_name!r} {reason}"))
        failpoint("after_copy")
        if arrivals:
            self.ledger.record(arrivals)
        failpoint("after_ledger_row")

    def _copy(self, candidate: Candidate) -> NewArrival | None:
        try:
            stored = self.raw.put_file(candidate.path)
        except StillChangingError:
            return None
        except FileNotFoundError:
            return _arrival(candidate, state="vanished", reason="the file vanished between listing and opening")
        except NotAFileError as error:
            return _refused(candidate, str(error))
        except PermissionError:
            return _arrival(
                candidate, state="quarantined", rule="unreadable", reason="no right to read the file; grant it and touch the file"
            )
        return NewArrival(
            source=candidate.source,
            file_name=candidate.file_name,
            size=stored.size,
            mtime_ns=stored.mtime_ns,
            ctime_ns=stored.ctime_ns,
            file_id=stored.sha256,
        )

    def _finish(self, batch: int, report: IngestReport, *, staged: bool) -> None:
        arrivals = self.ledger.batch_arrivals(batch)
        waiting = [arrival for arrival in arrivals if arrival.state == "received"]
        self.say(f"batch {batch}: {len(arrivals)} arrival(s), {len(waiting)} to read")
        folder = self.settings.run / "staging" / str(batch)
        if waiting and not (staged and (folder / _OUTCOMES).exists()):
            self._stage(batch, waiting, folder)
            self.ledger.mark_staged(batch)
        failpoint("after_staging")
        outcomes = self._outcomes(folder) if waiting else []
        versions = self._commit(batch, folder, arrivals, outcomes)
        failpoint("after_delta_commit")
        self._show_quarantined(outcomes, waiting)
        self.ledger.commit_batch(batch, outcomes, versions)
        failpoint("after_ledger_commit")
        shutil.rmtree(folder, ignore_errors=True)
        _tally(report, batch, arrivals, outcomes, versions)

    def _stage(self, batch: int, waiting: Sequence[Any], folder: Path) -> None:
        """Read every file in Spark's workers; they lay the rows down and tell what became of each file."""
        import pyarrow.parquet as pq

        lakehouse = self.lakehouse
        tasks = [
            (
                arrival.arrival_id,
                arrival.file_id,
                arrival.source,
                arrival.file_name,
                str(self.raw.path(arrival.file_id)),
                self.settings.zone_of(arrival.source),
            )
            for arrival in waiting
        ]
        parts = max(1, min(len(tasks) // 64, 64))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        staging = Staging(folder=str(folder), batch=batch, at_utc=datetime.now(UTC))

        def parse(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return staging.parse_files(batches)

        def run() -> pa.Table:
            frame = lakehouse.spark.createDataFrame(tasks, schema=INPUT_DDL).repartition(parts)
            return frame.mapInArrow(parse, schema=OUTCOME_DDL).toArrow()

        told = lakehouse.keeper.guard(run)
        draft = folder / f".{_OUTCOMES}"
        pq.write_table(told.cast(outcome_schema()), draft)
        draft.replace(folder / _OUTCOMES)

    def _outcomes(self, folder: Path) -> list[Outcome]:
        import pyarrow.parquet as pq

        rows = pq.read_table(folder / _OUTCOMES).to_pylist()
        return [
            Outcome(
                **{name: row[name] for name in ("arrival_id", "state", "format", "rule", "reason", "place")},
                warnings=row["warnings"] or [],
                rows_parsed=dict(row["rows_parsed"] or []),
                rows_rejected=dict(row["rows_rejected"] or []),
            )
            for row in rows
        ]

    def _commit(self, batch: int, folder: Path, arrivals: Sequence[Any], outcomes: Sequence[Outcome]) -> dict[str, int]:
        """Append the staged rows of each table that has any, and the arrivals themselves."""
        filled = {name for outcome in outcomes for name in outcome.rows_parsed}
        lost = any(outcome.rows_rejected for outcome in outcomes)
        tables = [table for table in READER_TABLES if (folder / table.name).is_dir() and table.name in filled] + (
            [QUARANTINED_ROWS] if lost else []
        )

        def append(contract: TableContract, rows: Callable[[], pa.Table | pa.RecordBatchReader]) -> tuple[str, int]:
            version = self.lakehouse.append_once(contract, rows(), app=f"ingest:{contract.full_name}", version=batch)
            return contract.full_name, version

        rows: dict[TableContract, Callable[[], pa.Table | pa.RecordBatchReader]]
        rows = {table: partial(_staged_rows, folder, table) for table in tables}
        rows[FILES] = partial(self._file_rows, arrivals, outcomes, batch)
        return dict(in_parallel([partial(append, table, made) for table, made in rows.items()]))

    def _file_rows(self, arrivals: Sequence[Any], outcomes: Sequence[Outcome], batch: int) -> pa.Table:
        by_id = {outcome.arrival_id: outcome for outcome in outcomes}
        return self.lakehouse.local_rows(FILES, [_file_row(arrival, by_id.get(arrival.arrival_id), batch) for arrival in arrivals])

    def _show_quarantined(self, outcomes: Sequence[Outcome], waiting: Sequence[Any]) -> None:
        """Lay a copy of each refused file beside its reason, for people."""
        import json

        names = {arrival.arrival_id: arrival for arrival in waiting}
        for outcome in outcomes:
            if outcome.state != "quarantined":
                continue
            arrival = names[outcome.arrival_id]
            folder = self.settings.quarantine / (outcome.rule or "unknown")
            folder.mkdir(parents=True, exist_ok=True)
            stem = f"{arrival.file_id[:12]}_{_safe_name(arrival.file_name)}"
            shutil.copyfile(self.raw.path(arrival.file_id), folder / stem)
            note = {
                "source": arrival.source,
                "file": arrival.file_name,
                "rule": outcome.rule,
                "reason": outcome.reason,
                "place": outcome.place,
            }
            (folder / f"{stem}.reason.json").write_text(json.dumps(note, ensure_ascii=False, indent=2))


def _staged_rows(folder: Path, contract: TableContract) -> pa.RecordBatchReader:
    """Return the rows that the workers laid down for one table, a few at a time: traces of a batch need not fit into memory."""
    import pyarrow.dataset as ds

    staged = ds.dataset(folder / contract.name, schema=contract.arrow_schema(), format="parquet")
    return staged.scanner(batch_size=256).to_reader()


def _arrival(candidate: Candidate, *, state: str, reason: str, rule: str | None = None) -> NewArrival:
    return NewArrival(
        source=candidate.source,
        file_name=candidate.file_name,
        size=candidate.size,
        mtime_ns=candidate.mtime_ns,
        ctime_ns=candidate.ctime_ns,
        file_id="",
        state=state,
        rule=rule,
        reason=reason,
    )


def _refused(candidate: Candidate, reason: str) -> NewArrival:
    return _arrival(candidate, state="quarantined", rule="not_a_file", reason=reason)


def _file_row(arrival: Any, outcome: Outcome | None, batch: int) -> dict[str, Any]:
    told = outcome or arrival
    return {
        **{name: getattr(arrival, name) for name in ("arrival_id", "file_id", "source", "file_name", "supersedes", "duplicate_of")},
        **{name: getattr(told, name) for name in ("format", "state", "rule", "reason")},
        "warnings": list(told.warnings),
        "rows_parsed": dict(told.rows_parsed),
        "rows_rejected": dict(told.rows_rejected),
        "bytes": arrival.size,
        "modified_at_utc": _from_ns(arrival.mtime_ns),
        "arrived_at_utc": datetime.fromisoformat(arrival.arrived_at),
        "ingest_batch": batch,
    }


def _from_ns(value: int | None) -> datetime | None:
    """Return a file time, or ``None`` where it lies outside what a calendar can hold."""
    if value is None:
        return None
    try:
        return datetime.fromtimestamp(value / 1e9, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _safe_name(name: str) -> str:
    last = name.rsplit("/", 1)[-1]
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in last)[-80:]


def _tally(report: IngestReport, batch: int, arrivals: Sequence[Any], outcomes: Sequence[Outcome], versions: dict[str, int]) -> None:
    report.batches.append(batch)
    report.tables.update(versions)
    by_id = {outcome.arrival_id: outcome for outcome in outcomes}
    for arrival in arrivals:
        told: Any = by_id.get(arrival.arrival_id, arrival)
        report.states[told.state] = report.states.get(told.state, 0) + 1
        if told.state == "quarantined":
            report.reasons[told.rule or "unknown"] = report.reasons.get(told.rule or "unknown", 0) + 1
        for name, count in told.rows_parsed.items():
            kept = count - told.rows_rejected.get(name, 0)
            report.rows[name] = report.rows.get(name, 0) + kept
