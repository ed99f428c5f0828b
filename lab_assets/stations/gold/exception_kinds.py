"""Kinds of exceptions: of each, which rows make one, how urgent it is, how it is worded.

Belongs here: one function a kind, from subjects to exceptions, and the conditions by which rows belong to it. Does not belong here: when
they are made (``exceptions.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, time
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from math import fsum, isfinite
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.gold import METHOD_TRENDS, SUITABILITY
from lab_assets.contracts.silver import INJECTIONS, RESULTS, STORAGE_CONDITIONS
from lab_assets.domain.certificates import CERTIFICATE_COLUMNS, parameters_in_force
from lab_assets.domain.in_force import Row
from lab_assets.domain.run_context import STANDARD_ROLES
from lab_assets.stations.gold.frames import rows_by
from lab_assets.stations.gold.investigations import investigations_of, is_failing
from lab_assets.stations.relations import records_of_certificates

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.stations.reading import StationReader

REPORTED_AFTER_MIN: Final = 1440.0
"""An excursion of more than 24 hours is described in the study report and its effect assessed (ICH Q1A(R2), glossary, storage
condition tolerances)."""

_ANY_SIZE: Final = Context(prec=320, rounding=ROUND_HALF_UP)
"""Digits enough for the largest float and four decimals."""
_PLANNED: Final = ("sample", *sorted(STANDARD_ROLES))
"""Roles whose results count for something; a blank needs no certificate."""
RESULT_COLUMNS: Final = (
    *("result_id", "is_current", "injection_id", "sample_name", "lot_id", "method_id", "analyte", "value", "unit"),
    *("spec_low", "spec_high", "state", "replicate", "measured_at_utc", "known_time_utc"),
)
PARAMETER_COLUMNS: Final = (*(name for name in CERTIFICATE_COLUMNS if name != "valid_until_utc"), "deviation", "tolerance", "unit")
_LOST: Final = ("injection_id", "injection_name", "source", "sample_role", "lot_id", "method_id", "injected_at_utc")
_CHART: Final = ("product", "method_id", "analyte", "unit")


def result_subject() -> pl.Expr:
    """Return what a failing result is about: the closest that is known of its lot."""
    import polars as pl

    return pl.coalesce("lot_id", "sample_name", "injection_id", "result_id")


def out_of_specification(read: StationReader, subjects: pl.Series) -> list[dict[str, Any]]:
    """Return failing results: critical until every investigation of their sample is closed."""
    import polars as pl

    of_lots = read.keyed(RESULTS, RESULT_COLUMNS, lot_id=subjects).filter(is_failing())
    # lots are what failing results are about, so only what no lot is known of is looked for without one
    of_subject = pl.col("lot_id").is_null() & is_failing() & result_subject().is_in(subjects.implode())
    without = read.rows(RESULTS, RESULT_COLUMNS, where=of_subject)
    failing = pl.concat([of_lots, without])
    investigations = investigations_of(read, failing["sample_name"])
    made: list[dict[str, Any]] = []
    for row in failing.iter_rows(named=True):
        investigation = investigations.get(row["sample_name"], "not opened")
        preparation = "" if row["replicate"] is None else f", preparation {row['replicate']}"
        made.append(
            _exception(
                "oos",
                row["result_id"],
                severity="info" if investigation == "closed" else "critical",
                subject=row["lot_id"] or row["sample_name"] or row["injection_id"] or row["result_id"],
                lot_id=row["lot_id"],
                evidence=f"{_test(row)}: {number(row['value'])} {row['unit']}, allowed {_limits(row)}"
                f"; sample {row['sample_name'] or 'unknown'}{preparation}; investigation {investigation}",
                owner_role="qc_lead",
                raised_at_utc=row["measured_at_utc"] or row["known_time_utc"],
            )
        )
    return made


def completes_rule() -> pl.Expr:
    """Hold for points that complete a rule."""
    import polars as pl

    return pl.col("rules").list.len() > 0


def chart_subject() -> pl.Expr:
    """Return what a point is about: product, method and analyte."""
    import polars as pl

    return pl.format("{} {}/{}", "product", "method_id", "analyte")


def chart_rules(read: StationReader, subjects: pl.Series) -> list[dict[str, Any]]:
    """Return each unbroken run of points that complete a rule as one exception; beyond 3 sigma is a warning."""
    import polars as pl

    # a product's name may hold blanks: each beginning of the subject is tried, by which files and row groups are skipped
    products = {subject[:at] for subject in subjects for at, character in enumerate(subject) if character == " "}
    is_of_subject = pl.col("product").is_in(list(products)) & chart_subject().is_in(subjects.implode())
    hits = read.rows(METHOD_TRENDS, where=is_of_subject & completes_rule()).sort(*_CHART, "point_no")
    made: list[dict[str, Any]] = []
    for run in _runs_of_points(hits).iter_rows(named=True):
        n_points, rules = run["n_points"], run["rules"]
        points = f"point {run['point_no']} completes" if n_points == 1 else f"points {run['point_no']} to {run['last_no']} complete"
        limits = f"{_cached_number(run['lower_limit'])} to {_cached_number(run['upper_limit'])}"
        made.append(
            _exception(
                "chart_rule",
                run["result_id"],
                severity="warning" if "nelson_1" in rules else "info",
                subject=f"{run['product']} {_test(run)}",
                lot_id=run["lot_id"],
                evidence=f"{points} {', '.join(rules)}; last {number(run['value'])} {run['unit']}; "
                f"centre {_cached_number(run['centre'])}, limits {limits}",
                owner_role="qc_lead",
                raised_at_utc=run["raised_at_utc"],
            )
        )
    return made


def failed_systems(read: StationReader, subjects: pl.Series) -> list[dict[str, Any]]:
    """Return sequences whose system was not fit: it voids the injections it covers."""
    import polars as pl

    failed = read.keyed(SUITABILITY, sequence_id=subjects).filter(~pl.col("passed"))
    return [
        _exception(
            "suitability",
            f"{row['sequence_id']}/{row['analyte']}",
            severity="critical",
            subject=row["sequence_id"],
            evidence=f"{row['injections']} standard injection(s) of {row['analyte']}"
            f"{'' if row['instrument_id'] is None else ' on ' + row['instrument_id']}: {', '.join(row['failures'])}",
            owner_role="analyst",
            raised_at_utc=row["started_at_utc"],
        )
        for row in failed.iter_rows(named=True)
    ]


def calibration_lapses(read: StationReader, subjects: pl.Series) -> list[dict[str, Any]]:
    """Return failed certificates, and use without a valid one, of instruments."""
    return [*_failed_certificates(read, subjects), *_uncalibrated_use(read, subjects)]


def _failed_certificates(read: StationReader, instruments: pl.Series) -> list[dict[str, Any]]:
    """Return certificates of which a parameter failed and was not recorded otherwise since."""
    known = parameters_in_force(records_of_certificates(read, PARAMETER_COLUMNS, instruments).iter_rows(named=True))
    failed: dict[tuple[str, str], list[Row]] = {}
    wanted = frozenset(instruments)
    for row in known:
        if row["outcome"] == "fail" and row["instrument_id"] in wanted:
            failed.setdefault((row["instrument_id"], row["certificate_id"]), []).append(row)
    made: list[dict[str, Any]] = []
    for (instrument_id, certificate_id), rows in failed.items():
        parameters = {
            f"{row['parameter']} off by {number(row['deviation'])} {row['unit']}, allowed {number(row['tolerance'])} {row['unit']}"
            for row in rows
        }
        made.append(
            _exception(
                "calibration",
                f"{instrument_id}/{certificate_id}",
                severity="warning",
                subject=instrument_id,
                evidence=f"certificate {certificate_id} failed: {'; '.join(sorted(parameters))}",
                owner_role="qc_lead",
                raised_at_utc=max(row["performed_at_utc"] for row in rows),
            )
        )
    return made


def is_uncalibrated_use() -> pl.Expr:
    """Hold for planned injections on an instrument without a valid certificate."""
    import polars as pl

    is_invalid = ~pl.col("calibration_valid").fill_null(value=False)
    return pl.col("sample_role").is_in(_PLANNED) & pl.col("instrument_id").is_not_null() & is_invalid


def _uncalibrated_use(read: StationReader, instruments: pl.Series) -> list[dict[str, Any]]:
    """Return planned injections without a valid certificate, by instrument and certificate."""
    import polars as pl

    at = pl.col("injected_at_utc")
    used = (
        read.rows(
            INJECTIONS,
            ["instrument_id", "calibration_id", "injected_at_utc"],
            where=pl.col("instrument_id").is_in(instruments.implode()) & is_uncalibrated_use(),
        )
        .group_by("instrument_id", "calibration_id")
        .agg(pl.len().alias("count"), at.min().alias("first"), at.max().alias("last"))
    )
    return [
        _exception(
            "calibration",
            f"{row['instrument_id']}/use/{row['calibration_id'] or 'none'}",
            severity="critical",
            subject=row["instrument_id"],
            evidence=f"{row['count']} injection(s){_period(row['first'], row['last'])} without a valid certificate: "
            + (f"{row['calibration_id']} failed or had expired" if row["calibration_id"] is not None else "there is none"),
            owner_role="qc_lead",
            raised_at_utc=row["last"],
        )
        for row in used.iter_rows(named=True)
    ]


def _period(first: datetime | None, last: datetime | None) -> str:
    return "" if first is None or last is None else f" from {first.date().isoformat()} to {last.date().isoformat()}"


def storage_excursions(read: StationReader, subjects: pl.Series) -> list[dict[str, Any]]:
    """Return each unbroken run of days with an excursion as one exception; more than 24 hours outside is critical."""
    import polars as pl

    days = read.keyed(STORAGE_CONDITIONS, chamber_id=subjects).filter(pl.col("excursion_min") > 0).sort("day")
    return [
        _storage_excursion(run) for rows in rows_by(days, "chamber_id").values() for run in _runs(rows, lambda row: row["day"].toordinal())
    ]


def _storage_excursion(days: Sequence[Row]) -> dict[str, Any]:
    first, last = days[0], days[-1]
    minutes = fsum(row["excursion_min"] for row in days)
    above = _filled(row["degree_hours_above"] for row in days)
    low = min(_filled(row["temperature_min_c"] for row in days), default=None)
    high = max(_filled(row["temperature_max_c"] for row in days), default=None)
    when = first["day"].isoformat() if len(days) == 1 else f"{first['day'].isoformat()} to {last['day'].isoformat()}"
    humidity = "" if last["set_humidity_pct"] is None else f", {number(last['set_humidity_pct'])} % RH"
    temperatures = "" if low is None else f"; {number(low)} to {number(high)} degC"
    return _exception(
        "storage_excursion",
        f"{first['chamber_id']}/{first['day'].isoformat()}",
        severity="critical" if minutes > REPORTED_AFTER_MIN else "warning",
        subject=first["chamber_id"],
        evidence=f"{when}: {number(minutes)} min outside tolerance (set {number(last['set_temperature_c'])} degC{humidity})"
        f"{temperatures}" + (f"; {number(fsum(above))} degC*h above tolerance" if above else ""),
        owner_role="qc_lead",
        raised_at_utc=datetime.combine(last["day"], time.min, tzinfo=UTC),
    )


def lacks_context() -> pl.Expr:
    """Hold for injections that may be of a sample and whose lot or method is not known."""
    import polars as pl

    may_be_sample = pl.col("sample_role").fill_null("unknown").is_in(["sample", "unknown"])
    return may_be_sample & (pl.col("lot_id").is_null() | pl.col("method_id").is_null())


def without_context(read: StationReader, subjects: pl.Series) -> list[dict[str, Any]]:
    """Return injections whose lot or method neither a worklist nor a sample record states."""
    lost = read.keyed(INJECTIONS, _LOST, injection_id=subjects).filter(lacks_context())
    return [
        _exception(
            "no_context",
            row["injection_id"],
            severity="warning",
            subject=row["injection_id"],
            lot_id=row["lot_id"],
            evidence=f"injection {row['injection_name']} of {row['source']}: "
            f"{' and '.join(name for name in ('lot', 'method') if row[f'{name}_id'] is None)} not known",
            owner_role="analyst",
            raised_at_utc=row["injected_at_utc"],
        )
        for row in lost.iter_rows(named=True)
    ]


def _exception(
    kind: str,
    key: str,
    *,
    severity: str,
    subject: str,
    evidence: str,
    owner_role: str,
    raised_at_utc: datetime | None,
    lot_id: str | None = None,
) -> dict[str, Any]:
    """Return one exception; the key makes the identity, so an exception keeps it while it lasts."""
    return {
        "exception_id": f"{kind}:{key}",
        "kind": kind,
        "severity": severity,
        "subject": subject,
        "lot_id": lot_id,
        "evidence": evidence,
        "owner_role": owner_role,
        "raised_at_utc": raised_at_utc,
    }


def _runs_of_points(points: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each run of points without a hole: identity and lot of its first point, value and limits of its last.

    A chart of years has thousands of runs, so they are found column by column.

    Args:
        points: Rows of ``gold.method_trends``, sorted by chart and ``point_no``.
    """
    import polars as pl

    begins = (pl.col("point_no").diff().over(_CHART) != 1).fill_null(value=True)
    return (
        points.with_columns(run=begins.cum_sum())
        .group_by("run", maintain_order=True)
        .agg(
            pl.col("product", "method_id", "analyte", "result_id", "lot_id", "point_no").first(),
            pl.col("value", "unit", "centre", "lower_limit", "upper_limit").last(),
            last_no=pl.col("point_no").last(),
            n_points=pl.len(),
            rules=pl.col("rules").explode().unique().sort(),
            raised_at_utc=pl.col("measured_at_utc").max(),
        )
    )


