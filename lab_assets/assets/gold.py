"""Station 5: what a QC lead asks for."""

from collections.abc import Iterator

import dagster as dg

from lab_assets.assets.station import reports, resilient, table_spec
from lab_assets.contracts.gold import TABLES
from lab_assets.engine.delta import Lakehouse, in_parallel

NAMES = tuple(table.full_name for table in TABLES)


@dg.multi_asset(
    specs=[
        table_spec("gold.lot_disposition", deps=["silver.lots", "silver.samples", "silver.results", "bronze.specifications"]),
        table_spec("gold.method_trends", deps=["silver.results", "silver.samples", "silver.lots"]),
        table_spec("gold.suitability", deps=["silver.injections", "silver.peaks"]),
        table_spec("gold.time_to_release", deps=["silver.process_events", "silver.lots"]),
        table_spec(
            "gold.exceptions",
            deps=[
                "silver.results",
                "silver.injections",
                "silver.instruments",
                "silver.storage_conditions",
                "gold.method_trends",
                "gold.suitability",
            ],
        ),
    ],
    name="gold",
    op_tags={"lab/engine": "spark"},
)
def gold(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult]:
    """Bring lot disposition, trends, suitability, time to release and exceptions up to date where their inputs moved."""
    from lab_assets.pipeline.gold_cycle_time import update_time_to_release
    from lab_assets.pipeline.gold_disposition import update_lot_disposition
    from lab_assets.pipeline.gold_exceptions import update_exceptions
    from lab_assets.pipeline.gold_suitability import update_suitability
    from lab_assets.pipeline.gold_trends import update_method_trends

    updates = (update_lot_disposition, update_method_trends, update_suitability, update_time_to_release)
    resilient(context, lake, lambda: in_parallel([lambda update=update: update(lake) for update in updates]))
    resilient(context, lake, lambda: update_exceptions(lake))
    yield from reports(context, lake, NAMES)
