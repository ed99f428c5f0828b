"""Contracts of the silver layer: units, vocabulary, and the context of lot, method and calibration.

Belongs here: one truth per fact, joined and converted. Does not belong here: verdicts over lots and time (gold).
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.core import Column, TableContract

INJECTIONS = TableContract(
    layer="silver",
    name="injections",
    grain="one injection",
    description="Injections with lot, sample, method, instrument, column and calibration in force.",
    owner="team:chromatography",
    primary_key=("injection_id",),
    columns=(
        Column(
            name="injection_id", kind="string", meaning="identity of the injection, from source, instrument, name and time", nullable=False
        ),
        Column(name="injection_name", kind="string", meaning="name in the data system", nullable=False),
        Column(name="source", kind="string", meaning="drop folder of its files", nullable=False),
        Column(name="sample_name", kind="string", meaning="sample, standard or blank injected"),
        Column(
            name="sample_role",
            kind="string",
            meaning="role in the sequence",
            allowed=("blank", "standard", "suitability", "sample", "unknown"),
        ),
        Column(name="lot_id", kind="string", meaning="lot of the sample; empty until the LIMS states it"),
        Column(name="product", kind="string", meaning="product of the lot"),
        Column(name="sample_type", kind="string", meaning="release, stability, retest or complaint"),
        Column(name="method_id", kind="string", meaning="test method"),
        Column(name="sequence_id", kind="string", meaning="worklist"),
        Column(name="position", kind="int64", meaning="order in the worklist", minimum=1),
        Column(name="replicate", kind="int64", meaning="preparation of the sample", minimum=1),
        Column(name="instrument_id", kind="string", meaning="instrument"),
        Column(name="column_id", kind="string", meaning="serial of the column"),
        Column(name="calibration_id", kind="string", meaning="certificate in force for the instrument at injection"),
        Column(name="calibration_valid", kind="bool", meaning="whether that certificate was valid and passed"),
        Column(name="analyst", kind="string", meaning="who prepared or ran it", tags=("personal_name",)),
        Column(name="weight_mg", kind="float64", meaning="weight taken", unit="mg", minimum=0),
        Column(name="nominal_weight_mg", kind="float64", meaning="weight the method asks for", unit="mg", minimum=0),
        Column(name="standard_purity_pct", kind="float64", meaning="purity of the standard", unit="%"),
        Column(name="injected_at_text", kind="string", meaning="time of injection, the file's own text"),
        Column(name="injected_at_utc", kind="timestamp_utc", meaning="time of injection"),
        Column(name="zone_known", kind="bool", meaning="whether the file stated a zone", nullable=False),
        Column(name="run_time_min", kind="float64", meaning="length of the longest trace", unit="min", minimum=0),
        Column(name="channels", kind="array<string>", meaning="detector channels", nullable=False),
        Column(name="software", kind="string", meaning="data system and version"),
        Column(
            name="processing_id",
            kind="string",
            meaning="digest of the windows its peaks were integrated with; none where no method applies",
            nullable=False,
        ),
        Column(name="source_sha256", kind="string", meaning="raw file of the trace", nullable=False),
        Column(name="known_time_utc", kind="timestamp_utc", meaning="when the end of the run was known"),
        Column(name="stated_sample_name", kind="string", meaning="sample as the file itself states it, whatever the worklist says"),
        Column(name="stated_method_name", kind="string", meaning="method as the file itself states it, whatever the worklist says"),
        Column(
            name="stated_instrument_name", kind="string", meaning="instrument as the file itself states it; empty: only the worklist does"
        ),
        Column(
            name="instrument_changed_at_utc",
            kind="timestamp_utc",
            meaning="when a worklist last put the run on another instrument than one before it did; empty where none did",
        ),
    ),
)

PEAKS = TableContract(
    layer="silver",
    name="peaks",
    grain="one peak of one injection on one channel by one processing method",
    description="Peaks integrated from the trace, with suitability figures, the vendor's own values beside.",
    owner="team:chromatography",
    primary_key=("injection_id", "channel", "processing_id", "peak_no"),
    version=2,
    columns=(
        Column(name="injection_id", kind="string", meaning="injection", nullable=False),
        Column(name="injection_name", kind="string", meaning="name in the data system", nullable=False),
        Column(name="channel", kind="string", meaning="detector channel", nullable=False),
        Column(name="peak_no", kind="int64", meaning="ordinal on the channel, from 1", nullable=False, minimum=1),
        Column(name="analyte", kind="string", meaning="compound, where a processing method names it"),
        Column(name="integration", kind="string", meaning="fixed_window or detected", nullable=False, allowed=("fixed_window", "detected")),
        Column(name="retention_time_min", kind="float64", meaning="time of the apex", unit="min"),
        Column(name="start_min", kind="float64", meaning="start of integration", unit="min"),
        Column(name="end_min", kind="float64", meaning="end of integration", unit="min"),
        Column(name="area", kind="float64", meaning="area above the baseline", nullable=False),
        Column(name="area_unit", kind="string", meaning="unit of the area, signal unit * min", nullable=False),
        Column(name="height", kind="float64", meaning="height above the baseline"),
        Column(name="height_unit", kind="string", meaning="unit of the height", nullable=False),
        Column(name="width_half_min", kind="float64", meaning="width at half height", unit="min", minimum=0),
        Column(name="plates", kind="float64", meaning="plate number at half height (USP <621>)", minimum=0),
        Column(name="tailing", kind="float64", meaning="symmetry factor at 5 % height (USP <621>)", minimum=0),
        Column(name="resolution", kind="float64", meaning="resolution to the preceding peak (USP <621>)"),
        Column(name="signal_to_noise", kind="float64", meaning="2H/h (USP <621>)", minimum=0),
        Column(name="vendor_peak_name", kind="string", meaning="the data system's name of the nearest peak"),
        Column(name="vendor_area", kind="float64", meaning="the data system's area, its own unit"),
        Column(name="vendor_area_unit", kind="string", meaning="unit of the vendor's area"),
        Column(name="vendor_plates", kind="float64", meaning="the data system's plate number"),
        Column(name="vendor_tailing", kind="float64", meaning="the data system's tailing"),
        Column(name="vendor_resolution", kind="float64", meaning="the data system's resolution"),
        Column(name="source_sha256", kind="string", meaning="raw file of the trace", nullable=False),
        Column(
            name="processing_id",
            kind="string",
            meaning="digest of the windows it was integrated and named with; none where no method applies",
            nullable=False,
        ),
        Column(name="is_current", kind="bool", meaning="whether these windows are the ones in force now", nullable=False),
    ),
)

RESULTS = TableContract(
    layer="silver",
    name="results",
    grain="one version of one reportable value of one analyte",
    description="Reportable values against their specification, from chromatograms and from the LIMS; corrected ones keep their earlier versions.",
    owner="team:quality",
    primary_key=("result_id", "result_version"),
    version=3,
    columns=(
        Column(name="result_id", kind="string", meaning="identity of the result", nullable=False),
        Column(
            name="result_version",
            kind="int64",
            meaning="1 for the value first reported, one more for each correction",
            nullable=False,
            minimum=1,
        ),
        Column(
            name="is_current",
            kind="bool",
            meaning="whether it holds now: no later version has taken its place and it was not withdrawn",
            nullable=False,
        ),
        Column(name="superseded_by", kind="int64", meaning="version that took its place; empty for the current one", minimum=2),
        Column(
            name="withdrawn_at_utc",
            kind="timestamp_utc",
            meaning="when it became known that there is no such result (the run is none of a sample, its method has no such analyte); else empty",
        ),
        Column(name="change_reason", kind="string", meaning="what became known or changed since the version before; empty for the first"),
        Column(name="injection_id", kind="string", meaning="injection it was computed from; empty for LIMS entries"),
        Column(name="sample_name", kind="string", meaning="sample"),
        Column(name="lot_id", kind="string", meaning="lot"),
        Column(name="method_id", kind="string", meaning="test method"),
        Column(name="analyte", kind="string", meaning="what was measured", nullable=False),
        Column(name="channel", kind="string", meaning="detector channel"),
        Column(name="value", kind="float64", meaning="reportable value", nullable=False),
        Column(name="unit", kind="string", meaning="unit of value and limits", nullable=False),
        Column(name="spec_low", kind="float64", meaning="lower limit"),
        Column(name="spec_high", kind="float64", meaning="upper limit"),
        Column(
            name="state",
            kind="string",
            meaning="judgement against the specification; no_spec where none applies, unjudged while planned standards are still to come",
            nullable=False,
            allowed=("pass", "fail", "no_spec", "void", "not_reportable", "unjudged"),
        ),
        Column(name="replicate", kind="int64", meaning="preparation or replicate", minimum=1),
        Column(name="retest_of", kind="string", meaning="sample this one is the retest of"),
        Column(name="measured_at_utc", kind="timestamp_utc", meaning="when it was measured"),
        Column(name="known_time_utc", kind="timestamp_utc", meaning="when this version was known; empty while unjudged"),
    ),
)

LOTS = TableContract(
    layer="silver",
    name="lots",
    grain="one lot, its latest record",
    description="Lots with product, customer and manufacture.",
    owner="team:lims",
    primary_key=("lot_id",),
    columns=(
        Column(name="lot_id", kind="string", meaning="lot number", nullable=False),
        Column(name="product", kind="string", meaning="product code", nullable=False),
        Column(name="customer", kind="string", meaning="who the lot was made for", tags=("customer",)),
        Column(name="formulation", kind="string", meaning="composition", tags=("formulation",)),
        Column(name="site", kind="string", meaning="manufacturing site"),
        Column(name="manufactured_at_utc", kind="timestamp_utc", meaning="end of manufacture"),
        Column(name="batch_size_kg", kind="float64", meaning="size of the lot", unit="kg", minimum=0),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when this version was recorded", nullable=False),
    ),
)

SAMPLES = TableContract(
    layer="silver",
    name="samples",
    grain="one sample, its latest record",
    description="Samples with lot, storage and retest link.",
    owner="team:lims",
    primary_key=("sample_name",),
    columns=(
        Column(name="sample_name", kind="string", meaning="sample number", nullable=False),
        Column(name="lot_id", kind="string", meaning="lot", nullable=False),
        Column(
            name="sample_type",
            kind="string",
            meaning="why it is tested",
            nullable=False,
            allowed=("release", "stability", "retest", "complaint"),
        ),
        Column(name="storage_condition", kind="string", meaning="stability condition"),
        Column(name="chamber_id", kind="string", meaning="stability chamber"),
        Column(name="timepoint_months", kind="float64", meaning="age at the pull", unit="months", minimum=0),
        Column(name="stored_at_utc", kind="timestamp_utc", meaning="into storage"),
        Column(name="sampled_at_utc", kind="timestamp_utc", meaning="taken or pulled"),
        Column(name="retest_of", kind="string", meaning="sample this one is the retest of"),
        Column(name="analyst", kind="string", meaning="assigned analyst", tags=("personal_name",)),
        Column(name="patient_initials", kind="string", meaning="initials on a complaint", tags=("patient",)),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when this version was recorded", nullable=False),
    ),
)

INSTRUMENTS = TableContract(
    layer="silver",
    name="instruments",
    grain="one instrument",
    description="Instruments seen in files or certificates, with the state of their calibration.",
    owner="team:metrology",
    primary_key=("instrument_id",),
    columns=(
        Column(name="instrument_id", kind="string", meaning="instrument", nullable=False),
        Column(name="software", kind="string", meaning="data system last seen"),
        Column(name="injections", kind="int64", meaning="injections seen", nullable=False, minimum=0),
        Column(name="first_seen_utc", kind="timestamp_utc", meaning="first injection"),
        Column(name="last_seen_utc", kind="timestamp_utc", meaning="last injection"),
        Column(name="calibration_id", kind="string", meaning="latest certificate"),
        Column(name="calibration_outcome", kind="string", meaning="its outcome", allowed=("pass", "fail")),
        Column(name="calibration_due_utc", kind="timestamp_utc", meaning="end of its validity"),
    ),
)

PROCESS_EVENTS = TableContract(
    layer="silver",
    name="process_events",
    grain="one step in the life of a lot or sample",
    description="Steps from manufacture to release, each once.",
    owner="team:lims",
    primary_key=("event_id",),
    columns=(
        Column(name="event_id", kind="string", meaning="event", nullable=False),
        Column(name="lot_id", kind="string", meaning="lot", nullable=False),
        Column(name="sample_name", kind="string", meaning="sample"),
        Column(name="event", kind="string", meaning="the step", nullable=False),
        Column(name="at_utc", kind="timestamp_utc", meaning="when", nullable=False),
        Column(name="performed_by", kind="string", meaning="who", tags=("personal_name",)),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when recorded", nullable=False),
    ),
)

STORAGE_CONDITIONS = TableContract(
    layer="silver",
    name="storage_conditions",
    grain="one chamber x day (UTC)",
    description="Daily mean kinetic temperature, range and time outside the set point of each chamber.",
    owner="team:stability",
    primary_key=("chamber_id", "day"),
    columns=(
        Column(name="chamber_id", kind="string", meaning="chamber", nullable=False),
        Column(name="day", kind="date", meaning="day, UTC", nullable=False),
        Column(name="readings", kind="int64", meaning="readings of the day", nullable=False, minimum=1),
        Column(name="mkt_c", kind="float64", meaning="mean kinetic temperature (USP <1079.2>)", unit="degC"),
        Column(name="temperature_min_c", kind="float64", meaning="lowest", unit="degC"),
        Column(name="temperature_max_c", kind="float64", meaning="highest", unit="degC"),
        Column(name="humidity_mean_pct", kind="float64", meaning="mean relative humidity", unit="%"),
        Column(name="excursion_min", kind="float64", meaning="time outside +-2 C or +-5 % RH of the set point", unit="min", minimum=0),
        Column(name="degree_hours_above", kind="float64", meaning="integral of temperature above set + 2 C", unit="degC*h", minimum=0),
        Column(name="gap_min", kind="float64", meaning="time of the day without reading", unit="min", minimum=0),
        Column(name="set_temperature_c", kind="float64", meaning="set point", unit="degC"),
        Column(name="set_humidity_pct", kind="float64", meaning="set point", unit="%"),
    ),
)

IMAGES = TableContract(
    layer="silver",
    name="images",
    grain="one page or plane of one image",
    description="Images with the lot they show and their measured features.",
    owner="team:microscopy",
    primary_key=("image_id",),
    columns=(
        Column(name="image_id", kind="string", meaning="digest of the file and page", nullable=False),
        Column(name="image_name", kind="string", meaning="file name", nullable=False),
        Column(name="page", kind="int64", meaning="page", nullable=False, minimum=1),
        Column(name="lot_id", kind="string", meaning="lot named in the file's name or description"),
        Column(name="width_px", kind="int64", meaning="width", unit="px", nullable=False),
        Column(name="height_px", kind="int64", meaning="height", unit="px", nullable=False),
        Column(name="pixel_size_um", kind="float64", meaning="edge of one pixel", unit="um"),
        Column(name="intensity_mean", kind="float64", meaning="mean sample value"),
        Column(name="intensity_sd", kind="float64", meaning="standard deviation of sample values"),
        Column(name="source_sha256", kind="string", meaning="raw file", nullable=False),
    ),
)

DOCUMENTS = TableContract(
    layer="silver",
    name="documents",
    grain="one document",
    description="Documents with the instrument or lot they speak of.",
    owner="team:quality",
    primary_key=("document_id",),
    columns=(
        Column(name="document_id", kind="string", meaning="digest of the file", nullable=False),
        Column(name="document_name", kind="string", meaning="file name", nullable=False),
        Column(name="n_pages", kind="int64", meaning="pages", nullable=False),
        Column(name="title", kind="string", meaning="title"),
        Column(name="certificate_id", kind="string", meaning="certificate number found in the text"),
        Column(name="instrument_id", kind="string", meaning="instrument of that certificate"),
        Column(name="text", kind="string", meaning="text of all pages", tags=("personal_name", "customer", "patient", "formulation")),
    ),
)

TABLES: Final = (INJECTIONS, PEAKS, RESULTS, LOTS, SAMPLES, INSTRUMENTS, PROCESS_EVENTS, STORAGE_CONDITIONS, IMAGES, DOCUMENTS)
