"""Control charts: frozen baseline, rules after it, by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.gold import METHOD_TRENDS
from lab_assets.contracts.silver import LOTS, RESULTS, SAMPLES
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.gold.method_trends import BASELINE_POINTS, LOOK_BACK, METHOD_TRENDS_STATION, chart_rows
from lab_assets.stations.runner import update
from lab_assets_tests.stations.gold.rows import Change, assert_content_follows_inputs, at

Put = Callable[..., int]
BASELINE = [99.0, 101.0] * 10
"""Mean 100, mean moving range 2, so sigma = 2 / 1.128 = 1.773 and limits 100 -+ 5.319."""


def chart(values: Sequence[float]) -> dict[str, Any]:
    points = [
        {"result_id": f"r{number:03d}", "lot_id": "A", "measured_at_utc": (when := at(1) + timedelta(hours=number)), "value": value}
        | {"plotted_at_utc": when}
        for number, value in enumerate(values)
    ]
    return {"product": "P", "method_id": "ASSAY-01", "analyte": "API", "unit": "%", "points": points}


def test_the_first_twenty_points_freeze_the_limits_that_judge_later_points() -> None:
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
    whole = chart([1.0, 2.0, 3.0])
    whole["points"][0]["plotted_at_utc"] = None
    assert [row["value"] for row in chart_rows({**whole, "points": whole["points"][::-1]})] == [2.0, 3.0, 1.0]


@pytest.mark.parametrize("later", [[100.5, 100.6] * 10, [99.9, 100.1] * 10, [105.0, 94.9] * 10, [100.0 + 0.1 * n for n in range(20)]])
def test_a_chart_continued_from_what_stands_is_the_chart_drawn_whole(later: list[float]) -> None:
    """Rules that look back fifteen, fourteen and nine points find the same wherever the chart is taken up again."""
    values = [*BASELINE, *later]
    whole = chart_rows(chart(values))
    assert any(row["rules"] for row in whole)
    for split in range(BASELINE_POINTS, len(values)):
        before = [row for row in whole[:split] if row["point_no"] <= BASELINE_POINTS or row["point_no"] > split - LOOK_BACK]
        points = chart(values)["points"][split:]
        assert chart_rows({**chart([]), "points": points}, before=before) == whole[split:]


def test_charts_hold_release_samples_by_product_method_analyte_and_unit(lakehouse: Lakehouse, put: Put) -> None:
    put(LOTS, {"lot_id": "A", "product": "P", "recorded_at_utc": at(1)}, {"lot_id": "B", "product": "Q", "recorded_at_utc": at(1)})
    kinds = (("S-A", "A", "release"), ("S-B", "B", "release"), ("ST-A", "A", "stability"))
    put(SAMPLES, *({"sample_name": name, "lot_id": lot, "sample_type": kind, "recorded_at_utc": at(1)} for name, lot, kind in kinds))

    def result(number: int, value: float, sample: str = "S-A", lot: str = "A") -> dict[str, Any]:
        when = at(1) + timedelta(hours=number)
        row = {"result_id": f"{sample}-{number}", "sample_name": sample, "lot_id": lot, "method_id": "ASSAY-01", "analyte": "API"}
        version = {"result_version": 1, "is_current": True}
        return {**row, **version, "value": value, "unit": "%", "state": "pass", "measured_at_utc": when}

    put(RESULTS, *(result(number, value) for number, value in enumerate(BASELINE)), result(1, 90.0, "S-B", "B"), result(1, 80.0, "ST-A"))
    first = update(lakehouse, METHOD_TRENDS_STATION).version
    assert update(lakehouse, METHOD_TRENDS_STATION).version == first
    put(RESULTS, result(20, 94.0))
    update(lakehouse, METHOD_TRENDS_STATION)
    rows = lakehouse.polars(METHOD_TRENDS).sort("product", "point_no").to_dicts()
    assert [row["product"] for row in rows] == ["P"] * 21 + ["Q"]
    assert (rows[20]["result_id"], rows[20]["rules"], rows[20]["centre"]) == ("S-A-20", ["nelson_1"], 100.0)


def laboratory(put: Put) -> None:
    put(LOTS, {"lot_id": "A", "product": "P", "recorded_at_utc": at(1)})
    put(SAMPLES, {"sample_name": "S", "lot_id": "A", "sample_type": "release", "recorded_at_utc": at(1)})


def reported(number: float, value: float, *, version: int = 1, is_current: bool = True, state: str = "pass") -> dict[str, Any]:
    row = {"result_id": f"r{number}", "sample_name": "S", "lot_id": "A", "method_id": "ASSAY-01", "analyte": "API", "unit": "%"}
    versions = {"result_version": version, "is_current": is_current}
    return {**row, **versions, "value": value, "state": state, "measured_at_utc": at(1) + timedelta(hours=number)}


def test_a_point_at_the_end_appends_one_row_and_one_in_the_past_moves_what_follows(lakehouse: Lakehouse, put: Put) -> None:
    laboratory(put)
    put(RESULTS, *(reported(number, value) for number, value in enumerate([*BASELINE, *[100.0, 100.5] * 10])))
    update(lakehouse, METHOD_TRENDS_STATION)
    put(RESULTS, reported(40, 106.0))
    last = update(lakehouse, METHOD_TRENDS_STATION)
    assert (last.groups, last.changed, last.rows) == (1, 1, 1)
    assert lakehouse.history(METHOD_TRENDS)[0]["operationParameters"]["mode"] == "Append"
    put(RESULTS, reported(35.5, 100.0))
    past = update(lakehouse, METHOD_TRENDS_STATION)
    assert (past.groups, past.changed) == (6, 6)
    rows = lakehouse.polars(METHOD_TRENDS).sort("point_no").to_dicts()
    assert [row["point_no"] for row in rows] == list(range(1, 43))
    assert [row["result_id"] for row in rows][35:] == ["r35", "r35.5", "r36", "r37", "r38", "r39", "r40"]


def test_only_reportable_current_values_are_points(lakehouse: Lakehouse, put: Put) -> None:
    laboratory(put)
    put(
        RESULTS,
        *(reported(1, 99.0, is_current=False), reported(1, 101.0, version=2)),
        *(reported(number, 50.0, state=state) for number, state in enumerate(("void", "not_reportable", "unjudged"), start=2)),
        *(reported(5, 102.0, state="no_spec"), reported(6, 80.0, state="fail")),
    )
    update(lakehouse, METHOD_TRENDS_STATION)
    assert lakehouse.polars(METHOD_TRENDS).sort("point_no")["value"].to_list() == [101.0, 102.0, 80.0]


def history(random: Random) -> list[list[Change]]:
    """Return batches of results of two lots in no order of time, corrections among them, then single changes of what stands."""
    lots = [Change(LOTS, {"lot_id": name, "product": "P", "recorded_at_utc": at(1)}) for name in "AB"]
    changes = [[*lots, *(a_sample(random, number, kind="release") for number in range(3))]]
    for number in range(random.randint(15, 60)):
        first = random_result(random, number)
        changes.append([Change(RESULTS, first)])
        if random.random() < 0.2:
            corrected = {**random_result(random, number), "result_version": 2}
            changes.append([Change(RESULTS, {**first, "is_current": False}), Change(RESULTS, corrected)])
    changes.insert(random.randrange(len(changes)), changes.pop(0))
    size = len(changes) // 3 + 1
    batches = [[change for together in changes[start : start + size] for change in together] for start in range(0, len(changes), size)]
    for _ in range(4):
        lot = {"lot_id": random.choice("AB"), "product": random.choice("PPQ"), "recorded_at_utc": at(1)}
        gone = {"result_id": f"r{random.randrange(60)}", "result_version": 1}
        kind = random.choice(["release", "stability"])
        batches += [
            [a_sample(random, random.randrange(3), kind=kind, is_gone=random.random() < 0.5)],
            [Change(LOTS, lot, is_gone=random.random() < 0.3)],
            [Change(RESULTS, gone, is_gone=True)],
            [Change(RESULTS, random_result(random, random.randrange(60, 90)))],
        ]
    return batches


def a_sample(random: Random, number: int, *, kind: str, is_gone: bool = False) -> Change:
    row = {"sample_name": f"S{number}", "sample_type": kind, "lot_id": random.choice("AB"), "recorded_at_utc": at(1)}
    return Change(SAMPLES, row, is_gone)


def random_result(random: Random, number: int) -> dict[str, Any]:
    hours = random.choice([number, number, number, random.randrange(70)])
    row = {"result_id": f"r{number}", "sample_name": f"S{random.randrange(3)}", "lot_id": random.choice("AAB"), "method_id": "ASSAY-01"}
    times = {"measured_at_utc": random.choice([at(1) + timedelta(hours=hours)] * 9 + [None]), "known_time_utc": at(2)}
    versions = {"result_version": 1, "is_current": True, "state": random.choice(["pass"] * 5 + ["unjudged"])}
    return {
        **row,
        **times,
        **versions,
        "analyte": "API",
        "unit": random.choice(["%"] * 9 + ["mg"]),
        "value": random.choice([99.0, 101.0, 100.4, 100.6, 106.0, 94.0]),
    }


KEYS = {LOTS.full_name: ["lot_id"], SAMPLES.full_name: ["sample_name"], RESULTS.full_name: ["result_id", "result_version"]}


@settings(max_examples=4)
@given(st.integers(0, 2**32).map(lambda seed: history(Random(seed))))
def test_charts_follow_from_their_inputs_in_whichever_order_these_came(batches: list[list[Change]]) -> None:
    assert_content_follows_inputs(METHOD_TRENDS_STATION, KEYS, batches)
