"""``gold.time_to_release``: how long each step from manufacture to release took.

Belongs here: which events belong to the release of a lot. Does not belong here: durations (``lab_assets.domain.cycle_time``).

Events of the lot itself, of its release samples and of their retests count, up to the last release or rejection; stability
pulls and complaints come after and are none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.gold import TIME_TO_RELEASE
from lab_assets.contracts.silver import LOTS, PROCESS_EVENTS, SAMPLES
from lab_assets.domain.cycle_time import LotEvent, step_durations
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.gold.lot_disposition import release_samples
from lab_assets.stations.silver.reference import gathered, replace_on_news

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Row = Mapping[str, Any]

_FINAL: Final = ("released", "rejected")


def update_time_to_release(lake: Lakehouse) -> int:
    """Measure the steps of every lot anew when events, samples or lots have moved.

    Returns:
        Version of the table afterwards.
    """
    return replace_on_news(lake, TIME_TO_RELEASE, (PROCESS_EVENTS, SAMPLES, LOTS), lambda: _steps(lake).toArrow())


def _steps(lake: Lakehouse) -> DataFrame:
    lots = gathered(
        ["lot_id"],
        {
            "lots": lake.read(LOTS).select("lot_id", "product"),
            "samples": lake.read(SAMPLES).select("lot_id", "sample_name", "sample_type", "retest_of"),
            "events": lake.read(PROCESS_EVENTS).select("lot_id", "event_id", "sample_name", "event", "at_utc"),
        },
    )
    return lots.mapInArrow(measure_lots, schema=TIME_TO_RELEASE.spark_ddl())


def measure_lots(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Measure the lots of each batch; the function given to ``mapInArrow``."""
    import pyarrow as pa

    for batch in batches:
        rows = list(chain.from_iterable(map(step_rows, batch.to_pylist())))
        yield pa.RecordBatch.from_pylist(rows, schema=TIME_TO_RELEASE.arrow_schema())


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
