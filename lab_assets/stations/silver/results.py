"""Station of ``silver.results``: reportable values against their specification, each version with the time it was known.

Belongs here: which runs and entries are touched, and what is read for them. Does not belong here: the calculation
(``lab_assets.domain.sequence_results``).

A change of one run touches every run of its sequence: a closing standard changes the values of the samples before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import LIMS_LOTS, LIMS_RESULTS, LIMS_SAMPLES, LIMS_SEQUENCES, PROCESSING_METHODS, SPECIFICATIONS
from lab_assets.contracts.silver import INJECTIONS, PEAKS, RESULTS
from lab_assets.domain.entered_results import EnteredResults
from lab_assets.domain.in_force import RECENCY, Facts
from lab_assets.domain.processing_methods import METHOD_COLUMNS, WINDOW_COLUMNS, ProcessingMethods
from lab_assets.domain.run_context import LOT_COLUMNS, PLAN_COLUMNS, SAMPLE_COLUMNS, LimsRecords, sample_names
from lab_assets.domain.sequence_results import MeasuredRun, SequenceResults
from lab_assets.domain.specifications import LIMIT_COLUMNS, Specifications
from lab_assets.stations.relations import (
    injections_of_methods,
    injections_of_samples,
    injections_of_windows,
    names_in_sequences,
    names_of_plans,
    samples_of_lots,
)
from lab_assets.stations.station import Group, Input, Station, keys_of, of

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader

_RUN: Final = (
    *("injection_id", "injection_name", "source", "injected_at_utc", "known_time_utc", "stated_sample_name", "stated_method_name"),
)
_PLAN: Final = (*PLAN_COLUMNS, *RECENCY)
_SAMPLE: Final = (*SAMPLE_COLUMNS, *RECENCY)
_LOT: Final = (*LOT_COLUMNS, *RECENCY)
_LIMIT: Final = (*LIMIT_COLUMNS, *RECENCY)
_METHOD: Final = tuple(dict.fromkeys((*METHOD_COLUMNS, *WINDOW_COLUMNS, *RECENCY)))
_ENTRY: Final = (
    *("result_id", "sample_name", "method_id", "analyte", "value", "unit", "replicate", "measured_at_utc", "recorded_at_utc", *RECENCY),
)
_PEAK: Final = ("injection_id", "injection_name", "channel", "analyte", "area", "processing_id")


def _of_names(read: StationReader, names: Iterable[Any]) -> pl.DataFrame:
    """Return the runs of some injections."""
    return keys_of(read.keyed(INJECTIONS, ["injection_id"], injection_name=names), {"injection_id": "key"})


def _beside(read: StationReader, names: Iterable[Any]) -> pl.DataFrame:
    """Return the runs of every sequence in which a worklist ever planned one of some injections, and these themselves."""
    return _of_names(read, names_in_sequences(read, names))


def _of_runs(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the runs of the sequences of changed ones, and changed ones themselves: one that is gone is found by nothing else."""
    import polars as pl

    return pl.concat([keys_of(changes.both, {"injection_id": "key"}), _beside(read, changes.both["injection_name"])])


