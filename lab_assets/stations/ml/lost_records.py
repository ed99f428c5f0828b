"""Decisions and explanations that predictions lost when a table was set back.

Belongs here: finding what counting predictions lack, deciding again, having decisions say what their predictions say. Does not belong here:
what the service answered (``online.py`` takes it from the log), setting back (``lab_assets.stations.restoring``).

Done only after such a restore, asked for by ``ask_for``: an undisturbed scoring leaves nothing missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.ml import DECISIONS, EXPLANATIONS, PREDICTIONS
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.state.station_work import Attention
from lab_assets.stations.ml.online import bundle_named
from lab_assets.stations.ml.prediction_records import COUNTS, EXPLAIN_FROM_RISK, append_new, decided, mark

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.modeling.bundle import ModelBundle

LOST: Final = "lost_records"
"""Kind of attention of the scoring: a table of the records was set back, and what counts may lack something in it."""
DECIDED_AGAIN: Final = "decided again: the decision of then was lost when the table was set back"
_READ: Final = (
    "prediction_id", "injection_id", "lot_id", "risk", "risk_low", "risk_high", "model_version", "model_digest", "features",
)  # fmt: skip


def ask_for(lake: Lakehouse, table: TableContract, reason: str) -> None:
    """Have the next scoring add what counting predictions lack; called before a table of the records is set back."""
    if table in (PREDICTIONS, DECISIONS, EXPLANATIONS):
        lake.ledger.call_attention([Attention(station=PREDICTIONS.full_name, kind=LOST, key=table.full_name, reason=reason)])


def add_lost(lake: Lakehouse, at: datetime, derivation: Derivation) -> int:
    """Decide and explain again what counting predictions from tables lack, by the model that made each, and mark decisions alike.

    Args:
        lake: Tables.
        at: Now.
        derivation: Where it came from.

    Returns:
        Decisions added.
    """
    import polars as pl

    from_tables = pl.col("ended_at_utc").is_null() & (pl.col("mode") != "online")
    rows = lake.polars(PREDICTIONS, list(_READ), where=from_tables)
    undecided = rows.join(lake.polars(DECISIONS, ["prediction_id"]), on="prediction_id", how="anti")
    explained = lake.polars(EXPLANATIONS, ["prediction_id"]).unique()
    unexplained = rows.filter(pl.col("risk") >= EXPLAIN_FROM_RISK).join(explained, on="prediction_id", how="anti")
    lacking = rows.filter(pl.col("prediction_id").is_in([*undecided["prediction_id"], *unexplained["prediction_id"]]))
    decisions: list[dict[str, Any]] = []
    explanations: list[dict[str, Any]] = []
    for (digest, version), group in lacking.group_by(["model_digest", "model_version"], maintain_order=True):
        found = _decided(bundle_named(lake, str(digest), str(version)), group, at)
        decisions += found[0]
        explanations += found[1]
    append_new(lake, DECISIONS, decisions, "decision_id", derivation, since=None)
    append_new(lake, EXPLANATIONS, explanations, "prediction_id", derivation, since=None)
    mark(lake, lake.polars(PREDICTIONS, ["prediction_id", *COUNTS]).to_dicts(), derivation)
    return undecided.height


def _decided(bundle: ModelBundle | None, rows: pl.DataFrame, at: datetime) -> tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]]:
    """Return decisions and explanations of stored predictions; without their model neither outcome can be excluded."""
    from lab_assets.features.vector import from_map

    made = [{**row, "features": dict(row["features"])} for row in rows.to_dicts()]
    if bundle is not None:
        try:
            for row in made:
                row["_verdict"] = bundle.score_row(from_map(row["features"], bundle.feature_names)).verdict
        except ValueError:
            bundle = None  # made with features that this program does not know
    if bundle is None:
        made = [{**row, "_verdict": "cannot_tell_yet"} for row in made]
    decisions, explanations, _ = decided(bundle, made, at)
    return [{**row, "reasons": [*row["reasons"], DECIDED_AGAIN]} for row in decisions], explanations
