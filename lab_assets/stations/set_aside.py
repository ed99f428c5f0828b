"""Setting aside what a table cannot be made of, so that everything else goes on.

Belongs here: counting tries, finding the groups that fail, what is tried again. Does not belong here: making a table (``runner.py``).

A run that fails is repeated, since most causes pass. What fails every time would hold up all that came after it: one injection whose
points no formula can take would leave a thousand others unscored. So from the third try on, the groups of a portion that fails are
halved until those are found that fail alone; they are set aside by name, with the reason, and the others are made. Where that does not
help, the table as a whole is set aside: what stands in it stays, and what rests on it is made of that.

What is set aside is tried again when its inputs change, when it is asked for (``lab run retry``), when the table is made anew, and once
by each version of the code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from lab_assets.compute.session import SparkGoneError
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.opening import DamagedTableError
from lab_assets.lake.writer import CommitLostError
from lab_assets.provenance import code_version
from lab_assets.state.station_work import RETRY, StationWork

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.stations.station import Station

T = TypeVar("T")

TRIES: Final = 3
"""From this try on, what fails is looked for and set aside."""
MOST: Final = 100
"""Groups set aside by one run, at most: where more fail, the fault is not theirs."""
WHOLE: Final = ""
"""Key under which the news of a whole table is set aside."""

_FAILED: Final = "#failed"
_TRIED_BY: Final = "#tried_by"
_OF_THE_MACHINE: Final = (OSError, MemoryError, SQLAlchemyError, SparkGoneError, DamagedTableError, CommitLostError)
"""What no group is to blame for: the next run finds another machine, or the same fault that has its own words."""


class TooManyFailError(RuntimeError):
    """More groups fail than could be at fault themselves."""


def is_of_the_rows(error: BaseException) -> bool:
    """Return whether an error may come from what was worked on, and not from the machine."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, _OF_THE_MACHINE):
            return False
        seen = seen.__cause__
    return True


def words_of(error: BaseException) -> str:
    """Return an error in one line."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def may_set_aside(lake: Lakehouse, station: str) -> bool:
    """Return whether what fails is set aside: enough runs failed on a station's news, or something of it is set aside already."""
    return lake.ledger.progress(station).get(_FAILED, 0) + 1 >= TRIES or bool(lake.ledger.set_aside(station))


@contextmanager
def counting_failures(lake: Lakehouse, station: str) -> Iterator[None]:
    """Count a body that fails as a run that failed on a station; from the third on its news is set aside as a whole."""
    try:
        yield
    except Exception as error:
        _note_failed(lake, station, error)
        raise


def _note_failed(lake: Lakehouse, station: str, error: BaseException) -> None:
    if not is_of_the_rows(error):
        return
    failed = lake.ledger.progress(station).get(_FAILED, 0) + 1
    lake.ledger.set_progress(station, {_FAILED: failed})
    if failed >= TRIES:
        lake.ledger.note_set_aside(station, {WHOLE: words_of(error)})


def note_done(lake: Lakehouse, station: str, aside: Mapping[str, str], *, tried: Callable[[str], bool]) -> None:
    """Record after a run what it set aside; what it tried and did not fail on is set aside no longer.

    Args:
        lake: Tables.
        station: Whose.
        aside: What failed, each with the reason.
        tried: Tells whether something that was set aside was tried now.
    """
    known = lake.ledger.progress(station)
    before = lake.ledger.set_aside(station)
    no_longer = [each.key for each in before if each.key not in aside and (each.key == WHOLE or tried(each.key))]
    if aside or no_longer:
        lake.ledger.note_set_aside(station, aside, no_longer=no_longer)
    if aside or before or known.get(_FAILED):
        lake.ledger.set_progress(station, {_FAILED: 0, _TRIED_BY: this_code()})


def to_try_again(lake: Lakehouse, station: str, attention: Iterable[tuple[str, str]]) -> list[str]:
    """Return what was set aside and is to be tried now: what is asked for, or all where other code failed on it."""
    asked = {key for kind, key in attention if kind == RETRY and key != WHOLE}
    if lake.ledger.progress(station).get(_TRIED_BY, 0) != this_code():
        asked |= {each.key for each in lake.ledger.set_aside(station) if each.key != WHOLE}
    return sorted(asked)


def waits_for_this_code(ledger: StationWork) -> bool:
    """Return whether anything is set aside that this version of the code has not tried."""
    aside = {each.station for each in ledger.set_aside() if each.key != WHOLE}
    return any(ledger.progress(name).get(_TRIED_BY, 0) != this_code() for name in aside)


def this_code() -> int:
    """Return a number that changes with the version of the code."""
    return int.from_bytes(hashlib.sha256(code_version().encode()).digest()[:6], "big")


def fail_alone(parts: Sequence[T], work: Callable[[Sequence[T]], None]) -> dict[T, str]:
    """Work on all of some parts; return those that fail alone, each with the reason.

    Args:
        parts: What is worked on together, halved until what fails is alone.
        work: Does it; safe to repeat.

    Raises:
        TooManyFailError: more than ``MOST`` fail.
        Exception: the machine is at fault, not a part.
    """
    found: dict[T, str] = {}
    waiting: list[Sequence[T]] = [parts] if parts else []
    while waiting:
        some = waiting.pop()
        try:
            work(some)
        except Exception as error:
            if not is_of_the_rows(error):
                raise
            if len(some) > 1:
                half = len(some) // 2
                waiting += [some[half:], some[:half]]
                continue
            found[some[0]] = words_of(error)
            if len(found) > MOST:
                raise TooManyFailError(f"more than {MOST} groups fail, the last with {words_of(error)}") from error
    return found


def key_text(row: Mapping[str, Any]) -> str:
    """Return the key of a group as text that names it."""
    return json.dumps(row, sort_keys=True, default=str, ensure_ascii=False)


def keys_named(station: Station, empty: pl.DataFrame, texts: Iterable[str]) -> pl.DataFrame:
    """Return the groups that some texts name, in the types of ``empty``, a frame of the station's keys."""
    import polars as pl

    rows = [json.loads(text) for text in texts]
    named = {name: [str(row[name]) for row in rows] for name in station.group.names}
    return pl.DataFrame(named, schema=dict.fromkeys(station.group.names, pl.String)).cast(dict(empty.schema))  # pyright: ignore[reportArgumentType]
