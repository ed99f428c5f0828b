"""The durable log of online predictions: a spool file at once, the Delta table ``ml.online_log`` within a second.

A prediction is answered after its line has reached the operating system. Spool files are numbered; each becomes exactly one
Delta commit that carries its number as application transaction, so a file replayed after a crash is never committed twice.

Belongs here: spool, replay, commits, look-up by id. Does not belong here: folding into ``ml.predictions`` (the pipeline).
One machine only: the spool is a local folder; each replica keeps its own and drains to the same table.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import orjson
from filelock import FileLock, Timeout

from lab_assets.lake.derivation import Derivation
from lab_assets.service.records import Record, to_arrow
from lab_assets.service.traces import sync_file
from lab_assets.settings import Settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

COMMIT_INTERVAL_S: Final = 1.0
COMMIT_ROWS: Final = 500
COMPACT_EVERY_COMMITS: Final = 50
MAX_PENDING: Final = 50_000
TAIL_ROWS: Final = 2_000
RETAIN_S: Final = 60.0
"""A spool file outlives its commit by this long: the commit's own files may reach the disk later than the commit."""
TABLE: Final = ("ml", "online_log")
_ANSWERED: Final = Derivation(inputs={"service:predictions": "answered"})
"""What its commits state they were made from."""
_LOG: Final = logging.getLogger(__name__)


class LogUnavailableError(Exception):
    """The prediction could not be kept, so it must not be answered."""


@dataclass
class _Segment:
    number: int
    path: Path
    rows: list[Record]
    files: list[Path] = field(default_factory=list)


