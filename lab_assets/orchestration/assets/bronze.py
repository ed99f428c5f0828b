"""Files in the drop folders become bronze rows, each file once."""

import math
from collections.abc import Iterator

import dagster as dg

from lab_assets.contracts.bronze import TABLES
from lab_assets.ingest.ingestor import IngestBusyError, Ingestor, IngestReport
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.between_batches import Onward
from lab_assets.orchestration.assets.reports import Detail, check_results, check_spec, report, resilient, selected, table_spec

NAMES = tuple(table.full_name for table in TABLES)
JOB = "ingest"
"""Job that takes files all the way, and batches on to scores while others wait."""
PROGRESS_TAG = "lab/files"
"""Tag of a run that shows in the list of runs how far a backlog is."""
BATCHES_TAG = "lab/batches"
"""Tag that names the batches a run committed: another process may ingest beside it."""
WAITING_TAG = "lab/waiting"
"""Tag of a run that left files to the next one: how many."""
BUSY_TAG = "lab/busy"
"""Tag of a run that found another one ingesting."""


@dg.multi_asset(
    specs=[table_spec(name, kinds=("python", "spark", "deltalake")) for name in NAMES],
    check_specs=[check_spec(name) for name in NAMES],
    name="bronze",
    can_subset=True,
)
def bronze(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Take finished files of the inbox, batch by batch: original kept, rows appended once, refused files quarantined with the reason."""
    chosen = selected(context, NAMES)
    if chosen:
        tables = {table.full_name: table for table in TABLES}
        before = {name: lake.version(tables[name]) for name in chosen}
        done = resilient(context, lake, lambda: _ingest(context, lake))
        context.log.info("%s in %d batch(es), %.1f files/s; refused: %s", done.states, len(done.batches), done.files_per_s, done.reasons)
        arrivals: dict[str, Detail] = {
            "arrivals": done.states,
            "quarantined_by_rule": done.reasons,
            "batches": done.batches,
            "files": sum(done.states.values()),
            "files_per_s": round(done.files_per_s, 2),
            "waiting": done.waiting,
            "problems": done.problems,
        }
        for name in chosen:
            yield report(lake, name, before[name], arrivals if name == "bronze.files" else None)
    yield from check_results(context, lake, NAMES)


def _ingest(context: dg.AssetExecutionContext, lake: Lakehouse) -> IngestReport:
    def tag(tags: dict[str, str]) -> None:
        context.instance.add_run_tags(context.run_id, tags)

    whole = context.job_name == JOB and not context.run.asset_selection
    ingestor = Ingestor(
        lake,
        run_id=context.run_id,
        say=context.log.info,
        progress=lambda line: tag({PROGRESS_TAG: line}),
        committed=lambda batches: tag({BATCHES_TAG: ", ".join(map(str, batches))}),
        between_batches=Onward(context, lake) if whole else lambda _live: None,
        turn_s=lake.settings.ingest_turn_s if whole else math.inf,
    )
    try:
        done = ingestor.run()
    except IngestBusyError as busy:
        context.log.info("%s", busy)
        tag({BUSY_TAG: str(busy)})
        return IngestReport()
    for problem in done.problems:
        context.log.warning("%s", problem)
    if done.waiting:
        tag({WAITING_TAG: str(done.waiting)})
    return done
