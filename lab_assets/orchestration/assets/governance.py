"""Station 10: lineage, and copies of audit trail and access for analysis."""

from collections.abc import Iterator

import dagster as dg

from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.station import PYTHON, reports, resilient, table_spec


@dg.multi_asset(
    specs=[table_spec("governance.lineage", deps=["gold.exceptions", "ml.explanations", "ml.evaluations", "ml.alerts"], kinds=PYTHON)],
    name="lineage",
    op_tags={"lab/engine": "spark"},
)
def lineage(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult]:
    """Commit the derivations that every materialisation noted."""
    from lab_assets.stations.governance.tables import update_lineage

    resilient(context, lake, lambda: update_lineage(lake))
    yield from reports(context, lake, ["governance.lineage"])


@dg.multi_asset(
    specs=[table_spec("governance.audit", kinds=PYTHON), table_spec("governance.access", kinds=PYTHON)],
    name="oversight",
    op_tags={"lab/engine": "spark"},
)
def oversight(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult]:
    """Copy new entries of the audit trail, and who may see what now."""
    from lab_assets.stations.governance.tables import update_access, update_audit

    resilient(context, lake, lambda: (update_audit(lake), update_access(lake)))
    yield from reports(context, lake, ["governance.audit", "governance.access"])


@dg.multi_asset(specs=[table_spec("governance.integrity", kinds=PYTHON)], name="integrity")
def integrity(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult]:
    """Hash originals and files of tables again, and keep what is missing or changed."""
    from lab_assets.stations.governance.tables import update_integrity

    report = update_integrity(lake, say=context.log.info)
    listed = {finding.object: f"{finding.problem} ({finding.told_as})" for finding in report.findings[:100]}
    told = {"files": report.files, "bytes": report.bytes, "findings": len(report.findings), "listed": listed}
    yield from reports(context, lake, ["governance.integrity"], extra={"governance.integrity": told})
