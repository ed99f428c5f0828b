"""One prediction and what was decided on it, as they are kept: the same values in the spool, the table and the answer.

Belongs here: the two records and their forms as rows. Does not belong here: making them (``scorer.py``), keeping them
(``prediction_log.py``), finding them again (``store.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import orjson

from lab_assets.modeling.explanation import Driver

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One prediction as ``ml.predictions`` keeps it; the contract says what each field means."""

    prediction_id: str
    injection_id: str | None
    lot_id: str | None
    checkpoint_pct: int | None
    risk: float
    risk_low: float | None
    risk_high: float | None
    raw_score: float | None
    model_name: str
    model_version: str
    model_digest: str
    feature_set_version: str
    features: dict[str, float]
    table_versions: dict[str, int]
    predicted_at_utc: datetime
    as_of_utc: datetime | None
    mode: str
    requested_by: str

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Prediction:
        """Build from a JSON line or a table row; maps may be dicts or lists of pairs, times text or ``datetime``; other columns are left out."""
        times = {name: _time(row[name]) for name in ("predicted_at_utc", "as_of_utc")}
        maps = {"features": dict(row["features"]), "table_versions": dict(row["table_versions"])}
        return cls(**{**{name: row[name] for name in PREDICTION_COLUMNS}, **times, **maps})


PREDICTION_COLUMNS: Final = tuple(field.name for field in fields(Prediction))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was decided on a prediction when it was made. It is never worked out again: rules change, decisions made do not.

    Attributes:
        verdict: ``likely_pass``, ``likely_fail`` or ``cannot_tell_yet``; ``None`` where it was not recorded.
        path: Suggested review path.
        checks: Checks to do, named.
        reasons: Why, in words and numbers.
        policy_version: Version of the rules that decided.
        drivers: What moved the risk, strongest first, each with ``rank``, ``feature``, ``value``, ``contribution``, ``words``;
            ``None`` where the decision needed none.
    """

    verdict: str | None
    path: str
    checks: tuple[str, ...]
    reasons: tuple[str, ...]
    policy_version: str
    drivers: tuple[dict[str, Any], ...] | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Outcome | None:
        """Build from a row of ``ml.online_log`` or a JSON line; ``None`` where the row is older than the record of decisions."""
        if row.get("path") is None:
            return None
        drivers = row.get("drivers")
        found = orjson.loads(drivers) if isinstance(drivers, str) else drivers
        return cls(
            verdict=row["verdict"],
            path=row["path"],
            checks=tuple(row["checks"] or ()),
            reasons=tuple(row["reasons"] or ()),
            policy_version=row["policy_version"],
            drivers=None if found is None else tuple(found),
        )

    def decision(self) -> dict[str, Any]:
        """Return the public form of the decision."""
        return {
            "path": self.path,
            "checks": list(self.checks),
            "reasons": list(self.reasons),
            "policy_version": self.policy_version,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A prediction with its outcome; ``None`` for one of before decisions were recorded, until the pipeline has decided it."""

    prediction: Prediction
    outcome: Outcome | None

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Record:
        """Build from a spool line; lines of before decisions were recorded hold the prediction alone."""
        if "prediction" not in line:
            return cls(prediction=Prediction.from_row(line), outcome=None)
        outcome = line["outcome"]
        return cls(prediction=Prediction.from_row(line["prediction"]), outcome=None if outcome is None else Outcome.from_row(outcome))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Record:
        """Build from a row of ``ml.online_log``."""
        return cls(prediction=Prediction.from_row(row), outcome=Outcome.from_row(row))


_MAPS: Final = ("features", "table_versions")
_PREDICTION_FIELDS: Final = frozenset(PREDICTION_COLUMNS)
_OUTCOME_FIELDS: Final = frozenset(field.name for field in fields(Outcome))


def driver_rows(drivers: Sequence[Driver]) -> tuple[dict[str, Any], ...]:
    """Return drivers as rows; a value that is missing is ``None``."""
    return tuple(
        {
            "rank": driver.rank,
            "feature": driver.feature,
            "value": driver.value if isfinite(driver.value) else None,
            "contribution": driver.contribution,
            "words": driver.words,
        }
        for driver in drivers
    )


def new_prediction_id(now: datetime) -> str:
    """Return a fresh identity that sorts by time, so that file statistics find it: ``p-<ms, hex>-<random, hex>``."""
    return f"p-{int(now.timestamp() * 1000):012x}-{uuid4().hex[:16]}"


def to_arrow(records: Iterable[Record]) -> pa.Table:
    """Return records as an Arrow table of ``ml.online_log``; columns that others fill later are empty."""
    import pyarrow as pa

    from lab_assets.contracts.ml import ONLINE_LOG

    rows = list(records)
    predictions, outcomes = [row.prediction for row in rows], [row.outcome for row in rows]
    arrays: list[Any] = []
    for column in ONLINE_LOG.arrow_schema():
        name, values = column.name, list[Any]()
        if name in _MAPS:
            values = [list(getattr(one, name).items()) for one in predictions]
        elif name in _PREDICTION_FIELDS:
            values = [getattr(one, name) for one in predictions]
        elif name == "drivers":
            values = [None if one is None or one.drivers is None else orjson.dumps(one.drivers).decode() for one in outcomes]
        elif name in _OUTCOME_FIELDS:
            values = [None if one is None else getattr(one, name) for one in outcomes]
        else:
            values = [None] * len(rows)
        arrays.append(pa.array(values, type=column.type))
    return pa.Table.from_arrays(arrays, schema=ONLINE_LOG.arrow_schema())


def _time(value: str | datetime | None) -> datetime | None:
    parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    return parsed.astimezone(UTC) if parsed is not None else None
