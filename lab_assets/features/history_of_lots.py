"""Features of what is known of a lot.

Belongs here: turning reportable values already known into feature rows with event time and known time.
Does not belong here: instruments (``history_of_instruments.py``), choosing the row for a prediction (``join.py``).

A row made at known time K uses only input rows whose own known time is at most K. So adding later-known rows never changes a row made before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, Final

from lab_assets.features.definitions import FEATURE_SET_VERSION, METHOD_KINDS, columns_of, method_kind
from lab_assets.features.expectation import spec_margin
from lab_assets.features.extra import extra_values, former_values
from lab_assets.features.history_rows import mean, nulls, require, schema_of

if TYPE_CHECKING:
    import polars as pl

LOT_HISTORY_INPUT: Final[tuple[str, ...]] = (
    "result_id",
    "injection_id",
    "sample_name",
    "lot_id",
    "method_id",
    "value",
    "spec_low",
    "spec_high",
    "replicate",
    "measured_at_utc",
    "known_time_utc",
)
"""Columns of the input of ``lot_history``: those of ``silver.results`` with the same names."""


def lot_history(results: pl.DataFrame) -> pl.DataFrame:
    """Return what is known of each lot from each known time on.

    Values known at the same moment make one row. A later version of a result replaces the earlier one from its own known time on; earlier
    rows keep what was believed then. Two results of one preparation are two: an entry typed for the wrong sample takes nothing away that
    the sample has itself. Values without a limit do not count.
    A result without ``known_time_utc`` is left out: nobody can say when it was known.

    Args:
        results: One row a reportable value, columns ``LOT_HISTORY_INPUT`` (``silver.results``).

    Returns:
        One row a lot and known time: lot_id, event_time_utc (newest measurement known then), known_time_utc, feature_set_version and the
        features of the table; what is not known is null. Ordered by lot and known time. The margin is ``spec_margin``.

    Raises:
        ValueError: a column is missing.
    """
    import polars as pl

    require(results, LOT_HISTORY_INPUT)
    ordered = (
        results.select(LOT_HISTORY_INPUT)
        .drop_nulls(["lot_id", "known_time_utc", "value"])
        .with_columns(_stated_utc="known_time_utc", known_time_utc=pl.max_horizontal("known_time_utc", "measured_at_utc"))
        .sort("lot_id", "known_time_utc", "_stated_utc", "measured_at_utc", "sample_name", "method_id", "replicate", "result_id", "value")
    )
    made: list[dict[str, Any]] = []
    for _, lot in ordered.group_by("lot_id", maintain_order=True):
        made.extend(_lot_rows(list(lot.iter_rows(named=True))))
    return pl.DataFrame(made, schema=schema_of(("lot_id",), "lot_history")).sort("lot_id", "known_time_utc")


@dataclass(frozen=True, kw_only=True)
class KnownValue:
    """One reportable value as known at some time."""

    measured_at: datetime
    sample_name: str
    kind: str | None
    preparation: tuple[Any, ...]
    margin: float


def _lot_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the feature rows of one lot from its results in order of known time."""
    known: dict[str, KnownValue] = {}
    made: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        margin = spec_margin(row["value"], low=row["spec_low"], high=row["spec_high"])
        if isfinite(margin):
            known[row["result_id"]] = KnownValue(
                measured_at=row["measured_at_utc"] or row["known_time_utc"],
                sample_name=row["sample_name"] or "",
                kind=method_kind(row["method_id"]),
                preparation=(row["replicate"], row["injection_id"]),
                margin=margin,
            )
        else:
            known.pop(row["result_id"], None)
        is_last = index + 1 == len(rows) or rows[index + 1]["known_time_utc"] != row["known_time_utc"]
        if is_last and (known or made):
            made.append(_lot_row(row, list(known.values())))
    return made


def _lot_row(row: Mapping[str, Any], known: Sequence[KnownValue]) -> dict[str, Any]:
    """Return what is known of a lot; also that nothing is any more, since its last result was withdrawn."""
    margins = [value.margin for value in known]
    newest = max((value.measured_at for value in known), default=row["known_time_utc"])
    features = {
        "lot_results_known": float(len(known)),
        "lot_failures_known": float(sum(margin < 0 for margin in margins)),
        "lot_min_margin": min(margins, default=nan),
        "lot_last_margin": min((value.margin for value in known if value.measured_at == newest), default=nan),
    }
    for kind in METHOD_KINDS.values():
        features[f"lot_margin_{kind}"] = _last_sample_margin([value for value in known if value.kind == kind])
    former = former_values("lot_history", known, only=None if known else features)  # files are never given nothing
    features = dict.fromkeys(columns_of("lot_history"), nan) | features | former | (extra_values("lot_history", known) if known else {})
    return {
        "lot_id": row["lot_id"],
        "event_time_utc": newest,
        "known_time_utc": row["known_time_utc"],
        "feature_set_version": FEATURE_SET_VERSION,
        **nulls(features),
    }


def _last_sample_margin(known: Sequence[KnownValue]) -> float:
    """Return the mean over preparations of each one's smallest margin, for the sample measured last; ``nan`` without one."""
    if not known:
        return nan
    sample = max(known, key=lambda value: (value.measured_at, value.sample_name)).sample_name
    worst: dict[tuple[Any, ...], float] = {}
    for value in known:
        if value.sample_name == sample:
            worst[value.preparation] = min(value.margin, worst.get(value.preparation, value.margin))
    return mean(sorted(worst.values()))
