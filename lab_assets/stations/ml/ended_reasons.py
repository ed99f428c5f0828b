"""Why a prediction does not count any more, in words for people.

Belongs here: all the words in ``ended_reason``, and which of them are true. Does not belong here: marking (``prediction_records.py``).

Words name no feature and no lot: who reads a reason may not be cleared for what they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

NO_SAMPLE: Final = "the run is no sample by what is known now, or has no features any more"


def superseded(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return what is different about the prediction that takes the place of another.

    Args:
        before: The prediction that stood: ``model_name``, ``model_version``, ``model_digest``, ``feature_set_version``, ``lot_id``,
            ``as_of_utc`` and ``features``.
        after: The one that takes its place, with the same.
    """
    changed = _model(before, after)
    if before["feature_set_version"] != after["feature_set_version"]:
        changed.append(f"the feature set ({before['feature_set_version']} to {after['feature_set_version']})")
    if before["lot_id"] != after["lot_id"]:
        changed.append("the lot")
    if before["as_of_utc"] != after["as_of_utc"]:
        changed.append("the moment up to which facts were known")
    if _values_differ(before, after):
        changed.append("the feature values")
    if not changed:
        return "scored again under another identity: model, lot, moment and feature values are the same"
    return f"scored again after a change of {', '.join(changed)}"


def _model(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    if before["model_digest"] == after["model_digest"]:
        return []
    was, now = (f"{each['model_name']} {each['model_version']}" for each in (before, after))
    return ["the model" if was == now else f"the model ({was} to {now})"]


def _values_differ(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether values differ; of models with other inputs, those of the features that both were given."""
    old, new = dict(before["features"]), dict(after["features"])
    if before["model_digest"] == after["model_digest"]:
        return old != new
    return any(old[name] != new[name] for name in old.keys() & new.keys())


def restored(table: str, version: int) -> str:
    """Return why a prediction waits that was made from what a restored table lost."""
    return f"{table} was restored to version {version}"


def taken_back(run_id: str) -> str:
    """Return why a prediction does not count that a run made which was taken back."""
    return f"run {run_id} was taken back"


def rests_on_taken_back(run_id: str) -> str:
    """Return why a prediction waits that others made from what a run wrote."""
    return f"made from what run {run_id} wrote, which was taken back"


_WAITS: Final = re.compile(r"\S+ was restored to version \d+|run .+ was taken back|made from what run .+ wrote, which was taken back")


def waits(reason: str | None) -> bool:
    """Return whether a prediction was ended only until the next scoring says what comes out."""
    return reason is not None and _WAITS.fullmatch(reason) is not None
