"""Bronze tables that are lost, made anew from the kept originals as the ledger says they were.

Belongs here: reading committed batches again, and holding what is read against what the ledger recorded. Does not belong here: new files
(``ingestor.py``), differences between ledger and tables (``reconciler.py``), tables that stations make (``lab_assets.stations``).

The ledger is not changed: numbers, states, reasons and times are those of then, and so is the time of ingestion in each row. What a
batch brought is committed under its own number, so a replay that was killed goes on where it stopped. What is not in the ledger is taken
as it is today: the program's readers, ``formats/``, and the settings of zones and date orders.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

from lab_assets.contracts.bronze import FILES, QUARANTINED_ROWS, READER_TABLES, SCHEMA_EVENTS
from lab_assets.contracts.core import TableContract
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.state.ledger import Outcome

REPLAYED: Final = tuple(table.full_name for table in (*READER_TABLES, QUARANTINED_ROWS, SCHEMA_EVENTS, FILES))
"""Tables that come of batches, by name."""
_CLOSED: Final = "discarded"
_MOST_NAMED: Final = 20


@dataclass(kw_only=True)
class Replayed:
    """What reading committed batches again came to.

    Attributes:
        batches: Batches gone through.
        arrivals: Arrivals in them.
        files: Files read again.
        differing: Files that are read otherwise than the ledger recorded, with what differs; bounded.
        differing_files: How many those are.
    """

    batches: int = 0
    arrivals: int = 0
    files: int = 0
    differing: list[str] = field(default_factory=list[str])
    differing_files: int = 0


class Replay(Ingestor):
    """Goes through committed batches again; the caller holds the lock of ingestion."""

    def __init__(self, lakehouse: Lakehouse, tables: Collection[str], **kept: Any) -> None:
        """Prepare.

        Args:
            lakehouse: Tables, ledger and settings.
            tables: Tables to fill, of ``REPLAYED``; the others have their rows.
            kept: As of ``Ingestor``.
        """
        super().__init__(lakehouse, **kept)
        self.tables = frozenset(tables)

    def go_through(self, *, said_every: int = 20) -> Replayed:
        """Read every committed batch again, in order, and copy the steps of refused files.

        Args:
            said_every: Batches between two lines of progress.
        """
        done = Replayed()
        batches = self.ledger.committed_batches()
        for batch in batches:
            self._again(batch, done)
            if done.batches % said_every == 0 or batch == batches[-1]:
                self.progress(f"{done.batches} of {len(batches)} batch(es), {done.files} file(s) read again")
        self._report_quarantine()
        return done

    def _again(self, batch: int, done: Replayed) -> None:
        arrivals = self.ledger.batch_arrivals(batch)
        read = [arrival for arrival in arrivals if _was_read(arrival)] if self.tables != {FILES.full_name} else []
        folder = self.settings.run / "staging" / f"again-{batch}"
        outcomes: Sequence[Outcome] = []
        if read:
            self._stage(batch, read, folder)
            outcomes = self._outcomes(folder)
            _compare(read, outcomes, done)
        # of the arrivals themselves the ledger knows all: they are written as it says, whatever is read today
        self._commit(batch, folder, [_as_then(arrival) for arrival in arrivals], [])
        shutil.rmtree(folder, ignore_errors=True)
        done.batches, done.arrivals, done.files = done.batches + 1, done.arrivals + len(arrivals), done.files + len(read)

    def _fills(self, contract: TableContract) -> bool:
        """Return whether a table is one of those that are filled; the others have their rows."""
        return contract.full_name in self.tables


def _was_read(arrival: Any) -> bool:
    """Return whether a file was read when its batch was ingested: one that counts, or one that a reader refused."""
    refused = arrival.state in {"quarantined", _CLOSED} and arrival.rule is not None
    return bool(arrival.file_id) and (arrival.state == "committed" or refused)


def _as_then(arrival: Any) -> SimpleNamespace:
    """Return an arrival as its batch recorded it: one that was refused is closed later, which the table does not say."""
    row = dict(arrival._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row's columns
    return SimpleNamespace(**row | ({"state": "quarantined"} if row["state"] == _CLOSED else {}))


def _compare(read: Sequence[Any], outcomes: Sequence[Outcome], done: Replayed) -> None:
    """Note the files that are read otherwise than the ledger recorded."""
    by_id = {outcome.arrival_id: outcome for outcome in outcomes}
    for arrival in read:
        then, now = _as_then(arrival), by_id[arrival.arrival_id]
        recorded = (then.state, then.rule, dict(then.rows_parsed or {}), dict(then.rows_rejected or {}))
        if recorded == (now.state, now.rule, dict(now.rows_parsed), dict(now.rows_rejected)):
            continue
        done.differing_files += 1
        if len(done.differing) < _MOST_NAMED:
            done.differing.append(f"{arrival.source}/{arrival.file_name}: {_words(*recorded)} then, {_words_of(now)} now")


def _words_of(outcome: Outcome) -> str:
    return _words(outcome.state, outcome.rule, dict(outcome.rows_parsed), dict(outcome.rows_rejected)) + (
        f" ({outcome.reason})" if outcome.reason else ""
    )


def _words(state: str, rule: str | None, parsed: dict[str, int], rejected: dict[str, int]) -> str:
    rows = sum(parsed.values()) - sum(rejected.values())
    return f"{state} for {rule}" if rule else f"{state} with {rows} row(s)"
