"""Station 4: features, as they were known at their time."""

from collections.abc import Iterator

import dagster as dg

from lab_assets.contracts.features import TABLES
from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.orchestration.assets.station import POLARS, TOWARDS_A_SCORE, reports, resilient, table_spec

NAMES = tuple(table.full_name for table in TABLES)


@dg.multi_asset(
    specs=[
        table_spec(
            "features.injection_progress",
            deps=[
                *("bronze.chromatograms", "bronze.instrument_status", "bronze.processing_methods", "bronze.specifications"),
                *("silver.injections", "silver.peaks"),
            ],
        ),
        table_spec(
            "features.instrument_history",
            deps=["silver.injections", "silver.peaks", "features.injection_progress", "bronze.calibrations"],
            kinds=POLARS,
        ),
        table_spec("features.lot_history", deps=["silver.results"], kinds=POLARS),
        table_spec("features.storage_exposure", deps=["silver.samples", "silver.storage_conditions"], kinds=POLARS),
    ],
    name="features",
    op_tags={"lab/engine": "spark", **TOWARDS_A_SCORE},
)
def features(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult]:
    """Compute partial-trace features at the checkpoints, and the histories of instrument, lot and storage."""
    from lab_assets.features.definitions import FEATURE_SET_VERSION
    from lab_assets.stations.features.histories import update_instrument_history, update_lot_history, update_storage_exposure
    from lab_assets.stations.features.injection_progress import update_injection_progress

    resilient(
        context,
        lake,
        lambda: in_parallel(
            [lambda update=update: update(lake) for update in (update_injection_progress, update_lot_history, update_storage_exposure)]
        ),
    )
    resilient(context, lake, lambda: update_instrument_history(lake))
    yield from reports(context, lake, NAMES, extra={name: {"feature_set_version": FEATURE_SET_VERSION} for name in NAMES})
