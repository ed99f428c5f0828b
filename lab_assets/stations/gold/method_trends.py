"""``gold.method_trends``: control charts of reportable values.

Belongs here: which values make one chart, its baseline period, from which point on a chart is drawn anew. Does not belong here: limits
and rules (``lab_assets.domain.control_charts``), what follows from a hit (``exceptions.py``).

A chart holds the reportable values of the release samples of one product, method, analyte and unit in order of measurement: void,
not reportable and still unjudged ones are none. Its first 20 points are the baseline that freezes the limits; the points after it are
judged by themselves, without the baseline's.

A point is a group of its own. News of a point touches it and the points after it, or the whole chart where it lies in the baseline; so
what is not touched stands as it is, and a new point at the end is one row appended.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.gold import METHOD_TRENDS
from lab_assets.contracts.silver import LOTS, RESULTS, SAMPLES
from lab_assets.domain.control_charts import ChartLimits, individuals_limits, nelson_hits
from lab_assets.domain.in_force import Row
from lab_assets.lake.among import among
from lab_assets.stations.gold.frames import target_rows
from lab_assets.stations.station import Group, Input, Station, of

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader

BASELINE_POINTS: Final = 20
LOOK_BACK: Final = 14
"""Points before a point that a Nelson rule may need: rule 7 asks for fifteen in a row."""
_REPORTABLE: Final = ("pass", "fail", "no_spec")
_CHART: Final = ("product", "method_id", "analyte", "unit")
_LAST: Final = datetime.max.replace(tzinfo=UTC)


def _touched_by_results(read: StationReader, changes: Changes) -> pl.DataFrame:
    return _from_points_on(read, changes.removed["result_id"], changes.added)


def _touched_by_samples(read: StationReader, changes: Changes) -> pl.DataFrame:
    results = read.keyed(RESULTS, sample_name=changes.both["sample_name"])
    return _from_points_on(read, results["result_id"], results)


def _touched_by_lots(read: StationReader, changes: Changes) -> pl.DataFrame:
    results = read.keyed(RESULTS, lot_id=changes.both["lot_id"])
    return _from_points_on(read, results["result_id"], results)


def _from_points_on(read: StationReader, result_ids: pl.Series, results: pl.DataFrame) -> pl.DataFrame:
    """Return the points where some results stand or belong, and those that follow from them.

    Args:
        read: Reads the standing charts.
        result_ids: Results that may stand on a chart.
        results: Results as they are now.
    """
    import polars as pl

    columns = [*_CHART, "result_id", "plotted_at_utc"]
    were = read.keyed(METHOD_TRENDS, columns, result_id=result_ids)
    touched = pl.concat([_points(read, results).select(columns), were]).with_columns(pl.col("plotted_at_utc").fill_null(_LAST))
    if touched.is_empty():
        return touched.select("result_id")
    first = touched.sort("plotted_at_utc", "result_id").unique(_CHART, keep="first")
    at, start = pl.col("plotted_at_utc"), pl.col("plotted_at_utc_first")
    # of points before the first touched one only those of the baseline matter: whether it lies among them
    needed = at.is_null() | (at >= first["plotted_at_utc"].min()) | (pl.col("point_no") <= BASELINE_POINTS)
    standing = _standing(read, first, ["plotted_at_utc"], needed).with_columns(at.fill_null(_LAST)).join(first, on=_CHART, suffix="_first")
    is_later = (at > start) | ((at == start) & (pl.col("result_id") >= pl.col("result_id_first")))
    before = (~is_later).sum().over(_CHART)
    follow = standing.filter(is_later | (before < BASELINE_POINTS))
    return pl.concat([touched.select("result_id"), follow.select("result_id")]).unique()


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Make points from the results and from what stands on their charts before them."""
    import polars as pl

    points = _points(read, read.keyed(RESULTS, result_id=keys["result_id"]))
    standing = _standing(read, points, ["value"]).join(keys, on="result_id", how="anti")
    number = pl.col("point_no")
    needed = standing.filter((number <= BASELINE_POINTS) | (number > number.max().over(_CHART) - LOOK_BACK)).sort("point_no")
    before = {chart: rows.to_dicts() for chart, rows in needed.group_by(_CHART)}
    made = [
        target_rows(read, chart_rows({**dict(zip(_CHART, chart, strict=True)), "points": rows.to_dicts()}, before=before.get(chart, ())))
        for chart, rows in points.group_by(_CHART, maintain_order=True)
    ]
    return pl.concat(made) if made else target_rows(read, [])


def _points(read: StationReader, results: pl.DataFrame) -> pl.DataFrame:
    """Return those of some results that are points, with their chart and the time they are ordered by."""
    import polars as pl

    reportable = results.filter(pl.col("is_current"), pl.col("method_id").is_not_null(), pl.col("state").is_in(_REPORTABLE))
    samples = read.keyed(SAMPLES, ["sample_name", "sample_type"], sample_name=reportable["sample_name"])
    released = reportable.join(samples.filter(pl.col("sample_type") == "release"), on="sample_name", how="semi")
    lots = read.keyed(LOTS, ["lot_id", "product"], lot_id=released["lot_id"])
    return released.join(lots, on="lot_id").with_columns(plotted_at_utc=pl.coalesce("measured_at_utc", "known_time_utc"))


