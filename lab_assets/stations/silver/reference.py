"""Stations of the reference tables of silver: lots, samples, process events, instruments.

Belongs here: which record of the LIMS counts. Does not belong here: injections and what is measured in them, verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CALIBRATIONS, LIMS_EVENTS, LIMS_LOTS, LIMS_SAMPLES
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.silver import INJECTIONS, INSTRUMENTS, LOTS, PROCESS_EVENTS, SAMPLES
from lab_assets.domain.certificates import CERTIFICATE_COLUMNS
from lab_assets.domain.in_force import RECENCY, Facts
from lab_assets.stations.relations import certificates_since, since_certificates
from lab_assets.stations.station import Group, Input, Make, Station, copied, keys_of, of, touched_by

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader


def _latest_record(source: TableContract, target: TableContract) -> Make:
    """Return a make function that keeps, of each key, the record that the LIMS made last."""
    (key,) = target.primary_key

    def make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
        rows = read.keyed(source, (*target.column_names, *RECENCY), **{key: keys[key]})
        records = Facts.of_rows(rows.iter_rows(named=True), (key,), known="recorded_at_utc")
        return _frame(rows, [records.row(name) for name in keys[key]])

    return make


def _frame(like: pl.DataFrame, rows: Sequence[dict[str, Any] | None]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame([row for row in rows if row is not None], schema=like.schema)


def _from_lims(source: TableContract, target: TableContract, make: Make) -> Station:
    (key,) = target.primary_key
    record = Input(table=source, columns=(*target.column_names, *RECENCY), touches=touched_by(**{key: key}))
    return Station(target=target, inputs=(record,), make=make, group=Group(columns=(key,)), feeds=copied(target, record))


LOTS_STATION: Final = _from_lims(LIMS_LOTS, LOTS, _latest_record(LIMS_LOTS, LOTS))
SAMPLES_STATION: Final = _from_lims(LIMS_SAMPLES, SAMPLES, _latest_record(LIMS_SAMPLES, SAMPLES))


def _first_record(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Keep, of each event, the record that was made first: what happened is not changed by a later export."""
    rows = read.keyed(LIMS_EVENTS, (*PROCESS_EVENTS.column_names, *RECENCY), event_id=keys["event_id"])
    records = Facts.of_rows(rows.iter_rows(named=True), ("event_id",), known="recorded_at_utc")
    first = [
        min(versions, key=lambda version: (version.known, version.order)).row
        for key in keys["event_id"]
        if (versions := records.versions(key))
    ]
    return _frame(rows, first)


PROCESS_EVENTS_STATION: Final = _from_lims(LIMS_EVENTS, PROCESS_EVENTS, _first_record)


def _instruments(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Describe instruments by the injections seen and their latest certificate, as it was recorded last.

    A certificate fails when one of its parameters does, and is due when the first of them is.
    """
    import polars as pl

    order = ["injected_at_utc", "injection_id"]
    seen = (
        read.keyed(INJECTIONS, instrument_id=keys["instrument_id"])
        .sort(order)
        .group_by("instrument_id")
        .agg(
            pl.col("software").drop_nulls().last(),
            pl.col("injection_id").n_unique().cast(pl.Int64).alias("injections"),
            pl.col("injected_at_utc").min().alias("first_seen_utc"),
            pl.col("injected_at_utc").max().alias("last_seen_utc"),
        )
    )
    now = pl.lit(None, pl.Datetime("us", "UTC"))
    certificates = certificates_since(read, keys.select("instrument_id", since=now))
    latest = [(instrument, certificates.latest(instrument)) for instrument in keys["instrument_id"]]
    rows = [
        (instrument, each.certificate_id, "pass" if each.passed else "fail", each.valid_until_utc) for instrument, each in latest if each
    ]
    kinds = {name: read.empty(INSTRUMENTS, [name]).schema[name] for name in _OF_CERTIFICATES}
    with_certificates = seen.join(pl.DataFrame(rows, schema=kinds, orient="row"), on="instrument_id", how="full", coalesce=True)
    return with_certificates.with_columns(pl.col("injections").fill_null(0))


def _by_certificates(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return every instrument that any record of changed certificates names."""
    return keys_of(since_certificates(read, changes.both), ["instrument_id"])


_OF_CERTIFICATES: Final = ("instrument_id", "calibration_id", "calibration_outcome", "calibration_due_utc")
_RUNS: Final = Input(
    table=INJECTIONS,
    columns=("instrument_id", "software", "injection_id", "injected_at_utc"),
    touches=touched_by(instrument_id="instrument_id"),
)
_CERTIFICATES: Final = Input(
    table=CALIBRATIONS,
    columns=CERTIFICATE_COLUMNS,
    touches=_by_certificates,
)
INSTRUMENTS_STATION: Final = Station(
    target=INSTRUMENTS,
    inputs=(_RUNS, _CERTIFICATES),
    make=_instruments,
    group=Group(columns=("instrument_id",)),
    version=3,
    feeds={
        "instrument_id": of(INJECTIONS, "instrument_id") + of(CALIBRATIONS, "instrument_id"),
        "software": of(INJECTIONS, "software", "injected_at_utc"),
        "injections": of(INJECTIONS, "injection_id"),
        "first_seen_utc": of(INJECTIONS, "injected_at_utc"),
        "last_seen_utc": of(INJECTIONS, "injected_at_utc"),
        "calibration_id": of(CALIBRATIONS, "certificate_id", "performed_at_utc", "recorded_at_utc"),
        "calibration_outcome": of(CALIBRATIONS, "outcome", "performed_at_utc", "recorded_at_utc"),
        "calibration_due_utc": of(CALIBRATIONS, "valid_until_utc", "performed_at_utc", "recorded_at_utc"),
    },
)