def _of_plans(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the runs of the sequences of changed worklist entries; a plan without its run counts as well: a standard is still to come."""
    return _of_names(read, names_of_plans(read, changes.both))


def _of_samples(read: StationReader, changes: Changes) -> pl.DataFrame:
    return _with_samples(read, changes.both["sample_name"])


def _with_samples(read: StationReader, samples: pl.Series) -> pl.DataFrame:
    """Return the runs and entries of some samples."""
    import polars as pl

    runs = keys_of(injections_of_samples(read, ["injection_id"], samples), {"injection_id": "key"})
    entries = keys_of(read.keyed(LIMS_RESULTS, ["result_id"], sample_name=samples), {"result_id": "key"})
    return pl.concat([runs, entries])


def _of_lots(read: StationReader, changes: Changes) -> pl.DataFrame:
    return _with_samples(read, samples_of_lots(read, changes.both["lot_id"]))


def _of_entries(_read: StationReader, changes: Changes) -> pl.DataFrame:
    return keys_of(changes.both, {"result_id": "key"})


def _of_specifications(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return what may be judged by a changed limit: runs and entries of its method, whichever product their lot was ever said to be of."""
    import polars as pl

    runs = keys_of(injections_of_methods(read, ["injection_id"], changes.both.select("method_id")), {"injection_id": "key"})
    entries = keys_of(read.keyed(LIMS_RESULTS, ["result_id"], method_id=changes.both["method_id"]), {"result_id": "key"})
    return pl.concat([runs, entries])


def _of_windows(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the runs of changed methods and those beside them: their standards may be of a method of their own."""
    return _beside(read, injections_of_windows(read, ["injection_name"], changes.both)["injection_name"])


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Calculate and judge the results of some runs and LIMS entries."""
    import polars as pl

    runs = read.keyed(INJECTIONS, ["injection_id", "injection_name"], injection_id=keys["key"])
    entries = read.keyed(LIMS_RESULTS, _ENTRY, result_id=keys["key"])
    made = [*_measured(read, runs), *_entered(read, entries)]
    schema = dict(pl.DataFrame(pl.from_arrow(RESULTS.arrow_schema().empty_table())).schema)
    return pl.DataFrame(made, schema=schema)


def _measured(read: StationReader, wanted: pl.DataFrame) -> list[dict[str, Any]]:
    import polars as pl

    if wanted.is_empty():
        return []
    own = read.keyed(LIMS_SEQUENCES, ["sequence_id"], injection_name=wanted["injection_name"])
    plans = read.keyed(LIMS_SEQUENCES, _PLAN, sequence_id=own["sequence_id"])
    names = pl.concat([wanted["injection_name"], plans["injection_name"]]).unique()
    plans = read.keyed(LIMS_SEQUENCES, _PLAN, injection_name=names)
    runs = read.keyed(INJECTIONS, _RUN, injection_name=names)
    peaks = read.keyed(PEAKS, _PEAK, injection_name=names).drop_nulls("analyte").sort("injection_id", "channel", "analyte")
    of_run: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in peaks.select("injection_id", "processing_id", "channel", "analyte", "area").iter_rows(named=True):
        identity, processing = row.pop("injection_id"), row.pop("processing_id")
        of_run.setdefault(identity, {}).setdefault(processing, []).append(row)
    records = _records(read, plans, sample_names(plans.iter_rows(named=True), runs["stated_sample_name"]))
    results = SequenceResults(
        [MeasuredRun(**row, peaks=of_run.get(row["injection_id"], {})) for row in runs.iter_rows(named=True)],
        records,
        ProcessingMethods(read.rows(PROCESSING_METHODS, _METHOD).iter_rows(named=True)),
        _specifications(read, records),
    )
    return results.rows(wanted["injection_id"])


def _entered(read: StationReader, entries: pl.DataFrame) -> list[dict[str, Any]]:
    if entries.is_empty():
        return []
    records = _records(read, None, entries["sample_name"].unique().to_list())
    facts = Facts.of_rows(entries.iter_rows(named=True), ("result_id",), known="recorded_at_utc")
    judged = EnteredResults(records, _specifications(read, records))
    by_result = entries.sort("result_id").partition_by("result_id", maintain_order=True)
    return [row for versions in by_result for row in judged.rows(versions.to_dicts(), facts)]


def _records(read: StationReader, plans: pl.DataFrame | None, names: list[str]) -> LimsRecords:
    """Return every version of the worklist entries, samples and lots of some runs or entries."""
    samples = read.keyed(LIMS_SAMPLES, _SAMPLE, sample_name=names)
    lots = read.keyed(LIMS_LOTS, _LOT, lot_id=samples["lot_id"])
    planned = () if plans is None else plans.iter_rows(named=True)
    return LimsRecords(planned, samples.iter_rows(named=True), lots.iter_rows(named=True))


def _specifications(read: StationReader, records: LimsRecords) -> Specifications:
    products = {version.row["product"] for lot in records.lots.keys() for version in records.lots.versions(lot)}  # noqa: SIM118
    return Specifications(read.keyed(SPECIFICATIONS, _LIMIT, product=products).iter_rows(named=True))


_RUNS: Final = Input(table=INJECTIONS, columns=(*_RUN, "processing_id"), touches=_of_runs)
_PEAKS: Final = Input(table=PEAKS, columns=_PEAK, touches=_of_runs)
_PLANS: Final = Input(table=LIMS_SEQUENCES, columns=_PLAN, touches=_of_plans)
_SAMPLES: Final = Input(table=LIMS_SAMPLES, columns=_SAMPLE, touches=_of_samples)
_LOTS: Final = Input(table=LIMS_LOTS, columns=_LOT, touches=_of_lots)
_ENTRIES: Final = Input(table=LIMS_RESULTS, columns=_ENTRY, touches=_of_entries)
_LIMITS: Final = Input(table=SPECIFICATIONS, columns=_LIMIT, touches=_of_specifications)
_METHODS: Final = Input(table=PROCESSING_METHODS, columns=_METHOD, reads="whole", touches=_of_windows)

_WEIGHED: Final = of(
    LIMS_SEQUENCES, "weight_mg", "nominal_weight_mg", "standard_purity_pct", "sample_role", "sequence_id", "method_id", "recorded_at_utc"
)
_CALCULATED: Final = of(PEAKS, "area", "analyte", "channel", "processing_id") + _WEIGHED + of(PROCESSING_METHODS, *WINDOW_COLUMNS)
_LOT_OF: Final = of(LIMS_SAMPLES, "lot_id", "recorded_at_utc")
_LIMITED_BY: Final = (
    of(LIMS_LOTS, "product", "recorded_at_utc")
    + of(SPECIFICATIONS, "product", "method_id", "analyte", "unit", "effective_from_utc", "recorded_at_utc")
    + of(LIMS_RESULTS, "method_id", "analyte", "unit")
    + _LOT_OF
)
_VALUE: Final = of(LIMS_RESULTS, "value") + _CALCULATED
_STATE: Final = _VALUE + _LIMITED_BY + of(SPECIFICATIONS, "spec_low", "spec_high")
_VERSION: Final = tuple(
    dict.fromkeys(
        (*of(INJECTIONS, "known_time_utc"), *of(LIMS_RESULTS, "recorded_at_utc"), *of(PROCESSING_METHODS, "recorded_at_utc"), *_STATE)
    )
)
"""A version more is known from when on anything that makes another one is."""

RESULTS_STATION: Final = Station(
    target=RESULTS,
    inputs=(_RUNS, _PEAKS, _PLANS, _SAMPLES, _LOTS, _ENTRIES, _LIMITS, _METHODS),
    make=_make,
    group=Group(columns=("injection_id", "result_id"), coalesce=True),
    feeds={
        "result_id": of(INJECTIONS, "injection_id")
        + of(PROCESSING_METHODS, "analyte")
        + of(PEAKS, "channel")
        + of(LIMS_RESULTS, "result_id"),
        "result_version": _VERSION,
        "is_current": _VERSION,
        "superseded_by": _VERSION,
        "withdrawn_at_utc": _VERSION,
        "change_reason": _VERSION,
        "injection_id": of(INJECTIONS, "injection_id"),
        "sample_name": of(LIMS_SEQUENCES, "sample_name") + of(INJECTIONS, "stated_sample_name") + of(LIMS_RESULTS, "sample_name"),
        "lot_id": _LOT_OF,
        "method_id": of(LIMS_SEQUENCES, "method_id") + of(INJECTIONS, "stated_method_name") + of(LIMS_RESULTS, "method_id"),
        "analyte": of(PROCESSING_METHODS, "analyte") + of(LIMS_RESULTS, "analyte"),
        "channel": of(PEAKS, "channel"),
        "value": _VALUE,
        "unit": of(SPECIFICATIONS, "unit") + of(PROCESSING_METHODS, "result_unit") + of(LIMS_RESULTS, "unit"),
        "spec_low": of(SPECIFICATIONS, "spec_low") + _LIMITED_BY,
        "spec_high": of(SPECIFICATIONS, "spec_high") + _LIMITED_BY,
        "state": _STATE,
        "replicate": of(LIMS_SEQUENCES, "replicate") + of(LIMS_RESULTS, "replicate"),
        "retest_of": of(LIMS_SAMPLES, "retest_of"),
        "measured_at_utc": of(INJECTIONS, "injected_at_utc") + of(LIMS_RESULTS, "measured_at_utc"),
        "known_time_utc": _VERSION,
    },
)