def _runs(rows: Sequence[Row], ordinal: Callable[[Row], int]) -> list[list[Row]]:
    """Return sorted rows in runs whose ordinals follow each other without a hole."""
    runs: list[list[Row]] = []
    for row in rows:
        if runs and ordinal(row) == ordinal(runs[-1][-1]) + 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs


def _filled(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _test(row: Row) -> str:
    return "/".join(_filled((row["method_id"], row["analyte"])))


def _limits(row: Row) -> str:
    if row["spec_low"] is None:
        return f"at most {number(row['spec_high'])}"
    if row["spec_high"] is None:
        return f"at least {number(row['spec_low'])}"
    return f"{number(row['spec_low'])} to {number(row['spec_high'])}"


@lru_cache(maxsize=4096)
def _cached_number(value: float | None) -> str:
    """Return what ``number`` does: centre and limits are the same for most points of a chart."""
    return number(value)


def number(value: float | None) -> str:
    """Return a number as a person writes it: at most four decimals, rounded half up, no trailing zeros; nothing for none."""
    if value is None or not isfinite(value):
        return ""
    rounded = Decimal(repr(value)).quantize(Decimal("0.0001"), context=_ANY_SIZE)
    return f"{rounded:f}".rstrip("0").rstrip(".") if rounded else "0"
