"""Renamed columns: proposed by readers, decided by people, used by readers from then on.

Belongs here: the record of proposals and decisions. Does not belong here: how likeness is judged (``lab_assets.sources.core.synonyms``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from lab_assets.state.database import utc_text
from lab_assets.state.ledger_tables import ARRIVALS, SCHEMA_PROPOSALS

_COLUMNS = SCHEMA_PROPOSALS.c


class ProposalError(ValueError):
    """A proposal that does not exist, is decided already, or contradicts another."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A column that may be one of the contract's under another name."""

    table_name: str
    column_name: str
    proposed_column: str
    instrument_name: str | None = None
    software: str | None = None


def note_proposal(connection: Connection, proposal: Proposal, *, source: str, file_name: str) -> None:
    """Record that a file brought a column under another name; the first file is remembered, later ones are counted."""
    where = (
        (_COLUMNS.source == source)
        & (_COLUMNS.table_name == proposal.table_name)
        & (_COLUMNS.column_name == proposal.column_name)
        & (_COLUMNS.proposed_column == proposal.proposed_column)
    )
    seen = connection.execute(update(SCHEMA_PROPOSALS).where(where).values(files=_COLUMNS.files + 1))
    if seen.rowcount:
        return
    connection.execute(
        insert(SCHEMA_PROPOSALS).values(
            source=source,
            first_file=file_name,
            first_seen_at=utc_text(),
            files=1,
            state="proposed",
            **{name: getattr(proposal, name) for name in ("table_name", "column_name", "proposed_column", "instrument_name", "software")},
        )
    )


class SchemaProposals:
    """The proposals of one ledger."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def listed(self, state: str | None = None) -> list[Any]:
        """Return proposals, newest first, of one state or of all."""
        query = select(SCHEMA_PROPOSALS).order_by(_COLUMNS.proposal_id.desc())
        with self.engine.connect() as connection:
            return list(connection.execute(query.where(_COLUMNS.state == state) if state else query))

    def accepted(self, source: str, *, by_then: str) -> dict[str, dict[str, str]]:
        """Return the accepted renames of a source: by table, the column as written to the contract's column.

        Args:
            source: Drop folder.
            by_then: Moment, ISO 8601 in UTC, up to which decisions count: files that are read again are read as they were then.
        """
        decided = (_COLUMNS.state == "accepted") & (_COLUMNS.decided_at <= by_then)
        query = select(SCHEMA_PROPOSALS).where(_COLUMNS.source == source, decided)
        renames: dict[str, dict[str, str]] = {}
        with self.engine.connect() as connection:
            for row in connection.execute(query):
                renames.setdefault(row.table_name, {})[row.column_name] = row.proposed_column
        return renames

    def decide(self, connection: Connection, numbers: Sequence[int], *, accept: bool, by: str, reason: str) -> list[Any]:
        """Accept or reject proposals; a rejected one may be accepted later and the other way round, each on record.

        Args:
            connection: Of a ``writing`` transaction, which holds the audit entry too.
            numbers: Proposals.
            accept: Whether the column is to be used.
            by: Who decides.
            reason: Why.

        Returns:
            The proposals as they were before.

        Raises:
            ProposalError: one does not exist, is in that state already, or its column is accepted as another one.
        """
        wanted = "accepted" if accept else "rejected"
        before = [self._checked(connection, number, wanted) for number in dict.fromkeys(numbers)]
        for row in before:
            decision = {"state": wanted, "decided_by": by, "decided_at": utc_text(), "decision_reason": reason}
            connection.execute(update(SCHEMA_PROPOSALS).where(_COLUMNS.proposal_id == row.proposal_id).values(**decision))
        return before

    def _checked(self, connection: Connection, number: int, wanted: str) -> Any:
        row = connection.execute(select(SCHEMA_PROPOSALS).where(_COLUMNS.proposal_id == number)).one_or_none()
        if row is None:
            raise ProposalError(f"there is no proposal {number}; 'lab schema list' shows what there is")
        if row.state == wanted:
            raise ProposalError(f"proposal {number} is {wanted} already, by {row.decided_by}")
        same = (_COLUMNS.source == row.source) & (_COLUMNS.table_name == row.table_name) & (_COLUMNS.state == "accepted")
        clash = (_COLUMNS.column_name == row.column_name) | (_COLUMNS.proposed_column == row.proposed_column)
        other = connection.execute(select(SCHEMA_PROPOSALS).where(same & clash & (_COLUMNS.proposal_id != number))).first()
        if wanted == "accepted" and other is not None:
            raise ProposalError(
                f"proposal {other.proposal_id} is accepted: {other.column_name!r} as {other.proposed_column!r}; reject it first"
            )
        return row

    def refused_files(self, proposal: Any) -> list[int]:
        """Return refused arrivals of the proposal's source that wait for a missing column, to be read again."""
        query = select(ARRIVALS.c.arrival_id).where(
            ARRIVALS.c.source == proposal.source, ARRIVALS.c.state == "quarantined", ARRIVALS.c.rule == "missing_column"
        )
        with self.engine.connect() as connection:
            return list(connection.execute(query).scalars())
