"""Ingestion: from finished files in the inbox to committed rows in bronze, each exactly once.

Belongs here: the order of steps and what a restart repeats. Does not belong here: formats, schedules, copying (``receive.py``),
differences between ledger and tables (``reconciler.py``), how files are read (``parsing.py``) and where (``lab_assets.compute``).

Every step leaves a state from which a restart goes on: bytes in the raw store before the ledger knows them, the ledger
before anything is read, staged rows before Delta, Delta (idempotent by batch number) before the ledger's last word.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout

from lab_assets.contracts.bronze import FILES, QUARANTINE, QUARANTINED_ROWS, READER_TABLES, SCHEMA_EVENTS
from lab_assets.contracts.core import TableContract
from lab_assets.failpoints import failpoint
from lab_assets.ingest.arrival_rows import file_row, hide_released, quarantine_row, show_refused
from lab_assets.ingest.logger_formats import load_loggers
from lab_assets.ingest.parsing import Staging, import_readers, task_schema
from lab_assets.ingest.receive import Receiver
from lab_assets.ingest.reconciler import Reconciler
from lab_assets.ingest.sandbox import Limits
from lab_assets.ingest.shared_folders import require_shared_once
from lab_assets.ingest.staged import outcome_schema
from lab_assets.ingest.staged_files import is_whole, seal
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.provenance import code_version
from lab_assets.state.ledger import FoundMember, Ledger, Outcome
from lab_assets.state.places import revision_of
from lab_assets.state.quarantine import Quarantine
from lab_assets.state.schema_proposals import Proposal, SchemaProposals

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[str], None]
_OUTCOMES = "outcomes.parquet"
_LEAST_PART: Final = 4
"""At least one part in so many of a batch is left for the inbox, however many files out of archives wait."""
_FILES_A_TASK: Final = 64
"""Files that one worker reads before it lays their rows down: traces of these are in its memory at a time."""


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
        waiting: Files that were found and are left to the next run.
        problems: Drop folders that cannot be looked into, each with what to do.
    """

    batches: list[int] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    files_per_s: float = 0.0
    waiting: int = 0
    problems: list[str] = field(default_factory=list)


