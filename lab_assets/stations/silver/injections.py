"""Station of ``silver.injections``: each injection once, with the context that LIMS and certificates give it.

Belongs here: context, and which injections are touched by news. Does not belong here: identity (``lab_assets.domain``), peaks.

Injections are described by a few short columns; their traces are never read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CALIBRATIONS, CHROMATOGRAMS, LIMS_LOTS, LIMS_SAMPLES, LIMS_SEQUENCES, PROCESSING_METHODS
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.domain.certificates import CERTIFICATE_COLUMNS, Certificates
from lab_assets.domain.in_force import RECENCY
from lab_assets.domain.injection_identity import PARTS, newest_of_channels, with_identity
from lab_assets.domain.processing_methods import METHOD_COLUMNS, WINDOW_COLUMNS, ProcessingMethods
from lab_assets.domain.run_context import LOT_COLUMNS, PLAN_COLUMNS, SAMPLE_COLUMNS, LimsRecords, sample_names
from lab_assets.stations.relations import certificates_since, samples_of_lots, since_certificates
from lab_assets.stations.station import Group, Input, Station, copied, keys_of, of

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader

_KEY: Final = ("injection_id", "injection_name")
_OF_THE_FILE: Final = ("sample_name", "instrument_name", "method_name", "operator", "injected_at_text", "injected_at_utc", "software")
_TRACE: Final = tuple(dict.fromkeys((*PARTS, "channel", "x_unit", "x_last", "zone_known", *_OF_THE_FILE, *RECENCY)))
_PLAN: Final = (*PLAN_COLUMNS, *RECENCY)
_SAMPLE: Final = (*SAMPLE_COLUMNS, *RECENCY)
_LOT: Final = (*LOT_COLUMNS, *RECENCY)
_CERTIFICATE: Final = CERTIFICATE_COLUMNS
_METHOD: Final = tuple(dict.fromkeys((*METHOD_COLUMNS, *WINDOW_COLUMNS, *RECENCY)))
_OF_THE_CONTEXT: Final = (
    *("sequence_id", "position", "sample_name", "sample_role", "replicate", "method_id", "instrument_id", "column_id", "analyst"),
    *("weight_mg", "nominal_weight_mg", "standard_purity_pct", "lot_id", "sample_type", "product"),
)


def _of_traces(_read: StationReader, changes: Changes) -> pl.DataFrame:
    return keys_of(with_identity(changes.both), _KEY)


def _of_plans(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the injections that a changed worklist entry names."""
    names = changes.both["injection_name"]
    return keys_of(with_identity(read.keyed(CHROMATOGRAMS, PARTS, injection_name=names)), _KEY)


def _of_samples(read: StationReader, changes: Changes) -> pl.DataFrame:
    return read.keyed(INJECTIONS, _KEY, sample_name=changes.both["sample_name"])


