"""Control charts: frozen baseline, rules after it, by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from lab_assets.contracts.gold import METHOD_TRENDS
from lab_assets.contracts.silver import LOTS, RESULTS, SAMPLES
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.gold.method_trends import chart_rows, update_method_trends
from lab_assets_tests.stations.silver.test_reference import at

Put = Callable[..., int]
BASELINE = [99.0, 101.0] * 10
"""Mean 100, mean moving range 2, so sigma = 2 / 1.128 = 1.773 and limits 100 -+ 5.319."""


def chart(values: Sequence[float]) -> dict[str, Any]:
    points = [
        {"result_id": f"r{number:03d}", "measured_at_utc": at(1) + timedelta(hours=number), "known_time_utc": None, "value": value}
        for number, value in enumerate(values)
    ]
    return {"product": "P", "method_id": "ASSAY-01", "analyte": "API", "unit": "%", "points": points}


def test_the_first_twenty_points_freeze_the_limits_and_later_points_are_judged_by_them() -> None:
    rows = chart_rows(chart([*BASELINE, 106.0, 100.5]))
    assert {(row["centre"], round(row["lower_limit"], 3), round(row["upper_limit"], 3)) for row in rows} == {(100.0, 94.681, 105.319)}
    assert [row["in_baseline"] for row in rows] == [True] * 20 + [False] * 2
    assert [row["rules"] for row in rows] == [[]] * 20 + [["nelson_1"], []]
    assert [row["point_no"] for row in rows] == list(range(1, 23))


def test_a_run_is_counted_from_the_first_point_after_the_baseline() -> None:
    """Nine on one side (Nelson 2) are complete at the ninth later point, although the baseline ends on that side too."""
    rows = chart_rows(chart([*BASELINE, *[100.5, 100.6] * 5]))
    assert [row["point_no"] for row in rows if "nelson_2" in row["rules"]] == [29, 30]


@pytest.mark.parametrize("values", [BASELINE[:19], [100.0] * 25])
def test_without_a_complete_baseline_that_varies_there_are_points_but_no_limits(values: list[float]) -> None:
    rows = chart_rows(chart(values))
    assert len(rows) == len(values)
    assert all(row["centre"] is None and row["rules"] == [] for row in rows)


def test_points_are_ordered_by_time_and_those_without_time_come_last() -> None:
    told = chart([1.0, 2.0, 3.0])
    told["points"][0]["measured_at_utc"] = None
    assert [row["value"] for row in chart_rows({**told, "points": told["points"][::-1]})] == [2.0, 3.0, 1.0]


@pytest.mark.spark
def test_charts_hold_release_samples_by_product_method_analyte_and_unit(lakehouse: Lakehouse, put: Put) -> None:
    put(LOTS, {"lot_id": "A", "product": "P", "recorded_at_utc": at(1)}, {"lot_id": "B", "product": "Q", "recorded_at_utc": at(1)})
    kinds = (("S-A", "A", "release"), ("S-B", "B", "release"), ("ST-A", "A", "stability"))
    put(SAMPLES, *({"sample_name": name, "lot_id": lot, "sample_type": kind, "recorded_at_utc": at(1)} for name, lot, kind in kinds))

    def result(number: int, value: float, sample: str = "S-A", lot: str = "A") -> dict[str, Any]:
        when = at(1) + timedelta(hours=number)
        row = {"result_id": f"{sample}-{number}", "sample_name": sample, "lot_id": lot, "method_id": "ASSAY-01", "analyte": "API"}
        return {**row, "value": value, "unit": "%", "state": "pass", "measured_at_utc": when}

    put(RESULTS, *(result(number, value) for number, value in enumerate(BASELINE)), result(1, 90.0, "S-B", "B"), result(1, 80.0, "ST-A"))
    first = update_method_trends(lakehouse)
    assert update_method_trends(lakehouse) == first
    put(RESULTS, result(20, 94.0))
    update_method_trends(lakehouse)
    rows = lakehouse.polars(METHOD_TRENDS).sort("product", "point_no").to_dicts()
    assert [row["product"] for row in rows] == ["P"] * 21 + ["Q"]
    assert (rows[20]["result_id"], rows[20]["rules"], rows[20]["centre"]) == ("S-A-20", ["nelson_1"], 100.0)
