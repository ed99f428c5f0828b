"""Partial-trace features of whole traces, wherever they are worked on.

Belongs here: from what is known of a run and its trace to rows of ``features.injection_progress``. Does not belong here: gathering what is
known (``injection_progress.py``), the feature functions (``lab_assets.features``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lab_assets.contracts.bronze import CHROMATOGRAMS, INSTRUMENT_STATUS
from lab_assets.contracts.features import INJECTION_PROGRESS
from lab_assets.domain.in_force import Row
from lab_assets.domain.injection_identity import PARTS
from lab_assets.features.definitions import FEATURE_SET_VERSION, columns_of
from lab_assets.features.expectation import MethodExpectation
from lab_assets.features.join import RUN_KEYS
from lab_assets.features.progress import checkpoint_time
from lab_assets.stations.traces import Place, place_of, trace_rows

if TYPE_CHECKING:
    import pyarrow as pa

_PLACE: Final = ("source_sha256", *PARTS, "trace")


class Known(NamedTuple):
    """What was known of a run from a moment on.

    Attributes:
        moment: Moment.
        expected: What it was expected to show.
        keys: Its ``RUN_KEYS``.
    """

    moment: datetime
    expected: MethodExpectation
    keys: tuple[str | None, ...]


@dataclass(frozen=True, kw_only=True)
class KnownRun:
    """What is known of a run beside its trace.

    Attributes:
        injection_id: Its injection.
        injection_name: Its name.
        started_at_utc: Start.
        run_time_min: Length, minutes.
        expectations: By checkpoint: what it was expected to show, from each known time on.
        pressure: Place of its pressure, if there is one.
    """

    injection_id: str
    injection_name: str
    started_at_utc: datetime
    run_time_min: float | None
    expectations: Mapping[int, Sequence[Known]]
    pressure: Place | None


class ProgressWorker:
    """Partial-trace features of whole traces, wherever they are worked on."""

    def __init__(self, known: Mapping[Place, KnownRun]) -> None:
        self.known = known

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Compute the runs of one injection name: its traces and pressures come together."""
        import pyarrow as pa

        rows: dict[str, dict[Place, Row]] = {CHROMATOGRAMS.name: {}, INSTRUMENT_STATUS.name: {}}
        for batch in batches:
            for row in trace_rows(batch):
                rows[row["table"]][place_of(row, _PLACE)] = row
        made: list[dict[str, Any]] = []
        for place, trace in rows[CHROMATOGRAMS.name].items():
            if (known := self.known.get(place)) is not None:
                pressure = None if known.pressure is None else rows[INSTRUMENT_STATUS.name].get(known.pressure)
                made += progress_rows(known, trace, pressure)
        yield pa.RecordBatch.from_pylist(made, schema=INJECTION_PROGRESS.arrow_schema())


def progress_rows(known: KnownRun, trace: Row, pressure: Row | None) -> list[dict[str, Any]]:
    """Return the rows of one injection: one a checkpoint, and one more each time that a later record changed what it shows."""
    from lab_assets.domain.units import to_minutes
    from lab_assets.features.progress import checkpoint_features
    from lab_assets.features.vector import storable

    x_min = to_minutes(trace["x"], trace["x_unit"] or "min")
    run_time_min = known.run_time_min or float(x_min[-1])
    y = trace["y"] * (trace["y_factor"] or 1.0)
    made: list[dict[str, Any]] = []
    for expected, checkpoints in _together(known.expectations):
        found = checkpoint_features(
            x_min, y, run_time_min=run_time_min, expectation=expected, pressure=_pressure(pressure), checkpoints=sorted(checkpoints)
        )
        for features in found:
            checkpoint = int(features["checkpoint_pct"])
            made += [
                {
                    "injection_id": known.injection_id,
                    "injection_name": known.injection_name,
                    "checkpoint_pct": checkpoint,
                    "event_time_utc": checkpoint_time(known.started_at_utc, run_time_min, checkpoint),
                    "known_time_utc": moment,
                    "feature_set_version": FEATURE_SET_VERSION,
                    **dict(zip(RUN_KEYS, keys, strict=True)),
                    **storable({name: features[name] for name in columns_of("injection_progress")}),
                }
                for moment, keys in checkpoints[checkpoint]
            ]
    return _changed(made)


_Since = list[tuple[datetime, tuple[str | None, ...]]]
"""Moments from which on an expectation holds, each with the ``RUN_KEYS`` known then."""


def _together(expectations: Mapping[int, Sequence[Known]]) -> list[tuple[MethodExpectation, dict[int, _Since]]]:
    """Return each different expectation once, with the checkpoints and known times that it holds for."""
    found: list[tuple[MethodExpectation, dict[int, _Since]]] = []
    for checkpoint, known in expectations.items():
        for moment, expected, keys in known:
            for other, checkpoints in found:
                if other is expected or other == expected:
                    checkpoints.setdefault(checkpoint, []).append((moment, keys))
                    break
            else:
                found.append((expected, {checkpoint: [(moment, keys)]}))
    return found


def _changed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out rows that say the same as the one known before them."""
    names = (*RUN_KEYS, *columns_of("injection_progress"))
    kept: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["checkpoint_pct"], row["known_time_utc"])):
        before = kept[-1] if kept and kept[-1]["checkpoint_pct"] == row["checkpoint_pct"] else None
        if before is None or any(before[name] != row[name] for name in names):
            kept.append(row)
    return kept


def _pressure(signal: Row | None) -> Any:
    from lab_assets.domain.units import to_minutes
    from lab_assets.features.trace import pressure_trace

    if signal is None or len(signal["x"]) < 2:
        return None
    x_min = to_minutes(signal["x"], signal["x_unit"] or "min")
    return pressure_trace(x_min, signal["y"] * (signal["y_factor"] or 1.0), unit=signal["y_unit"])
