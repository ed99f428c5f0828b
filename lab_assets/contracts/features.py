"""Contracts of the feature tables, compiled from the feature definitions so that each feature is declared once.

Belongs here: keys and times around the features. Does not belong here: the features (``lab_assets.features.definitions``).
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.core import Column, TableContract
from lab_assets.features.definitions import FEATURES, FORMER_FEATURES

_TIMES = (
    Column(name="event_time_utc", kind="timestamp_utc", meaning="when the values held in the laboratory", nullable=False),
    Column(name="known_time_utc", kind="timestamp_utc", meaning="when the recording system knew them", nullable=False),
    Column(name="feature_set_version", kind="string", meaning="version of the feature definitions", nullable=False),
)


def _values(table: str) -> tuple[Column, ...]:
    named = [(feature.name, feature, feature.meaning) for feature in FEATURES]
    former = [(column, feature, f"{feature.meaning}, by its computation {feature.version}") for column, feature in FORMER_FEATURES.items()]
    return tuple(
        Column(name=name, kind="float64", meaning=meaning, unit=feature.unit)
        for name, feature, meaning in (*named, *former)
        if feature.table == table
    )


INJECTION_PROGRESS = TableContract(
    layer="features",
    name="injection_progress",
    grain="one injection x checkpoint of the run, as known from a time on, in one feature set",
    description="What the partial trace shows at 10, 25, 50 and 75 % of the run.",
    owner="team:data-science",
    primary_key=("injection_id", "checkpoint_pct", "known_time_utc", "feature_set_version"),
    columns=(
        Column(name="injection_id", kind="string", meaning="injection", nullable=False),
        Column(name="injection_name", kind="string", meaning="name in the data system", nullable=False),
        Column(name="checkpoint_pct", kind="int64", meaning="share of the run seen", unit="%", nullable=False, minimum=1, maximum=100),
        *_TIMES,
        Column(name="lot_id", kind="string", meaning="lot of the sample, as known then"),
        Column(name="sample_name", kind="string", meaning="sample, standard or blank, as known then"),
        Column(name="method_id", kind="string", meaning="test method, as known then; empty in rows made before it was kept"),
        Column(name="instrument_id", kind="string", meaning="instrument, as known then"),
        *_values("injection_progress"),
    ),
)

INSTRUMENT_HISTORY = TableContract(
    layer="features",
    name="instrument_history",
    grain="one injection, instrument and method: the state it leaves behind, as known from a time on, in one feature set",
    description="Health of instrument and column after each injection.",
    owner="team:data-science",
    primary_key=("injection_id", "instrument_id", "method_id", "known_time_utc", "feature_set_version"),
    columns=(
        Column(name="instrument_id", kind="string", meaning="instrument", nullable=False),
        Column(name="method_id", kind="string", meaning="test method", nullable=False),
        Column(
            name="injection_id",
            kind="string",
            meaning="last injection considered; where the method has none left on the instrument, the one that was taken away",
            nullable=False,
        ),
        *_TIMES,
        *_values("instrument_history"),
    ),
)

LOT_HISTORY = TableContract(
    layer="features",
    name="lot_history",
    grain="one lot as known from a time on, in one feature set",
    description="How near to its limits the lot's earlier results were.",
    owner="team:data-science",
    primary_key=("lot_id", "known_time_utc", "feature_set_version"),
    columns=(
        Column(name="lot_id", kind="string", meaning="lot", nullable=False),
        *_TIMES,
        *_values("lot_history"),
    ),
)

STORAGE_EXPOSURE = TableContract(
    layer="features",
    name="storage_exposure",
    grain="one sample as known from a time on, in one feature set",
    description="Heat and humidity a sample met before it was tested.",
    owner="team:data-science",
    primary_key=("sample_name", "known_time_utc", "feature_set_version"),
    columns=(
        Column(name="sample_name", kind="string", meaning="sample", nullable=False),
        *_TIMES,
        *_values("storage_exposure"),
    ),
)

TABLES: Final = (INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE)
