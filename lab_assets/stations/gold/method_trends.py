"""``gold.method_trends``: control charts of reportable values.

Belongs here: which values make one chart, and its baseline period. Does not belong here: limits and rules
(``lab_assets.domain.control_charts``), what follows from a hit (``gold_exceptions.py``).

A chart holds the values of the release samples of one product, method, analyte and unit in order of measurement. Its first 20
points are the baseline that freezes the limits; the points after it are judged by themselves, without the baseline's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.gold import METHOD_TRENDS
from lab_assets.contracts.silver import LOTS, RESULTS, SAMPLES
from lab_assets.domain.control_charts import ChartLimits, individuals_limits, nelson_hits
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.silver.reference import gathered, replace_on_news

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Row = Mapping[str, Any]

BASELINE_POINTS: Final = 20
_CHART: Final = ("product", "method_id", "analyte", "unit")
_LAST: Final = datetime.max.replace(tzinfo=UTC)


def update_method_trends(lake: Lakehouse) -> int:
    """Draw every chart anew when results, samples or lots have moved.

    Returns:
        Version of the table afterwards.
    """
    return replace_on_news(lake, METHOD_TRENDS, (RESULTS, SAMPLES, LOTS), lambda: _trends(lake).toArrow())


def _trends(lake: Lakehouse) -> DataFrame:
    released = lake.read(SAMPLES).where("sample_type = 'release'").select("sample_name")
    products = lake.read(LOTS).select("lot_id", "product")
    results = lake.read(RESULTS).where("method_id is not null").join(released, on="sample_name", how="left_semi")
    points = results.join(products, on="lot_id").select(*_CHART, "result_id", "measured_at_utc", "known_time_utc", "value")
    return gathered(_CHART, {"points": points}).mapInArrow(draw_charts, schema=METHOD_TRENDS.spark_ddl())


def draw_charts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Draw the charts of each batch; the function given to ``mapInArrow``."""
    import pyarrow as pa

    for batch in batches:
        rows = [row for chart in batch.to_pylist() for row in chart_rows(chart)]
        yield pa.RecordBatch.from_pylist(rows, schema=METHOD_TRENDS.arrow_schema())


def chart_rows(chart: Row) -> list[dict[str, Any]]:
    """Return the rows of ``gold.method_trends`` of one chart, in order.

    While the baseline is not complete, or when its values do not vary, there are no limits and no rules.

    Args:
        chart: ``product``, ``method_id``, ``analyte``, ``unit`` and the list ``points``.
    """
    points = sorted(chart["points"], key=lambda row: (row["measured_at_utc"] or row["known_time_utc"] or _LAST, row["result_id"]))
    values = [row["value"] for row in points]
    limits = _limits(values)
    later = nelson_hits(values[BASELINE_POINTS:], limits) if limits is not None else []
    hits: list[tuple[int, ...]] = [()] * (len(points) - len(later)) + list(later)
    return [
        {
            "result_id": row["result_id"],
            **{name: chart[name] for name in _CHART},
            "point_no": number,
            "measured_at_utc": row["measured_at_utc"],
            "value": row["value"],
            "centre": limits.centre if limits else None,
            "lower_limit": limits.lower if limits else None,
            "upper_limit": limits.upper if limits else None,
            "in_baseline": number <= BASELINE_POINTS,
            "rules": [f"nelson_{rule}" for rule in rules],
        }
        for number, (row, rules) in enumerate(zip(points, hits, strict=True), start=1)
    ]


def _limits(values: Sequence[float]) -> ChartLimits | None:
    """Return the limits frozen by the baseline; ``None`` without a complete one that varies."""
    baseline = values[:BASELINE_POINTS]
    if len(baseline) < BASELINE_POINTS or min(baseline) == max(baseline):
        return None
    return individuals_limits(baseline)
