"""Lineage, copies of audit trail and access for analysis, scrubs."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import dagster as dg

from lab_assets.contracts.all_contracts import contract
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.reports import Detail, check_results, check_spec, report, resilient, selected, table_spec

PYTHON = ("python", "deltalake")
OVERSIGHT = ("governance.audit", "governance.access")


@dg.multi_asset(
    specs=[table_spec("governance.lineage", deps=["gold.exceptions", "ml.explanations", "ml.evaluations", "ml.alerts"], kinds=PYTHON)],
    check_specs=[check_spec("governance.lineage")],
    name="lineage",
    can_subset=True,
)
def lineage(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Read from the commits of all tables what each version was made from, and from the stations which columns feed which."""
    from lab_assets.stations.all_stations import STATIONS
    from lab_assets.stations.governance.lineage import update_lineage

    if selected(context, ["governance.lineage"]):
        before = lake.version(contract("governance.lineage"))
        resilient(context, lake, lambda: update_lineage(lake, STATIONS, run_id=context.run_id))
        yield report(lake, "governance.lineage", before)
    yield from check_results(context, lake, ["governance.lineage"])


@dg.multi_asset(
    specs=[table_spec(name, kinds=PYTHON) for name in OVERSIGHT],
    check_specs=[check_spec(name) for name in OVERSIGHT],
    name="oversight",
    can_subset=True,
)
def oversight(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Copy new entries of the audit trail, and who may see what now."""
    from lab_assets.stations.governance.copies import update_access, update_audit

    for name, update in zip(OVERSIGHT, (update_audit, update_access), strict=True):
        if selected(context, [name]):
            before = lake.version(contract(name))
            resilient(context, lake, partial(update, lake, run_id=context.run_id))
            yield report(lake, name, before)
    yield from check_results(context, lake, OVERSIGHT)


@dg.multi_asset(
    specs=[table_spec("governance.integrity", kinds=PYTHON)],
    check_specs=[check_spec("governance.integrity")],
    name="integrity",
    can_subset=True,
)
def integrity(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Hash the originals and files of tables that are due, look at databases and models, and keep what is missing or changed."""
    from lab_assets.stations.governance.scrubbing import update_integrity

    if selected(context, ["governance.integrity"]):
        before = lake.version(contract("governance.integrity"))
        found = update_integrity(lake, run_id=context.run_id, today=datetime.now(UTC).date(), say=context.log.info)
        listed = {finding.object: f"{finding.problem} ({finding.told_as})" for finding in found.findings[:100]}
        detail: dict[str, Detail] = {"files": found.files, "bytes": found.bytes, "findings": len(found.findings), "listed": listed}
        yield report(lake, "governance.integrity", before, detail)
    yield from check_results(context, lake, ["governance.integrity"])
