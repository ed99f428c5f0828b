"""Bronze contracts of LIMS exports.

Belongs here: lots, samples, worklists, results, events, specifications as exported. Does not belong here: current states.
"""

from __future__ import annotations

from lab_assets.contracts.bronze_core import PROVENANCE, RESCUED
from lab_assets.contracts.core import Column, TableContract

LIMS_LOTS = TableContract(
    layer="bronze",
    name="lims_lots",
    rejects="row",
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
    rejects="row",
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
    rejects="row",
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
    rejects="row",
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
    rejects="row",
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
    ordered=(("spec_low", "spec_high"),),
    rejects="row",
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
