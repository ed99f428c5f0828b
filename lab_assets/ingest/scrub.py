"""The scrubber: are the kept originals and the tables' files still what they were?

Belongs here: hashing again and comparing with what was recorded. Does not belong here: schedules and verdicts, mending (a backup does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import func, select

from lab_assets.ingest.raw_store import RawStore
from lab_assets.lake.data_files import LOG, digest_of
from lab_assets.settings import Settings
from lab_assets.state.ledger import SYSTEM, Ledger
from lab_assets.state.ledger_tables import ARRIVALS, DATA_FILES

_SAY_EVERY = 1000


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One file that is not what it was.

    Attributes:
        kind: ``original`` (raw store), ``data`` (file of a table) or ``log`` (commit of a table).
        object: Path below the laboratory's folder.
        problem: ``missing``, ``changed`` or ``unreadable``.
        told_as: What it is to people: the arrivals of an original, the table and version of another.
        expected_sha256: Digest recorded when it was written.
        found_sha256: Digest now; empty when it cannot be read.
    """

    kind: Literal["original", "data", "log"]
    object: str
    problem: Literal["missing", "changed", "unreadable"]
    told_as: str
    expected_sha256: str
    found_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class ScrubReport:
    """What one scrub found.

    Attributes:
        files: Files hashed, missing ones included.
        bytes: Bytes hashed.
        findings: Files that are not what they were.
    """

    files: int
    bytes: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Expected:
    kind: Literal["original", "data", "log"]
    path: Path
    sha256: str
    told_as: str


def scrub(settings: Settings, ledger: Ledger, *, say: Callable[[str], None] = lambda _line: None) -> ScrubReport:
    """Hash every kept original and every recorded file of every table on this machine.

    The result is an entry of the audit trail: that everything was whole is a statement too.

    Args:
        settings: Whose laboratory.
        ledger: What was recorded.
        say: Told how far it is.
    """
    findings: list[Finding] = []
    files = hashed_bytes = 0
    for expected in (*_originals(settings, ledger), *_table_files(settings, ledger)):
        files += 1
        problem, found, size = _compare(expected)
        hashed_bytes += size
        if problem:
            shown = str(expected.path.relative_to(settings.home)) if expected.path.is_relative_to(settings.home) else str(expected.path)
            findings.append(
                Finding(
                    kind=expected.kind,
                    object=shown,
                    problem=problem,
                    told_as=expected.told_as,
                    expected_sha256=expected.sha256,
                    found_sha256=found,
                )
            )
        if files % _SAY_EVERY == 0:
            say(f"{files} file(s), {hashed_bytes / 1e6:.0f} MB hashed, {len(findings)} finding(s)")
    report = ScrubReport(files=files, bytes=hashed_bytes, findings=tuple(findings))
    _audit(ledger, report)
    return report


def _compare(expected: _Expected) -> tuple[Literal["missing", "changed", "unreadable"] | None, str, int]:
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


def _audit(ledger: Ledger, report: ScrubReport) -> None:
    from lab_assets.state.audit_chain import AuditLog

    AuditLog(ledger.engine).append(
        actor=SYSTEM,
        action="integrity.alarm" if report.findings else "integrity.scrub",
        target="lab",
        new={
            "files": report.files,
            "bytes": report.bytes,
            "findings": [f"{each.problem}: {each.object}" for each in report.findings[:100]],
        },
        reason="scheduled or asked-for comparison of originals and tables with their recorded digests",
        origin="scrub",
    )
