"""Stations 2 and 3: reference data, then injections, peaks and results in context."""

from collections.abc import Iterator

import dagster as dg

from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.orchestration.assets.station import POLARS, reports, resilient, table_spec

REFERENCE = ("silver.lots", "silver.samples", "silver.process_events", "silver.storage_conditions", "silver.images", "silver.documents")
CHROMATOGRAPHY = ("silver.injections", "silver.peaks", "silver.results", "silver.instruments")


@dg.multi_asset(
    specs=[
        table_spec("silver.lots", deps=["bronze.lims_lots"], kinds=POLARS),
        table_spec("silver.samples", deps=["bronze.lims_samples"], kinds=POLARS),
        table_spec("silver.process_events", deps=["bronze.lims_events"], kinds=POLARS),
        table_spec("silver.storage_conditions", deps=["bronze.chamber_readings"]),
        table_spec("silver.images", deps=["bronze.images"]),
        table_spec("silver.documents", deps=["bronze.documents", "bronze.calibrations"], kinds=POLARS),
    ],
    name="silver_reference",
    op_tags={"lab/engine": "spark"},
)
def silver_reference(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult]:
    """Bring lots, samples, events, storage, images and documents up to date from what is new in bronze."""
    from lab_assets.stations.silver.media import update_documents, update_images
    from lab_assets.stations.silver.reference import update_lots, update_process_events, update_samples
    from lab_assets.stations.silver.storage_conditions import update_storage_conditions

    updates = (update_lots, update_samples, update_process_events, update_storage_conditions, update_images, update_documents)
    resilient(context, lake, lambda: in_parallel([lambda update=update: update(lake) for update in updates]))
    yield from reports(context, lake, REFERENCE)


@dg.multi_asset(
    specs=[
        table_spec(
            "silver.injections",
            deps=[
                *("bronze.chromatograms", "bronze.lims_sequences", "silver.samples", "silver.lots"),
                *("bronze.calibrations", "bronze.processing_methods"),
            ],
            kinds=POLARS,
        ),
        table_spec("silver.peaks", deps=["bronze.chromatograms", "bronze.vendor_peaks", "bronze.processing_methods", "silver.injections"]),
        table_spec(
            "silver.results",
            deps=["silver.peaks", "silver.injections", "silver.samples", "silver.lots", "bronze.lims_results", "bronze.specifications"],
            kinds=POLARS,
        ),
        table_spec("silver.instruments", deps=["silver.injections", "bronze.calibrations"], kinds=POLARS),
    ],
    name="silver_chromatography",
    op_tags={"lab/engine": "spark"},
)
def silver_chromatography(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult]:
    """Give new injections their context, integrate their traces, calculate their results; late context is caught up with."""
    from lab_assets.stations.silver.injections import update_injections
    from lab_assets.stations.silver.peaks import update_peaks
    from lab_assets.stations.silver.reference import update_instruments
    from lab_assets.stations.silver.results import update_results

    for update in (update_injections, update_peaks):
        resilient(context, lake, lambda update=update: update(lake))
    resilient(context, lake, lambda: in_parallel([lambda: update_results(lake), lambda: update_instruments(lake)]))
    yield from reports(context, lake, CHROMATOGRAPHY)
