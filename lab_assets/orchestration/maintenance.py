"""The job that keeps tables quick to read and the home from growing. It changes no row, so it is no asset: nothing becomes new by it.

Belongs here: the steps and their configuration. Does not belong here: what is done (``lab_assets.lake.maintenance``,
``lab_assets.lake.archiving``, ``lab_assets.upkeep``, ``run_history.py``), when (``schedules.py``).
"""

import dagster as dg

from lab_assets.lake.lakehouse import Lakehouse


class MaintenanceConfig(dg.Config):
    """Which tables are put in order."""

    tables: list[str] | None = None
    """``layer.table``; default: all, and what lies beside the tables."""


@dg.op(
    name="maintain_tables",
    description="Put small files together, write checkpoints, bring properties of old tables up to date, archive replaced files.",
    out=dg.Out(bool),
)
def maintain_tables(context: dg.OpExecutionContext, config: MaintenanceConfig, lake: dg.ResourceParam[Lakehouse]) -> bool:
    """Put the tables in order, one after the other; a damaged one does not keep the others from it, and fails the step at the end.

    Returns:
        Whether all tables were asked for, and so what lies beside them.

    Raises:
        Failure: a table could not be put in order; each is named with its reason.
    """
    from lab_assets.contracts.all_contracts import contract, contracts
    from lab_assets.lake.archive_folder import ArchiveError
    from lab_assets.lake.archiving import grace_of, put_away
    from lab_assets.lake.maintenance import maintain
    from lab_assets.lake.opening import DamagedTableError
    from lab_assets.state.clock import utc_now

    problems: dict[str, str] = {}
    for table in [contract(name) for name in config.tables] if config.tables else list(contracts().values()):
        try:
            upkeep = maintain(lake, table)
            away = put_away(lake, table, now=utc_now(), grace=grace_of(lake.settings, table))
        except (DamagedTableError, ArchiveError) as error:
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
        if away.done:
            counts = (away.files, away.commits, away.orphans, away.bytes, away.archive_bytes)
            context.log.info(
                "%s: %d data file(s) and %d of the log archived, %d orphan(s): %d bytes, %d in the archive", table.full_name, *counts
            )
    if problems:
        raise dg.Failure(f"not put in order: {'; '.join(problems.values())}", metadata=dict(problems), allow_retries=False)
    return config.tables is None


@dg.op(name="housekeep", description="Remove old runs, what ended processes left, and logs; measure the home and how long its disk lasts.")
def housekeep(context: dg.OpExecutionContext, is_whole: bool, lake: dg.ResourceParam[Lakehouse]) -> None:
    """Do what has to be done beside the tables, and say how long the disk lasts."""
    from lab_assets.orchestration.run_history import remove_old_runs, runs_of_records
    from lab_assets.state.clock import utc_now
    from lab_assets.upkeep.housekeeping import housekeep as house
    from lab_assets.upkeep.housekeeping import record_removals
    from lab_assets.upkeep.storage import storage_of, take_sample

    if not is_whole:
        return
    now, settings, engine = utc_now(), lake.settings, lake.ledger.engine
    removals = [*remove_old_runs(settings, context.instance, runs_of_records(lake), now=now), *house(settings, engine, now=now)]
    record_removals(engine, removals)
    for each in removals:
        if each.items or each.note:
            context.log.info("%s: %d, %d bytes%s", each.what, each.items, each.bytes, f"; {each.note}" if each.note else "")
    take_sample(settings, now=now)
    found = storage_of(settings, now=now)
    context.log.log("WARNING" if found.problem else "INFO", found.problem or f"{found.total_bytes} bytes, {found.free_bytes} free")


@dg.job(
    name="maintain",
    executor_def=dg.in_process_executor,
    description="Put tables in order, archive what only earlier versions need, remove old runs and what ended processes left; no row changes.",
)
def maintain_job() -> None:
    """Put the tables in order, and then what lies beside them."""
    housekeep(maintain_tables())


MAINTAIN: dg.JobDefinition = maintain_job
