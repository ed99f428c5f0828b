"""What ingestion records of itself: rows of ``bronze.files`` and ``bronze.quarantine``, and copies of refused files for people.

Belongs here: ledger rows to table rows. Does not belong here: transitions (``ledger.py``, ``quarantine.py``), commits (``ingestor.py``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab_assets.ingest.raw_store import RawStore
from lab_assets.sources.core.rules import mend
from lab_assets.state.ledger import Outcome
from lab_assets.state.places import revision_of


def file_row(arrival: Any, outcome: Outcome | None, batch: int) -> dict[str, Any]:
    """Return an arrival as a row of ``bronze.files``, with what became of it in this batch."""
    final = outcome or arrival
    copied = ("arrival_id", "file_id", "source", "file_name", "supersedes", "duplicate_of", "member_of", "revises_path", "revises_revision")
    return {
        **{name: getattr(arrival, name) for name in copied},
        "path_revision": revision_of(arrival),
        **{name: getattr(final, name) for name in ("format", "state", "rule", "place")},
        "reason": f"{final.rule}: {final.reason}" if final.rule else final.reason,
        "warnings": list(final.warnings),
        "rows_parsed": dict(final.rows_parsed),
        "rows_rejected": dict(final.rows_rejected),
        "bytes": arrival.size,
        "modified_at_utc": _from_ns(arrival.mtime_ns),
        "arrived_at_utc": datetime.fromisoformat(arrival.arrived_at),
        "ingest_batch": batch,
    }


def counts_of(entries: Any) -> dict[str, int]:
    """Return a Delta map of counts, which polars hands out as a list of key and value, as a dict."""
    if isinstance(entries, dict):
        return entries
    return {entry["key"]: entry["value"] for entry in entries or ()}


def quarantine_row(event: Any) -> dict[str, Any]:
    """Return a step of a refused file as a row of ``bronze.quarantine``."""
    row = dict(event._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row's columns
    row["at_utc"] = datetime.fromisoformat(row["at_utc"])
    return row


def show_refused(folder: Path, raw: RawStore, arrival: Any, outcome: Outcome) -> None:
    """Lay a copy of a refused file beside its reason, for people.

    Args:
        folder: Quarantine folder.
        raw: Where the bytes are kept.
        arrival: The refused arrival.
        outcome: Why.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # as the raw store: a file may hold anything
    place = folder / (outcome.rule or "unknown")
    place.mkdir(exist_ok=True, mode=0o700)
    stem = f"{arrival.file_id[:12]}_{_safe_name(arrival.file_name)}"
    original = raw.path(arrival.file_id)
    if original.exists():
        shutil.copyfile(original, place / stem)
    note = {
        "source": arrival.source,
        "file": arrival.file_name,
        "rule": outcome.rule,
        "reason": outcome.reason,
        "place": outcome.place,
        "mend": mend(outcome.rule),
    }
    (place / f"{stem}.reason.json").write_text(json.dumps(note, ensure_ascii=False, indent=2))


def hide_released(folder: Path, file_ids: Sequence[str]) -> None:
    """Take away the copies of files that are no longer refused; their bytes stay in the raw store."""
    for file_id in file_ids:
        for copy in folder.glob(f"*/{file_id[:12]}_*"):
            copy.unlink(missing_ok=True)


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