class PredictionLog:
    """Spool, Delta table and recent predictions of one process.

    Args:
        settings: Where ``LAB_HOME`` and the lake are.
        name: Name of the spool; two processes never share one.
    """

    def __init__(self, settings: Settings, *, name: str = "service") -> None:
        self._settings = settings
        self._dir = settings.run / "spool" / name
        self._uri = settings.table_uri(*TABLE)
        self._lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._tail: OrderedDict[str, Record] = OrderedDict()
        self._waiting: list[_Segment] = []
        self._done: list[tuple[float, Path]] = []
        self._commits = 0
        self._table: DeltaTable | None = None
        self._thread: threading.Thread | None = None
        self._owner: FileLock | None = None
        self.last_error: str | None = None

    def open(self, *, background: bool = True) -> None:
        """Take the spool, commit what an earlier process left, and begin.

        Raises:
            LogUnavailableError: another process has the spool, or it cannot be written.
        """
        from deltalake.exceptions import DeltaError

        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            (self._settings.run / "locks").mkdir(parents=True, exist_ok=True)
            self._owner = FileLock(self._dir / "owner.lock")
            self._owner.acquire(timeout=0)
            self._app_id = self._read_app_id()
            self._load_leftovers()
            self._begin_segment(self._next_number())
        except Timeout:
            raise LogUnavailableError(f"another process writes the spool {self._dir}") from None
        except (OSError, DeltaError) as error:
            raise LogUnavailableError(f"the spool {self._dir} or its table cannot be opened: {error}") from error
        self._commit_waiting()
        if background:
            self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
            self._thread.start()

    def append(self, record: Record, *, file: Path | None = None) -> None:
        """Keep one prediction with its decision; returns after its line has reached the operating system.

        Args:
            record: What is answered.
            file: File the prediction rests on, to be made durable with it.

        Raises:
            LogUnavailableError: the line could not be written, or too many wait for the table.
        """
        line = orjson.dumps(record) + b"\n"
        with self._lock:
            if self._closed:
                raise LogUnavailableError("the prediction log is closed")
            if self.pending >= MAX_PENDING:
                raise LogUnavailableError("too many predictions wait for the Delta table")
            self._write(line)
            self._current.rows.append(record)
            if file is not None:
                self._current.files.append(file)
            self._tail[record.prediction.prediction_id] = record
            full = len(self._current.rows) >= COMMIT_ROWS
        if full:
            self._wake.set()

    @property
    def pending(self) -> int:
        """Predictions in the spool that are not yet in the Delta table."""
        return len(self._current.rows) + sum(len(segment.rows) for segment in self._waiting)

    def get(self, prediction_id: str) -> Record | None:
        """Return a recent prediction of this process, or ``None``."""
        return self._tail.get(prediction_id)

    def recent(self, limit: int) -> list[Record]:
        """Return this process's newest predictions, newest first."""
        with self._lock:
            newest = reversed(self._tail.values())
            return [record for record, _ in zip(newest, range(limit), strict=False)]

    def flush(self) -> None:
        """Make everything appended so far durable and commit it to the Delta table now."""
        self._rotate()
        self._commit_waiting()

    def close(self) -> None:
        """Commit what waits and release the spool."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        self._rotate(final=True)
        self._commit_waiting()
        if self._owner is not None:
            self._owner.release()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(COMMIT_INTERVAL_S)
            self._wake.clear()
            if not self._commit_in_turn():
                time.sleep(COMMIT_INTERVAL_S)

    def _commit_in_turn(self) -> bool:
        try:
            try:
                self._rotate()
            except OSError as error:
                self.last_error = f"the spool cannot be made durable: {error}"
                _LOG.error("prediction log: %s", self.last_error)
            return self._commit_waiting()
        except Exception as error:  # noqa: BLE001 - what waits would wait for ever and without a word if the thread ended
            self._table = None
            words = f"{type(error).__name__}: {error}"
            if words != self.last_error:
                _LOG.exception("prediction log: failed with %d waiting, will try again", self.pending)
            self.last_error = words
            return False

    # --- spool files

    def _read_app_id(self) -> str:
        """Return the identity of this spool in Delta's transactions; a new folder gets a new one."""
        path = self._dir / "app_id"
        if not path.exists():
            temporary = path.with_suffix(".new")
            temporary.write_text(f"online_log:{uuid4().hex}", encoding="ascii")
            temporary.replace(path)
        return path.read_text(encoding="ascii").strip()

    def _load_leftovers(self) -> None:
        for path in sorted(self._dir.glob("*.jsonl")):
            rows = [Record.from_line(line) for line in _complete_lines(path.read_bytes())]
            self._waiting.append(_Segment(int(path.stem), path, rows))
            self._tail.update((row.prediction.prediction_id, row) for row in rows)

    def _next_number(self) -> int:
        committed = self._open_table().transaction_version(self._app_id) or 0
        return max([committed, *(segment.number for segment in self._waiting)]) + 1

    def _begin_segment(self, number: int) -> None:
        path = self._dir / f"{number:012d}.jsonl"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._torn = False
        self._current = _Segment(number, path, [])

    def _write(self, line: bytes) -> None:
        """Write one line; after a write that failed half-way the next line begins anew, and the half is not a row."""
        whole = b"\n" + line if self._torn else line
        try:
            complete = os.write(self._fd, whole) == len(whole)
            reason = "the disk is full"
        except OSError as error:
            complete, reason = False, str(error.strerror)
        self._torn = not complete
        if not complete:
            raise LogUnavailableError(f"the prediction cannot be kept: {reason}")

    def _rotate(self, *, final: bool = False) -> None:
        """Close the current segment, make it durable and queue it; an empty one is kept open, or removed at the end."""
        with self._lock:
            segment, fd = self._current, self._fd
            if not segment.rows and not final:
                return
            if final:
                self._current = _Segment(segment.number, segment.path, [])
            else:
                self._begin_segment(segment.number + 1)
            if segment.rows:
                self._waiting.append(segment)
            else:
                segment.path.unlink(missing_ok=True)
        os.close(fd)
        if segment.rows:
            for path in (*segment.files, segment.path):
                sync_file(path)

    # --- Delta table

    def _open_table(self) -> DeltaTable:
        from deltalake import DeltaTable

        from lab_assets.contracts.ml import ONLINE_LOG
        from lab_assets.lake.layout import layout_of
        from lab_assets.lake.opening import grown, open_table
        from lab_assets.lake.reader import PROPERTIES
        from lab_assets.state.ledger import ledger_of

        if self._table is None:
            table = open_table(ONLINE_LOG, self._uri, ledger_of(self._settings))
            if table is None:
                properties = PROPERTIES | layout_of(ONLINE_LOG).properties()
                table = DeltaTable.create(self._uri, schema=ONLINE_LOG.arrow_schema(), mode="ignore", configuration=properties)
            self._table = grown(ONLINE_LOG, table)
        self._table.update_incremental()
        return self._table

    def _commit_waiting(self) -> bool:
        """Commit queued segments in order; on failure they stay queued and in the spool."""
        from deltalake.exceptions import DeltaError

        from lab_assets.home_identity import LostError
        from lab_assets.lake.opening import DamagedTableError

        with self._commit_lock:
            while self._waiting:
                try:
                    with FileLock(self._settings.run / "locks" / "ml.online_log.lock", timeout=10):
                        self._commit(self._waiting[0])
                except (DeltaError, DamagedTableError, LostError, OSError, Timeout) as error:
                    self.last_error = f"{type(error).__name__}: {error}"
                    self._table = None
                    _LOG.error("prediction log: commit failed with %d waiting, will try again: %s", self.pending, self.last_error)
                    return False
                with self._lock:
                    done = self._waiting.pop(0)
                    while len(self._tail) > TAIL_ROWS + self.pending:
                        self._tail.popitem(last=False)
                self._done.append((time.monotonic(), done.path))
            while self._done and self._done[0][0] < time.monotonic() - RETAIN_S:
                self._done.pop(0)[1].unlink(missing_ok=True)
            self.last_error = None
            return True

    def _commit(self, segment: _Segment) -> None:
        from deltalake import CommitProperties, Transaction, write_deltalake

        table = self._open_table()
        if (table.transaction_version(self._app_id) or 0) >= segment.number or not segment.rows:
            return  # committed by the process that died before it could remove the file
        properties = CommitProperties(custom_metadata=_ANSWERED.metadata(), app_transactions=[Transaction(self._app_id, segment.number)])
        write_deltalake(table, to_arrow(segment.rows), mode="append", commit_properties=properties)
        self._commits += 1
        table.update_incremental()
        if self._commits % COMPACT_EVERY_COMMITS == 0:
            self._put_together(table)
            table.update_incremental()
        self._note(table.version())

    def _note(self, version: int) -> None:
        """Give the ledger the digests of what was committed; what it cannot take now it is given with the next commit."""
        from sqlalchemy.exc import SQLAlchemyError

        from lab_assets.contracts.ml import ONLINE_LOG
        from lab_assets.lake.writer import note_commits
        from lab_assets.state.ledger import ledger_of

        try:
            if (ledger := ledger_of(self._settings)) is not None:
                note_commits(ledger, ONLINE_LOG, self._uri, version)
        except SQLAlchemyError as error:
            _LOG.warning("prediction log: version %d is not known to the ledger yet: %s", version, str(error).splitlines()[0])

    def _put_together(self, table: DeltaTable) -> None:
        """Put the newest small files together, up to the size of the lowest tier: what is larger waits for maintenance."""
        from lab_assets.contracts.ml import ONLINE_LOG
        from lab_assets.lake import commits
        from lab_assets.lake.layout import layout_of
        from lab_assets.lake.maintenance import tiers

        layout = layout_of(ONLINE_LOG)
        commits.compact(table, target_bytes=tiers(layout.file_bytes)[0], group_rows=layout.group_rows)


def _complete_lines(content: bytes) -> list[dict[str, Any]]:
    """Return the rows of a spool file; a line that was not written whole was never answered and is left out."""
    rows: list[dict[str, Any]] = []
    for line in content.split(b"\n"):
        try:
            rows += [orjson.loads(line)] if line else []
        except orjson.JSONDecodeError:
            _LOG.warning("prediction log: a line of %d bytes that was never answered is left out", len(line))
    return rows
