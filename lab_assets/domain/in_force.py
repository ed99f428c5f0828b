"""Which version of a fact is in force: for a key, at a moment, as known by a moment.

Belongs here: the one rule for specifications, processing methods, certificates, worklist entries, lots, samples and limits. Does not
belong here: what the facts say.

Every version of a fact has two times. *Effective*: from when on it holds in the laboratory. *Known*: from when on the recording
system had it. A fact that is learned later never changes what was known earlier: asked with an earlier ``known_by`` the answer stays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import polars as pl

Row = Mapping[str, Any]
Key = Hashable

ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
"""Time of a version that states none: it held, or was known, from the beginning."""

RECENCY: Final = (
    *("revises_path", "source_file", "source"),
    *("revises_revision", "path_revision", "ingest_batch"),
    *("source_sha256", "source_row"),
)
"""What decides between versions of equal times: the content's own order, never the order of arrival.

What a later file under the same path says of a fact replaces what the earlier one said of it; what it does not mention stays, since an
export under one name may hold only what is new. Later is what the path held later, also where an earlier file was read after it: one
that was refused at first. Files under different paths are ordered by path and then by drop folder, so that the same files give the same
answer in whichever order they arrive; a revision stands directly behind what it replaces, also where that counts under another path.
"""


def utc(moment: datetime | None) -> datetime:
    """Return a moment in UTC; ``ALWAYS`` for none, and a moment without a zone counts as UTC."""
    if moment is None:
        return ALWAYS
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@lru_cache(maxsize=4096)
def natural(text: str | None) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key by which ``methods_9.csv`` comes before ``methods_10.csv``; every row of a file asks for that of its name."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for character in (text or "") + "\0":
        if character.isdigit():
            digits += character
            continue
        if digits:
            parts.append((0, int(digits), digits))
            digits = ""
        parts.append((1, 0, character))
    return tuple(parts)


def path_order(file: str | None, source: str | None) -> tuple[Any, ...]:
    """Return the sort key of a path: by name in natural order, then by drop folder."""
    return natural(file), source or ""


def place_order(row: Row) -> tuple[Any, ...]:
    """Return the sort key of the path under which a row counts: its file's own, or the one that its file revises."""
    if revises := row.get("revises_path"):
        source, _, file = revises.partition("/")
        return path_order(file, source)
    return path_order(row.get("source_file"), row.get("source"))


def recency(row: Row) -> tuple[Any, ...]:
    """Return the sort key of ``RECENCY``; columns that a row does not have count as empty.

    Rows of before ``path_revision`` have none; their batch stands for it, whose number is never above that of an arrival in it.
    """
    revision = row.get("path_revision") or row.get("ingest_batch") or 0
    return (
        *place_order(row),
        row.get("revises_revision") or revision,
        revision,
        row.get("ingest_batch") or 0,
        row.get("source_sha256") or "",
        row.get("source_row") or 0,
    )


def in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the columns of ``RECENCY`` sorted by ``recency``, the one that counts last."""
    import polars as pl

    columns = ("revises_path", "source_file", "source")
    orders = {tuple(path.values()): place_order(path) for path in rows.select(columns).unique().iter_rows(named=True)}
    ranks = {order: rank for rank, order in enumerate(sorted(set(orders.values())))}
    place = pl.Series("__place", [ranks[orders[path]] for path in rows.select(columns).iter_rows()], dtype=pl.Int64)
    revision = pl.coalesce("path_revision", "ingest_batch")
    behind = pl.coalesce("revises_revision", revision)
    return rows.with_columns(place).sort("__place", behind, revision, "ingest_batch", "source_sha256", "source_row").drop("__place")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one fact.

    Attributes:
        effective: From when on it holds.
        known: From when on it was known.
        order: Decides between versions of equal times.
        row: What it says.
    """

    effective: datetime
    known: datetime
    order: tuple[Any, ...]
    row: Any


def in_force(versions: Iterable[Version], *, at: datetime | None = None, known_by: datetime | None = None) -> Version | None:
    """Return the version in force.

    Of the versions that were known by then and effective by then, the one effective last; of equal ones the one known last; of equal
    ones the last by content.

    Args:
        versions: Versions of one fact.
        at: Moment asked about; ``None``: whenever it becomes effective.
        known_by: Nothing known later counts; ``None``: everything known.
    """
    best: Version | None = None
    for version in versions:
        if at is not None and version.effective > at:
            continue
        if known_by is not None and version.known > known_by:
            continue
        if best is None or (version.effective, version.known, version.order) >= (best.effective, best.known, best.order):
            best = version
    return best


class Facts:
    """Versions of many facts by key."""

    def __init__(self, versions: Iterable[tuple[Key, Version]] = ()) -> None:
        self._by_key: dict[Key, list[Version]] = {}
        for key, version in versions:
            self._by_key.setdefault(key, []).append(version)
        self._known_times: dict[Key, frozenset[datetime]] = {}

    @staticmethod
    def of_rows(
        rows: Iterable[Row],
        key: Callable[[Row], Key] | Sequence[str],
        *,
        effective: str | None = None,
        known: str | Sequence[str] | None = None,
        order: Callable[[Row], tuple[Any, ...]] = recency,
    ) -> Facts:
        """Build from rows, each a version.

        Args:
            rows: Versions.
            key: Key of a row, or its columns (one column gives its value, several a tuple).
            effective: Column of the effective time; ``None`` or empty: always.
            known: Column of the known time, or several of which the first that is filled counts.
            order: Decides between versions of equal times.
        """
        key_of = key if callable(key) else _columns(tuple(key))
        known_of = _first_filled((known,) if isinstance(known, str) else tuple(known or ()))
        return Facts(
            (
                key_of(row),
                Version(
                    effective=utc(row[effective]) if effective is not None else ALWAYS,
                    known=utc(known_of(row)),
                    order=order(row),
                    row=row,
                ),
            )
            for row in rows
        )

    def versions(self, key: Key) -> Sequence[Version]:
        """Return all versions of a fact, in no order."""
        return self._by_key.get(key, ())

    def keys(self) -> Iterable[Key]:
        """Return the keys of all facts."""
        return self._by_key.keys()

    def row(self, key: Key, *, at: datetime | None = None, known_by: datetime | None = None) -> Any:
        """Return what the version in force says; ``None`` where none is."""
        found = in_force(self.versions(key), at=at, known_by=known_by)
        return None if found is None else found.row

    def known_times(self, key: Key) -> frozenset[datetime]:
        """Return when the versions of a fact became known."""
        if key not in self._known_times:
            self._known_times[key] = frozenset(version.known for version in self.versions(key))
        return self._known_times[key]


def _columns(names: tuple[str, ...]) -> Callable[[Row], Key]:
    if len(names) == 1:
        (name,) = names
        return lambda row: row[name]
    return lambda row: tuple(row[name] for name in names)


def _first_filled(names: tuple[str, ...]) -> Callable[[Row], datetime | None]:
    """Return what gives the first value of some columns that is not empty."""
    if len(names) == 1:
        return itemgetter(names[0])
    return lambda row: next((row[name] for name in names if row[name] is not None), None)
