"""Stations of the histories among the feature tables: lot and storage exposure.

Belongs here: which lots and samples are touched, and gathering what the feature functions need. Does not belong here: the functions
(``lab_assets.features``), instruments (``instrument_history.py``), partial traces (``injection_progress.py``).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Final

from lab_assets.contracts.bronze import LIMS_SAMPLES
from lab_assets.contracts.features import LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.contracts.silver import RESULTS, STORAGE_CONDITIONS
from lab_assets.domain.in_force import RECENCY, recency
from lab_assets.features.definitions import FEATURE_SET_VERSION, FORMER_FEATURES, columns_of
from lab_assets.features.exposure import storage_exposure
from lab_assets.features.history_of_lots import LOT_HISTORY_INPUT, lot_history
from lab_assets.lake.among import among
from lab_assets.stations.station import Group, Input, Station, keys_of, of, touched_by

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader


def _of_results(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the lots of changed results, and of their earlier versions: when a value left its former lot is said by the version after."""
    import polars as pl

    later = changes.both.filter(pl.col("result_version") > 1)["result_id"]
    earlier = read.keyed(RESULTS, ["lot_id"], result_id=later)
    return keys_of(pl.concat([changes.both.select("lot_id"), earlier]), ("lot_id",))


def _lot_history(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Say what was known of each lot from each known time on; a result that was withdrawn, or became another lot's, leaves it then."""
    import polars as pl

    rows = read.keyed(RESULTS, _RESULT, lot_id=keys["lot_id"])
    superseded = rows.drop_nulls("superseded_by")
    later = read.keyed(RESULTS, ["result_id", "result_version", "lot_id", "known_time_utc"], result_id=superseded["result_id"])
    successor = later.select("result_id", superseded_by="result_version", _left="known_time_utc", _lot="lot_id")
    moved = superseded.join(successor, on=["result_id", "superseded_by"]).filter(pl.col("_lot").ne_missing(pl.col("lot_id")))
    withdrawn = rows.drop_nulls("withdrawn_at_utc").with_columns(_left="withdrawn_at_utc")
    # without limits a value does not count, which is how it leaves
    empty = pl.lit(None, pl.Float64)
    gone = [
        frame.drop_nulls("_left").with_columns(known_time_utc="_left", spec_low=empty, spec_high=empty).select(LOT_HISTORY_INPUT)
        for frame in (moved, withdrawn)
    ]
    return lot_history(pl.concat([rows.select(LOT_HISTORY_INPUT), *gone]))


_RESULT: Final = (*LOT_HISTORY_INPUT, "result_version", "superseded_by", "withdrawn_at_utc")
_RESULTS: Final = Input(table=RESULTS, columns=_RESULT, touches=_of_results)
_MARGINS: Final = of(
    RESULTS,
    *("result_id", "sample_name", "method_id", "replicate", "injection_id", "value", "spec_low", "spec_high"),
    *("known_time_utc", "measured_at_utc", "withdrawn_at_utc"),
)
LOT_HISTORY_STATION: Final = Station(
    target=LOT_HISTORY,
    within=("feature_set_version", FEATURE_SET_VERSION),
    inputs=(_RESULTS,),
    make=_lot_history,
    group=Group(columns=("lot_id",)),
    feeds={
        "lot_id": of(RESULTS, "lot_id"),
        "event_time_utc": _MARGINS,
        "known_time_utc": of(RESULTS, "known_time_utc", "measured_at_utc", "withdrawn_at_utc"),
        "feature_set_version": (),
        **dict.fromkeys(columns_of("lot_history"), _MARGINS),
    },
)


def _of_chambers(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the samples that lay in a chamber on a changed day."""
    import polars as pl

    days = changes.both.select("chamber_id", "day").unique()
    samples = read.keyed(LIMS_SAMPLES, ["sample_name", "chamber_id", "stored_at_utc", "sampled_at_utc"], chamber_id=days["chamber_id"])
    stored = samples.drop_nulls(["stored_at_utc", "sampled_at_utc"]).join(days, on="chamber_id")
    lay = pl.col("day").is_between(pl.col("stored_at_utc").dt.date(), pl.col("sampled_at_utc").dt.date())
    return stored.filter(lay).select("sample_name").unique()


def _storage_exposure(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Sum the chamber days of each sample's storage."""
    import polars as pl

    records = read.keyed(LIMS_SAMPLES, _SAMPLE, sample_name=keys["sample_name"])
    rows = sorted(records.iter_rows(named=True), key=lambda row: (row["sample_name"], row["recorded_at_utc"], recency(row)))
    samples = pl.DataFrame(rows, schema=records.schema)
    start, end = samples["stored_at_utc"].min(), samples["sampled_at_utc"].max()
    stored = samples["chamber_id"].drop_nulls().unique()
    if isinstance(start, datetime) and isinstance(end, datetime) and stored.len():
        within = among("chamber_id", stored) & pl.col("day").is_between(_day(start), _day(end))
        days = read.rows(STORAGE_CONDITIONS, _DAY, where=within)
    else:
        days = read.empty(STORAGE_CONDITIONS, _DAY)
    return storage_exposure(samples, days)


def _day(moment: datetime) -> date:
    return moment.date()


_DAY: Final = ("chamber_id", "day", "mkt_c", "excursion_min", "degree_hours_above", "gap_min")
_SAMPLE: Final = ("sample_name", "chamber_id", "storage_condition", "stored_at_utc", "sampled_at_utc", "recorded_at_utc", *RECENCY)
_SAMPLES: Final = Input(table=LIMS_SAMPLES, columns=_SAMPLE, touches=touched_by(sample_name="sample_name"))
_DAYS: Final = Input(table=STORAGE_CONDITIONS, columns=_DAY, touches=_of_chambers)
_STORED: Final = of(LIMS_SAMPLES, "stored_at_utc", "sampled_at_utc", "chamber_id") + of(STORAGE_CONDITIONS, "day")
_ANY_OF_STORAGE: Final = (
    _STORED + of(LIMS_SAMPLES, "storage_condition") + of(STORAGE_CONDITIONS, "mkt_c", "gap_min", "excursion_min", "degree_hours_above")
)
STORAGE_EXPOSURE_STATION: Final = Station(
    target=STORAGE_EXPOSURE,
    within=("feature_set_version", FEATURE_SET_VERSION),
    inputs=(_SAMPLES, _DAYS),
    make=_storage_exposure,
    group=Group(columns=("sample_name",)),
    feeds={
        "sample_name": of(LIMS_SAMPLES, "sample_name"),
        "event_time_utc": of(LIMS_SAMPLES, "sampled_at_utc"),
        "known_time_utc": of(LIMS_SAMPLES, "sampled_at_utc", "recorded_at_utc"),
        "feature_set_version": (),
        "storage_days": of(LIMS_SAMPLES, "stored_at_utc", "sampled_at_utc"),
        "storage_mkt_c": _STORED + of(STORAGE_CONDITIONS, "mkt_c", "gap_min"),
        "storage_stress_months": _STORED + of(LIMS_SAMPLES, "storage_condition") + of(STORAGE_CONDITIONS, "mkt_c", "gap_min"),
        "storage_excursion_min": _STORED + of(STORAGE_CONDITIONS, "excursion_min"),
        "storage_degree_hours_above": _STORED + of(STORAGE_CONDITIONS, "degree_hours_above"),
        "storage_gap_min": _STORED + of(STORAGE_CONDITIONS, "gap_min"),
        **{name: _ANY_OF_STORAGE for name in columns_of("storage_exposure") if name in FORMER_FEATURES},
    },
)
