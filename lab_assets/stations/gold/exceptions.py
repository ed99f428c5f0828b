"""``gold.exceptions``: what needs a person now, with the evidence and who answers for it.

Belongs here: which exceptions news touches, the station. Does not belong here: what makes an exception of each kind
(``exception_kinds.py``), finding what is wrong, which the tables read here have done.

All exceptions of one kind about one subject are made together. News touches a subject only where a row that makes an exception, or
made one, changed: a passing result or an injection in order costs a glance at its own row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CALIBRATIONS
from lab_assets.contracts.gold import EXCEPTIONS, METHOD_TRENDS, SUITABILITY
from lab_assets.contracts.silver import INJECTIONS, PROCESS_EVENTS, RESULTS, STORAGE_CONDITIONS
from lab_assets.stations.gold import exception_kinds as kinds
from lab_assets.stations.gold.frames import target_rows
from lab_assets.stations.gold.investigations import EVENT_COLUMNS, failing_results_of, is_failing
from lab_assets.stations.station import Group, Input, Station, of

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader

_KINDS: Final[Mapping[str, Callable[[StationReader, pl.Series], list[dict[str, Any]]]]] = {
    "oos": kinds.out_of_specification,
    "chart_rule": kinds.chart_rules,
    "suitability": kinds.failed_systems,
    "calibration": kinds.calibration_lapses,
    "storage_excursion": kinds.storage_excursions,
    "no_context": kinds.without_context,
}
"""Of each kind the function from subjects to exceptions; a kind more is a function more, and a relation below."""


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    made = [row for (kind,), rows in keys.group_by(["kind"]) for row in _KINDS[str(kind)](read, rows["subject"])]
    return target_rows(read, made)


def _subjects(kind: str, rows: pl.DataFrame, subject: pl.Expr) -> pl.DataFrame:
    """Return the groups of one kind that some rows belong to."""
    import polars as pl

    return rows.select(kind=pl.lit(kind), subject=subject).unique()


def _by_results(_read: StationReader, changes: Changes) -> pl.DataFrame:
    return _subjects("oos", changes.both.filter(is_failing()), kinds.result_subject())


def _by_events(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the subjects of the failing results that changed investigations are about."""
    failing = failing_results_of(read, ["lot_id", "sample_name", "injection_id", "result_id"], changes.both)
    return _subjects("oos", failing, kinds.result_subject())


def _by_points(_read: StationReader, changes: Changes) -> pl.DataFrame:
    return _subjects("chart_rule", changes.both.filter(kinds.completes_rule()), kinds.chart_subject())


def _by_systems(_read: StationReader, changes: Changes) -> pl.DataFrame:
    import polars as pl

    return _subjects("suitability", changes.both.filter(~pl.col("passed")), pl.col("sequence_id"))


