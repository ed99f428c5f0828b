"""What is known around a run at a moment: instrument, lot and storage, from the feature tables.

The rule is that of ``lab_assets.features.join``, kept as sorted arrays so that one look-up costs microseconds; a test holds both
against each other.

Belongs here: look-up of stored features by key and moment, at the newest or at recorded table versions.
Does not belong here: computing features, the features of the trace itself (``scoring.py``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lab_assets.features.definitions import names_of
from lab_assets.features.join import LOOKBACK_DAYS
from lab_assets.service.table_cache import Snapshot, TableCache, load_snapshot
from lab_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl

Row = Mapping[str, Any]
Key = tuple[Any, ...]
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "instrument_history": ("instrument_id", "method_id"),
    "lot_history": ("lot_id",),
    "storage_exposure": ("sample_name",),
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Return a point in time as microseconds since 1970, exactly."""
    return (at - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, kw_only=True)
class History:
    """Rows of one feature table, ready to be asked for a key and a moment.

    Attributes:
        rows: Rows that can ever be the latest, sorted by key and by when they became available.
        available_us: For each key the moments its rows became available, ascending, microseconds since 1970.
        first: Index in ``rows`` of each key's first row.
    """

    rows: pl.DataFrame
    available_us: Mapping[Key, Sequence[int]]
    first: Mapping[Key, int]

    @staticmethod
    def build(table: str, frame: pl.DataFrame) -> History:
        """Sort a feature table; see ``lab_assets.features.join`` for the rule."""
        import polars as pl

        by, utc = list(KEYS[table]), pl.Datetime("us", "UTC")
        rows = (
            frame.select(*by, pl.col("event_time_utc", "known_time_utc").cast(utc), *names_of(table))
            .drop_nulls([*by, "event_time_utc", "known_time_utc"])
            .with_columns(available=pl.max_horizontal("event_time_utc", "known_time_utc"))
            .sort(*by, "available", "event_time_utc", "known_time_utc", maintain_order=True)
            .filter(pl.col("event_time_utc") >= pl.col("event_time_utc").cum_max().over(by))
        )
        available: dict[Key, list[int]] = {}
        first: dict[Key, int] = {}
        times = rows["available"].cast(pl.Int64).to_list()
        for index, (key, at_us) in enumerate(zip(rows.select(by).iter_rows(), times, strict=True)):
            first.setdefault(key, index)
            available.setdefault(key, []).append(at_us)
        return History(rows=rows, available_us=available, first=first)

    def latest(self, key: Key, at: datetime, *, lookback_days: float | None = None) -> Row | None:
        """Return the row with the latest event among those available at a moment.

        Args:
            key: Values of the table's keys.
            at: The moment.
            lookback_days: Oldest event that counts, in days before the moment; ``None`` for any.
        """
        times = self.available_us.get(key)
        if not times:
            return None
        place = bisect_right(times, microseconds(at))
        if place == 0:
            return None
        row = self.rows.row(self.first[key] + place - 1, named=True)
        if lookback_days is not None and row["event_time_utc"] < at - timedelta(days=lookback_days):
            return None
        return row


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Feature rows that hold for one run at one moment; ``None`` where nothing is known."""

    instrument: Row | None
    lot: Row | None
    storage: Row | None


@dataclass(frozen=True, kw_only=True)
class Context:
    """The feature tables at given versions.

    Attributes:
        histories: By table name.
        own: Start of each injection that the instrument history knows, and when its outcome was known.
        versions: Version of each table by ``layer.table``; tables that do not exist are absent.
    """

    histories: Mapping[str, History]
    own: Mapping[str, tuple[datetime, datetime]]
    versions: Mapping[str, int]

    @staticmethod
    def build(snapshots: Mapping[str, Snapshot]) -> Context:
        """Build from one snapshot for each table of ``KEYS``."""
        import polars as pl

        injections = (
            snapshots["instrument_history"]
            .frame.group_by("injection_id")
            .agg(pl.col("event_time_utc").min(), pl.col("known_time_utc").min())
        )
        return Context(
            histories={table: History.build(table, snapshot.frame) for table, snapshot in snapshots.items()},
            own={name: (started, known) for name, started, known in injections.iter_rows()},
            versions={f"features.{table}": snapshot.version for table, snapshot in snapshots.items() if snapshot.version >= 0},
        )

    @staticmethod
    def at_versions(settings: Settings, versions: Mapping[str, int]) -> Context:
        """Read the tables at recorded versions; a table that is not named was not there.

        Raises:
            TableUnavailableError: a version is gone.
        """
        names = {table: f"features.{table}" for table in KEYS}
        absent = {table: Snapshot(frame=_empty(name), version=-1) for table, name in names.items() if name not in versions}
        found = {table: load_snapshot(settings, name, version=versions[name]) for table, name in names.items() if name in versions}
        return Context.build(found | absent)

    def around(
        self,
        *,
        injection_id: str,
        instrument_id: str | None,
        method_id: str | None,
        lot_id: str | None,
        sample_name: str | None,
        at: datetime,
    ) -> Surroundings:
        """Return what was known for a run at a moment; never the run's own outcome."""
        own = self.own.get(injection_id)
        before = at if own is None or own[1] > at else min(at, own[0] - _MICROSECOND)
        return Surroundings(
            instrument=self.histories["instrument_history"].latest((instrument_id, method_id), before, lookback_days=LOOKBACK_DAYS),
            lot=self.histories["lot_history"].latest((lot_id,), before),
            storage=self.histories["storage_exposure"].latest((sample_name,), at),
        )


def _empty(full_name: str) -> pl.DataFrame:
    from lab_assets.contracts.registry import contract
    from lab_assets.service.table_cache import empty_frame

    table = contract(full_name)
    return empty_frame(table, table.column_names)


class LiveContext:
    """The feature tables at their newest versions, rebuilt when one moves."""

    def __init__(self, tables: TableCache) -> None:
        self._tables = tables
        self._built: tuple[tuple[int, ...], Context] | None = None

    def get(self) -> Context:
        """Return the current context, at most a second behind the tables.

        Raises:
            TableUnavailableError: a table cannot be read and was never read before.
        """
        snapshots = {table: self._tables.get(f"features.{table}") for table in KEYS}
        versions = tuple(snapshot.version for snapshot in snapshots.values())
        if self._built is None or self._built[0] != versions:
            self._built = (versions, Context.build(snapshots))
        return self._built[1]
