"""Hand-made rows of the gold stations' inputs, and inputs that change in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import strategies as st

from lab_assets.contracts.core import TableContract
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets.stations.runner import update
from lab_assets.stations.station import Station
from lab_assets_tests.no_spark import NoSparkKeeper

Key = tuple[Any, ...]


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2025, 3, day, hour, tzinfo=UTC)


@dataclass(frozen=True)
class Change:
    """One row that comes in place of the one of the same key, or, with ``is_gone``, a key whose row goes."""

    table: TableContract
    row: dict[str, Any]
    is_gone: bool = False


PROVENANCE = {
    "source": "lims",
    "source_file": "f.csv",
    "source_sha256": "sha",
    "source_row": 1,
    "ingest_batch": 1,
    "ingested_at_utc": at(1),
}


def now_and_then(random: Random) -> bool:
    return random.random() < 0.2


def histories(*changes: Callable[[Random], Change]) -> st.SearchStrategy[list[list[Change]]]:
    """Return histories of some kinds of changes: half of them at once, then one by one, so that each alone meets what stands.

    Histories are made from seeds: hypothesis itself would try the simplest ones, in which nothing meets anything.
    """
    return st.integers(0, 2**32).map(lambda seed: _history(Random(seed), changes))


def _history(random: Random, kinds: Sequence[Callable[[Random], Change]]) -> list[list[Change]]:
    changes = [random.choice(kinds)(random) for _ in range(random.randint(30, 45))]
    start = len(changes) - 15
    return [changes[:start], *([change] for change in changes[start:])]


def content(lake: Lakehouse, table: TableContract) -> list[dict[str, Any]]:
    """Return all rows of a table in an order of their own."""
    return sorted(lake.polars(table).to_dicts(), key=lambda row: [str(row[name]) for name in table.primary_key])


def assert_content_follows_inputs(station: Station, keys: Mapping[str, Sequence[str]], batches: Sequence[Sequence[Change]]) -> None:
    """See that batches worked on one by one give the same rows as a rebuild after each, and in the end as all rows at once.

    Args:
        station: The station.
        keys: Columns that name a row, by table.
        batches: Changes, worked on batch by batch.
    """
    tables = {each.name: each.table for each in station.inputs}
    inputs: dict[str, dict[Key, dict[str, Any]]] = {name: {} for name in keys}
    with _laboratory() as step_by_step, _laboratory() as at_once:
        for batch in batches:
            news: dict[str, dict[Key, dict[str, Any] | None]] = {}
            for change in batch:
                name = change.table.full_name
                key = tuple(change.row[column] for column in keys[name])
                news.setdefault(name, {})[key] = None if change.is_gone else change.row
            for name, rows in news.items():
                _put(step_by_step, tables[name], keys[name], rows, stands=not inputs[name].keys().isdisjoint(rows))
                inputs[name] = {key: row for key, row in (inputs[name] | rows).items() if row is not None}
            update(step_by_step, station)
            assert update(step_by_step, station, rebuild=True).changed == 0
        for name, rows in inputs.items():
            _put(at_once, tables[name], keys[name], rows, stands=False)
        update(at_once, station)
        assert content(step_by_step, station.target) == content(at_once, station.target)


def _put(lake: Lakehouse, table: TableContract, columns: Sequence[str], news: Mapping[Key, dict[str, Any] | None], *, stands: bool) -> None:
    """Write rows by key in one commit; a key without a row goes."""
    rows = lake.local_rows(table, [PROVENANCE | row for row in news.values() if row is not None])
    if not stands:
        lake.append(table, rows)
        return
    lake.replace_where(table, rows, " OR ".join(f"({_is_key(columns, key)})" for key in news))


def _is_key(columns: Sequence[str], key: Key) -> str:
    return " AND ".join(f"`{name}` = {_literal(value)}" for name, value in zip(columns, key, strict=True))


def _literal(value: object) -> str:
    return str(value) if isinstance(value, int) else f"DATE '{value}'" if not isinstance(value, str) else f"'{value}'"


@contextmanager
def _laboratory() -> Iterator[Lakehouse]:
    with TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), stable_s=0)
        engine = open_database(settings)
        try:
            yield Lakehouse(settings, NoSparkKeeper(settings, "a gold station"), Ledger(engine))
        finally:
            engine.dispose()
