"""Labels of one injection, from the versions of its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import permutations
from typing import Any

from lab_assets.contracts.bronze import LIMS_SEQUENCES
from lab_assets.contracts.ml import LABELS
from lab_assets.contracts.silver import INJECTIONS, RESULTS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.ml.labels import LABELS_STATION, labels_of
from lab_assets.stations.runner import update
from lab_assets_tests.stations.rows import at, putting


def version(result: str, state: str, known: Any, *, number: int = 1, is_current: bool = True, **more: Any) -> dict[str, Any]:
    row = {"injection_id": "i", "result_id": result, "result_version": number, "is_current": is_current, "lot_id": "L", "method_id": "M"}
    return {**row, "analyte": result, "state": state, "known_time_utc": known, "withdrawn_at_utc": None, **more}


def said(
    versions: list[dict[str, Any]], *, is_of_sample: Callable[[datetime], bool] = lambda _moment: True, planned: Sequence[datetime] = ()
) -> list[tuple[Any, ...]]:
    return [(label["known_time_utc"], label["is_oos"], label["failing"]) for label in labels_of(versions, is_of_sample, planned)]


def test_a_label_says_what_the_values_known_by_then_say() -> None:
    """A value by a limit or window learned later adds a label; what was known before it stays."""
    assert said([version("API", "pass", at(3)), version("IMP", "fail", at(5))]) == [(at(3), False, []), (at(5), True, ["IMP"])]
    assert said([version("API", "pass", at(3)), version("IMP", "pass", at(3))]) == [(at(3), False, [])]


def test_no_label_while_values_are_unjudged() -> None:
    assert said([version("API", "unjudged", None), version("IMP", "unjudged", None)]) == []


def test_a_label_stays_though_a_standard_is_planned_afterwards() -> None:
    first, again = version("API", "fail", at(3), is_current=False), version("API", "unjudged", None, number=2)
    assert said([first, again]) == [(at(3), True, ["API"])]


def test_a_withdrawn_value_speaks_until_it_was_withdrawn() -> None:
    """The method was corrected to one without limits: nobody can say any more how the run turned out."""
    first = version("API", "fail", at(3), is_current=False, withdrawn_at_utc=at(6))
    assert said([first]) == [(at(3), True, ["API"]), (at(6), None, [])]
    other = version("IMP", "pass", at(6))
    assert said([first, other]) == [(at(3), True, ["API"]), (at(6), False, [])]


def test_a_run_has_a_label_only_while_it_is_known_as_one_of_a_sample() -> None:
    """Not known by any worklist until 4, corrected to a standard at 8."""
    known = version("API", "fail", at(3), is_current=False, withdrawn_at_utc=at(8))
    labels = said([known], is_of_sample=lambda moment: at(4) <= moment < at(8), planned=[at(4), at(8)])
    assert labels == [(at(4), True, ["API"]), (at(8), None, [])]


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
    assert {str(said(list(order))) for order in permutations(rows)} == {str([(at(3), True, ["A"]), (at(4), True, ["A", "C"])])}


def test_labels_are_of_samples_only_and_follow_their_results(lakehouse: Lakehouse) -> None:
    """A standard is measured too and has no label; a corrected value adds one, and the rebuild equals it."""
    run = {"source": "hplc", "zone_known": True, "channels": ["UV"], "processing_id": "p", "source_sha256": "s", "injected_at_utc": at(2)}
    names = {"i": "sample", "std": "standard"}
    runs = [{**run, "injection_id": name, "injection_name": name, "sample_role": role} for name, role in names.items()]
    lakehouse.append(INJECTIONS, lakehouse.local_rows(INJECTIONS, runs))
    planned = {"sequence_id": "S", "method_id": "M", "recorded_at_utc": at(1)}
    putting(lakehouse)(LIMS_SEQUENCES, *({**planned, "injection_name": name, "sample_role": role} for name, role in names.items()))
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
    putting(lakehouse)(LIMS_SEQUENCES, {**planned, "injection_name": "i", "sample_role": "standard", "recorded_at_utc": at(10)}, batch=2)
    update(lakehouse, LABELS_STATION)
    assert lakehouse.polars(LABELS).sort("known_time_utc")["is_oos"].to_list() == [True, False, None]
    assert update(lakehouse, LABELS_STATION, rebuild=True).changed == 0
