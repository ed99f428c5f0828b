"""``gold.exceptions``: what needs a person now, with the evidence and who answers for it.

Belongs here: what counts as an exception, how urgent it is, how it is told. Does not belong here: finding it, which the tables
read here have done.

Each kind is one function from tables to rows; a kind more is a function more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lab_assets.contracts.bronze import CALIBRATIONS
from lab_assets.contracts.gold import EXCEPTIONS, METHOD_TRENDS, SUITABILITY
from lab_assets.contracts.silver import INJECTIONS, PROCESS_EVENTS, RESULTS, STORAGE_CONDITIONS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.silver.reference import replace_on_news

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

REPORTED_AFTER_MIN: Final = 1440.0
"""An excursion of more than 24 hours is described in the study report and its effect assessed (ICH Q1A(R2), glossary, storage
condition tolerances)."""

_INPUTS: Final = (RESULTS, PROCESS_EVENTS, METHOD_TRENDS, SUITABILITY, CALIBRATIONS, INJECTIONS, STORAGE_CONDITIONS)


def update_exceptions(lake: Lakehouse) -> int:
    """List what needs a person anew when one of the tables that tell has moved.

    Returns:
        Version of the table afterwards.
    """
    return replace_on_news(lake, EXCEPTIONS, _INPUTS, lambda: _exceptions(lake).toArrow())


def _exceptions(lake: Lakehouse) -> DataFrame:
    kinds = (_out_of_specification, _chart_rules, _suitability, _failed_certificates, _uncalibrated_use, _storage, _without_context)
    first, *others = (kind(lake) for kind in kinds)
    for rows in others:
        first = first.unionByName(rows)
    return first


def _out_of_specification(lake: Lakehouse) -> DataFrame:
    """Return failing results: critical until every investigation of their sample is closed."""
    from pyspark.sql import functions as sf

    investigations = (
        lake.read(PROCESS_EVENTS)
        .where("event in ('oos_opened', 'oos_closed') and sample_name is not null")
        .groupBy("sample_name")
        .agg(sf.count_if(sf.col("event") == "oos_opened").alias("_opened"), sf.count_if(sf.col("event") == "oos_closed").alias("_closed"))
    )
    rows = lake.read(RESULTS).where("state = 'fail'").join(investigations, on="sample_name", how="left")
    is_closed = (sf.col("_closed") > 0) & (sf.col("_closed") >= sf.col("_opened"))
    investigation = sf.when(is_closed, "closed").when(sf.col("_opened") > 0, "open").otherwise("not opened")
    sample = _text("; sample ", sf.coalesce("sample_name", sf.lit("unknown")), sf.concat(sf.lit(", preparation "), sf.col("replicate")))
    return _told(
        rows,
        kind="oos",
        key=sf.col("result_id"),
        severity=sf.when(is_closed, "info").otherwise("critical"),
        subject=sf.coalesce("lot_id", "sample_name", "injection_id", "result_id"),
        lot_id=sf.col("lot_id"),
        evidence=_text(
            _test(), ": ", _number("value"), " ", sf.col("unit"), ", allowed ", _limits(), sample, "; investigation ", investigation
        ),
        owner_role="qc_lead",
        raised_at_utc=sf.coalesce("measured_at_utc", "known_time_utc"),
    )


def _chart_rules(lake: Lakehouse) -> DataFrame:
    """Return each unbroken run of points that complete a rule as one exception; beyond 3 sigma is a warning."""
    from pyspark.sql import functions as sf

    chart = ("product", "method_id", "analyte", "unit")
    lots = lake.read(RESULTS).select("result_id", "lot_id")
    hits = lake.read(METHOD_TRENDS).where("size(rules) > 0").join(lots, on="result_id", how="left")
    runs = (
        _in_runs(hits, chart, sf.col("point_no"))
        .groupBy(*chart, "_run")
        .agg(
            *(function("point_no").alias(name) for name, function in (("_first", sf.min), ("_last", sf.max))),
            *(sf.min_by(name, "point_no").alias(name) for name in ("result_id", "lot_id", "centre", "lower_limit", "upper_limit")),
            sf.max_by("value", "point_no").alias("value"),
            sf.max("measured_at_utc").alias("measured_at_utc"),
            sf.array_sort(sf.array_distinct(sf.flatten(sf.collect_list("rules")))).alias("_rules"),
        )
    )
    points = _text(
        sf.when(sf.col("_first") == sf.col("_last"), "point ").otherwise("points "),
        sf.col("_first"),
        _unless_same(" to ", "_last", "_first"),
    )
    verb = sf.when(sf.col("_first") == sf.col("_last"), " completes ").otherwise(" complete ")
    around = _text("centre ", _number("centre"), ", limits ", _number("lower_limit"), " to ", _number("upper_limit"))
    return _told(
        runs,
        kind="chart_rule",
        key=sf.col("result_id"),
        severity=sf.when(sf.array_contains("_rules", "nelson_1"), "warning").otherwise("info"),
        subject=_text(sf.col("product"), " ", _test()),
        lot_id=sf.col("lot_id"),
        evidence=_text(points, verb, sf.array_join("_rules", ", "), "; last ", _number("value"), " ", sf.col("unit"), "; ", around),
        owner_role="qc_lead",
        raised_at_utc=sf.col("measured_at_utc"),
    )


def _suitability(lake: Lakehouse) -> DataFrame:
    """Return sequences whose system was not fit: it voids the injections it covers."""
    from pyspark.sql import functions as sf

    count = _text(sf.col("injections"), " standard injection(s) of ", sf.col("analyte"))
    return _told(
        lake.read(SUITABILITY).where("not passed"),
        kind="suitability",
        key=sf.concat_ws("/", "sequence_id", "analyte"),
        severity=sf.lit("critical"),
        subject=sf.col("sequence_id"),
        lot_id=sf.lit(None),
        evidence=_text(count, sf.concat(sf.lit(" on "), sf.col("instrument_id")), ": ", sf.array_join("failures", ", ")),
        owner_role="analyst",
        raised_at_utc=sf.col("started_at_utc"),
    )


def _failed_certificates(lake: Lakehouse) -> DataFrame:
    """Return certificates with a failed parameter."""
    from pyspark.sql import functions as sf

    one = _text(
        sf.col("parameter"), " off by ", _number("deviation"), " ", sf.col("unit"), ", allowed ", _number("tolerance"), " ", sf.col("unit")
    )
    failed = (
        lake.read(CALIBRATIONS)
        .where("outcome = 'fail'")
        .groupBy("certificate_id", "instrument_id")
        .agg(sf.array_join(sf.array_sort(sf.collect_set(one)), "; ").alias("_found"), sf.max("performed_at_utc").alias("performed_at_utc"))
    )
    return _told(
        failed,
        kind="calibration",
        key=sf.concat_ws("/", "instrument_id", "certificate_id"),
        severity=sf.lit("warning"),
        subject=sf.col("instrument_id"),
        lot_id=sf.lit(None),
        evidence=_text("certificate ", sf.col("certificate_id"), " failed: ", sf.col("_found")),
        owner_role="qc_lead",
        raised_at_utc=sf.col("performed_at_utc"),
    )


def _uncalibrated_use(lake: Lakehouse) -> DataFrame:
    """Return planned injections on an instrument without a valid certificate, by instrument and certificate."""
    from pyspark.sql import functions as sf

    used = (
        lake.read(INJECTIONS)
        .where(
            "sample_role in ('sample', 'standard', 'suitability') and instrument_id is not null and not coalesce(calibration_valid, false)"
        )
        .groupBy("instrument_id", "calibration_id")
        .agg(
            sf.count("injection_id").alias("_count"),
            sf.min("injected_at_utc").alias("_first"),
            sf.max("injected_at_utc").alias("_last"),
        )
    )
    period = _text(" from ", sf.to_date("_first").cast("string"), " to ", sf.to_date("_last").cast("string"))
    which = sf.coalesce(sf.concat(sf.col("calibration_id"), sf.lit(" failed or had expired")), sf.lit("there is none"))
    return _told(
        used,
        kind="calibration",
        key=sf.concat_ws("/", "instrument_id", sf.lit("use"), sf.coalesce("calibration_id", sf.lit("none"))),
        severity=sf.lit("critical"),
        subject=sf.col("instrument_id"),
        lot_id=sf.lit(None),
        evidence=_text(sf.col("_count"), " injection(s)", period, " without a valid certificate: ", which),
        owner_role="qc_lead",
        raised_at_utc=sf.col("_last"),
    )


def _storage(lake: Lakehouse) -> DataFrame:
    """Return each unbroken run of days with an excursion as one exception; more than 24 hours outside is critical."""
    from pyspark.sql import functions as sf

    day_no = sf.date_diff("day", sf.lit("1970-01-01").cast("date"))
    days = lake.read(STORAGE_CONDITIONS).where("excursion_min > 0").withColumn("_day_no", day_no)
    runs = (
        _in_runs(days, ("chamber_id",), sf.col("_day_no"))
        .groupBy("chamber_id", "_run")
        .agg(
            *(function("day").alias(name) for name, function in (("_first", sf.min), ("_last", sf.max))),
            *(sf.sum(name).alias(name) for name in ("excursion_min", "degree_hours_above", "gap_min")),
            sf.min("temperature_min_c").alias("_low"),
            sf.max("temperature_max_c").alias("_high"),
            *(sf.max_by(name, "day").alias(name) for name in ("set_temperature_c", "set_humidity_pct", "_day_no")),
        )
    )
    set_points = _text("set ", _number("set_temperature_c"), " degC", sf.concat(sf.lit(", "), _number("set_humidity_pct"), sf.lit(" % RH")))
    temperatures = sf.concat(sf.lit("; "), _number("_low"), sf.lit(" to "), _number("_high"), sf.lit(" degC"))
    above = sf.concat(sf.lit("; "), _number("degree_hours_above"), sf.lit(" degC*h above tolerance"))
    when = _text(sf.col("_first").cast("string"), _unless_same(" to ", "_last", "_first"))
    is_long = sf.col("excursion_min") > REPORTED_AFTER_MIN
    return _told(
        runs,
        kind="storage_excursion",
        key=sf.concat_ws("/", "chamber_id", sf.col("_first").cast("string")),
        severity=sf.when(is_long, "critical").otherwise("warning"),
        subject=sf.col("chamber_id"),
        lot_id=sf.lit(None),
        evidence=_text(when, ": ", _number("excursion_min"), " min outside tolerance (", set_points, ")", temperatures, above),
        owner_role="qc_lead",
        raised_at_utc=sf.timestamp_seconds(sf.col("_day_no") * 86_400),
    )


def _without_context(lake: Lakehouse) -> DataFrame:
    """Return injections that may be of a sample and whose lot or method no worklist or sample record tells."""
    from pyspark.sql import functions as sf

    may_be_sample = "coalesce(sample_role, 'unknown') in ('sample', 'unknown')"
    missing = sf.concat_ws(" and ", sf.when(sf.col("lot_id").isNull(), "lot"), sf.when(sf.col("method_id").isNull(), "method"))
    return _told(
        lake.read(INJECTIONS).where(f"{may_be_sample} and (lot_id is null or method_id is null)"),
        kind="no_context",
        key=sf.col("injection_id"),
        severity=sf.lit("warning"),
        subject=sf.col("injection_id"),
        lot_id=sf.col("lot_id"),
        evidence=_text("injection ", sf.col("injection_name"), " of ", sf.col("source"), ": ", missing, " not known"),
        owner_role="analyst",
        raised_at_utc=sf.col("injected_at_utc"),
    )


def _told(
    rows: DataFrame,
    *,
    kind: str,
    key: Column,
    severity: Column,
    subject: Column,
    lot_id: Column,
    evidence: Column,
    owner_role: str,
    raised_at_utc: Column,
) -> DataFrame:
    """Return the rows as exceptions of one kind; the key makes the identity, so an exception keeps it while it lasts."""
    from pyspark.sql import functions as sf

    return rows.select(
        sf.concat(sf.lit(f"{kind}:"), key).alias("exception_id"),
        sf.lit(kind).alias("kind"),
        severity.alias("severity"),
        subject.alias("subject"),
        lot_id.cast("string").alias("lot_id"),
        evidence.alias("evidence"),
        sf.lit(owner_role).alias("owner_role"),
        raised_at_utc.alias("raised_at_utc"),
    )


def _in_runs(rows: DataFrame, by: tuple[str, ...], number: Column) -> DataFrame:
    """Add ``_run``, equal for the rows of one group whose numbers follow each other without a hole."""
    from pyspark.sql import Window
    from pyspark.sql import functions as sf

    return rows.withColumn("_run", number - sf.row_number().over(Window.partitionBy(*by).orderBy(number)))


def _text(*parts: Column | str) -> Column:
    """Join literal texts and columns; empty columns are left out."""
    from pyspark.sql import functions as sf

    return sf.concat_ws("", *(sf.lit(part) if isinstance(part, str) else part.cast("string") for part in parts))


def _unless_same(before: str, name: str, other: str) -> Column:
    """Return a column's value after a text, nothing where it equals another column."""
    from pyspark.sql import functions as sf

    return sf.when(sf.col(name) != sf.col(other), sf.concat(sf.lit(before), sf.col(name).cast("string")))


def _test() -> Column:
    from pyspark.sql import functions as sf

    return sf.concat_ws("/", "method_id", "analyte")


def _limits() -> Column:
    from pyspark.sql import functions as sf

    return (
        sf.when(sf.col("spec_low").isNull(), _text("at most ", _number("spec_high")))
        .when(sf.col("spec_high").isNull(), _text("at least ", _number("spec_low")))
        .otherwise(_text(_number("spec_low"), " to ", _number("spec_high")))
    )


def _number(name: str) -> Column:
    """Return a number as a person writes it: at most four decimals, no trailing zeros."""
    from pyspark.sql import functions as sf

    return sf.regexp_replace(sf.col(name).try_cast("decimal(38,4)").cast("string"), r"\.?0+$", "")
