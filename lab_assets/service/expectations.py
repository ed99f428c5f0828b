"""What a running injection is expected to show, from the one gatherer of a run's facts.

Belongs here: a request as the gatherer knows a run, the length of a run that states none. Does not belong here: choosing standards, limits
and windows (``lab_assets.features.run_facts``), reading (``run_rows.py``), features.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import is_not
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import LIMS_LOTS, LIMS_SAMPLES, LIMS_SEQUENCES, PROCESSING_METHODS, SPECIFICATIONS
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.features import INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.domain.in_force import Row
from lab_assets.domain.run_context import RunContext
from lab_assets.domain.units import signal_unit_of_area
from lab_assets.features.expectation import MethodExpectation
from lab_assets.features.run_facts import NOISE_COLUMN, RunBook, RunIdentity
from lab_assets.service.requests import TraceRequest
from lab_assets.service.run_rows import RunRows
from lab_assets.stations.gather import KeyedReader, gather

if TYPE_CHECKING:
    import polars as pl

_METHOD_COLUMNS: Final[tuple[tuple[TableContract, str], ...]] = (
    (PROCESSING_METHODS, "method_name"),
    (SPECIFICATIONS, "method_id"),
    (LIMS_SEQUENCES, "method_id"),
    (INJECTIONS, "method_id"),
)
KEPT_BOOKS: Final = 128


@dataclass(frozen=True, kw_only=True)
class ExpectedRun:
    """What is known of a running injection besides its trace.

    Attributes:
        context: Worklist entry, sample and lot as known, with what the request states.
        expectation: What the run should show; ``None`` where its method is not known at all.
        signal_unit: Unit of the signal in the standards' areas; ``None`` where there are none or they state none.
        noise: Noise beside the standards' peaks, from peak to peak, in that unit; ``None`` where it is not known.
    """

    context: RunContext
    expectation: MethodExpectation | None
    signal_unit: str | None
    noise: float | None = None


class _WithNoise:
    """Reads the noise of standards' peaks along, which no feature rests on."""

    def __init__(self, read: KeyedReader) -> None:
        self._read = read
        self.rows = read.rows

    def keyed(self, table: TableContract, columns: Sequence[str] | None = None, **keys: Iterable[Any]) -> pl.DataFrame:
        """See ``KeyedReader``."""
        wanted = (*columns, NOISE_COLUMN) if table is PEAKS and columns is not None else columns
        return self._read.keyed(table, wanted, **keys)


class RunBooks:
    """What was gathered of runs that go on, kept while the tables stand: such a run is asked about again and again."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[object, ...], dict[RunIdentity, tuple[datetime, RunBook]]] = ((), {})

    def of(self, read: RunRows, run: RunIdentity, at: datetime) -> RunBook:
        """Return the book of a run for a moment.

        A book is used for later moments only: which of an instrument's earlier standards count, where a sequence has none, depends on the
        moment, and such a book is not kept.
        """
        frames = read.frames
        kept_frames, kept = self._kept
        if len(kept) >= KEPT_BOOKS or len(frames) != len(kept_frames) or any(map(is_not, frames, kept_frames)):
            kept = {}
            self._kept = (frames, kept)
        found = kept.get(run)
        if found is not None and found[0] <= at:
            return found[1]
        book = gather(_WithNoise(read), [run], until=at)
        if frames and not book.is_of_moment:
            kept[run] = (at, book)
        return book


def expected_run(
    read: RunRows, injection_id: str, request: TraceRequest, *, run_time_min: float, at: datetime, books: RunBooks | None = None
) -> ExpectedRun:
    """Return what was known of a running injection at a moment.

    Args:
        read: Reads the tables.
        injection_id: The injection.
        request: What is posted of it.
        run_time_min: Planned length of the run, minutes.
        at: Nothing seen or recorded later counts.
        books: Keeps what was gathered.

    Raises:
        TableUnavailableError: a table cannot be read.
    """
    run = RunIdentity(
        injection_id=injection_id,
        injection_name=request.injection_name,
        source="",
        started_at_utc=request.injected_at_utc,
        instrument_id=request.instrument_id,
        stated_sample_name=request.sample_name,
        stated_method_name=request.method_id,
        stated_lot_id=request.lot_id,
    )
    facts = (gather(_WithNoise(read), [run], until=at) if books is None else books.of(read, run, at)).facts(run, seen_by=at, known_by=at)
    unit = next((row["area_unit"] for row in facts.standards if row["area_unit"]), None)
    return ExpectedRun(
        context=facts.context,
        expectation=facts.expectation(run_time_min=run_time_min, channel=request.channel),
        signal_unit=None if unit is None else signal_unit_of_area(unit),
        noise=_noise_of(facts.standards, request.channel),
    )


def _noise_of(standards: Sequence[Row], channel: str | None) -> float | None:
    """Return the median of the noise beside the standards' peaks on a channel: S/N is ``2 H / h`` (USP <621>)."""
    own = [row for row in standards if row["channel"] in {None, channel or row["channel"]} and row["height"] and row[NOISE_COLUMN]]
    noise = [2 * row["height"] / row[NOISE_COLUMN] for row in own if row["height"] > 0]
    return median(noise) if noise else None