def _standing(read: StationReader, charts: pl.DataFrame, columns: Sequence[str], where: pl.Expr | None = None) -> pl.DataFrame:
    """Return the points that stand on some charts, or those of them that a condition holds for."""
    import polars as pl

    wanted = [*_CHART, "result_id", "point_no", *columns]
    if charts.is_empty():
        return read.empty(METHOD_TRENDS, wanted)
    is_on_chart = pl.all_horizontal(among(name, charts[name]) for name in _CHART)
    rows = read.rows(METHOD_TRENDS, wanted, where=is_on_chart if where is None else is_on_chart & where)
    return rows.join(charts, on=_CHART, how="semi")


def chart_rows(chart: Row, *, before: Sequence[Row] = ()) -> list[dict[str, Any]]:
    """Return the rows of ``gold.method_trends`` of one chart, in order.

    While the baseline is not complete, or when its values do not vary, there are no limits and no rules.

    Args:
        chart: ``product``, ``method_id``, ``analyte``, ``unit`` and the list ``points``.
        before: ``point_no`` and ``value`` of points that stand before these, in order: the baseline, whole, and the last ``LOOK_BACK``.
            Empty: the points are the whole chart.
    """
    points = sorted(chart["points"], key=lambda row: (row["plotted_at_utc"] or _LAST, row["result_id"]))
    start = before[-1]["point_no"] if before else 0
    numbered = list(enumerate(points, start=start + 1))
    baseline = [row["value"] for row in before if row["point_no"] <= BASELINE_POINTS]
    limits = _limits([*baseline, *(row["value"] for row in points[: BASELINE_POINTS - len(baseline)])])
    seen = [row["value"] for row in before if row["point_no"] > BASELINE_POINTS]
    later = [row["value"] for number, row in numbered if number > BASELINE_POINTS]
    found = nelson_hits([*seen, *later], limits)[len(seen) :] if limits is not None else []
    hits: list[tuple[int, ...]] = [()] * (len(points) - len(found)) + list(found)
    return [
        {
            "result_id": row["result_id"],
            **{name: chart[name] for name in _CHART},
            "point_no": number,
            "lot_id": row["lot_id"],
            "measured_at_utc": row["measured_at_utc"],
            "plotted_at_utc": row["plotted_at_utc"],
            "value": row["value"],
            "centre": limits.centre if limits else None,
            "lower_limit": limits.lower if limits else None,
            "upper_limit": limits.upper if limits else None,
            "in_baseline": number <= BASELINE_POINTS,
            "rules": [f"nelson_{rule}" for rule in rules],
        }
        for (number, row), rules in zip(numbered, hits, strict=True)
    ]


def _limits(baseline: Sequence[float]) -> ChartLimits | None:
    """Return the limits frozen by the baseline; ``None`` without a complete one that varies."""
    if len(baseline) < BASELINE_POINTS or min(baseline) == max(baseline):
        return None
    return individuals_limits(baseline)


_SELECTED: Final = (
    *of(RESULTS, "lot_id", "sample_name", "method_id", "analyte", "unit", "state", "is_current"),
    *of(SAMPLES, "sample_type"),
    *of(LOTS, "product"),
)
_ORDERED: Final = (*_SELECTED, *of(RESULTS, "result_id", "measured_at_utc", "known_time_utc"))
METHOD_TRENDS_STATION: Final = Station(
    target=METHOD_TRENDS,
    inputs=(
        Input(
            table=RESULTS,
            columns=(
                *("result_id", "sample_name", "lot_id", "method_id", "analyte", "value", "unit", "state", "is_current"),
                *("measured_at_utc", "known_time_utc"),
            ),
            touches=_touched_by_results,
        ),
        Input(table=SAMPLES, columns=("sample_name", "sample_type"), touches=_touched_by_samples),
        Input(table=LOTS, columns=("lot_id", "product"), touches=_touched_by_lots),
    ),
    make=_make,
    group=Group(columns=("result_id",)),
    at_once=sys.maxsize,  # a chart is continued from what stands: made in portions, it would be continued from what is about to change
    feeds={
        "result_id": of(RESULTS, "result_id"),
        **{name: of(RESULTS, name, "is_current") for name in ("method_id", "analyte", "unit", "lot_id", "measured_at_utc", "value")},
        "product": of(LOTS, "product"),
        "plotted_at_utc": of(RESULTS, "measured_at_utc", "known_time_utc", "is_current"),
        **dict.fromkeys(("point_no", "in_baseline"), _ORDERED),
        **dict.fromkeys(("centre", "lower_limit", "upper_limit", "rules"), (*_ORDERED, *of(RESULTS, "value"))),
    },
)
