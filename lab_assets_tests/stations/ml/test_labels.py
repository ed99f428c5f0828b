"""Labels of one injection, from the versions of its results."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from lab_assets.contracts.ml import LABELS
from lab_assets.contracts.silver import INJECTIONS, RESULTS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.ml.labels import LABELS_STATION, labels_of
from lab_assets.stations.runner import update
from lab_assets_tests.stations.rows import at


def version(result: str, state: str, known: Any, *, number: int = 1, is_current: bool = True, **more: Any) -> dict[str, Any]:
    row = {"injection_id": "i", "result_id": result, "result_version": number, "is_current": is_current, "lot_id": "L", "method_id": "M"}
    return {**row, "analyte": result, "state": state, "known_time_utc": known, **more}


def said(versions: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(label["known_time_utc"], label["is_oos"], label["failing"]) for label in labels_of(versions)]


def test_a_label_is_known_when_the_last_of_the_values_is() -> None:
    assert said([version("API", "pass", at(3)), version("IMP", "fail", at(5))]) == [(at(5), True, ["IMP"])]
    assert said([version("API", "pass", at(3)), version("IMP", "pass", at(5))]) == [(at(5), False, [])]


def test_no_label_while_a_value_is_unjudged() -> None:
    assert said([version("API", "pass", at(3)), version("IMP", "unjudged", None)]) == []


def test_values_without_limits_do_not_speak() -> None:
    assert said([version("API", "no_spec", at(3))]) == []
    assert said([version("API", "no_spec", at(3)), version("IMP", "fail", at(5))]) == [(at(5), True, ["IMP"])]


def test_a_corrected_value_adds_a_label_and_keeps_the_earlier_one() -> None:
    first = version("API", "fail", at(3), is_current=False)
    corrected = version("API", "pass", at(9), number=2)
    assert said([first, corrected]) == [(at(3), True, ["API"]), (at(9), False, [])]


def test_a_correction_that_does_not_change_the_outcome_adds_nothing() -> None:
    first, again = version("API", "fail", at(3), is_current=False), version("API", "fail", at(9), number=2)
    assert said([first, again]) == [(at(3), True, ["API"])]


def test_a_value_that_was_without_limits_first_speaks_from_when_it_was_judged() -> None:
    first, judged = version("API", "no_spec", at(3), is_current=False), version("API", "fail", at(7), number=2)
    assert said([first, judged]) == [(at(7), True, ["API"])]


def test_an_injection_without_lot_has_no_label_until_the_lot_is_known() -> None:
    first, known = version("API", "fail", at(3), is_current=False, lot_id=None), version("API", "fail", at(4), number=2)
    assert said([first, known]) == [(at(4), True, ["API"])]


def test_the_order_of_results_does_not_matter() -> None:
    rows = [version("A", "fail", at(3)), version("B", "pass", at(5)), version("C", "fail", at(4))]
    assert {str(said(list(order))) for order in permutations(rows)} == {str([(at(5), True, ["A", "C"])])}


def test_labels_are_of_samples_only_and_follow_their_results(lakehouse: Lakehouse) -> None:
    """A standard is measured too and has no label; a corrected value adds one, and the rebuild equals it."""
    run = {"source": "hplc", "zone_known": True, "channels": ["UV"], "processing_id": "p", "source_sha256": "s", "injected_at_utc": at(2)}
    names = {"i": "sample", "std": "standard"}
    runs = [{**run, "injection_id": name, "injection_name": name, "sample_role": role} for name, role in names.items()]
    lakehouse.append(INJECTIONS, lakehouse.local_rows(INJECTIONS, runs))
    values = {"value": 1.0, "unit": "%"}
    first = {**version("API", "fail", at(3)), **values}
    lakehouse.append(RESULTS, lakehouse.local_rows(RESULTS, [first, {**first, "injection_id": "std", "result_id": "other"}]))
    update(lakehouse, LABELS_STATION)
    assert lakehouse.polars(LABELS)["injection_id"].to_list() == ["i"]
    rows = [{**first, "is_current": False, "superseded_by": 2}, {**version("API", "pass", at(9), number=2), **values}]
    lakehouse.replace_where(RESULTS, lakehouse.local_rows(RESULTS, rows), "`result_id` = 'API'")
    update(lakehouse, LABELS_STATION)
    labels = lakehouse.polars(LABELS).sort("known_time_utc")
    assert labels.select("known_time_utc", "is_oos").rows() == [(at(3), True), (at(9), False)]
    assert labels["injected_at_utc"].unique().to_list() == [at(2)]
    assert update(lakehouse, LABELS_STATION, rebuild=True).changed == 0