def last_run_time(read: KeyedReader, *, instrument_id: str, method_id: str, at: datetime) -> float | None:
    """Return how long the method's last run on an instrument took, minutes; ``None`` where none is known.

    Args:
        read: Reads the tables.
        instrument_id: Instrument.
        method_id: Test method.
        at: Runs known later do not count.
    """
    import polars as pl

    columns = ["injection_id", "known_time_utc", "run_time_min"]
    runs = read.keyed(INJECTIONS, columns, instrument_id=[instrument_id], method_id=[method_id]).drop_nulls()
    last = runs.filter(pl.col("known_time_utc") <= at).sort("known_time_utc", "injection_id").tail(1)
    return None if last.is_empty() else float(last["run_time_min"][0])


_KNOWN_BY: Final[Mapping[str, tuple[tuple[TableContract, str], ...]]] = {
    "instrument": ((LIMS_SEQUENCES, "instrument_id"), (INJECTIONS, "instrument_id"), (INSTRUMENT_HISTORY, "instrument_id")),
    "sample": ((LIMS_SEQUENCES, "sample_name"), (LIMS_SAMPLES, "sample_name"), (STORAGE_EXPOSURE, "sample_name")),
    "lot": ((LIMS_LOTS, "lot_id"), (LIMS_SAMPLES, "lot_id"), (LOT_HISTORY, "lot_id")),
}


def unknown_names(read: KeyedReader, request: TraceRequest) -> list[tuple[str, str]]:
    """Return what a request names that no table knows, as kind and name: instrument, sample, lot."""
    named = (("instrument", request.instrument_id), ("sample", request.sample_name), ("lot", request.lot_id))
    return [
        (kind, name)
        for kind, name in named
        if name is not None and all(read.keyed(table, [column], **{column: [name]}).is_empty() for table, column in _KNOWN_BY[kind])
    ]


class KnownMethods(Collection[str]):
    """Every method that some table knows; whether it knows one is asked by key."""

    def __init__(self, read: KeyedReader) -> None:
        self._read = read

    def __contains__(self, method: object) -> bool:
        """Return whether some table knows a method."""
        return any(not self._read.keyed(table, [column], **{column: [method]}).is_empty() for table, column in _METHOD_COLUMNS)

    def __iter__(self) -> Iterator[str]:
        """Give every method once."""
        return iter(sorted({name for table, column in _METHOD_COLUMNS for name in self._named(table, column)}))

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(1 for _ in self)

    def _named(self, table: TableContract, column: str) -> list[str]:
        return [name for name in self._read.rows(table, [column])[column].unique() if name]
