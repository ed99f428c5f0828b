"""Station 5: what a QC lead asks for."""

from collections.abc import Iterator

import dagster as dg

from lab_assets.contracts.gold import TABLES
from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.orchestration.assets.station import reports, resilient, table_spec

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
    from lab_assets.stations.gold.exceptions import update_exceptions
    from lab_assets.stations.gold.lot_disposition import update_lot_disposition
    from lab_assets.stations.gold.method_trends import update_method_trends
    from lab_assets.stations.gold.suitability import update_suitability
    from lab_assets.stations.gold.time_to_release import update_time_to_release

    updates = (update_lot_disposition, update_method_trends, update_suitability, update_time_to_release)
    resilient(context, lake, lambda: in_parallel([lambda update=update: update(lake) for update in updates]))
    resilient(context, lake, lambda: update_exceptions(lake))
    yield from reports(context, lake, NAMES)