def _by_certificates(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the instruments of certificates that failed by any record.

    A record that passes may be the correction of one that failed, one of another instrument that of where it failed.
    """
    import polars as pl

    columns = ["instrument_id", "outcome"]
    held = read.keyed(CALIBRATIONS, columns, certificate_id=changes.both["certificate_id"])
    failed = pl.concat([held, changes.both.select(columns)]).filter(pl.col("outcome") == "fail")
    return _subjects("calibration", failed, pl.col("instrument_id"))


def _by_injections(_read: StationReader, changes: Changes) -> pl.DataFrame:
    import polars as pl

    used = _subjects("calibration", changes.both.filter(kinds.is_uncalibrated_use()), pl.col("instrument_id"))
    lost = _subjects("no_context", changes.both.filter(kinds.lacks_context()), pl.col("injection_id"))
    return pl.concat([used, lost])


def _by_days(_read: StationReader, changes: Changes) -> pl.DataFrame:
    import polars as pl

    return _subjects("storage_excursion", changes.both.filter(pl.col("excursion_min") > 0), pl.col("chamber_id"))


_RESULTS: Final = Input(
    table=RESULTS,
    columns=kinds.RESULT_COLUMNS,
    touches=_by_results,
)
_EVENTS: Final = Input(table=PROCESS_EVENTS, columns=EVENT_COLUMNS, touches=_by_events)
_POINTS: Final = Input(
    table=METHOD_TRENDS,
    columns=(
        *("result_id", "product", "method_id", "analyte", "unit", "point_no", "lot_id", "measured_at_utc", "value"),
        *("centre", "lower_limit", "upper_limit", "rules"),
    ),
    touches=_by_points,
)
_SYSTEMS: Final = Input(
    table=SUITABILITY,
    columns=("sequence_id", "analyte", "instrument_id", "injections", "passed", "failures", "started_at_utc"),
    touches=_by_systems,
)
_CERTIFICATES: Final = Input(
    table=CALIBRATIONS,
    columns=kinds.PARAMETER_COLUMNS,
    touches=_by_certificates,
)
_INJECTIONS: Final = Input(
    table=INJECTIONS,
    columns=(
        *("injection_id", "injection_name", "source", "sample_role", "lot_id", "method_id", "instrument_id"),
        *("calibration_id", "calibration_valid", "injected_at_utc"),
    ),
    touches=_by_injections,
)
_DAYS: Final = Input(
    table=STORAGE_CONDITIONS,
    columns=(
        *("chamber_id", "day", "excursion_min", "degree_hours_above", "temperature_min_c", "temperature_max_c"),
        *("set_temperature_c", "set_humidity_pct"),
    ),
    touches=_by_days,
)
_FAILING: Final = of(RESULTS, "state", "is_current")
_LOST: Final = of(INJECTIONS, "sample_role", "lot_id", "method_id")
_UNCALIBRATED: Final = of(INJECTIONS, "sample_role", "instrument_id", "calibration_id", "calibration_valid")
_WHAT: Final = (
    *(*_FAILING, *of(METHOD_TRENDS, "rules", "point_no"), *of(SUITABILITY, "passed"), *of(CALIBRATIONS, "outcome", "recorded_at_utc")),
    *(*_UNCALIBRATED, *_LOST, *of(STORAGE_CONDITIONS, "day", "excursion_min")),
)
_SUBJECT: Final = (
    *of(RESULTS, "lot_id", "sample_name", "injection_id", "result_id"),
    *of(METHOD_TRENDS, "product", "method_id", "analyte"),
    *of(SUITABILITY, "sequence_id"),
    *of(CALIBRATIONS, "instrument_id"),
    *of(INJECTIONS, "instrument_id", "injection_id"),
    *of(STORAGE_CONDITIONS, "chamber_id"),
)
EXCEPTIONS_STATION: Final = Station(
    target=EXCEPTIONS,
    inputs=(_RESULTS, _EVENTS, _POINTS, _SYSTEMS, _CERTIFICATES, _INJECTIONS, _DAYS),
    make=_make,
    group=Group(columns=("kind", "subject")),
    version=3,
    feeds={
        "exception_id": (
            *(*of(RESULTS, "result_id"), *of(METHOD_TRENDS, "result_id", "point_no", "rules"), *of(SUITABILITY, "sequence_id", "analyte")),
            *(*of(CALIBRATIONS, "instrument_id", "certificate_id"), *of(INJECTIONS, "instrument_id", "calibration_id", "injection_id")),
            *of(STORAGE_CONDITIONS, "chamber_id", "day"),
        ),
        "kind": _WHAT,
        "severity": (
            *(*_FAILING, *of(RESULTS, "sample_name"), *of(PROCESS_EVENTS, "sample_name", "event"), *of(METHOD_TRENDS, "rules")),
            *of(STORAGE_CONDITIONS, "day", "excursion_min"),
        ),
        "subject": _SUBJECT,
        "lot_id": (*of(RESULTS, "lot_id"), *of(METHOD_TRENDS, "lot_id"), *of(INJECTIONS, "lot_id")),
        "evidence": (
            *of(RESULTS, "method_id", "analyte", "value", "unit", "spec_low", "spec_high", "sample_name", "replicate"),
            *of(PROCESS_EVENTS, "sample_name", "event"),
            *of(METHOD_TRENDS, "point_no", "rules", "value", "unit", "centre", "lower_limit", "upper_limit"),
            *of(SUITABILITY, "injections", "analyte", "instrument_id", "failures"),
            *of(CALIBRATIONS, "certificate_id", "parameter", "deviation", "tolerance", "unit"),
            *of(INJECTIONS, "injection_id", "injected_at_utc", "calibration_id", "injection_name", "source", "lot_id", "method_id"),
            *(f"{STORAGE_CONDITIONS.full_name}.{column}" for column in _DAYS.columns if column != "chamber_id"),
        ),
        "owner_role": _WHAT,
        "raised_at_utc": (
            *(*of(RESULTS, "measured_at_utc", "known_time_utc"), *of(METHOD_TRENDS, "measured_at_utc"), *of(SUITABILITY, "started_at_utc")),
            *(*of(CALIBRATIONS, "performed_at_utc"), *of(INJECTIONS, "injected_at_utc")),
            *of(STORAGE_CONDITIONS, "day", "excursion_min"),
        ),
    },
)
