"""The graph, assembled in one place.

Belongs here: listing what there is. Does not belong here: any asset, check, job or resource itself.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from lab_assets.orchestration.assets import bronze, governance, scoring, training
from lab_assets.orchestration.assets.reports import TOWARDS_A_SCORE
from lab_assets.orchestration.assets.station_assets import build_step, names_of
from lab_assets.orchestration.jobs import JOBS
from lab_assets.orchestration.other_checks import audit_chain, drift, lineage_complete, only_ours, originals, reconciliation
from lab_assets.orchestration.resources import LakehouseResource
from lab_assets.orchestration.schedules import SCHEDULES
from lab_assets.orchestration.sensors import SENSORS

ASSETS = (
    bronze.bronze,
    build_step("silver", names_of("silver"), op_tags=TOWARDS_A_SCORE),
    build_step("features", names_of("features"), op_tags=TOWARDS_A_SCORE),
    build_step("labels", names_of("ml")),
    build_step("gold", names_of("gold")),
    training.training,
    scoring.ONLINE_LOG,
    scoring.scoring,
    scoring.watching,
    governance.lineage,
    governance.oversight,
    governance.integrity,
)


def build_defs(*, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the whole graph.

    Args:
        resources: Replacements of default resources by name, for tests and commands.
    """
    return dg.Definitions(
        assets=list(ASSETS),
        asset_checks=[reconciliation, drift, originals, audit_chain, lineage_complete, only_ours],
        jobs=list(JOBS),
        sensors=list(SENSORS),
        schedules=list(SCHEDULES),
        executor=dg.in_process_executor,
        resources={"lake": LakehouseResource(), **(resources or {})},
    )


defs = build_defs()
