"""Checks beside the contracts: reconciliation (blocking), drift (warning), the audit chain.

Belongs here: verdicts. Does not belong here: what is judged.
"""

import dagster as dg

from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.reports import asset_key


@dg.asset_check(
    asset=asset_key("bronze.files"), blocking=True, description="Files and rows of the ledger are the files and rows in bronze."
)
def reconciliation(lake: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """Files in = committed + quarantined + duplicate + vanished; rows parsed = rows in bronze + rows rejected."""
    from lab_assets.stations.quality import reconciliation as differences

    found = differences(lake)
    return dg.AssetCheckResult(
        passed=not found,
        metadata={
            "ledger": lake.ledger.counts(),
            "differences": {name: f"ledger {recorded}, table {held}" for name, (recorded, held) in found.items()},
        },
    )


@dg.asset_check(asset=asset_key("governance.lineage"), description="Every version of every table has its lineage.")
def lineage_complete(lake: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """Fail when a version of a table has no lineage row."""
    from lab_assets.stations.governance.lineage import missing_lineage

    missing = missing_lineage(lake)
    listed = {name: ", ".join(map(str, versions[:20])) for name, versions in missing.items()}
    return dg.AssetCheckResult(passed=not missing, metadata={"versions_without_lineage": listed, "tables": len(missing)})


@dg.asset_check(asset=asset_key("governance.lineage"), description="No table rests on what another program wrote to it.")
def only_ours(lake: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """Warn while a table rests on versions that are not the product's."""
    from lab_assets.stations.governance.lineage import written_by_others

    found = written_by_others(lake)
    listed = {name: ", ".join(map(str, versions[:20])) for name, versions in found.items()}
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"versions_of_other_programs": listed, "tables": len(found)},
    )


@dg.asset_check(asset=asset_key("governance.integrity"), description="Originals and files of tables are what they were when written.")
def originals(lake: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """Fail when the newest scrub found a file missing or changed."""
    from lab_assets.stations.governance.copies import newest_scrub

    seen = newest_scrub(lake)
    return dg.AssetCheckResult(
        passed=not seen.findings, metadata={"files": seen.files, "findings": seen.findings, "named": list(seen.named), "at": seen.at}
    )


@dg.asset_check(asset=asset_key("ml.drift"), description="Inputs or predictions moved away from what the model was calibrated on.")
def drift(lake: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """Warn when the newest check found drift."""
    import polars as pl

    from lab_assets.contracts.ml import DRIFT

    rows = lake.polars(DRIFT, ["check_id", "subject", "psi", "psi_limit", "drifted", "checked_at_utc"])
    newest = rows.filter(pl.col("checked_at_utc") == rows["checked_at_utc"].max()) if rows.height else rows
    moved = newest.filter("drifted").sort("psi", descending=True) if newest.height else newest
    listed = {row["subject"]: f"PSI {row['psi']:.3f}, limit {row['psi_limit']:.3f}" for row in moved.head(20).to_dicts()}
    return dg.AssetCheckResult(
        passed=moved.height == 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"drifted": listed, "subjects": newest.height},
    )


@dg.asset_check(asset=asset_key("governance.audit"), description="The chained audit trail is whole and agrees with its outside anchor.")
def audit_chain(lake: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """Verify every link of the audit trail."""
    from lab_assets.state.audit_chain import AuditLog

    result = AuditLog(lake.ledger.engine).verify()
    return dg.AssetCheckResult(
        passed=result.ok,
        metadata={"entries": result.entries, "first_bad_seq": result.first_bad_seq or 0, "reason": result.reason or "whole"},
    )
