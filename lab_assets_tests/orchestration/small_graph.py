"""A small Dagster graph: a code location for tests of processes and jobs, without the laboratory's assets."""

import time

import dagster as dg


@dg.asset
def waits(context: dg.AssetExecutionContext) -> None:
    """Stay long enough to be interrupted when a run asks for it."""
    time.sleep(float(context.run.tags.get("test/wait_s", "0")))


@dg.asset(deps=[waits])
def fails(context: dg.AssetExecutionContext) -> None:
    """Fail when a run asks for it."""
    if "test/fail" in context.run.tags:
        raise dg.Failure(description="as asked")


@dg.asset_check(asset=waits, blocking=True)
def judged(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Stop a run that asks for it, with two reasons."""
    asked = "test/refuse" in context.run.tags
    return dg.AssetCheckResult(passed=not asked, metadata={"failed": ["8 of 10", "0.2 above 0.1"]} if asked else {})


def build_defs() -> dg.Definitions:
    """The graph, with the name of the job that ingestion has."""
    return dg.Definitions(assets=[waits, fails], asset_checks=[judged], jobs=[dg.define_asset_job("ingest", selection="*")])


defs = build_defs()
