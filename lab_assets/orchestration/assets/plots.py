"""Small plots for asset pages, where a trend says more than a number.

Belongs here: drawing, and reading the few rows that are drawn. Does not belong here: the rows of a report (``reports.py``), the charts
of the service's pages.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from typing import Any, Final

from lab_assets.lake.lakehouse import Lakehouse

DAYS: Final = 30
POINTS: Final = 60
SUBJECTS: Final = 30
_WIDTH: Final = 640
_ROW: Final = 18
_INK, _GREY, _RED = "#1f4e79", "#9aa5b1", "#b3261e"


def picture(drawing: bytes, *, alt: str, kind: str = "svg+xml") -> str:
    """Return an image as Markdown that holds it.

    Args:
        drawing: Bytes of the image.
        alt: What it shows, for who cannot see it.
        kind: Subtype of the image's media type.
    """
    from base64 import b64encode

    return f"![{alt}](data:image/{kind};base64,{b64encode(drawing).decode()})"


def bars(values: Mapping[str, float], *, limits: Mapping[str, float] | None = None) -> bytes:
    """Draw one horizontal bar a value, with a mark at its limit where there is one; a bar past its limit is red.

    Args:
        values: Values of at least 0 by label, in the order drawn; those that are not finite are left out.
        limits: Limits by label.

    Returns:
        SVG.
    """
    limits = limits or {}
    shown = {label: value for label, value in values.items() if isfinite(value)}
    longest = max([*shown.values(), *(limits.get(label, 0.0) for label in shown), 0.0]) or 1.0
    scale = (_WIDTH - 260) / longest
    parts: list[str] = []
    for number, (label, value) in enumerate(shown.items()):
        top, limit = number * _ROW, limits.get(label)
        colour = _RED if limit is not None and value > limit else _INK
        parts.append(f'<text x="195" y="{top + 13}" text-anchor="end">{_escaped(label)}</text>')
        parts.append(f'<rect x="200" y="{top + 3}" width="{max(value * scale, 1):.1f}" height="{_ROW - 6}" fill="{colour}"/>')
        parts.append(f'<text x="{204 + value * scale:.1f}" y="{top + 13}">{value:.4g}</text>')
        if limit is not None:
            place = 200 + limit * scale
            parts.append(
                f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{top + 1}" y2="{top + _ROW - 1}" stroke="{_GREY}" stroke-width="2"/>'
            )
    return _svg(parts, height=max(len(shown), 1) * _ROW)


def chart(values: Sequence[float], *, lines: Sequence[float] = (), marked: Sequence[int] = ()) -> bytes:
    """Draw values in order as a line with points, horizontal lines across, and some points marked.

    Args:
        values: Finite values, shape (n,).
        lines: Heights of the horizontal lines; those that are not finite are left out.
        marked: Indices of the marked points.

    Returns:
        SVG.
    """
    height, across = 160, [line for line in lines if isfinite(line)]
    low, high = min([*values, *across], default=0.0), max([*values, *across], default=1.0)
    span = (high - low) or 1.0

    def place(index: int, value: float) -> tuple[float, float]:
        return 60 + index * (_WIDTH - 80) / max(len(values) - 1, 1), 10 + (high - value) / span * (height - 20)

    parts = [
        f'<text x="55" y="14" text-anchor="end">{high:.5g}</text>',
        f'<text x="55" y="{height - 6}" text-anchor="end">{low:.5g}</text>',
    ]
    for line in across:
        y = place(0, line)[1]
        parts.append(f'<line x1="60" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GREY}" stroke-dasharray="4 3"/>')
    points = [place(index, value) for index, value in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{_INK}"/>')
    for index, (x, y) in enumerate(points):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_RED if index in marked else _INK}"/>')
    return _svg(parts, height=height)


def _svg(parts: Sequence[str], *, height: int) -> bytes:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="11">'
    return f'{head}<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>'.encode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def files_by_day(lake: Lakehouse) -> str:
    """Draw how many files arrived on each of the last 30 days that had any."""
    import polars as pl

    from lab_assets.contracts.bronze import FILES

    since = datetime.now(UTC) - timedelta(days=DAYS)
    arrived = lake.scan(FILES).filter(pl.col("arrived_at_utc") >= since).select(day=pl.col("arrived_at_utc").dt.date()).collect()
    days: list[tuple[date, int]] = arrived.group_by("day").len().sort("day").rows()
    return picture(bars({day.isoformat(): float(count) for day, count in days}), alt="files that arrived, by day")


def newest_chart(lake: Lakehouse) -> str:
    """Draw the control chart that got the newest point: its last 60 points, centre and limits; points that complete a rule are red."""
    import polars as pl

    from lab_assets.contracts.gold import METHOD_TRENDS

    rows = lake.scan(METHOD_TRENDS)
    newest = rows.select("product", "method_id", "analyte", "unit", "plotted_at_utc").drop_nulls("plotted_at_utc")
    last = newest.top_k(1, by="plotted_at_utc").collect()
    if last.is_empty():
        return "no points"
    which: dict[str, Any] = last.row(0, named=True)
    same = [pl.col(name).eq_missing(pl.lit(which[name])) for name in ("product", "method_id", "analyte")]
    points = rows.filter(same).select("point_no", "value", "centre", "lower_limit", "upper_limit", "rules").collect()
    points = points.sort("point_no").tail(POINTS)
    across = [value for value in points.select("centre", "lower_limit", "upper_limit").row(-1) if value is not None]
    marked = [index for index, rules in enumerate(points["rules"].to_list()) if rules]
    words = f"{which['product'] or 'no product'}, {which['method_id']}, {which['analyte']}, {which['unit']}: last {points.height} points"
    return f"{words}\n\n{picture(chart(points['value'].to_list(), lines=across, marked=marked), alt=words)}"


def newest_drift(lake: Lakehouse) -> str:
    """Draw the population stability index of each subject of the newest check, largest first, with its limit."""
    import polars as pl

    from lab_assets.contracts.ml import DRIFT

    rows = lake.polars(DRIFT, ["subject", "psi", "psi_limit", "checked_at_utc"]).drop_nulls("psi")
    newest = rows.filter(pl.col("checked_at_utc") == pl.col("checked_at_utc").max()).sort("psi", descending=True).head(SUBJECTS)
    values = dict(newest.select("subject", "psi").iter_rows())
    limits = dict(newest.drop_nulls("psi_limit").select("subject", "psi_limit").iter_rows())
    return picture(bars(values, limits=limits), alt="population stability index by subject, with its limit")


PLOTS: Final[Mapping[str, Callable[[Lakehouse], str]]] = {
    "bronze.files": files_by_day,
    "gold.method_trends": newest_chart,
    "ml.drift": newest_drift,
}
"""What is drawn on the page of a table, as Markdown."""
