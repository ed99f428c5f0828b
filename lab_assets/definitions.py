"""The graph, assembled in one place.

Belongs here: listing what there is. Does not belong here: any asset, check, job or resource itself.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from lab_assets.orchestration.assets import bronze, features, gold, governance, scoring, silver, training
from lab_assets.orchestration.assets.station import TOWARDS_A_SCORE
from lab_assets.orchestration.contract_checks import build_contract_checks
from lab_assets.orchestration.jobs import JOBS
from lab_assets.orchestration.other_checks import audit_chain, drift, originals, reconciliation
from lab_assets.orchestration.resources import LakehouseResource
from lab_assets.orchestration.schedules import SCHEDULES
from lab_assets.orchestration.sensors import SENSORS

ASSETS = (
    bronze.bronze,
    silver.silver_reference,
    silver.silver_chromatography,
    features.features,
    gold.gold,
    training.labels,
    training.training,
    scoring.ONLINE_LOG,
    scoring.scoring,
    scoring.watching,
    governance.lineage,
    governance.oversight,
    governance.integrity,
)
CHECKED = {
    "bronze": bronze.NAMES,
    "silver_reference": silver.REFERENCE,
    "silver_chromatography": silver.CHROMATOGRAPHY,
    "features": features.NAMES,
    "gold": gold.NAMES,
    "labels": ("ml.labels",),
    "training": ("ml.training_sets", "ml.evaluations"),
    "scoring": scoring.SCORED,
    "watching": scoring.WATCHED,
    "lineage": ("governance.lineage",),
    "oversight": ("governance.audit", "governance.access"),
    "integrity": ("governance.integrity",),
}


def build_defs(*, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the whole graph.

    Args:
        resources: Replacements of default resources by name, for tests and commands.
    """
    checks = [
        build_contract_checks(station, names, op_tags=TOWARDS_A_SCORE if station == "features" else None)
        for station, names in CHECKED.items()
    ]
    return dg.Definitions(
        assets=list(ASSETS),
        asset_checks=[*checks, reconciliation, drift, originals, audit_chain],
        jobs=list(JOBS),
        sensors=list(SENSORS),
        schedules=list(SCHEDULES),
        executor=dg.in_process_executor,
        resources={"lake": LakehouseResource(), **(resources or {})},
    )


defs = build_defs()
