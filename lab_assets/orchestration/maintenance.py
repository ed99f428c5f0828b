"""The job that keeps tables quick to read. It changes no row, so it is no asset: nothing becomes new by it.

Belongs here: the step and its configuration. Does not belong here: what is done (``lab_assets.lake.maintenance``), when (``schedules.py``).
"""

import dagster as dg

from lab_assets.lake.lakehouse import Lakehouse


class MaintenanceConfig(dg.Config):
    """Which tables are put in order."""

    tables: list[str] | None = None
    """``layer.table``; default: all."""


@dg.op(name="maintain_tables", description="Put small files together, write checkpoints, bring properties of old tables up to date.")
def maintain_tables(context: dg.OpExecutionContext, config: MaintenanceConfig, lake: dg.ResourceParam[Lakehouse]) -> None:
    """Put the tables in order, one after the other; a damaged one does not keep the others from it, and fails the step at the end.

    Raises:
        Failure: a table could not be put in order; each is named with its reason.
    """
    from lab_assets.contracts.all_contracts import contract, contracts
    from lab_assets.lake.maintenance import maintain
    from lab_assets.lake.opening import DamagedTableError

    problems: dict[str, str] = {}
    for table in [contract(name) for name in config.tables] if config.tables else list(contracts().values()):
        try:
            upkeep = maintain(lake, table)
        except DamagedTableError as error:
            problems[table.full_name] = str(error)
            continue
        if upkeep is not None and upkeep.done:
            context.log.info(
                "%s: %d file(s) instead of %d%s%s",
                upkeep.table,
                upkeep.files_after,
                upkeep.files_before,
                ", checkpoint" if upkeep.checkpoint else "",
                f", {len(upkeep.properties)} propert(ies) set" if upkeep.properties else "",
            )
    if problems:
        raise dg.Failure(f"not put in order: {'; '.join(problems.values())}", metadata=dict(problems), allow_retries=False)


@dg.job(
    name="maintain",
    executor_def=dg.in_process_executor,
    description="Put small files of tables together, write checkpoints, bring properties of old tables up to date; no row changes.",
)
def maintain_job() -> None:
    """Put the tables in order."""
    maintain_tables()


MAINTAIN: dg.JobDefinition = maintain_job
