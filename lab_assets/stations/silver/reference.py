"""Slowly changing reference tables of silver, and how a station of this room learns what is new.

Belongs here: lots, samples, process events, instruments; comparing inputs with what was worked up to; gathering the rows of
one key. Does not belong here: injections and what is measured in them, verdicts (``gold_*.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from lab_assets.contracts.bronze import CALIBRATIONS, LIMS_EVENTS, LIMS_LOTS, LIMS_SAMPLES
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.silver import INJECTIONS, INSTRUMENTS, LOTS, PROCESS_EVENTS, SAMPLES
from lab_assets.lake.commits import conformed
from lab_assets.lake.lakehouse import Lakehouse

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame


def news(lake: Lakehouse, target: TableContract, inputs: Sequence[TableContract]) -> dict[str, int]:
    """Return the versions of a table's inputs when one of them has moved since the last update; nothing when none has.

    Costs milliseconds and no Spark. Version 0 is an empty table, so tables that never got a row are no news.

    Args:
        lake: The lakehouse.
        target: The table kept up to date; its name is the station in the ledger.
        inputs: What it is made of.
    """
    known = lake.ledger.progress(target.full_name)
    versions = {contract.full_name: lake.version(contract) for contract in inputs}
    return versions if any(known.get(name, 0) != version for name, version in versions.items()) else {}


def settle(lake: Lakehouse, target: TableContract, worked_up_to: Mapping[str, int]) -> None:
    """Record, after the write, what a table was worked up to: versions from ``news`` and batches under their ``batch_key``."""
    lake.ledger.set_progress(target.full_name, worked_up_to)


def batch_key(source: TableContract) -> str:
    """Return the name under which the ledger keeps the last ingestion batch of a bronze table that a station worked in."""
    return f"{source.full_name}#batch"


def new_batches(lake: Lakehouse, target: TableContract, source: TableContract) -> tuple[int, int]:
    """Return the last batch of a bronze table worked in, and the newest one; rows are new when the second is greater.

    Take it before reading: rows that come in between are read again next time, which changes nothing.
    """
    import polars as pl

    since = lake.ledger.progress(target.full_name).get(batch_key(source), 0)
    newer = lake.polars(source, ["ingest_batch"], where=pl.col("ingest_batch") > since)["ingest_batch"]
    return since, max(newer.to_list(), default=since)


def replace_on_news(lake: Lakehouse, target: TableContract, inputs: Sequence[TableContract], make: Callable[[], pa.Table]) -> int:
    """Make a table anew from its inputs when one of them has moved; commit it when it differs from what stands.

    The tables made this way are summaries, so this process holds them whole; a table that stays as it is keeps its
    version, and stations behind it have no news.

    Returns:
        Version of the table afterwards.
    """
    versions = news(lake, target, inputs)
    if not versions:
        return lake.version(target)
    rows = make()
    version = lake.version(target) if same_rows(target, rows, lake.polars(target)) else lake.replace(target, rows)
    settle(lake, target, versions)
    return version


def same_rows(contract: TableContract, rows: pa.Table, standing: pl.DataFrame) -> bool:
    """Return whether two sets of rows of a table with a primary key are equal, whatever their order."""
    import polars as pl

    key, columns = list(contract.primary_key), list(contract.column_names)
    made = pl.DataFrame(conformed(contract, rows))
    return made.select(columns).sort(key).equals(standing.select(columns).sort(key).cast({**made.schema}))


def gathered(by: Sequence[str], frames: Mapping[str, DataFrame]) -> DataFrame:
    """Return one row a key with the rows of each frame that carry it, as an array of structs named after the frame.

    One shuffle for any number of frames, instead of one a join; the arrays have no order.

    Args:
        by: Key columns, in every frame; rows with an empty key are left out.
        frames: Rows by name of the array.
    """
    from pyspark.sql import functions as sf

    keyed = [
        frame.dropna(subset=list(by)).select(*by, sf.struct(*(column for column in frame.columns if column not in by)).alias(name))
        for name, frame in frames.items()
    ]
    tall = reduce(lambda first, second: first.unionByName(second, allowMissingColumns=True), keyed)
    return tall.groupBy(*by).agg(*(sf.collect_list(name).alias(name) for name in frames))


def update_lots(lake: Lakehouse) -> int:
    """Bring ``silver.lots`` up to date: of each lot the record that the LIMS made last.

    Returns:
        Version of the table afterwards.
    """
    return _update_latest(lake, LIMS_LOTS, LOTS)


def update_samples(lake: Lakehouse) -> int:
    """Bring ``silver.samples`` up to date: of each sample the record that the LIMS made last.

    Returns:
        Version of the table afterwards.
    """
    return _update_latest(lake, LIMS_SAMPLES, SAMPLES)


def _update_latest(lake: Lakehouse, source: TableContract, target: TableContract) -> int:
    """Put the records of new batches into a table that keeps the latest of each key."""
    versions = news(lake, target, (source,))
    if not versions:
        return lake.version(target)
    since, newest = new_batches(lake, target, source)
    version = lake.version(target)
    if newest > since:
        rows = _latest(_since(lake, source, since), target).to_arrow()
        empty = lake.row_count(target) == 0
        version = lake.append(target, rows) if empty else lake.merge(target, rows, newer="recorded_at_utc")
    settle(lake, target, versions | {batch_key(source): newest})
    return version


def _since(lake: Lakehouse, source: TableContract, batch: int) -> pl.DataFrame:
    """Return the rows that later batches brought; exports of a LIMS are small enough for this process."""
    import polars as pl

    return lake.polars(source, where=pl.col("ingest_batch") > batch)


def _latest(rows: pl.DataFrame, target: TableContract) -> pl.DataFrame:
    """Return of each key the record made last; of records made at the same time, the one that arrived last."""
    ordered = rows.sort("recorded_at_utc", "ingest_batch", "source_sha256", "source_row")
    return ordered.unique(list(target.primary_key), keep="last", maintain_order=True).select(target.column_names)


def update_process_events(lake: Lakehouse) -> int:
    """Append to ``silver.process_events`` the events it does not hold yet; what happened is not changed by a later export.

    Returns:
        Version of the table afterwards.
    """
    versions = news(lake, PROCESS_EVENTS, (LIMS_EVENTS,))
    if not versions:
        return lake.version(PROCESS_EVENTS)
    since, newest = new_batches(lake, PROCESS_EVENTS, LIMS_EVENTS)
    version = lake.version(PROCESS_EVENTS)
    if newest > since:
        rows = _latest(_since(lake, LIMS_EVENTS, since), PROCESS_EVENTS)
        known = lake.polars(PROCESS_EVENTS, ["event_id"])
        version = lake.append(PROCESS_EVENTS, rows.join(known, on="event_id", how="anti").to_arrow())
    settle(lake, PROCESS_EVENTS, versions | {batch_key(LIMS_EVENTS): newest})
    return version


def update_instruments(lake: Lakehouse) -> int:
    """Make ``silver.instruments`` from the injections seen and the certificates of ``bronze.calibrations``.

    A certificate fails when one of its parameters does, and is due when the first of them is.

    Returns:
        Version of the table afterwards.
    """
    return replace_on_news(lake, INSTRUMENTS, (INJECTIONS, CALIBRATIONS), lambda: _instruments(lake))


def _instruments(lake: Lakehouse) -> pa.Table:
    import polars as pl

    order = ["injected_at_utc", "injection_id"]
    seen = (
        lake.polars(INJECTIONS, ["instrument_id", "software", *order], where=pl.col("instrument_id").is_not_null())
        .sort(order)
        .group_by("instrument_id")
        .agg(
            pl.col("software").last(),
            pl.col("injection_id").n_unique().cast(pl.Int64).alias("injections"),
            pl.col("injected_at_utc").min().alias("first_seen_utc"),
            pl.col("injected_at_utc").max().alias("last_seen_utc"),
        )
    )
    certificates = (
        lake.polars(CALIBRATIONS, ["instrument_id", "certificate_id", "performed_at_utc", "valid_until_utc", "outcome"])
        .group_by("instrument_id", pl.col("certificate_id").alias("calibration_id"))
        .agg(
            pl.col("performed_at_utc").max(),
            pl.col("valid_until_utc").min().alias("calibration_due_utc"),
            pl.col("outcome").min().alias("calibration_outcome"),  # "fail" sorts before "pass"
        )
    )
    latest = certificates.sort("performed_at_utc", "calibration_id").unique("instrument_id", keep="last").drop("performed_at_utc")
    joined = seen.join(latest, on="instrument_id", how="full", coalesce=True)
    return joined.with_columns(pl.col("injections").fill_null(0)).select(INSTRUMENTS.column_names).to_arrow()
