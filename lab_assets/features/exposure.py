"""Features of storage: the heat a sample met in its stability chamber before it was tested.

Belongs here: summing chamber days over each sample's storage.
Does not belong here: judging readings (``lab_assets.domain.excursions``), chamber days themselves (``silver.storage_conditions``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lab_assets.domain.excursions import ACTIVATION_ENERGY_KJ_PER_MOL, GAS_CONSTANT_KJ_PER_MOL_K, ZERO_CELSIUS_K
from lab_assets.features.definitions import FEATURE_SET_VERSION, columns_of, names_of
from lab_assets.features.extra import former_values

if TYPE_CHECKING:
    import polars as pl

ACTIVATION_K: Final = ACTIVATION_ENERGY_KJ_PER_MOL / GAS_CONSTANT_KJ_PER_MOL_K
"""Activation enthalpy over gas constant, kelvin: 10 000 K by USP <1079.2>."""
REFERENCE_C: Final = 25.0
MINUTES_PER_DAY: Final = 1440.0
DAYS_PER_MONTH: Final = 30.4375
"""Mean length of a month of the Gregorian calendar (365.25 / 12)."""

_VERSION: Final = "_version"
_SAMPLE_COLUMNS: Final = ("sample_name", "chamber_id", "storage_condition", "stored_at_utc", "sampled_at_utc", "recorded_at_utc")
_DAY_COLUMNS: Final = ("chamber_id", "day", "mkt_c", "excursion_min", "degree_hours_above", "gap_min")


def storage_exposure(samples: pl.DataFrame, chamber_days: pl.DataFrame) -> pl.DataFrame:
    """Return the storage of each sample, from the day it went in to the day before it was taken out.

    Only whole UTC days before the day of sampling count, so everything used was known when the sample was taken. The mean kinetic temperature
    over the storage is that of the daily ones, each weighted with its minutes of readings, which equals the one over all readings of those
    days. Stress is storage time times ``exp(-dH/R (1/T - 1/298.15 K))`` at that temperature, or at the nominal one (``25C/60RH``) where the
    chamber has no readings. Samples never stored (release) have zero days and no temperature; samples not taken yet are left out. A sample
    whose record was corrected later has a further row from then on, where the correction changes anything; a record that was corrected before
    its sampling came has none.

    Args:
        samples: Every version of each sample's record: sample_name, chamber_id, storage_condition, stored_at_utc, sampled_at_utc,
            recorded_at_utc; of versions recorded at the same time the last row counts.
        chamber_days: ``silver.storage_conditions``: chamber_id, day, mkt_c, excursion_min, degree_hours_above, gap_min.

    Returns:
        One row a sample and known time: sample_name, event_time_utc (sampling), known_time_utc (sampling, or recording where later), feature_set_version
        and the features of the table; what is not known is null. Ordered by sample and known time.

    Raises:
        ValueError: a column is missing.
    """
    import polars as pl

    for frame, columns in ((samples, _SAMPLE_COLUMNS), (chamber_days, _DAY_COLUMNS)):
        if missing := [name for name in columns if name not in frame.columns]:
            raise ValueError(f"missing column(s) {missing}")
    utc = pl.Datetime("us", "UTC")
    taken = (
        samples.select(_SAMPLE_COLUMNS)
        .drop_nulls("sample_name")
        .with_columns(known_time_utc=pl.max_horizontal("sampled_at_utc", "recorded_at_utc").cast(utc))
        .sort("sample_name", "recorded_at_utc", maintain_order=True)
        .with_columns(_superseded_utc=pl.col("recorded_at_utc").shift(-1).over("sample_name"))
        # a sampling that was planned for later and recorded otherwise meanwhile never took place
        .filter(pl.col("_superseded_utc").is_null() | (pl.col("known_time_utc") < pl.col("_superseded_utc")))
        .drop_nulls("sampled_at_utc")
        .with_row_index(_VERSION)
        .with_columns(first_day=pl.col("stored_at_utc").dt.date(), end_day=pl.col("sampled_at_utc").dt.date())
        .with_columns(storage_days=_storage_days())
    )
    with_days = taken.join(_summed(taken, chamber_days), on=_VERSION, how="left")
    names = columns_of("storage_exposure")
    with_features = with_days.with_columns(_features()).with_columns(
        storage_stress_months=_stress(pl.coalesce("storage_mkt_c", _nominal_c()))
    )
    made = (
        _with_former(with_features)
        .select(
            "sample_name",
            pl.col("sampled_at_utc").cast(utc).alias("event_time_utc"),
            "known_time_utc",
            pl.lit(FEATURE_SET_VERSION).alias("feature_set_version"),
            *(pl.col(name).cast(pl.Float64) for name in names),
        )
        .sort("sample_name", "known_time_utc")
    )
    before = [pl.col(name).ne_missing(pl.col(name).shift(1)) for name in ("sample_name", "event_time_utc", *names)]
    return made.filter(pl.any_horizontal(before))


def _with_former(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with a column more for each former computation; what cannot be said is null."""
    import polars as pl

    columns = [name for name in columns_of("storage_exposure") if name not in names_of("storage_exposure")]
    if not columns:
        return rows
    former = [former_values("storage_exposure", row) for row in rows.iter_rows(named=True)]
    return rows.hstack(pl.DataFrame(former, schema=dict.fromkeys(columns, pl.Float64())).fill_nan(None))


