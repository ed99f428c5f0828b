"""The scrubber: are the kept originals and the tables' files still what they were?

Belongs here: hashing again and comparing with what was recorded, and which part of the files is due. Does not belong here: databases and
models (``lab_assets.stations.governance.scrubbing``), schedules and verdicts, mending (a backup does).

Every file has its day among the days in which all are seen once; what was missed on its day, as by a machine that was off, is due on the next
one. What was found wrong is looked at each time until it is right again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import func, select

from lab_assets.ingest.raw_store import RawStore
from lab_assets.lake.data_files import LOG, digest_of
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.ledger import SYSTEM, Ledger
from lab_assets.state.ledger_tables import ARRIVALS, DATA_FILES

_SAY_EVERY: Final = 1000
_MOST_NAMED: Final = 300
"""Findings that an entry of the audit trail names; all are counted, and all are rows of ``governance.integrity``."""

Kind = Literal["original", "data", "log", "table", "database", "model"]
Problem = Literal["missing", "changed", "unreadable", "foreign"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not what it was.

    Attributes:
        kind: ``original`` (raw store), ``data`` (file of a table), ``log`` (commit of a table), ``table``, ``database`` or ``model``.
        object: Path below the laboratory's folder, or name of a table or model.
        problem: ``missing``, ``changed``, ``unreadable`` or ``foreign`` (another program wrote it).
        told_as: What it is to people: the arrivals of an original, the table and version of another.
        expected_sha256: Digest recorded when it was written; empty where there is none.
        found_sha256: Digest now; empty when it cannot be read.
    """

    kind: Kind
    object: str
    problem: Problem
    told_as: str
    expected_sha256: str = ""
    found_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class ScrubReport:
    """What one scrub found.

    Attributes:
        files: Files hashed, missing ones included.
        bytes: Bytes hashed.
        findings: What is not what it was.
        days: Days in which every file is seen once; 0 where all were seen now.
        parts: Which of that many parts were seen now.
    """

    files: int
    bytes: int
    findings: tuple[Finding, ...]
    days: int = 0
    parts: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Expected:
    kind: Literal["original", "data", "log"]
    path: Path
    sha256: str
    told_as: str


def scrub(
    settings: Settings,
    ledger: Ledger,
    *,
    today: date | None = None,
    others: Sequence[Finding] = (),
    say: Callable[[str], None] = lambda _line: None,
) -> ScrubReport:
    """Hash the kept originals and the recorded files of the tables on this machine, all or those that are due.

    The result is an entry of the audit trail: that everything was whole is a statement too.

    Args:
        settings: Whose laboratory.
        ledger: What was recorded.
        today: The day whose part is due; ``None`` for every file.
        others: What was found beside the files.
        say: Given how far it is.
    """
    log = AuditLog(ledger.engine)
    parts = None if today is None else due_parts(log, settings.scrub_days, today)
    open_ones = frozenset() if today is None else _open_findings(log)
    findings: list[Finding] = list(others)
    files = hashed_bytes = 0
    for expected in (*_originals(settings, ledger), *_table_files(settings, ledger)):
        shown = str(expected.path.relative_to(settings.home)) if expected.path.is_relative_to(settings.home) else str(expected.path)
        if parts is not None and shown not in open_ones and part_of(shown, settings.scrub_days) not in parts:
            continue
        files += 1
        problem, found, size = _compare(expected)
        hashed_bytes += size
        if problem:
            told_as, digest = expected.told_as, expected.sha256
            findings.append(
                Finding(kind=expected.kind, object=shown, problem=problem, told_as=told_as, expected_sha256=digest, found_sha256=found)
            )
        if files % _SAY_EVERY == 0:
            say(f"{files} file(s), {hashed_bytes / 1e6:.0f} MB hashed, {len(findings)} finding(s)")
    seen = () if parts is None else tuple(sorted(parts))
    report = ScrubReport(
        files=files, bytes=hashed_bytes, findings=tuple(findings), days=0 if today is None else settings.scrub_days, parts=seen
    )
    _audit(log, report)
    return report


def part_of(shown: str, days: int) -> int:
    """Return the part that a file belongs to, by its path."""
    return zlib.crc32(shown.encode()) % days


def due_parts(log: AuditLog, days: int, today: date) -> set[int]:
    """Return the parts to be seen on a day: its own, and each that was not seen within the last ``days`` days."""
    seen: set[int] = set()
    for at, said in _scrubs(log):
        if at.date() <= today - timedelta(days=days):
            break
        if at.date() <= today:
            seen |= set(range(days)) if not said.get("days") else set(said.get("parts", ())) if said["days"] == days else set()
    return (set(range(days)) - seen) | {today.toordinal() % days}


def _open_findings(log: AuditLog) -> frozenset[str]:
    """Return what the last scrub found wrong."""
    last = next(iter(_scrubs(log)), None)
    return frozenset() if last is None else frozenset(last[1].get("open", ()))


def _scrubs(log: AuditLog) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """Yield when scrubs were made and what they said, the newest first."""
    for entry in reversed(log.entries(action="integrity", limit=_MOST_SCRUBS)):
        yield datetime.fromisoformat(entry.at_utc), json.loads(entry.new or "{}")


_MOST_SCRUBS: Final = 100


def _compare(expected: _Expected) -> tuple[Problem | None, str, int]:
    try:
        found, size = digest_of(expected.path)
    except FileNotFoundError:
        return "missing", "", 0
    except OSError:
        return "unreadable", "", 0
    return (None if found == expected.sha256 else "changed"), found, size


def _originals(settings: Settings, ledger: Ledger) -> Iterator[_Expected]:
    raw = RawStore(settings.raw)
    first, number = func.min(ARRIVALS.c.source + "/" + ARRIVALS.c.file_name), func.count()
    query = select(ARRIVALS.c.file_id, first, number).where(ARRIVALS.c.file_id != "").group_by(ARRIVALS.c.file_id)
    with ledger.engine.connect() as connection:
        rows = list(connection.execute(query.order_by(ARRIVALS.c.file_id)))
    for file_id, name, arrivals in rows:
        told_as = name if arrivals == 1 else f"{name} and {arrivals - 1} other arrival(s)"
        yield _Expected("original", raw.path(file_id), file_id, told_as)


def _table_files(settings: Settings, ledger: Ledger) -> Iterator[_Expected]:
    query = select(DATA_FILES).order_by(DATA_FILES.c.table_name, DATA_FILES.c.version, DATA_FILES.c.path)
    with ledger.engine.connect() as connection:
        rows = list(connection.execute(query))
    for row in rows:
        layer, _, name = row.table_name.partition(".")
        path = Path(settings.table_uri(layer, name).removeprefix("file://")) / row.path
        kind: Literal["data", "log"] = "log" if row.path.startswith(LOG) else "data"
        yield _Expected(kind, path, row.sha256, f"{row.table_name} version {row.version}")


def _audit(log: AuditLog, report: ScrubReport) -> None:
    named = report.findings[:_MOST_NAMED]
    log.append(
        actor=SYSTEM,
        action="integrity.alarm" if report.findings else "integrity.scrub",
        target="lab",
        new={
            "files": report.files,
            "bytes": report.bytes,
            "days": report.days,
            "parts": list(report.parts),
            "count": len(report.findings),
            "findings": [f"{each.problem}: {each.object}" for each in named],
            "open": [each.object for each in named],
        },
        reason="scheduled or asked-for comparison of originals and tables with their recorded digests",
        origin="scrub",
    )
