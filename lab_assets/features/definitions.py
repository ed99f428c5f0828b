"""What each feature is: name, table, meaning, unit, version.

Belongs here: metadata, the order of the model's inputs and the version of the whole set.
Does not belong here: the computations (``progress.py``, ``history_of_instruments.py``, ``history_of_lots.py``, ``exposure.py``,
``context.py``), features of one file each (``extra``), which follow those below, what a model made with another set is given (``inputs.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from lab_assets.features.extra import ExtraFeatureError, extra_features, former_features
from lab_assets.features.feature import Feature

CHECKPOINTS_PCT: Final[tuple[int, ...]] = (10, 25, 50, 75)
"""Shares of the run at which a model row is made."""

METHOD_KINDS: Final[dict[str, str]] = {"ASSAY": "assay", "RS": "rs", "DISS": "diss"}
"""Kind of test by the part of ``method_id`` before its first hyphen; methods of other names are of no kind.

No setting: it belongs to the definitions of ``method_is_*``, ``lot_margin_*`` and ``lot_margin_same_method``. Changed without their versions,
rows already made and predictions repeated later would disagree under one version of the set.
"""

_LONGEST_RUN_MIN: Final = 24 * 60.0
_HIGHEST_PRESSURE_BAR: Final = 10_000.0
_ABSOLUTE_ZERO_C: Final = -273.15
_CONTENT: Final = (
    "noise and a drifting baseline take a content a little below zero, never by more than the whole, and nothing holds twice of what means "
    "100 %: check scale, weights and standards"
)
_BOUNDS: Final[tuple[tuple[float | None, float | None, str, tuple[str, ...]], ...]] = (
    (0.0, 100.0, "a share of the run lies between nothing and all of it", ("checkpoint_pct",)),
    (0.0, 1.0, "it is 1 or 0", ("method_is_assay", "method_is_rs", "method_is_diss")),
    (0.0, _LONGEST_RUN_MIN, "it lies within the run, at most a day", ("void_time_min",)),
    (0.0, 12_000.0, "a count; the longest trace has room for 12000 peaks", ("peaks_so_far",)),
    (
        0.0,
        None,
        "a standard deviation, a width or a quotient of positive quantities",
        (
            "baseline_noise_pct", "last_peak_plates", "last_peak_tailing", "pressure_ripple_pct", "ih_pressure_ripple_pct", "ih_plates_ratio",
            "ih_tailing", "ih_standard_rsd_pct",
        ),
    ),
    (0.0, None, "a count", ("ih_injections_on_column", "lot_results_known", "lot_failures_known")),
    (
        0.0,
        None,
        "a duration, or an integral over one",
        ("storage_days", "storage_stress_months", "storage_excursion_min", "storage_degree_hours_above", "storage_gap_min"),
    ),
    (0.0, _HIGHEST_PRESSURE_BAR, "no pump works below 0 or above 10000 bar", ("pressure_mean_bar", "ih_pressure_mean_bar")),
    (-100.0, None, "a positive quantity cannot lose more than all of itself", ("pressure_shift_pct", "retention_shift_pct", "ih_standard_drift_pct")),
    (-100.0, 200.0, _CONTENT, ("early_impurity_pct", "main_value_pct")),
    (-1.0, 2.0, _CONTENT, ("main_area_share",)),
    (-1.0, None, "noise and a drifting baseline take a share a little below zero, never by more than the whole", ("main_height_share",)),
    (_ABSOLUTE_ZERO_C, 1_000.0, "a temperature of goods in a chamber", ("storage_mkt_c",)),
)  # fmt: skip
"""What quantities can be: minimum, maximum, why, features. Slopes, signed levels and margins to a limit have no bound of nature."""

_RAISED_VERSIONS: Final[dict[str, int]] = {}
"""Versions of the features below whose computation was changed; all others are of version 1."""

_BOUNDS_OF: Final = {name: (low, high, reason) for low, high, reason, names in _BOUNDS for name in names}


def _table(table: str, *rows: tuple[str, str, str | None]) -> tuple[Feature, ...]:
    made: list[Feature] = []
    for name, meaning, unit in rows:
        low, high, reason = _BOUNDS_OF.get(name, (None, None, ""))
        version = _RAISED_VERSIONS.get(name, 1)
        made.append(
            Feature(name=name, table=table, meaning=meaning, unit=unit, version=version, minimum=low, maximum=high, bound_reason=reason)
        )
    return tuple(made)


FEATURES: Final[tuple[Feature, ...]] = (
    *_table(
        "context",
        ("checkpoint_pct", "share of the run seen", "%"),
        ("method_is_assay", "1 for an assay", None),
        ("method_is_rs", "1 for related substances", None),
        ("method_is_diss", "1 for dissolution", None),
        ("lot_margin_same_method", "margin of the lot's last sample tested by the same kind of method, mean over preparations", None),
        ("pressure_shift_pct", "mean pressure of this run against the instrument's last runs of the method", "%"),
    ),
    *_table(
        "injection_progress",
        ("baseline_noise_pct", "noise of the signal (1 sd), against the standard's main peak height", "%"),
        ("baseline_offset_pct", "level of the baseline at the start, against the standard's main peak height", "%"),
        ("baseline_slope_pct_per_min", "slope of the baseline, against the standard's main peak height", "%/min"),
        ("void_height_pct", "largest disturbance before the first window, signed, against the standard's main peak height", "%"),
        ("void_time_min", "time of that disturbance", "min"),
        ("peaks_so_far", "separate finished signals above 6 times the noise (or wander) of the baseline, after the void", None),
        ("last_peak_plates", "plate number at half height of the last finished peak", None),
        ("last_peak_tailing", "symmetry factor at 5 % height of the last finished peak", None),
        ("retention_shift_pct", "retention of the last finished expected peak against the standards", "%"),
        ("early_impurity_pct", "content of the impurity windows finished before the main window, summed", "%"),
        ("main_area_share", "area of the main peak so far, against the area that means 100 %", None),
        ("main_height_share", "apex height of the main peak so far, against the standard's", None),
        ("main_value_pct", "content from the finished main peak; missing until its window is over", "%"),
        ("worst_margin_so_far", "smallest margin to specification among the finished analytes", None),
        ("pressure_mean_bar", "mean pressure so far", "bar"),
        ("pressure_ripple_pct", "pressure ripple so far (sd around its straight line), against its mean", "%"),
        ("pressure_slope_pct_per_min", "slope of the pressure so far, against its mean", "%/min"),
    ),
    *_table(
        "instrument_history",
        ("ih_pressure_mean_bar", "mean pressure of the last 5 runs of the method", "bar"),
        ("ih_pressure_ripple_pct", "mean pressure ripple of the last 5 runs of any method", "%"),
        ("ih_pressure_ripple_slope", "slope of the pressure ripple over the last 20 runs", "%/10 runs"),
        ("ih_plates_ratio", "plates of the last 5 main peaks against the first 5 on the column", None),
        ("ih_tailing", "mean tailing of the last 5 main peaks on the column", None),
        ("ih_retention_drift_pct_per_day", "drift of the main peak's retention over 30 days on the column", "%/day"),
        ("ih_standard_rsd_pct", "relative standard deviation of the last 5 standard responses of the method", "%"),
        ("ih_standard_drift_pct", "last 3 standard responses of the method against the 10 before", "%"),
        ("ih_injections_on_column", "injections known on the column", None),
        ("ih_days_to_calibration_due", "days until the calibration in force ends, negative after", "d"),
    ),
    *_table(
        "lot_history",
        ("lot_results_known", "reportable values of the lot known, with a specification", None),
        ("lot_failures_known", "known values of the lot out of specification", None),
        ("lot_min_margin", "smallest margin to specification among the lot's known values", None),
        ("lot_last_margin", "smallest margin among the values measured last", None),
        ("lot_margin_assay", "margin of the sample last assayed, mean over preparations", None),
        ("lot_margin_rs", "margin of the sample last tested for related substances, mean over preparations", None),
        ("lot_margin_diss", "margin of the sample last tested for dissolution, mean over preparations", None),
    ),
    *_table(
        "storage_exposure",
        ("storage_days", "time in the stability chamber", "d"),
        ("storage_mkt_c", "mean kinetic temperature over the storage", "degC"),
        ("storage_stress_months", "storage expressed as months at 25 degC (Arrhenius, 83.144 kJ/mol)", "months"),
        ("storage_excursion_min", "time out of the chamber's limits", "min"),
        ("storage_degree_hours_above", "integral of temperature above the upper limit", "degC*h"),
        ("storage_gap_min", "time without chamber readings", "min"),
    ),
    *extra_features(),
)
"""Every input of the model, in the model's order."""

