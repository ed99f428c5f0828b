"""``gold.time_to_release``: how long each step from manufacture to release took.

Belongs here: which events belong to the release of a lot. Does not belong here: durations (``lab_assets.domain.cycle_time``).

Events of the lot itself, of its release samples and of their retests count, up to the last release or rejection; stability
pulls and complaints come after and are none of it.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.gold import TIME_TO_RELEASE
from lab_assets.contracts.silver import LOTS, PROCESS_EVENTS, SAMPLES
from lab_assets.domain.cycle_time import LotEvent, step_durations
from lab_assets.domain.in_force import Row
from lab_assets.stations.gold.frames import rows_by, target_rows
from lab_assets.stations.gold.lot_disposition import release_samples
from lab_assets.stations.station import Group, Input, Station, of, touched_by

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.stations.reading import StationReader

_FINAL: Final = ("released", "rejected")


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Measure the steps of lots; a lot without a record has steps but no product."""
    lots, samples, events = (rows_by(read.keyed(table, lot_id=keys["lot_id"]), "lot_id") for table in (LOTS, SAMPLES, PROCESS_EVENTS))
    made = [
        row
        for lot_id in keys["lot_id"]
        for row in step_rows(
            {"lot_id": lot_id, "lots": lots.get(lot_id, ()), "samples": samples.get(lot_id, ()), "events": events.get(lot_id, ())}
        )
    ]
    return target_rows(read, made)


def step_rows(lot: Row) -> list[dict[str, Any]]:
    """Return the rows of ``gold.time_to_release`` of one lot, in order of time.

    Args:
        lot: ``lot_id`` and the lists ``lots``, ``samples`` and ``events``.
    """
    mine = release_samples(lot["samples"])
    events = [
        LotEvent(event=row["event"], at_utc=row["at_utc"].astimezone(UTC))
        for row in lot["events"]
        if row["sample_name"] is None or row["sample_name"] in mine
    ]
    settled = max((event.at_utc for event in events if event.event in _FINAL), default=None)
    events = [event for event in events if settled is None or event.at_utc <= settled]
    steps = step_durations(events)
    starts = [min(event.at_utc for event in events), *(step.ended_at_utc for step in steps)] if events else []
    return [
        {
            "lot_id": lot["lot_id"],
            "product": lot["lots"][0]["product"] if lot["lots"] else None,
            "step_no": number,
            "step": f"{step.from_event}->{step.to_event}",
            "started_at_utc": start,
            "ended_at_utc": step.ended_at_utc,
            "duration_h": step.duration_h,
        }
        for number, (step, start) in enumerate(zip(steps, starts, strict=False), start=1)
    ]


_COUNTED: Final = (
    *of(PROCESS_EVENTS, "lot_id", "sample_name", "event", "at_utc"),
    *of(SAMPLES, "lot_id", "sample_name", "sample_type", "retest_of"),
)
TIME_TO_RELEASE_STATION: Final = Station(
    target=TIME_TO_RELEASE,
    inputs=(
        Input(table=PROCESS_EVENTS, columns=("event_id", "lot_id", "sample_name", "event", "at_utc"), touches=touched_by(lot_id="lot_id")),
        Input(table=SAMPLES, columns=("lot_id", "sample_name", "sample_type", "retest_of"), touches=touched_by(lot_id="lot_id")),
        Input(table=LOTS, columns=("lot_id", "product"), touches=touched_by(lot_id="lot_id")),
    ),
    make=_make,
    group=Group(columns=("lot_id",)),
    feeds={
        "lot_id": of(PROCESS_EVENTS, "lot_id"),
        "product": of(LOTS, "product"),
        **dict.fromkeys(("step_no", "step", "started_at_utc", "ended_at_utc", "duration_h"), _COUNTED),
    },
)
