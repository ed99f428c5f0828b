"""The point-in-time join: each model row gets what was known at its moment, and nothing later.

Belongs here: choosing feature rows by event time and known time, for many runs at once and for one. Does not belong here: computing
features, except the ones derived in the row.

A feature row says all that was known of its key from its known time on, until the next one of that key. So the row known last counts, also
where its event is the earlier one: a result that went to another lot, or a sampling that was dated back, leaves an earlier newest event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from lab_assets.domain.in_force import Row
from lab_assets.features.context import context_features
from lab_assets.features.definitions import names_of
from lab_assets.features.inputs import TODAY, ModelInputs

if TYPE_CHECKING:
    import polars as pl

RUN_KEYS: Final = ("lot_id", "method_id", "instrument_id", "sample_name")
"""What features of a run are looked up by; a row of ``features.injection_progress`` says how they were known when it was."""
SPINE: Final[tuple[str, ...]] = ("injection_id", "checkpoint_pct", *RUN_KEYS, "as_of_utc")
"""Columns of the spine that the join needs; others pass through."""
LOOKBACK_DAYS: Final = 180.0
"""State of an instrument older than this says nothing about today's run."""

TIMES: Final = ("event_time_utc", "known_time_utc")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ROW: Final = "_spine_row"


def point_in_time_join(
    spine: pl.DataFrame,
    *,
    progress: pl.DataFrame,
    instrument_history: pl.DataFrame,
    lot_history: pl.DataFrame,
    storage_exposure: pl.DataFrame,
    lookback_days: float | None = LOOKBACK_DAYS,
    inputs: ModelInputs = TODAY,
) -> pl.DataFrame:
    """Return the spine with every feature that is asked for as it was known at ``as_of_utc``.

    A feature row counts when both its event time and its known time are at or before ``as_of_utc``; of those the one known last is taken, of
    equal ones that of the latest event. Keys: progress injection and checkpoint; instrument history instrument and method; lot
    history lot; storage sample. A run never sees its own outcome: where its own row of the instrument history was known
    by ``as_of_utc`` (scoring after the run), instrument and lot history are looked at as of the moment before the run started.

    Args:
        spine: One row an injection x checkpoint, columns ``SPINE``; no other column may be named like a feature.
        progress: ``features.injection_progress``.
        instrument_history: ``features.instrument_history``.
        lot_history: ``features.lot_history``.
        storage_exposure: ``features.storage_exposure``.
        lookback_days: Oldest state of an instrument that counts, in days before ``as_of_utc``; ``None`` for any. Lot and storage are facts of
            the sample and do not age.
        inputs: What is asked for, the columns it is read from, and the feature set whose rows count.

    Returns:
        One row a row of the spine, in its order: the spine's columns, then the features as float64 (null where unknown), in
        the order of ``inputs``; ``checkpoint_pct`` stays where the spine has it.

    Raises:
        ValueError: a column of the spine is missing or collides with a feature.
    """
    import polars as pl

    if missing := [name for name in SPINE if name not in spine.columns]:
        raise ValueError(f"missing spine column(s) {missing}")
    if collides := (set(spine.columns) & set(inputs.names)) - {"checkpoint_pct"}:
        raise ValueError(f"spine column(s) named like features: {sorted(collides)}")
    of_set = pl.col("feature_set_version") == inputs.feature_set_version
    progress, instrument_history, lot_history, storage_exposure = (
        table.filter(of_set) for table in (progress, instrument_history, lot_history, storage_exposure)
    )
    utc = pl.Datetime("us", "UTC")
    asked = spine.with_row_index(_ROW).with_columns(
        _as_of=pl.col("as_of_utc").cast(utc), _key_pct=pl.col("checkpoint_pct").cast(pl.Float64)
    )
    asked = asked.with_columns(_history_as_of=_before_own_run(asked, instrument_history))
    oldest = None if lookback_days is None else timedelta(days=lookback_days)
    now, before, stored = "_as_of", "_history_as_of", inputs.stored
    known = asked.select(_ROW)
    by_pct = progress.with_columns(_key_pct=pl.col("checkpoint_pct").cast(pl.Float64))
    for part in (
        _latest(asked, by_pct, columns=stored("injection_progress"), by=("injection_id", "_key_pct"), as_of=now, oldest=None),
        _latest(
            asked, instrument_history, columns=stored("instrument_history"), by=("instrument_id", "method_id"), as_of=before, oldest=oldest
        ),
        _latest(asked, lot_history, columns=stored("lot_history"), by=("lot_id",), as_of=before, oldest=None),
        _latest(asked, storage_exposure, columns=stored("storage_exposure"), by=("sample_name",), as_of=now, oldest=None),
    ):
        known = known.join(part, on=_ROW, how="left", maintain_order="left")
    return pl.concat([spine, _with_context(spine, known.drop(_ROW), inputs)], how="horizontal")