FEATURE_NAMES: Final[tuple[str, ...]] = tuple(feature.name for feature in FEATURES)
"""Order of the model's inputs."""

if _twice := sorted({name for name in FEATURE_NAMES if FEATURE_NAMES.count(name) > 1}):
    raise ExtraFeatureError(
        f"lab_assets/features/extra/{_twice[0]}.py: another feature is called {_twice[0]!r}, of table "
        f"{next(feature.table for feature in FEATURES if feature.name == _twice[0])!r}; give the file and its feature another name"
    )


def set_version(features: Iterable[Feature]) -> str:
    """Return the version of a set of features in an order: another one for another name, version or order."""
    return stated_version((feature.name, feature.version) for feature in features)


def stated_version(features: Iterable[tuple[str, int]]) -> str:
    """Return ``set_version`` of features given by name and version."""
    stated = "\n".join(f"{name} {version}" for name, version in features)
    return f"fs1-{hashlib.sha256(stated.encode()).hexdigest()[:6]}"


FEATURE_SET_VERSION: Final[str] = set_version(FEATURES)
"""Changes whenever a feature is added, removed, reordered or computed in another way."""


def _former() -> dict[str, Feature]:
    today = {feature.name: feature for feature in FEATURES}
    found = {feature.former_column: feature for feature in former_features()}
    for column, feature in found.items():
        now = today.get(feature.name, feature)
        if now is not feature and now.version <= feature.version:
            raise ExtraFeatureError(f"{feature.name} is of version {now.version} today: a former computation of it has a lower one")
        if now.table != feature.table:
            raise ExtraFeatureError(f"{feature.name} is of table {now.table!r} today: so are its former computations")
        if column in today:
            raise ExtraFeatureError(f"the column {column} of a former computation is a feature's of today")
    return found


FORMER_FEATURES: Final[dict[str, Feature]] = _former()
"""Former computations by the columns that keep their values; no inputs of a model made today, no part of ``FEATURE_SET_VERSION``."""


def names_of(table: str) -> tuple[str, ...]:
    """Return the features of one table, in order."""
    return tuple(feature.name for feature in FEATURES if feature.table == table)


def columns_of(table: str) -> tuple[str, ...]:
    """Return the columns of one feature table that hold features: those of today, then former computations."""
    return names_of(table) + tuple(column for column, feature in FORMER_FEATURES.items() if feature.table == table)


def method_kind(method_id: str | None) -> str | None:
    """Return ``assay``, ``rs`` or ``diss`` for a method such as ``ASSAY-01``, ``None`` for any other."""
    return METHOD_KINDS.get(method_id.split("-", 1)[0].upper()) if method_id else None
