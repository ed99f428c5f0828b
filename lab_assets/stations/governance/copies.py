"""Copies of audit trail, access and scrubs as tables.

Belongs here: moving rows from the relational state into Delta. Does not belong here: the rules (``lab_assets.governance``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from filelock import FileLock

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.governance import ACCESS, AUDIT
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.provenance import code_version


def update_audit(lake: Lakehouse, *, run_id: str = "") -> int:
    """Append the audit entries that the table does not have yet; which these are the table itself says, also after it was set back.

    Returns:
        Version of ``governance.audit`` afterwards.
    """
    from dataclasses import asdict

    from lab_assets.state.audit_chain import AuditLog

    with _alone(lake, AUDIT):
        new = AuditLog(lake.ledger.engine).entries(after=lake.highest(AUDIT, "seq"))
        if not new:
            return lake.version(AUDIT)
        rows = [{**asdict(entry), "at_utc": datetime.fromisoformat(entry.at_utc)} for entry in new]
        return lake.append(AUDIT, lake.local_rows(AUDIT, rows), derivation=_from("audit_trail", new[-1].seq, run_id))


def update_access(lake: Lakehouse, *, run_id: str = "") -> int:
    """Add an access review when people, grants or tags changed since the last one, or when that one is not in the table or of another form.

    Returns:
        Version of ``governance.access`` afterwards.
    """
    from lab_assets.governance.grants import access_rows
    from lab_assets.governance.policy import PolicyEngine

    with lake.ledger.engine.connect() as connection:
        policy = PolicyEngine.load(connection, contracts())
    station = ACCESS.full_name
    reviewed = {"policy": int(policy.version), "form": ACCESS.version}
    with _alone(lake, ACCESS):
        noted, held_at = lake.ledger.progress(station), _newest_review(lake)
        same_rights = {name: noted.get(name) for name in reviewed} == reviewed
        if same_rights and held_at is not None and noted.get(_REVIEWED_AT) == _microseconds(held_at):
            return lake.version(ACCESS)
        now = datetime.now(UTC)
        rows = access_rows(policy, now)
        if same_rights and held_at is not None and _rights(_review_of(lake, held_at)) == _rights(rows):
            written, now = lake.version(ACCESS), held_at  # set back to a review that says the same
        else:
            written = lake.append(ACCESS, lake.local_rows(ACCESS, rows), derivation=_from("policy", policy.version, run_id))
        lake.ledger.set_progress(station, {**reviewed, _REVIEWED_AT: _microseconds(now)})
        return written


_REVIEWED_AT: Final = "reviewed_at_us"


def _newest_review(lake: Lakehouse) -> datetime | None:
    """Return when the newest review in the table was made; ``None`` where it has none."""
    import polars as pl

    return lake.scan(ACCESS).select(pl.col("reviewed_at_utc").max()).collect().item()


def _review_of(lake: Lakehouse, at: datetime) -> list[dict[str, Any]]:
    import polars as pl

    return lake.polars(ACCESS, where=pl.col("reviewed_at_utc") == at).to_dicts()


def _rights(rows: Sequence[Mapping[str, Any]]) -> set[tuple[Any, ...]]:
    """Return what a review says, without its time."""
    names = [name for name in ACCESS.column_names if name != "reviewed_at_utc"]
    return {tuple(tuple(value) if isinstance(value := row[name], (list, tuple)) else value for name in names) for row in rows}


def _microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@contextmanager
def _alone(lake: Lakehouse, contract: TableContract) -> Iterator[None]:
    """See that one process at a time copies to a table: two would both find the same rows missing."""
    folder = lake.settings.run / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"copy.{contract.full_name}.lock"):
        yield


def _from(what: str, version: int | str, run_id: str) -> Derivation:
    return Derivation(inputs={f"state:{what}": version}, run_id=run_id, code_version=code_version())


@dataclass(frozen=True, kw_only=True)
class SeenScrub:
    """The newest scrub, as the audit trail reports it.

    Attributes:
        files: Files hashed.
        findings: What was missing or changed.
        named: The first of them by name.
        at: When, empty before the first one.
    """

    files: int = 0
    findings: int = 0
    named: tuple[str, ...] = ()
    at: str = ""


def newest_scrub(lake: Lakehouse) -> SeenScrub:
    """Return what the newest scrub found."""
    import json

    from lab_assets.state.audit_chain import AuditLog

    entries = AuditLog(lake.ledger.engine).entries(action="integrity", limit=1)
    if not entries:
        return SeenScrub()
    found = json.loads(entries[-1].new or "{}")
    count = found.get("count", len(found["findings"]))
    return SeenScrub(files=found["files"], findings=count, named=tuple(found["findings"]), at=entries[-1].at_utc)
