"""Contracts of the bronze layer: what each file said, in its own numbers and units, with its provenance.

Belongs here: tables filled from files as they are. Does not belong here: anything converted, joined or judged.
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.core import Column, TableContract

PROVENANCE: Final = (
    Column(name="source", kind="string", meaning="drop folder the file arrived in", nullable=False),
    Column(name="source_file", kind="string", meaning="path of the file below its drop folder", nullable=False),
    Column(name="source_sha256", kind="string", meaning="SHA-256 of the file's bytes", nullable=False),
    Column(name="source_row", kind="int64", meaning="row or block in the file, from 1", nullable=False, minimum=1),
    Column(name="ingested_at_utc", kind="timestamp_utc", meaning="when the file was ingested", nullable=False),
    Column(name="ingest_batch", kind="int64", meaning="ledger batch that committed the row", nullable=False, minimum=1),
)
"""Carried by every bronze row; readers do not fill them, the engine does."""

RESCUED: Final = Column(
    name="rescued",
    kind="map<string,string>",
    meaning="fields of the file that the contract does not name, as text; anything may be in them, so every mask applies",
    tags=("personal_name", "customer", "patient", "formulation"),
)

FILES = TableContract(
    layer="bronze",
    name="files",
    grain="one arrival of one file",
    description="Every file that ever arrived and what became of it.",
    owner="team:data-engineering",
    primary_key=("arrival_id",),
    columns=(
        Column(name="arrival_id", kind="int64", meaning="ledger number of the arrival", nullable=False, minimum=1),
        Column(name="file_id", kind="string", meaning="SHA-256 of the bytes; empty when the file vanished", nullable=False),
        Column(name="source", kind="string", meaning="drop folder the file arrived in", nullable=False),
        Column(name="file_name", kind="string", meaning="path below the drop folder", nullable=False),
        Column(name="format", kind="string", meaning="format recognised from the content"),
        Column(
            name="state",
            kind="string",
            meaning="what became of the arrival",
            nullable=False,
            allowed=("committed", "quarantined", "duplicate", "vanished"),
        ),
        Column(name="rule", kind="string", meaning="rule that sent the file to quarantine"),
        Column(name="reason", kind="string", meaning="why the file is not committed, for people"),
        Column(name="bytes", kind="int64", meaning="size of the file", unit="B", minimum=0),
        Column(name="modified_at_utc", kind="timestamp_utc", meaning="modification time stated by the file system"),
        Column(name="arrived_at_utc", kind="timestamp_utc", meaning="when the arrival was recorded", nullable=False),
        Column(name="supersedes", kind="string", meaning="file_id this arrival replaces (same path, other bytes)"),
        Column(name="duplicate_of", kind="string", meaning="path that brought the same bytes first"),
        Column(name="warnings", kind="array<string>", meaning="what the reader noticed and let pass"),
        Column(name="rows_parsed", kind="map<string,int64>", meaning="rows the reader produced, by bronze table"),
        Column(name="rows_rejected", kind="map<string,int64>", meaning="rows that broke a contract, by bronze table"),
        Column(name="ingest_batch", kind="int64", meaning="ledger batch that recorded it", nullable=False, minimum=1),
    ),
)

QUARANTINED_ROWS = TableContract(
    layer="bronze",
    name="quarantined_rows",
    grain="one rejected row of a file whose other rows went on",
    description="Rows that broke a contract, with rule, place and reason.",
    owner="team:data-engineering",
    columns=(
        Column(name="table_name", kind="string", meaning="bronze table the row was meant for", nullable=False),
        Column(name="rule", kind="string", meaning="rule that was broken", nullable=False),
        Column(name="column_name", kind="string", meaning="column that broke the rule"),
        Column(name="reason", kind="string", meaning="why, for people", nullable=False),
        Column(
            name="row_text",
            kind="string",
            meaning="the row as read, as JSON",
            tags=("personal_name", "customer", "patient", "formulation"),
        ),
        *PROVENANCE,
    ),
)

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
        RESCUED,
        *PROVENANCE,
    ),
)

LIMS_LOTS = TableContract(
    layer="bronze",
    name="lims_lots",
    grain="one version of one lot's master record",
    description="Lots as the LIMS exported them.",
    owner="team:lims",
    columns=(
        Column(name="lot_id", kind="string", meaning="lot number", nullable=False),
        Column(name="product", kind="string", meaning="product code", nullable=False),
        Column(name="customer", kind="string", meaning="who the lot was made for", tags=("customer",)),
        Column(name="formulation", kind="string", meaning="composition of the lot", tags=("formulation",)),
        Column(name="site", kind="string", meaning="manufacturing site"),
        Column(name="manufactured_at_utc", kind="timestamp_utc", meaning="end of manufacture"),
        Column(name="batch_size_kg", kind="float64", meaning="size of the lot", unit="kg", minimum=0),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when the LIMS recorded this version", nullable=False),
        RESCUED,
        *PROVENANCE,
    ),
)

LIMS_SAMPLES = TableContract(
    layer="bronze",
    name="lims_samples",
    grain="one version of one sample",
    description="Samples as the LIMS exported them: release samples, stability pulls, retests.",
    owner="team:lims",
    columns=(
        Column(name="sample_name", kind="string", meaning="sample number", nullable=False),
        Column(name="lot_id", kind="string", meaning="lot the sample was taken from", nullable=False),
        Column(
            name="sample_type",
            kind="string",
            meaning="why it is tested",
            nullable=False,
            allowed=("release", "stability", "retest", "complaint"),
        ),
        Column(name="storage_condition", kind="string", meaning="stability condition, such as 25C/60RH"),
        Column(name="chamber_id", kind="string", meaning="stability chamber it was stored in"),
        Column(name="timepoint_months", kind="float64", meaning="age at the stability pull", unit="months", minimum=0),
        Column(name="stored_at_utc", kind="timestamp_utc", meaning="when it went into storage"),
        Column(name="sampled_at_utc", kind="timestamp_utc", meaning="when it was taken or pulled"),
        Column(name="retest_of", kind="string", meaning="sample this one is the retest of"),
        Column(name="analyst", kind="string", meaning="analyst it was assigned to", tags=("personal_name",)),
        Column(name="patient_initials", kind="string", meaning="initials on a complaint sample", tags=("patient",)),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when the LIMS recorded this version", nullable=False),
        RESCUED,
        *PROVENANCE,
    ),
)

LIMS_SEQUENCES = TableContract(
    layer="bronze",
    name="lims_sequences",
    grain="one planned injection of one sequence",
    description="Worklists: which sample, method, column and preparation an injection belongs to.",
    owner="team:lims",
    columns=(
        Column(name="sequence_id", kind="string", meaning="worklist number", nullable=False),
        Column(name="injection_name", kind="string", meaning="name the data system gives the injection", nullable=False),
        Column(name="position", kind="int64", meaning="order in the sequence, from 1", nullable=False, minimum=1),
        Column(name="sample_name", kind="string", meaning="sample, or the name of the standard or blank", nullable=False),
        Column(
            name="sample_role",
            kind="string",
            meaning="role of the injection",
            nullable=False,
            allowed=("blank", "standard", "suitability", "sample"),
        ),
        Column(name="replicate", kind="int64", meaning="preparation of the sample, from 1", minimum=1),
        Column(name="method_id", kind="string", meaning="test method", nullable=False),
        Column(name="instrument_id", kind="string", meaning="instrument planned", nullable=False),
        Column(name="column_id", kind="string", meaning="serial of the column"),
        Column(name="analyst", kind="string", meaning="analyst who prepared it", tags=("personal_name",)),
        Column(name="weight_mg", kind="float64", meaning="weight of sample or standard taken", unit="mg", minimum=0),
        Column(name="nominal_weight_mg", kind="float64", meaning="weight the method asks for", unit="mg", minimum=0),
        Column(name="standard_purity_pct", kind="float64", meaning="purity of the standard", unit="%", minimum=0, maximum=110),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when the worklist was recorded", nullable=False),
        RESCUED,
        *PROVENANCE,
    ),
)

LIMS_RESULTS = TableContract(
    layer="bronze",
    name="lims_results",
    grain="one version of one result entered in the LIMS",
    description="Results of tests whose raw data are not chromatograms (water, appearance ...).",
    owner="team:lims",
    columns=(
        Column(name="result_id", kind="string", meaning="result number", nullable=False),
        Column(name="sample_name", kind="string", meaning="sample tested", nullable=False),
        Column(name="method_id", kind="string", meaning="test method", nullable=False),
        Column(name="analyte", kind="string", meaning="what was measured", nullable=False),
        Column(name="value", kind="float64", meaning="result", nullable=False),
        Column(name="unit", kind="string", meaning="unit of the result", nullable=False),
        Column(name="replicate", kind="int64", meaning="replicate, from 1", minimum=1),
        Column(name="analyst", kind="string", meaning="who measured", tags=("personal_name",)),
        Column(name="measured_at_utc", kind="timestamp_utc", meaning="when it was measured"),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when the LIMS recorded this version", nullable=False),
        RESCUED,
        *PROVENANCE,
    ),
)

LIMS_EVENTS = TableContract(
    layer="bronze",
    name="lims_events",
    grain="one step in the life of a lot or sample",
    description="What happened when, from manufacture to release.",
    owner="team:lims",
    columns=(
        Column(name="event_id", kind="string", meaning="event number", nullable=False),
        Column(name="lot_id", kind="string", meaning="lot concerned", nullable=False),
        Column(name="sample_name", kind="string", meaning="sample concerned"),
        Column(
            name="event",
            kind="string",
            meaning="the step",
            nullable=False,
            allowed=(
                "manufactured",
                "sampled",
                "received",
                "prepared",
                "analysed",
                "reviewed",
                "oos_opened",
                "oos_closed",
                "released",
                "rejected",
            ),
        ),
        Column(name="at_utc", kind="timestamp_utc", meaning="when the step was done", nullable=False),
        Column(name="performed_by", kind="string", meaning="who did it", tags=("personal_name",)),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when the LIMS recorded it", nullable=False),
        RESCUED,
        *PROVENANCE,
    ),
)

SPECIFICATIONS = TableContract(
    layer="bronze",
    name="specifications",
    grain="one version of one limit",
    description="Acceptance criteria by product, method and analyte.",
    owner="team:quality",
    columns=(
        Column(name="spec_id", kind="string", meaning="specification number", nullable=False),
        Column(name="product", kind="string", meaning="product code", nullable=False),
        Column(name="method_id", kind="string", meaning="test method", nullable=False),
        Column(name="analyte", kind="string", meaning="what is limited", nullable=False),
        Column(name="spec_low", kind="float64", meaning="lower limit, in unit; empty: none"),
        Column(name="spec_high", kind="float64", meaning="upper limit, in unit; empty: none"),
        Column(name="unit", kind="string", meaning="unit of limits and results", nullable=False),
        Column(name="effective_from_utc", kind="timestamp_utc", meaning="valid from", nullable=False),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when the LIMS recorded it", nullable=False),
        RESCUED,
        *PROVENANCE,
    ),
)

CHAMBER_READINGS = TableContract(
    layer="bronze",
    name="chamber_readings",
    grain="one reading of one stability chamber",
    description="Temperature and humidity logs of the stability chambers.",
    owner="team:stability",
    columns=(
        Column(name="chamber_id", kind="string", meaning="chamber", nullable=False),
        Column(name="read_at_text", kind="string", meaning="time of the reading, the file's own text", nullable=False),
        Column(name="read_at_utc", kind="timestamp_utc", meaning="time of the reading in UTC", nullable=False),
        Column(name="zone_known", kind="bool", meaning="whether the file states a zone", nullable=False),
        Column(name="temperature_c", kind="float64", meaning="temperature", unit="degC", minimum=-90, maximum=200),
        Column(name="humidity_pct", kind="float64", meaning="relative humidity", unit="%", minimum=0, maximum=100),
        Column(name="set_temperature_c", kind="float64", meaning="set point", unit="degC", minimum=-90, maximum=200),
        Column(name="set_humidity_pct", kind="float64", meaning="set point", unit="%", minimum=0, maximum=100),
        RESCUED,
        *PROVENANCE,
    ),
)

CALIBRATIONS = TableContract(
    layer="bronze",
    name="calibrations",
    grain="one parameter of one calibration certificate",
    description="Calibration and qualification of instruments.",
    owner="team:metrology",
    columns=(
        Column(name="certificate_id", kind="string", meaning="certificate number", nullable=False),
        Column(name="instrument_id", kind="string", meaning="instrument calibrated", nullable=False),
        Column(name="parameter", kind="string", meaning="what was calibrated, such as flow or wavelength", nullable=False),
        Column(name="deviation", kind="float64", meaning="deviation found", nullable=False),
        Column(name="tolerance", kind="float64", meaning="largest deviation allowed", nullable=False, minimum=0),
        Column(name="unit", kind="string", meaning="unit of deviation and tolerance", nullable=False),
        Column(name="outcome", kind="string", meaning="judgement on the certificate", nullable=False, allowed=("pass", "fail")),
        Column(name="performed_at_utc", kind="timestamp_utc", meaning="when it was done", nullable=False),
        Column(name="valid_until_utc", kind="timestamp_utc", meaning="end of validity", nullable=False),
        Column(name="performed_by", kind="string", meaning="who calibrated", tags=("personal_name",)),
        RESCUED,
        *PROVENANCE,
    ),
)

IMAGES = TableContract(
    layer="bronze",
    name="images",
    grain="one page or plane of one image file",
    description="Microscope images: metadata and a thumbnail; the pixels stay in the raw store.",
    owner="team:microscopy",
    columns=(
        Column(name="image_name", kind="string", meaning="name of the image file without folders", nullable=False),
        Column(name="page", kind="int64", meaning="page or plane, from 1", nullable=False, minimum=1),
        Column(name="width_px", kind="int64", meaning="width", unit="px", nullable=False, minimum=1),
        Column(name="height_px", kind="int64", meaning="height", unit="px", nullable=False, minimum=1),
        Column(name="channels", kind="int64", meaning="samples per pixel", nullable=False, minimum=1),
        Column(name="dtype", kind="string", meaning="type of one sample, numpy name", nullable=False),
        Column(name="pixel_size_um", kind="float64", meaning="edge of one pixel where the file states it", unit="um", minimum=0),
        Column(name="acquired_at_text", kind="string", meaning="time stated in the file"),
        Column(name="instrument_name", kind="string", meaning="microscope or camera stated in the file"),
        Column(name="description", kind="string", meaning="description stated in the file"),
        Column(name="intensity_mean", kind="float64", meaning="mean sample value"),
        Column(name="intensity_sd", kind="float64", meaning="standard deviation of sample values", minimum=0),
        Column(name="thumbnail_png", kind="binary", meaning="PNG of at most 128 px"),
        RESCUED,
        *PROVENANCE,
    ),
)

DOCUMENTS = TableContract(
    layer="bronze",
    name="documents",
    grain="one page of one document",
    description="Text of certificates and reports.",
    owner="team:quality",
    columns=(
        Column(name="document_name", kind="string", meaning="name of the file without folders", nullable=False),
        Column(name="page", kind="int64", meaning="page, from 1", nullable=False, minimum=1),
        Column(name="n_pages", kind="int64", meaning="pages of the document", nullable=False, minimum=1),
        Column(name="title", kind="string", meaning="title in the document's metadata"),
        Column(name="author", kind="string", meaning="author in the document's metadata", tags=("personal_name",)),
        Column(name="created_at_text", kind="string", meaning="creation time in the document's metadata"),
        Column(name="text", kind="string", meaning="text of the page", tags=("personal_name", "customer", "patient", "formulation")),
        *PROVENANCE,
    ),
)

TABLES: Final = (
    FILES,
    QUARANTINED_ROWS,
    CHROMATOGRAMS,
    VENDOR_PEAKS,
    INSTRUMENT_STATUS,
    PROCESSING_METHODS,
    LIMS_LOTS,
    LIMS_SAMPLES,
    LIMS_SEQUENCES,
    LIMS_RESULTS,
    LIMS_EVENTS,
    SPECIFICATIONS,
    CHAMBER_READINGS,
    CALIBRATIONS,
    IMAGES,
    DOCUMENTS,
)

READER_TABLES: Final = tuple(table for table in TABLES if table.name not in {"files", "quarantined_rows"})
"""Tables a reader may fill."""
