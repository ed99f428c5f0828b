"""Everything one prediction leads back to: model, tables, values, drivers, decision, raw file.

Belongs here: gathering it for one person. Does not belong here: masks (``views.py``), repeating it (``reproduction.py``).
"""

from __future__ import annotations

from typing import Any

from lab_assets.service.records import Prediction, Record
from lab_assets.service.store import Models, decision_row, find_end
from lab_assets.service.table_cache import read_rows
from lab_assets.service.traces import TRACE_KEY, trace_path
from lab_assets.service.views import Views
from lab_assets.settings import Settings

_DECISION = ("decision_id", "path", "checks", "reasons", "policy_version")


def gather(settings: Settings, record: Record, *, models: Models, views: Views, user: str | None) -> dict[str, Any]:
    """Return what a prediction rests on and what was decided on it.

    Args:
        settings: Where tables and raw files are.
        record: The prediction with its outcome.
        models: Bundles by digest.
        views: Masks.
        user: Person whose masks apply; ``None`` for the owner of the machine, who sees everything in clear.

    Returns:
        ``prediction``, ``ended`` (when and why it ended; ``None`` where it counts), ``verdict``, ``drivers``, ``computed`` (when the drivers were computed), ``decision`` (``None`` where none was made
        yet), ``raw_files``.

    Raises:
        NotFoundError: drivers were not stored, and the exact model cannot be had any more.
        TableUnavailableError: a table cannot be read.
    """
    drivers, computed = views.drivers(record, user=user)
    decision = None if record.outcome is None else {name: value for name, value in decision_row(record).items() if name in _DECISION}
    return {
        "prediction": views.prediction(record.prediction, user=user),
        "ended": find_end(settings, record.prediction.prediction_id),
        "verdict": models.verdict(record),
        "drivers": drivers,
        "computed": computed,
        "decision": None if decision is None else views.decision(decision, user=user),
        "raw_files": _raw_files(settings, record.prediction, views=views, user=user),
    }


def _raw_files(settings: Settings, prediction: Prediction, *, views: Views, user: str | None) -> list[dict[str, Any]]:
    """Return the original bytes behind a prediction: posted traces, and the file of the injection where it has arrived."""
    digests = [name.removeprefix(TRACE_KEY) for name in prediction.table_versions if name.startswith(TRACE_KEY)]
    found: list[dict[str, Any]] = [{"sha256": digest, "source": "posted trace", "file_name": None} for digest in digests]
    if prediction.injection_id is not None:
        where = {"injection_id": [prediction.injection_id]}
        rows = read_rows(settings, "silver.injections", where=where, columns=("injection_id", "source_sha256"))
        files = {row["source_sha256"] for row in rows}
        arrivals = (
            read_rows(settings, "bronze.files", where={"file_id": sorted(files)}, columns=("file_id", "source", "file_name"))
            if files
            else []
        )
        shown = [views.masked("bronze.files", row, user=user) for row in arrivals]
        found += [{"sha256": row["file_id"], "source": row["source"], "file_name": row["file_name"]} for row in shown]
        named = {row["file_id"] for row in arrivals}
        found += [{"sha256": digest, "source": None, "file_name": None} for digest in sorted(files - named)]
    return [
        row | {"raw": str(trace_path(settings.raw, row["sha256"])), "present": trace_path(settings.raw, row["sha256"]).is_file()}
        for row in found
    ]
