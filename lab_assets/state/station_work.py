"""What stations of the graph still have to do: how far they have worked, what they must look at again.

Belongs here: progress and attention. Does not belong here: arrivals and batches (``ledger.py``),
what a station makes of its work (``lab_assets.stations``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, bindparam, delete, select

from lab_assets.state.database import utc_text, writing
from lab_assets.state.ledger_tables import STATION_ATTENTION, STATION_PROGRESS, TABLE_COMMITS
from lab_assets.state.upsert import upsert

NOT_BEFORE: Final = "not_before"
"""Kind of attention that waits for a time: its key begins with it, as ISO text in UTC, and goes on after a bar."""
EVERYTHING: Final = "everything"
"""Kind of attention that asks a station to make its table anew, as after a restore; its key is empty."""
SET_ASIDE: Final = "set_aside"
"""Kind of what is no attention but the contrary: several runs failed on it, and it is passed over; an empty key is the whole table."""
RETRY: Final = "retry"
"""Kind of attention that asks for what was set aside, by its key."""

MADE_ANEW: Final = "#anew"
"""Key in a station's progress under which the version of its own table is kept from which it last made every row anew."""


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Something a station must look at again beside its news.

    Attributes:
        station: Station, as it calls itself in its progress.
        kind: What the key is, such as ``everything``, ``lot_id`` or ``injection_id``; at most 32 characters.
        key: The key; empty for ``everything``.
        reason: Why, for people.
    """

    station: str
    kind: str
    key: str = ""
    reason: str


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """Something that several runs failed on and that is passed over, so that everything else goes on.

    Attributes:
        station: Table.
        key: What is set aside of it, as JSON; empty for all its news.
        reason: What went wrong.
        since_utc: When it was tried last.
    """

    station: str
    key: str
    reason: str
    since_utc: str

    def words(self) -> str:
        """Return it for people."""
        return f"{self.station}{f' {self.key}' if self.key else ''}: {self.reason}"


class StationWork:
    """Progress and attention of every station, in one database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def progress(self, station: str) -> dict[str, int]:
        """Return, by input table, the version a station has worked up to."""
        query = select(STATION_PROGRESS.c.input_table, STATION_PROGRESS.c.version).where(STATION_PROGRESS.c.station == station)
        with self.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def set_progress(self, station: str, versions: Mapping[str, int]) -> None:
        """Record that a station has worked up to these versions."""
        with writing(self.engine) as connection:
            self._progressed(connection, station, versions)

    def _progressed(self, connection: Connection, station: str, versions: Mapping[str, int]) -> None:
        rows = [{"station": station, "input_table": name, "version": version} for name, version in versions.items()]
        upsert(connection, STATION_PROGRESS, rows, ("station", "input_table"))

    def call_attention(self, items: Iterable[Attention], connection: Connection | None = None) -> None:
        """Ask stations to look at something again; what is asked already keeps one row, with the newest reason and time.

        Args:
            items: What to look at.
            connection: Of the caller's ``writing`` transaction, such as that of a restore; default: one of its own.
        """
        at = utc_text()
        rows = [{"station": each.station, "kind": each.kind, "key": each.key, "reason": each.reason, "at_utc": at} for each in items]
        if rows:
            with nullcontext(connection) if connection is not None else writing(self.engine) as own:
                upsert(own, STATION_ATTENTION, rows, ("station", "kind", "key"))

    def attention(self, station: str) -> list[tuple[str, str]]:
        """Return what a station must look at again beside its news, as ``(kind, key)``, in order."""
        columns = STATION_ATTENTION.c
        asked = (columns.station == station, columns.kind != SET_ASIDE)
        query = select(columns.kind, columns.key).where(*asked).order_by(columns.kind, columns.key)
        with self.engine.connect() as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]

    def to_make_anew(self, stations: Iterable[str] | None = None) -> dict[str, str]:
        """Return which stations were asked to make their tables anew, each with the reason; one query, by its key.

        Args:
            stations: Names of the stations that are asked about; default: all.
        """
        columns = STATION_ATTENTION.c
        query = select(columns.station, columns.reason).where(columns.kind == EVERYTHING).order_by(columns.station)
        if stations is not None:
            query = query.where(columns.station.in_(list(stations)))
        with self.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def attended(self, station: str, items: Iterable[tuple[str, str]], *, asked_by: str | None = None) -> None:
        """Take away what a station has looked at, after its work is committed.

        Args:
            station: The station.
            items: What it looked at, as ``attention`` returned it.
            asked_by: Moment before the station read its inputs (``utc_text``): what was asked for again after it stays.
        """
        rows = [{"b_kind": kind, "b_key": key} for kind, key in items]
        if not rows:
            return
        columns = STATION_ATTENTION.c
        statement = delete(STATION_ATTENTION).where(
            columns.station == station, columns.kind == bindparam("b_kind"), columns.key == bindparam("b_key")
        )
        with writing(self.engine) as connection:
            connection.execute(statement if asked_by is None else statement.where(columns.at_utc <= asked_by), rows)

    def set_aside(self, station: str | None = None) -> list[SetAside]:
        """Return what is set aside, of one station or of all, by station and key."""
        columns = STATION_ATTENTION.c
        query = select(columns.station, columns.key, columns.reason, columns.at_utc).where(columns.kind == SET_ASIDE)
        if station is not None:
            query = query.where(columns.station == station)
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(columns.station, columns.key)).tuples()
            return [SetAside(station=row[0], key=row[1], reason=row[2], since_utc=row[3]) for row in rows]

    def note_set_aside(self, station: str, aside: Mapping[str, str], *, no_longer: Iterable[str] = ()) -> None:
        """Record what is set aside of a station, each with the reason, and what is so no longer."""
        self.call_attention([Attention(station=station, kind=SET_ASIDE, key=key, reason=reason) for key, reason in aside.items()])
        self.attended(station, [(SET_ASIDE, key) for key in no_longer])

    def retry_set_aside(self, station: str | None = None) -> list[SetAside]:
        """Ask stations to try again what is set aside, of one station or of all; the next run does it.

        Returns:
            What was asked for.
        """
        found = self.set_aside(station)
        self.call_attention([Attention(station=each.station, kind=RETRY, key=each.key, reason="asked for") for each in found])
        return found

    def work_waits(self, stations: Iterable[str]) -> bool:
        """Tell whether any of some stations has work left; the cost does not follow how much.

        An input that has moved since the station last looked at it is work, and so is what it was asked to look at again. What it was
        asked to look at later is work when its time has come.

        Args:
            stations: Names of the stations.
        """
        names = list(stations)
        asked = STATION_ATTENTION.c
        due = (asked.kind != SET_ASIDE) & ((asked.kind != NOT_BEFORE) | (asked.key <= utc_text()))
        moved = (
            select(STATION_PROGRESS.c.station)
            .join(TABLE_COMMITS, TABLE_COMMITS.c.table_name == STATION_PROGRESS.c.input_table)
            .where(STATION_PROGRESS.c.station.in_(names), TABLE_COMMITS.c.version != STATION_PROGRESS.c.version)
        )
        query = select(moved.exists() | select(asked.station).where(asked.station.in_(names), due).exists())
        with self.engine.connect() as connection:
            return bool(connection.execute(query).scalar_one())
