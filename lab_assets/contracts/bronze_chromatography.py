"""Bronze contracts of chromatography: traces, the vendor's peaks, status traces, processing methods.

Belongs here: what chromatography data systems write. Does not belong here: anything computed from it.
"""

from __future__ import annotations

from lab_assets.contracts.bronze_core import PROVENANCE, RESCUED
from lab_assets.contracts.core import Column, TableContract

CHROMATOGRAMS = TableContract(
    layer="bronze",
    name="chromatograms",
    grain="one injection x detector channel",
    description="Detector traces with the file's own numbers and units.",
    owner="team:chromatography",
    columns=(
        Column(name="injection_name", kind="string", meaning="name of the injection as the file states it", nullable=False),
        Column(name="sample_name", kind="string", meaning="sample name as the file states it"),
        Column(name="channel", kind="string", meaning="detector channel as the file states it", nullable=False),
        Column(name="x", kind="array<float64>", meaning="abscissa, file's numbers", nullable=False),
        Column(name="y", kind="array<float64>", meaning="signal, file's numbers", nullable=False),
        Column(name="x_unit", kind="string", meaning="unit of x as stated; empty when the file states none"),
        Column(name="y_unit", kind="string", meaning="unit of y as stated; empty when the file states none"),
        Column(name="y_factor", kind="float64", meaning="stated intensity multiplier: y * y_factor is in y_unit"),
        Column(name="n_points", kind="int64", meaning="number of points", nullable=False, minimum=1),
        Column(name="x_last", kind="float64", meaning="abscissa of the last point, so that its length is known without the trace"),
        Column(name="injected_at_text", kind="string", meaning="time of injection, the file's own text"),
        Column(name="injected_at_utc", kind="timestamp_utc", meaning="time of injection in UTC"),
        Column(
            name="zone_known", kind="bool", meaning="whether the file states a zone; else the source's zone was assumed", nullable=False
        ),
        Column(name="instrument_name", kind="string", meaning="instrument as the file states it"),
        Column(name="software", kind="string", meaning="data system and version"),
        Column(name="method_name", kind="string", meaning="method as the file states it"),
        Column(name="operator", kind="string", meaning="person at the instrument", tags=("personal_name",)),
        RESCUED,
        *PROVENANCE,
    ),
)

VENDOR_PEAKS = TableContract(
    layer="bronze",
    name="vendor_peaks",
    grain="one peak of the data system's own peak table",
    description="The vendor's integration, number for number.",
    owner="team:chromatography",
    columns=(
        Column(name="injection_name", kind="string", meaning="name of the injection as the file states it", nullable=False),
        Column(name="channel", kind="string", meaning="detector channel", nullable=False),
        Column(name="peak_no", kind="int64", meaning="ordinal in the file's peak table, from 1", nullable=False, minimum=1),
        Column(name="peak_name", kind="string", meaning="compound name given by the data system"),
        Column(name="retention_time", kind="float64", meaning="retention time, file's number"),
        Column(name="retention_unit", kind="string", meaning="unit of times"),
        Column(name="start_time", kind="float64", meaning="start of the peak, in retention_unit"),
        Column(name="end_time", kind="float64", meaning="end of the peak, in retention_unit"),
        Column(name="area", kind="float64", meaning="area, file's number"),
        Column(name="area_unit", kind="string", meaning="unit of the area"),
        Column(name="height", kind="float64", meaning="height, file's number"),
        Column(name="height_unit", kind="string", meaning="unit of the height"),
        Column(name="amount", kind="float64", meaning="amount or concentration computed by the data system"),
        Column(name="amount_unit", kind="string", meaning="unit of the amount"),
        Column(name="plates", kind="float64", meaning="plate number"),
        Column(name="tailing", kind="float64", meaning="tailing or symmetry factor"),
        Column(name="resolution", kind="float64", meaning="resolution to the preceding peak"),
        RESCUED,
        *PROVENANCE,
    ),
)

INSTRUMENT_STATUS = TableContract(
    layer="bronze",
    name="instrument_status",
    grain="one injection x status signal (pressure, oven, lamp ...)",
    description="Traces of the instrument itself, beside the detector.",
    owner="team:chromatography",
    columns=(
        Column(name="injection_name", kind="string", meaning="name of the injection as the file states it", nullable=False),
        Column(name="signal", kind="string", meaning="status signal as the file states it", nullable=False),
        Column(name="x", kind="array<float64>", meaning="abscissa, file's numbers", nullable=False),
        Column(name="y", kind="array<float64>", meaning="reading, file's numbers", nullable=False),
        Column(name="x_unit", kind="string", meaning="unit of x as stated"),
        Column(name="y_unit", kind="string", meaning="unit of y as stated"),
        Column(name="y_factor", kind="float64", meaning="stated multiplier: y * y_factor is in y_unit"),
        Column(name="n_points", kind="int64", meaning="number of points", nullable=False, minimum=1),
        Column(name="injected_at_text", kind="string", meaning="time of injection, the file's own text"),
        Column(name="instrument_name", kind="string", meaning="instrument as the file states it"),
        *PROVENANCE,
    ),
)

PROCESSING_METHODS = TableContract(
    layer="bronze",
    name="processing_methods",
    version=2,
    rejects="row",
    grain="one analyte x channel of one processing method",
    description="Integration windows and response lines: how traces become amounts.",
    owner="team:chromatography",
    columns=(
        Column(name="method_name", kind="string", meaning="method the row belongs to; empty: every injection of the same source"),
        Column(name="analyte", kind="string", meaning="compound", nullable=False),
        Column(name="channel", kind="string", meaning="detector channel it is measured on; empty: every channel"),
        Column(
            name="integration",
            kind="string",
            meaning="fixed_window: straight baseline over the open window; detected: peak found in the window",
            nullable=False,
            allowed=("fixed_window", "detected"),
        ),
        Column(name="window_start", kind="float64", meaning="start of the window", nullable=False, minimum=0),
        Column(name="window_end", kind="float64", meaning="end of the window", nullable=False, minimum=0),
        Column(name="window_unit", kind="string", meaning="unit of the window", nullable=False, allowed=("min", "s")),
        Column(
            name="calibration",
            kind="string",
            meaning="line: slope x area + intercept; external_standard: against the sequence's standards; area_percent; none",
            nullable=False,
            allowed=("line", "external_standard", "area_percent", "none"),
        ),
        Column(name="slope", kind="float64", meaning="amount per area, for line"),
        Column(name="intercept", kind="float64", meaning="amount at zero area, for line"),
        Column(
            name="relative_response",
            kind="float64",
            meaning="response relative to the main analyte (RRF), for external_standard",
            minimum=0,
        ),
        Column(name="reference_analyte", kind="string", meaning="analyte whose standard calibrates this one; empty: itself"),
        Column(name="result_unit", kind="string", meaning="unit of the amount; empty when not stated"),
        Column(name="effective_from_utc", kind="timestamp_utc", meaning="valid from; empty: always"),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when this version was recorded; empty: not stated"),
        RESCUED,
        *PROVENANCE,
    ),
)
