"""Suitability of sequences by their standards, by hand."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from lab_assets.contracts.gold import SUITABILITY
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.gold.suitability import SUITABILITY_STATION, suitability_row
from lab_assets.stations.runner import update
from lab_assets_tests.stations.gold.rows import Change, assert_content_follows_inputs, at, histories, now_and_then

Put = Callable[..., int]


def peak(number: int, area: float, *, tailing: float | None = 1.2, channel: str = "A", weight_mg: float | None = None) -> dict[str, Any]:
    row = {"injection_id": f"i{number}", "channel": channel, "peak_no": 1, "area": area, "tailing": tailing, "plates": 9000.0 + number}
    context = {"method_id": "ASSAY-01", "instrument_id": "LC-01", "injected_at_utc": at(1, number)}
    return {**row, **context, "weight_mg": weight_mg, "standard_purity_pct": None}


def system(*peaks: dict[str, Any]) -> dict[str, Any]:
    return {"sequence_id": "SEQ-1", "analyte": "API", "peaks": list(peaks)}


def test_a_repeatable_symmetric_system_passes() -> None:
    """99, 100, 101: mean 100, standard deviation 1, so 1 %."""
    row = suitability_row(system(peak(2, 100.0), peak(1, 99.0), peak(3, 101.0)))
    assert (row["passed"], row["failures"], row["injections"]) == (True, [], 3)
    assert row["area_rsd_pct"] == pytest.approx(1.0)
    assert (row["tailing_max"], row["plates_min"], row["started_at_utc"]) == (1.2, 9001.0, at(1, 1))


def test_spread_and_both_ends_of_the_symmetry_fail_by_name() -> None:
    """97, 100, 103: 3 %."""
    row = suitability_row(system(peak(1, 97.0, tailing=0.7), peak(2, 100.0), peak(3, 103.0, tailing=2.0)))
    assert not row["passed"]
    assert row["failures"] == ["tailing 2 > 1.8", "rsd_pct 3 > 2", "tailing 0.7 < 0.8"]


def test_what_cannot_be_measured_fails() -> None:
    row = suitability_row(system(peak(1, 97.0, tailing=None)))
    assert row["failures"] == ["tailing not measured", "rsd_pct not measured"]
    assert row["area_rsd_pct"] is None


def test_two_weighings_are_compared_per_mg() -> None:
    assert suitability_row(system(peak(1, 100.0, weight_mg=20.0), peak(2, 110.0, weight_mg=22.0)))["area_rsd_pct"] == pytest.approx(0.0)


def test_channels_are_not_mixed_and_the_worst_counts() -> None:
    """Channel A repeats exactly; channel B 49 and 51: mean 50, sd 1.414, 2.83 %."""
    peaks = (peak(1, 100.0), peak(2, 100.0), peak(1, 49.0, channel="B"), peak(2, 51.0, channel="B"))
    row = suitability_row(system(*peaks))
    assert (row["injections"], row["area_rsd_pct"]) == (2, pytest.approx(2.828, abs=1e-3))


def test_each_sequence_is_judged_by_its_standards_alone(lakehouse: Lakehouse, put: Put) -> None:
    def injection(number: int, role: str, sequence: str | None = "SEQ-1") -> dict[str, Any]:
        row = {"injection_id": f"i{number}", "injection_name": f"n{number}", "sample_role": role, "sequence_id": sequence}
        return {**row, "zone_known": True, "channels": ["A"], "processing_id": "none", "injected_at_utc": at(1, number), "method_id": "M"}

    def found(number: int, area: float) -> dict[str, Any]:
        row = {
            "injection_id": f"i{number}",
            "injection_name": f"n{number}",
            "channel": "A",
            "peak_no": 1,
            "analyte": "API",
            "is_current": True,
        }
        return {**row, "integration": "detected", "area": area, "area_unit": "mAU*min", "height_unit": "mAU", "tailing": 1.1}

    put(INJECTIONS, injection(1, "standard"), injection(2, "suitability"), injection(3, "sample"), injection(4, "standard", None))
    former = {**found(1, 300.0), "is_current": False, "processing_id": "by the windows of before"}
    put(PEAKS, found(1, 100.0), found(2, 101.0), found(3, 50.0), found(4, 10.0), former)
    first = update(lakehouse, SUITABILITY_STATION).version
    assert update(lakehouse, SUITABILITY_STATION).version == first
    (row,) = lakehouse.polars(SUITABILITY).to_dicts()
    assert (row["sequence_id"], row["analyte"], row["injections"], row["passed"], row["method_id"]) == ("SEQ-1", "API", 2, True, "M")
    assert row["area_rsd_pct"] == pytest.approx(0.7036, abs=1e-4)


def an_injection(random: Random) -> Change:
    name, hour = f"i{random.randint(1, 4)}", random.choice([None, 1, 2])
    row = {"injection_id": name, "injection_name": name, "zone_known": True, "channels": ["A"], "processing_id": "none", "method_id": "M"}
    role = random.choice(["standard", "standard", "suitability", "sample", None])
    place = {"sample_role": role, "sequence_id": random.choice(["SEQ-1", "SEQ-1", "SEQ-2", None]), "instrument_id": f"LC-{hour}"}
    more = {"injected_at_utc": hour and at(1, hour), "weight_mg": random.choice([None, 10.0, 20.0])}
    return Change(INJECTIONS, {**row, **place, **more}, now_and_then(random))


def a_peak(random: Random) -> Change:
    name = f"i{random.randint(1, 4)}"
    row = {"injection_id": name, "injection_name": name, "channel": random.choice("AAB"), "peak_no": random.randint(1, 2)}
    units = {"integration": "detected", "area_unit": "mAU*min", "height_unit": "mAU"}
    values = {"analyte": random.choice(["API", "API", "IMP", None]), "area": random.choice([97.3, 100.1, 103.9]), "tailing": 1.1}
    values["is_current"] = random.random() < 0.8
    return Change(PEAKS, {**row, **units, **values}, now_and_then(random))


KEYS = {INJECTIONS.full_name: ["injection_id"], PEAKS.full_name: ["injection_id", "channel", "peak_no"]}


@settings(max_examples=4)
@given(histories(an_injection, a_peak))
def test_systems_follow_from_their_inputs_in_whichever_order_these_came(batches: list[list[Change]]) -> None:
    assert_content_follows_inputs(SUITABILITY_STATION, KEYS, batches)