def with_keys_as_known(runs: pl.DataFrame, progress: pl.DataFrame) -> pl.DataFrame:
    """Return rows of ``features.injection_progress`` with their runs' other columns; lot, method and so on are those known at the row's time.

    Rows made before they were kept have no method: they get what is known of the run now.

    Args:
        runs: One row a run: ``injection_id``, ``RUN_KEYS``, and what passes through.
        progress: Rows with ``injection_id`` and ``RUN_KEYS``.
    """
    import polars as pl

    both = progress.join(runs, on="injection_id", maintain_order="left", suffix="_now")
    kept = pl.col("method_id").is_not_null()
    known = [pl.when(kept).then(pl.col(name)).otherwise(pl.col(f"{name}_now")).alias(name) for name in RUN_KEYS]
    return both.with_columns(known).drop(f"{name}_now" for name in RUN_KEYS)


def _before_own_run(asked: pl.DataFrame, instrument_history: pl.DataFrame) -> pl.Series:
    """Return as-of, or the moment before the run started where the run's own outcome was known by then."""
    import polars as pl

    own = instrument_history.group_by("injection_id").agg(_started=pl.col("event_time_utc").min(), _known=pl.col("known_time_utc").min())
    own_times = asked.join(own, on="injection_id", how="left", maintain_order="left")
    just_before = pl.col("_started") - pl.duration(microseconds=1)
    over = pl.col("_known") <= pl.col("_as_of")
    return own_times.select(pl.when(over).then(pl.min_horizontal("_as_of", just_before)).otherwise(pl.col("_as_of"))).to_series()


def _latest(
    asked: pl.DataFrame, rows: pl.DataFrame, *, columns: Mapping[str, str], by: Sequence[str], as_of: str, oldest: timedelta | None
) -> pl.DataFrame:
    """Return ``_spine_row`` and features, by name from their columns, of the row known last at the as-of column, where there is one.

    A row is available from the later of its two times on.
    """
    import polars as pl

    utc = pl.Datetime("us", "UTC")
    values = [pl.col(column).cast(pl.Float64).alias(name) for name, column in columns.items()]
    candidates = (
        rows.select(*by, *(pl.col(name).cast(utc) for name in TIMES), *values)
        .drop_nulls([*by, *TIMES])
        .with_columns(_available=pl.max_horizontal(*TIMES))
        .sort("_available", "known_time_utc", "event_time_utc", maintain_order=True)
        .unique([*by, "_available"], keep="last", maintain_order=True)
    )
    wanted = asked.select(_ROW, *by, pl.col(as_of).alias("_at")).drop_nulls([*by, "_at"]).sort("_at")
    found = wanted.join_asof(
        candidates, left_on="_at", right_on="_available", by=list(by), strategy="backward", check_sortedness=False
    ).filter(pl.col("event_time_utc").is_not_null())
    if oldest is not None:
        found = found.filter(pl.col("event_time_utc") >= pl.col("_at") - oldest)
    return found.select(_ROW, *columns)


def latest_of(rows: pl.DataFrame, at: datetime, *, oldest: timedelta | None = None) -> Row | None:
    """Return the row known last among those of one key that are available at a moment, as ``point_in_time_join`` chooses it.

    Args:
        rows: Rows of one key, with ``TIMES``.
        at: Nothing of a later event, or known later, counts.
        oldest: A row whose event lies further back says nothing.
    """
    import numpy as np

    if rows.is_empty():
        return None
    event, known = (rows[name].to_physical().to_numpy() for name in TIMES)  # microseconds since 1970
    at_us = _microseconds(at)
    available = np.flatnonzero((event <= at_us) & (known <= at_us))
    if not available.size:
        return None
    since = np.maximum(event, known)
    place = int(available[np.lexsort((event[available], known[available], since[available]))[-1]])
    if oldest is not None and event[place] < _microseconds(at - oldest):
        return None
    return rows.row(place, named=True)


def before_own_run(own: pl.DataFrame, at: datetime) -> datetime:
    """Return the moment, or the one before a run started where its own outcome was known by then.

    Args:
        own: Rows of ``features.instrument_history`` of the run itself, with ``TIMES``.
        at: The moment.
    """
    started, known = own["event_time_utc"].min(), own["known_time_utc"].min()
    if isinstance(started, datetime) and isinstance(known, datetime) and known <= at:
        return min(at, started - _MICROSECOND)
    return at


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _with_context(spine: pl.DataFrame, known: pl.DataFrame, inputs: ModelInputs) -> pl.DataFrame:
    """Return the features in order, with the derived ones; computed row by row by the function that online scoring uses."""
    import polars as pl

    derived = [
        context_features(values, checkpoint_pct=pct, method_id=method_id, inputs=inputs)
        for values, pct, method_id in zip(
            known.iter_rows(named=True), spine["checkpoint_pct"].to_list(), spine["method_id"].to_list(), strict=True
        )
    ]
    names = dict.fromkeys((*names_of("context"), *(name for name in inputs.former if inputs.former[name].table == "context")))
    context = pl.DataFrame(derived, schema=dict.fromkeys(names, pl.Float64()))
    both = known.drop(context.columns, strict=False).hstack(context)
    asked = [name for name in inputs.names if name != "checkpoint_pct"]
    return both.select(_finite(name) if name in both.columns else pl.lit(None, pl.Float64).alias(name) for name in asked)


def _finite(name: str) -> pl.Expr:
    import polars as pl

    return pl.when(pl.col(name).is_finite()).then(pl.col(name))
