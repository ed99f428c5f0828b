"""Plots of asset pages: what is drawn is what the rows say."""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow as pa
import pytest

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.gold import METHOD_TRENDS
from lab_assets.contracts.ml import DRIFT
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.plots import bars, chart, newest_chart, newest_drift

SVG = "{http://www.w3.org/2000/svg}"
AT = datetime(2025, 1, 1, tzinfo=UTC)


def drawn(svg: bytes, tag: str) -> list[ET.Element]:
    return ET.fromstring(svg).findall(f"{SVG}{tag}")  # noqa: S314 - our own


def drawing_in(markdown: str) -> bytes:
    found = re.search(r"base64,([^)]+)\)", markdown)
    assert found is not None
    return b64decode(found[1])


def append(lake: Lakehouse, table: TableContract, rows: list[dict[str, Any]]) -> None:
    full = [dict.fromkeys(table.column_names) | row for row in rows]
    lake.append(table, pa.Table.from_pylist(full, schema=table.arrow_schema()))


def test_bars_are_as_long_as_their_values_and_red_past_their_limit() -> None:
    svg = bars({"a<b": 2.0, "half": 1.0, "lost": float("nan")}, limits={"a<b": 1.5, "half": 1.0})
    first, second = drawn(svg, "rect")[1:]
    assert float(first.get("width", 0)) == pytest.approx(2 * float(second.get("width", 0)))
    assert first.get("fill") != second.get("fill")
    assert [text.text for text in drawn(svg, "text")] == ["a<b", "2", "half", "1"]
    assert len(drawn(svg, "line")) == 2


def test_a_chart_goes_through_its_points_and_marks_those_named() -> None:
    svg = chart([1.0, 3.0, 2.0], lines=[2.0, float("nan")], marked=[1])
    heights = [float(point.get("cy", 0)) for point in drawn(svg, "circle")]
    assert heights[1] < heights[2] < heights[0]
    colours = [point.get("fill") for point in drawn(svg, "circle")]
    assert colours[1] != colours[0] == colours[2]
    assert [float(line.get("y1", 0)) for line in drawn(svg, "line")] == [heights[2]]


def test_nothing_to_draw_is_a_picture_as_well() -> None:
    assert drawn(bars({}), "text") == []
    assert drawn(chart([]), "circle") == []


def test_the_newest_chart_is_drawn_in_order(lakehouse: Lakehouse) -> None:
    point = {"method_id": "ASSAY-01", "analyte": "API", "unit": "%", "in_baseline": False, "rules": []}
    rows = [
        point | {"result_id": f"r{no}", "product": "P", "point_no": no, "value": value, "plotted_at_utc": AT + timedelta(days=no)}
        for no, value in ((2, 101.0), (1, 99.0), (3, 100.0))
    ]
    other = point | {"result_id": "x", "product": None, "point_no": 1, "value": 5.0, "plotted_at_utc": AT}
    append(lakehouse, METHOD_TRENDS, [*rows, other])
    markdown = newest_chart(lakehouse)
    assert markdown.startswith("P, ASSAY-01, API, %: last 3 points")
    heights = [float(point.get("cy", 0)) for point in drawn(drawing_in(markdown), "circle")]
    assert heights[1] < heights[2] < heights[0]


def test_an_empty_table_says_so(lakehouse: Lakehouse) -> None:
    assert newest_chart(lakehouse) == "no points"
    assert drawn(drawing_in(newest_drift(lakehouse)), "text") == []


def test_the_newest_check_is_drawn_largest_first(lakehouse: Lakehouse) -> None:
    row = {column.name: {"string": "x", "bool": False, "float64": 0.0, "int64": 1}.get(column.kind) for column in DRIFT.columns}
    append(
        lakehouse,
        DRIFT,
        [
            row | {"check_id": check, "subject": subject, "psi": psi, "psi_limit": 0.2, "checked_at_utc": at, "drifted": psi > 0.2}
            for check, subject, psi, at in (
                ("old", "a", 9.0, AT),
                ("new", "a", 0.1, AT + timedelta(1)),
                ("new", "b", 0.5, AT + timedelta(1)),
            )
        ],
    )
    labels = [text.text for text in drawn(drawing_in(newest_drift(lakehouse)), "text")]
    assert labels == ["b", "0.5", "a", "0.1"]
