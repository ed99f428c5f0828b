"""Predictions with their outcomes, by number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lab_assets.service.records import Outcome, Prediction, Record

AT = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)


def make(number: int) -> Record:
    """A prediction whose decision needed drivers where its number is odd."""
    prediction = Prediction(
        prediction_id=f"p-{number:06d}", injection_id=f"i-{number}", lot_id=None, checkpoint_pct=50, risk=0.25, risk_low=0.1,
        risk_high=0.4, raw_score=-1.1, model_name="oos_risk", model_version="1", model_digest="d" * 64, feature_set_version="fs",
        features={"a": 0.1 + 0.2, "b": -1e-300}, table_versions={"features.lot_history": 3}, predicted_at_utc=AT + timedelta(seconds=number),
        as_of_utc=None, mode="online", requested_by="analyst",
    )  # fmt: skip
    drivers = ({"rank": 1, "feature": "a", "value": None, "contribution": 0.1 + 0.7, "words": "a is missing"},)
    outcome = Outcome(
        verdict="likely_fail", path="mandatory_checks", checks=("look",), reasons=("because", "so"), policy_version="review-0",
        drivers=drivers if number % 2 else None,
    )  # fmt: skip
    return Record(prediction=prediction, outcome=outcome)
