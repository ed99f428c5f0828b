"""Investigations of results out of specification (OOS).

Belongs here: when an investigation is closed. Does not belong here: which results fail (``oos.py``), what a closed investigation means
for a lot.

An investigation is about the failing result of a sample, so it is found by the sample and goes where the sample goes: that the LIMS
named a lot with the event says only where the sample was thought to be at the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

from lab_assets.domain.in_force import Row

Investigation = Literal["not opened", "open", "closed"]
OPENED: Final = "oos_opened"
CLOSED: Final = "oos_closed"
INVESTIGATION_EVENTS: Final = (OPENED, CLOSED)
"""Events that are counted; who reads them reads ``event_id`` as well, by which two of one kind are two."""


def investigations(events: Iterable[Row]) -> dict[str | None, Investigation]:
    """Return how the investigations of each sample stand together; a sample that is not named has none.

    They are closed when the LIMS shows as many ``oos_closed`` as ``oos_opened`` events of the sample, and one at least: of one whose
    opening was never exported the closing says enough.

    Args:
        events: ``sample_name`` and ``event``, of any kind.
    """
    steps = Counter((row["sample_name"], row["event"]) for row in events if row["event"] in INVESTIGATION_EVENTS)
    return {
        sample: "closed" if steps[sample, CLOSED] >= max(1, steps[sample, OPENED]) else "open" for sample, _ in steps if sample is not None
    }