def _of_lots(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the injections of the samples of changed lots."""
    return read.keyed(INJECTIONS, _KEY, sample_name=samples_of_lots(read, changes.both["lot_id"]))


def _of_certificates(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the injections on the instruments of a changed certificate from its time on, as any record of it says."""
    import polars as pl

    since = since_certificates(read, changes.both)
    runs = read.keyed(INJECTIONS, (*_KEY, "instrument_id", "injected_at_utc"), instrument_id=since["instrument_id"])
    return runs.join(since, on="instrument_id").filter(pl.col("injected_at_utc") >= pl.col("performed_at_utc")).select(_KEY)


def _of_methods(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the injections of a changed method, or of its source where they name none."""
    import polars as pl

    stated = changes.both.with_columns(pl.when(pl.col("method_name") != "").then("method_name").alias("method_name"))
    found = [read.keyed(INJECTIONS, _KEY, method_id=stated["method_name"])]
    sources = stated.filter(pl.col("method_name").is_null())["source"]
    if sources.len():
        without = read.keyed(INJECTIONS, (*_KEY, "method_id"), source=sources).filter(pl.col("method_id").is_null())
        found.append(without.select(_KEY))
    return pl.concat(found)


def one_per_injection(traces: pl.DataFrame) -> pl.DataFrame:
    """Return one row an injection: of each channel the newest file counts, and the first channel that states a thing states it.

    Args:
        traces: Rows of ``bronze.chromatograms`` without their points.

    Returns:
        The file's columns with ``injection_id``, ``run_time_min``, ``channels``, ``source_sha256``.
    """
    import polars as pl

    minutes = pl.col("x_last") * pl.col("x_unit").replace_strict(_minutes_per(traces["x_unit"]), return_dtype=pl.Float64)
    newest = newest_of_channels(traces.with_columns(_minutes=minutes))
    return (
        newest.sort("channel")
        .group_by("injection_id", "injection_name", "source", maintain_order=True)
        .agg(
            *(pl.col(name).drop_nulls().first() for name in _OF_THE_FILE),
            pl.col("zone_known").max(),
            pl.col("_minutes").max().alias("run_time_min"),
            pl.col("channel").unique().sort().alias("channels"),
            pl.col("source_sha256").first(),
        )
    )


def _minutes_per(units: pl.Series) -> dict[str | None, float | None]:
    """Return the factor to minutes by stated unit; an unknown unit gives no run time rather than a wrong one."""
    from lab_assets.domain.units import minutes_per

    factors: dict[str | None, float | None] = {}
    for unit in units.unique().to_list():
        try:
            factors[unit] = minutes_per(unit or "")
        except ValueError:
            factors[unit] = None
    return factors


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Describe injections by their traces, worklist, sample, lot, processing method and certificate."""
    import polars as pl

    traces = read.keyed(CHROMATOGRAMS, _TRACE, injection_name=keys["injection_name"])
    if traces.is_empty():  # their files are gone
        return read.empty(INJECTIONS, INJECTIONS.column_names)
    runs = one_per_injection(traces).join(keys, on="injection_id", how="semi")
    records = _records(read, runs)
    rows = pl.DataFrame([_described(run, records) for run in runs.iter_rows(named=True)], schema=_schema())
    methods = ProcessingMethods(read.rows(PROCESSING_METHODS, _METHOD).iter_rows(named=True))
    since = rows.drop_nulls(["instrument_id", "injected_at_utc"]).group_by("instrument_id").agg(since=pl.col("injected_at_utc").min())
    certificates = certificates_since(read, since)
    in_force = [_in_force(row, methods, certificates) for row in rows.iter_rows(named=True)]
    return rows.drop("processing_id", "calibration_id", "calibration_valid").hstack(pl.DataFrame(in_force, schema=_in_force_schema()))


def _records(read: StationReader, runs: pl.DataFrame) -> LimsRecords:
    plans = read.keyed(LIMS_SEQUENCES, _PLAN, injection_name=runs["injection_name"])
    samples = read.keyed(LIMS_SAMPLES, _SAMPLE, sample_name=sample_names(plans.iter_rows(named=True), runs["sample_name"]))
    lots = read.keyed(LIMS_LOTS, _LOT, lot_id=samples["lot_id"])
    return LimsRecords(*(frame.iter_rows(named=True) for frame in (plans, samples, lots)))


def _described(run: Mapping[str, Any], records: LimsRecords) -> dict[str, Any]:
    """Return what files and records say of an injection together, with everything known."""
    context = records.context(
        run["injection_name"],
        sample_name=run["sample_name"],
        method_id=run["method_name"],
        instrument_id=run["instrument_name"],
        analyst=run["operator"],
    )
    injected: datetime | None = run["injected_at_utc"]
    length = timedelta(minutes=run["run_time_min"] or 0.0)
    return {
        **{name: run.get(name) for name in INJECTIONS.column_names},
        **{name: getattr(context, name) for name in _OF_THE_CONTEXT},
        "stated_sample_name": run["sample_name"] or None,
        "stated_method_name": run["method_name"] or None,
        "stated_instrument_name": run["instrument_name"] or None,
        "instrument_changed_at_utc": records.instrument_changed_at(run["injection_name"], stated=run["instrument_name"]),
        "known_time_utc": None if injected is None else injected + length,
    }


def _in_force(row: Mapping[str, Any], methods: ProcessingMethods, certificates: Certificates) -> dict[str, Any]:
    windows = methods.windows(row["method_id"], row["source"], at=row["injected_at_utc"])
    certificate = certificates.in_force(row["instrument_id"], at=row["injected_at_utc"])
    return {
        "processing_id": windows.processing_id,
        "calibration_id": None if certificate is None else certificate.certificate_id,
        "calibration_valid": None if certificate is None else certificate.is_valid_at(row["injected_at_utc"]),
    }


def _in_force_schema() -> dict[str, Any]:
    import polars as pl

    return {"processing_id": pl.String(), "calibration_id": pl.String(), "calibration_valid": pl.Boolean()}


def _schema() -> dict[str, Any]:
    import polars as pl

    return dict(pl.DataFrame(pl.from_arrow(INJECTIONS.arrow_schema().empty_table())).schema)


_TRACES: Final = Input(table=CHROMATOGRAMS, columns=_TRACE, touches=_of_traces)
_PLANS: Final = Input(table=LIMS_SEQUENCES, columns=_PLAN, touches=_of_plans)
_SAMPLES: Final = Input(table=LIMS_SAMPLES, columns=_SAMPLE, touches=_of_samples)
_LOTS: Final = Input(table=LIMS_LOTS, columns=_LOT, touches=_of_lots)
_METHODS: Final = Input(table=PROCESSING_METHODS, columns=_METHOD, touches=_of_methods, reads="whole")
_CERTIFICATES: Final = Input(table=CALIBRATIONS, columns=_CERTIFICATE, touches=_of_certificates)

_METHOD_OF: Final = of(LIMS_SEQUENCES, "method_id") + of(CHROMATOGRAMS, "method_name")
_AT: Final = of(CHROMATOGRAMS, "injected_at_utc")
INJECTIONS_STATION: Final = Station(
    target=INJECTIONS,
    inputs=(_TRACES, _PLANS, _SAMPLES, _LOTS, _CERTIFICATES, _METHODS),
    make=_make,
    group=Group(columns=("injection_id",), also=("injection_name",)),
    version=3,
    feeds={
        **copied(INJECTIONS, _TRACES, _PLANS, _SAMPLES, _LOTS),
        "injection_id": of(CHROMATOGRAMS, *PARTS),
        "sample_name": of(LIMS_SEQUENCES, "sample_name") + of(CHROMATOGRAMS, "sample_name"),
        "lot_id": of(LIMS_SAMPLES, "lot_id"),
        "method_id": _METHOD_OF,
        "instrument_id": of(CHROMATOGRAMS, "instrument_name") + of(LIMS_SEQUENCES, "instrument_id"),
        "instrument_changed_at_utc": of(CHROMATOGRAMS, "instrument_name") + of(LIMS_SEQUENCES, "instrument_id", "recorded_at_utc"),
        "analyst": of(LIMS_SEQUENCES, "analyst") + of(CHROMATOGRAMS, "operator"),
        "calibration_id": of(CALIBRATIONS, "certificate_id", "performed_at_utc", "recorded_at_utc") + _AT,
        "calibration_valid": of(CALIBRATIONS, "outcome", "valid_until_utc", "performed_at_utc", "recorded_at_utc") + _AT,
        "run_time_min": of(CHROMATOGRAMS, "x_last", "x_unit"),
        "channels": of(CHROMATOGRAMS, "channel"),
        "stated_sample_name": of(CHROMATOGRAMS, "sample_name"),
        "stated_method_name": of(CHROMATOGRAMS, "method_name"),
        "stated_instrument_name": of(CHROMATOGRAMS, "instrument_name"),
        "processing_id": of(PROCESSING_METHODS, *WINDOW_COLUMNS, "effective_from_utc", "recorded_at_utc") + _METHOD_OF + _AT,
        "known_time_utc": of(CHROMATOGRAMS, "injected_at_utc", "x_last", "x_unit"),
    },
)
