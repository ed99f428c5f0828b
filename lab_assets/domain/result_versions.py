"""Results as they were known at each moment, and the versions that follow from it.

Belongs here: identity, state and versions of a result. Does not belong here: values from areas (``sequence_results.py``), values that
people enter (``entered_results.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lab_assets.domain.oos import judge

STILL_TO_COME: Final = "a planned standard of the sequence is still to come"


def result_id(*parts: str) -> str:
    """Return the identity of a result from what it is a result of."""
    return "res_" + hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def state_of(value: float, low: float | None, high: float | None) -> str:
    """Return ``pass``, ``fail``, or ``no_spec`` where no limit applies."""
    return "no_spec" if low is None and high is None else judge(value, low, high)


@dataclass(frozen=True, slots=True)
class KnownResults:
    """What is reportable at one moment, of one run or one entry: result rows by identity, without version and known time."""

    rows: Mapping[str, Mapping[str, Any]]
    complete: bool


def versions(known: Sequence[tuple[datetime | None, KnownResults]], reason: Callable[[datetime], str]) -> list[dict[str, Any]]:
    """Return result rows with their versions: one each time that a result differs from what was known of it before.

    A result that there is none of any more has no further version: its last one says when it was withdrawn.

    Args:
        known: What was known at each moment, in order of time; ``None`` as the last moment for what has no known time yet.
        reason: Says what became known at a moment.
    """
    made: dict[str, list[dict[str, Any]]] = {}
    for moment, found in known:
        for identity, rows in made.items():
            if identity not in found.rows and rows[-1]["is_current"]:
                rows[-1] |= {"is_current": False, "withdrawn_at_utc": moment}
        for identity, row in found.rows.items():
            earlier = made.setdefault(identity, [])
            if earlier and earlier[-1]["is_current"] and all(earlier[-1][name] == value for name, value in row.items()):
                continue
            if earlier:
                earlier[-1] |= {"is_current": False, "superseded_by": len(earlier) + 1}
            earlier.append(
                {
                    **row,
                    "result_version": len(earlier) + 1,
                    "is_current": True,
                    "superseded_by": None,
                    "withdrawn_at_utc": None,
                    "change_reason": (reason(moment) if moment is not None else STILL_TO_COME) if earlier else None,
                    "known_time_utc": moment,
                }
            )
    return [row for rows in made.values() for row in rows]