class Ingestor:
    """Takes finished files in bounded batches."""

    def __init__(
        self,
        lakehouse: Lakehouse,
        *,
        run_id: str = "",
        say: Progress = lambda _line: None,
        progress: Progress = lambda _line: None,
        committed: Callable[[Sequence[int]], None] = lambda _batches: None,
        between_batches: Callable[[bool], None] = lambda _live: None,
        turn_s: float = math.inf,
    ) -> None:
        """Prepare an ingestion.

        Args:
            lakehouse: Tables, ledger and settings.
            run_id: Run that the commits name.
            say: Given each step, for the log.
            progress: Given after each batch how many files are done of how many, the rate and the time left.
            committed: Given all batches so far after each.
            between_batches: Called after each batch but the last, when its rows are committed, with whether any of its files came while
                others waited.
            turn_s: No further batch is begun after so many seconds; the rest is left to the next run.
        """
        self.lakehouse = lakehouse
        self.run_id = run_id
        self.settings = lakehouse.settings
        self.ledger: Ledger = lakehouse.ledger
        self.quarantine = Quarantine(self.ledger.engine)
        self.receiver = Receiver(self.settings, self.ledger)
        self.raw = self.receiver.raw
        self.say = say
        self.progress = progress
        self.committed = committed
        self.between_batches = between_batches
        self.turn_s = turn_s

    def run(self) -> IngestReport:
        """Finish what a killed run left, then take everything that is ready, or what there is time for.

        Raises:
            IngestBusyError: another process is ingesting.
            InboxError: the inbox is not there, is no folder, cannot be read, or is another one than before.
            LakeBehindError: tables hold less than the ledger says was committed.
        """
        folder = self.settings.run / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        report = IngestReport()
        try:
            with FileLock(folder / "ingest.lock", timeout=0), self.receiver:
                self._run(report)
        except Timeout as error:
            raise IngestBusyError("another run is ingesting and takes the waiting files as well") from error
        return report

    def _run(self, report: IngestReport) -> None:
        started = time.monotonic()
        for line in Reconciler(self.lakehouse, self.raw).settle():
            self.say(line)
        for batch, state in self.ledger.unfinished_batches():
            self.say(f"batch {batch}: finishing what an interrupted run left ({state})")
            self._finish(batch, report, staged=state == "staged")
            self.committed(report.batches)
        if noted := self.receiver.begin():
            self.say(f"the inbox was copied: {noted} known file(s) have the size and modification time they had, and are not read again")
        while True:
            limit = self.settings.batch_files
            room = max(limit - self.ledger.waiting_arrivals(), limit // _LEAST_PART, 1)
            intake = self.receiver.take(room, before_copying=self._prepare)
            report.problems = list(intake.problems)
            batch = self.ledger.open_batch(limit)
            if batch is None:
                report.waiting = 0
                if not intake.may_go_on:
                    break
                self.say(f"{intake.recorded} known file(s) with other times hold the bytes they had; {intake.waiting} wait")
                continue
            self.receiver.copy_ahead(limit)  # while this batch is read
            self._finish(batch, report, staged=False)
            self.committed(report.batches)
            report.files_per_s = sum(report.states.values()) / max(time.monotonic() - started, 1e-9)
            report.waiting = intake.waiting - intake.moved + self.ledger.waiting_arrivals()
            self._say_progress(report)
            if report.waiting and time.monotonic() - started >= self.turn_s:
                self.say(
                    f"{report.waiting} file(s) are left to the next run, so that the tables made from these and other runs have their turn"
                )
                break
            if report.waiting:
                self.between_batches(intake.live)
        self._report_quarantine()

    def _say_progress(self, report: IngestReport) -> None:
        done, waiting = sum(report.states.values()), report.waiting
        left_s = waiting / max(report.files_per_s, 1e-9)
        line = f"{done} of {done + waiting} file(s), {report.files_per_s:.1f} files/s" + (f", {left_s:.0f} s left" if waiting else "")
        self.say(line)
        self.progress(line)

    def _prepare(self, count: int) -> None:
        """Begin to get ready for reading some files, while they are copied."""
        self.lakehouse.compute.prepare(min(count, self.settings.batch_files), import_readers)

    def _finish(self, batch: int, report: IngestReport, *, staged: bool) -> None:
        arrivals = self.ledger.batch_arrivals(batch)
        waiting = [arrival for arrival in arrivals if arrival.state == "received"]
        self.say(f"batch {batch}: {len(arrivals)} arrival(s), {len(waiting)} to read")
        for arrival in arrivals:
            if arrival.warnings:
                self.say(f"warning: {arrival.source}/{arrival.file_name}: {'; '.join(arrival.warnings)}")
        folder = self.settings.run / "staging" / str(batch)
        if waiting and not (staged and self._is_whole(batch, folder)):
            self._stage(batch, waiting, folder)
            self.ledger.mark_staged(batch)
        failpoint("after_staging")
        outcomes = _with_warnings(waiting, self._outcomes(folder) if waiting else [])
        versions = self._commit(batch, folder, arrivals, outcomes)
        failpoint("after_delta_commit")
        self._show_quarantined(outcomes, waiting)
        self.ledger.commit_batch(batch, outcomes, versions)
        failpoint("after_ledger_commit")
        shutil.rmtree(folder, ignore_errors=True)
        _tally(report, batch, arrivals, outcomes, versions)

    def _stage(self, batch: int, waiting: Sequence[Any], folder: Path) -> None:
        """Read every file in guarded children, on this machine or in Spark's workers; they lay the rows down and say what became of each."""
        import pyarrow.parquet as pq

        compute = self.lakehouse.compute.choose_at_once(len(waiting), sum(arrival.size for arrival in waiting))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        parts = max(1, min(len(waiting) // _FILES_A_TASK, 64))
        opened_at = self.ledger.opened_at(batch)
        read = self._staging(batch, folder, opened_at).parse_files
        if compute is self.lakehouse.compute.spark:
            require_shared_once(self.settings, compute)
        outcomes = compute.map_rows(read, self._tasks(waiting, opened_at), outcome_schema(), tasks=parts, isolated=True)
        failpoint("staging_written")
        draft = folder / f".{_OUTCOMES}"
        pq.write_table(outcomes, draft)
        draft.replace(folder / _OUTCOMES)
        seal(folder)

    def _is_whole(self, batch: int, folder: Path) -> bool:
        """Return whether what a killed run laid down can be committed."""
        whole = is_whole(folder)
        if not whole:
            self.say(f"batch {batch}: what was laid down in {folder} is not whole any more; its files are read again from the originals")
        return whole

    def _tasks(self, waiting: Sequence[Any], opened_at: str) -> pa.Table:
        """Return files to read: each with what its source had agreed on when their batch was opened."""
        import pyarrow as pa

        proposals = SchemaProposals(self.ledger.engine)
        renames = {source: proposals.accepted(source, by_then=opened_at) for source in {arrival.source for arrival in waiting}}
        tasks = [
            {
                **{
                    name: getattr(arrival, name)
                    for name in ("arrival_id", "file_id", "source", "file_name", "revises_path", "revises_revision")
                },
                "path_revision": revision_of(arrival),
                "raw_path": str(self.raw.path(arrival.file_id)),
                "zone": self.settings.zone_of(arrival.source),
                "date_order": self.settings.date_order_of(arrival.source),
                "strict": arrival.source in self.settings.strict_sources,
                "renames": [(table, list(pairs.items())) for table, pairs in renames[arrival.source].items()],
            }
            for arrival in waiting
        ]
        return pa.Table.from_pylist(tasks, schema=task_schema())

    def _staging(self, batch: int, folder: Path, opened_at: str) -> Staging:
        loggers, problems = load_loggers(self.settings.formats)
        for problem in problems:
            self.say(f"description left out: {problem}")
        limits = Limits(seconds=self.settings.parse_timeout_s, memory_bytes=self.settings.parse_memory_mb << 20)
        at_utc = datetime.fromisoformat(opened_at)
        return Staging(folder=str(folder), raw=str(self.raw.root), batch=batch, at_utc=at_utc, limits=limits, loggers=loggers)

    def _outcomes(self, folder: Path) -> list[Outcome]:
        import pyarrow.parquet as pq

        rows = pq.read_table(folder / _OUTCOMES).to_pylist()
        return [
            Outcome(
                **{name: row[name] for name in ("arrival_id", "state", "format", "rule", "reason", "place")},
                warnings=row["warnings"] or [],
                rows_parsed=dict(row["rows_parsed"] or []),
                rows_rejected=dict(row["rows_rejected"] or []),
                members=[FoundMember(**member) for member in row["members"] or []],
                proposals=[Proposal(**proposal) for proposal in row["proposals"] or []],
            )
            for row in rows
        ]

    def _commit(self, batch: int, folder: Path, arrivals: Sequence[Any], outcomes: Sequence[Outcome]) -> dict[str, int]:
        """Append the staged rows of each table that has any; the arrivals themselves last, so that they speak of a whole batch."""
        staged = (*READER_TABLES, QUARANTINED_ROWS, SCHEMA_EVENTS)
        tables = [table for table in staged if self._fills(table) and any(folder.glob(f"{table.name}/*.parquet"))]

        derivation = Derivation(inputs={"files:batch": batch}, run_id=self.run_id, code_version=code_version())

        def append(contract: TableContract, rows: Callable[[], pa.Table | pa.RecordBatchReader]) -> tuple[str, int]:
            version = self.lakehouse.append_once(contract, rows(), app=f"ingest:{contract.full_name}", version=batch, derivation=derivation)
            failpoint(f"committed_{contract.name}")
            return contract.full_name, version

        written = dict(in_parallel([partial(append, table, partial(_staged_rows, folder, table)) for table in tables]))
        if self._fills(FILES):
            name, version = append(FILES, partial(self._file_rows, arrivals, outcomes, batch))
            written[name] = version
        return written

    def _fills(self, _contract: TableContract) -> bool:
        """Return whether rows of a batch are wanted in a table."""
        return True

    def _file_rows(self, arrivals: Sequence[Any], outcomes: Sequence[Outcome], batch: int) -> pa.Table:
        by_id = {outcome.arrival_id: outcome for outcome in outcomes}
        return self.lakehouse.local_rows(FILES, [file_row(arrival, by_id.get(arrival.arrival_id), batch) for arrival in arrivals])

    def _show_quarantined(self, outcomes: Sequence[Outcome], waiting: Sequence[Any]) -> None:
        """Lay a copy of each refused file beside its reason, and take away those that were read at last."""
        arrivals = {arrival.arrival_id: arrival for arrival in waiting}
        for outcome in outcomes:
            if outcome.state == "quarantined":
                show_refused(self.settings.quarantine, self.raw, arrivals[outcome.arrival_id], outcome)
        retried = [arrivals[outcome.arrival_id] for outcome in outcomes if outcome.state == "committed"]
        hide_released(self.settings.quarantine, [arrival.file_id for arrival in retried if arrival.retry_of])

    def _report_quarantine(self) -> None:
        """Copy the steps of refused files that ``bronze.quarantine`` does not hold yet, as the table itself says."""
        while events := self.quarantine.events_after(self.lakehouse.highest(QUARANTINE, "event_id")):
            rows = self.lakehouse.local_rows(QUARANTINE, [quarantine_row(event) for event in events])
            derivation = Derivation(inputs={"state:quarantine": events[-1].event_id}, run_id=self.run_id, code_version=code_version())
            self.lakehouse.append(QUARANTINE, rows, derivation=derivation)


def _with_warnings(arrivals: Sequence[Any], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Put what was noticed when an arrival was recorded before what its reader noticed."""
    noticed = {arrival.arrival_id: arrival.warnings for arrival in arrivals if arrival.warnings}
    return [replace(each, warnings=[*noticed.get(each.arrival_id, ()), *each.warnings]) for each in outcomes]


def _staged_rows(folder: Path, contract: TableContract) -> pa.RecordBatchReader:
    """Return the rows that the workers laid down for one table, a few at a time: traces of a batch need not fit into memory."""
    import pyarrow.dataset as ds

    staged = ds.dataset(folder / contract.name, schema=contract.arrow_schema(), format="parquet")
    return staged.scanner(batch_size=256).to_reader()


def _tally(report: IngestReport, batch: int, arrivals: Sequence[Any], outcomes: Sequence[Outcome], versions: dict[str, int]) -> None:
    report.batches.append(batch)
    report.tables.update(versions)
    by_id = {outcome.arrival_id: outcome for outcome in outcomes}
    for arrival in arrivals:
        final: Any = by_id.get(arrival.arrival_id, arrival)
        report.states[final.state] = report.states.get(final.state, 0) + 1
        if final.state == "quarantined":
            report.reasons[final.rule or "unknown"] = report.reasons.get(final.rule or "unknown", 0) + 1
        for name, count in final.rows_parsed.items():
            kept = count - final.rows_rejected.get(name, 0)
            report.rows[name] = report.rows.get(name, 0) + kept