def _storage_days() -> pl.Expr:
    """Return days between the dates of storing and sampling; 0 for a sample never stored."""
    import polars as pl

    days = (pl.col("end_day") - pl.col("first_day")).dt.total_days().cast(pl.Float64)
    return pl.when(pl.col("first_day").is_null()).then(0.0).otherwise(days.clip(0.0))


def _summed(taken: pl.DataFrame, chamber_days: pl.DataFrame) -> pl.DataFrame:
    """Return the sums over the chamber days of each version of a sample, one row each that has any."""
    import polars as pl

    days = chamber_days.select(_DAY_COLUMNS).with_columns(
        pl.col("gap_min").fill_null(0.0), pl.col("excursion_min").fill_null(0.0), pl.col("degree_hours_above").fill_null(0.0)
    )
    seen = (
        taken.select(_VERSION, "chamber_id", "first_day", "end_day")
        .join(days.drop_nulls(["chamber_id", "day"]), on="chamber_id")
        .filter((pl.col("day") >= pl.col("first_day")) & (pl.col("day") < pl.col("end_day")))
        .sort(_VERSION, "day")
        .with_columns(read_min=(MINUTES_PER_DAY - pl.col("gap_min")).clip(0.0))
        .with_columns(rate=(-ACTIVATION_K / (pl.col("mkt_c") + ZERO_CELSIUS_K)).exp())
    )
    weight = pl.when(pl.col("mkt_c").is_not_null()).then(pl.col("read_min")).otherwise(0.0)
    return seen.group_by(_VERSION, maintain_order=True).agg(
        rated_min=(weight * pl.col("rate")).sum(),
        weight_min=weight.sum(),
        read_min=pl.col("read_min").sum(),
        excursion=pl.col("excursion_min").sum(),
        degree_hours=pl.col("degree_hours_above").sum(),
    )


def _features() -> list[pl.Expr]:
    """Return temperature, excursion and gap from the sums; a day without a row is a gap of 24 hours."""
    import polars as pl

    stored, seen = pl.col("storage_days") > 0, pl.col("weight_min") > 0
    mkt_c = ACTIVATION_K / -(pl.col("rated_min") / pl.col("weight_min")).log() - ZERO_CELSIUS_K
    gap_min = MINUTES_PER_DAY * pl.col("storage_days") - pl.col("read_min").fill_null(0.0)
    never = pl.when(~stored).then(0.0)
    return [
        pl.when(stored & seen).then(mkt_c).alias("storage_mkt_c"),
        never.otherwise(pl.col("excursion")).alias("storage_excursion_min"),
        never.otherwise(pl.col("degree_hours")).alias("storage_degree_hours_above"),
        never.otherwise(gap_min.clip(0.0)).alias("storage_gap_min"),
    ]


def _nominal_c() -> pl.Expr:
    import polars as pl

    return pl.col("storage_condition").str.extract(r"^\s*(-?\d+(?:\.\d+)?)\s*C", 1).cast(pl.Float64)


def _stress(temperature_c: pl.Expr) -> pl.Expr:
    """Return months at 25 degC that do as much as the storage did; 0 for a sample never stored."""
    import polars as pl

    rate = (-ACTIVATION_K * (1.0 / (temperature_c + ZERO_CELSIUS_K) - 1.0 / (REFERENCE_C + ZERO_CELSIUS_K))).exp()
    return pl.when(pl.col("storage_days") > 0).then(pl.col("storage_days") / DAYS_PER_MONTH * rate).otherwise(0.0)
