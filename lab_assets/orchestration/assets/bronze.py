"""Files in the drop folders become bronze rows, each file once."""

from collections.abc import Iterator

import dagster as dg

from lab_assets.contracts.bronze import TABLES
from lab_assets.ingest.ingestor import IngestBusyError, Ingestor, IngestReport
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.reports import Detail, check_results, check_spec, report, resilient, selected, table_spec

NAMES = tuple(table.full_name for table in TABLES)
PROGRESS_TAG = "lab/files"
"""Tag of a run that shows in the list of runs how far a backlog is."""


@dg.multi_asset(
    specs=[table_spec(name, kinds=("python", "spark", "deltalake")) for name in NAMES],
    check_specs=[check_spec(name) for name in NAMES],
    name="bronze",
    can_subset=True,
)
def bronze(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Take every finished file of the inbox: original kept, rows appended once, refused files quarantined with the reason."""
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
        }
        for name in chosen:
            yield report(lake, name, before[name], arrivals if name == "bronze.files" else None)
    yield from check_results(context, lake, NAMES)


def _ingest(context: dg.AssetExecutionContext, lake: Lakehouse) -> IngestReport:
    def progress(line: str) -> None:
        context.instance.add_run_tags(context.run_id, {PROGRESS_TAG: line})

    try:
        return Ingestor(lake, run_id=context.run_id, say=context.log.info, progress=progress).run()
    except IngestBusyError as busy:
        context.log.info("%s", busy)
        return IngestReport()
