"""Station 1: files in the drop folders become bronze rows, each file once."""

from collections.abc import Iterator

import dagster as dg

from lab_assets.contracts.bronze import TABLES
from lab_assets.ingest.ingestor import IngestBusyError, Ingestor, IngestReport
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.station import reports, resilient, table_spec

NAMES = tuple(table.full_name for table in TABLES)
PROGRESS_TAG = "lab/files"
"""Tag of a run that tells in the list of runs how far a backlog is."""


@dg.multi_asset(specs=[table_spec(name) for name in NAMES], name="bronze", op_tags={"lab/engine": "spark"})
def bronze(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult]:
    """Take every finished file of the inbox: original kept, rows appended once, refused files quarantined with the reason."""
    report = resilient(context, lake, lambda: _ingest(context, lake))
    context.log.info(
        "%s in %d batch(es), %.1f files/s; refused: %s", report.states, len(report.batches), report.files_per_s, report.reasons
    )
    told = {
        "arrivals": report.states,
        "quarantined_by_rule": report.reasons,
        "batches": report.batches,
        "files": sum(report.states.values()),
        "files_per_s": round(report.files_per_s, 2),
    }
    yield from reports(context, lake, NAMES, extra={"bronze.files": told})


def _ingest(context: dg.AssetExecutionContext, lake: Lakehouse) -> IngestReport:
    def progress(line: str) -> None:
        context.instance.add_run_tags(context.run_id, {PROGRESS_TAG: line})

    try:
        return Ingestor(lake, say=context.log.info, progress=progress).run()
    except IngestBusyError as busy:
        context.log.info("%s", busy)
        return IngestReport()
