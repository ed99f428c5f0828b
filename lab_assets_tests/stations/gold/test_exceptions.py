"""Exceptions of every kind, with the words and numbers a person reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from lab_assets.contracts.bronze import CALIBRATIONS
from lab_assets.contracts.gold import EXCEPTIONS, METHOD_TRENDS, SUITABILITY
from lab_assets.contracts.silver import INJECTIONS, PROCESS_EVENTS, RESULTS, STORAGE_CONDITIONS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.gold.exception_kinds import number
from lab_assets.stations.gold.exceptions import EXCEPTIONS_STATION
from lab_assets.stations.runner import update
from lab_assets_tests.stations.gold.rows import Change, assert_content_follows_inputs, at, histories, now_and_then

Put = Callable[..., int]


def found(lake: Lakehouse) -> dict[str, dict[str, Any]]:
    first = update(lake, EXCEPTIONS_STATION).version
    assert update(lake, EXCEPTIONS_STATION).version == first
    rows = {row["exception_id"]: row for row in lake.polars(EXCEPTIONS).to_dicts()}
    assert len(rows) == lake.row_count(EXCEPTIONS)
    return rows


def result(name: str, sample: str, state: str = "fail", **more: Any) -> dict[str, Any]:
    row = {"result_id": name, "sample_name": sample, "lot_id": "NEB25-0001", "method_id": "ASSAY-01", "analyte": "API", "value": 93.2104}
    return {**row, "unit": "%", "spec_low": 95.0, "spec_high": 105.0, "state": state, "replicate": 2, "measured_at_utc": at(6)} | {
        "result_version": 1,
        "is_current": True,
        **more,
    }


def test_results_out_of_specification_are_critical_until_investigation_is_closed(lakehouse: Lakehouse, put: Put) -> None:
    low_only = {"spec_high": None, "spec_low": 80.0, "value": 79.5, "replicate": None, "method_id": "DISS-01"}
    put(RESULTS, result("r1", "S1"), result("r2", "S2", **low_only), result("r3", "S3", lot_id=None), result("r4", "S4", "pass"))
    opened = [("S1", "oos_opened"), ("S1", "oos_closed"), ("S2", "oos_opened")]
    put(
        PROCESS_EVENTS,
        *(
            {"event_id": f"{sample}-{name}", "lot_id": "L", "sample_name": sample, "event": name, "at_utc": at(7), "recorded_at_utc": at(7)}
            for sample, name in opened
        ),
    )
    rows = found(lakehouse)
    assert {name: (row["severity"], row["subject"]) for name, row in rows.items()} == {
        "oos:r1": ("info", "NEB25-0001"),
        "oos:r2": ("critical", "NEB25-0001"),
        "oos:r3": ("critical", "S3"),
    }
    assert rows["oos:r1"]["evidence"] == "ASSAY-01/API: 93.2104 %, allowed 95 to 105; sample S1, preparation 2; investigation closed"
    assert rows["oos:r2"]["evidence"] == "DISS-01/API: 79.5 %, allowed at least 80; sample S2; investigation open"
    assert (rows["oos:r1"]["owner_role"], rows["oos:r1"]["raised_at_utc"]) == ("qc_lead", at(6))


def test_points_that_break_a_rule_one_after_the_other_are_one_exception(lakehouse: Lakehouse, put: Put) -> None:
    def point(number: int, rules: list[str], value: float = 98.0, lot_id: str | None = None) -> dict[str, Any]:
        row = {"result_id": f"r{number}", "product": "P", "method_id": "ASSAY-01", "analyte": "API", "point_no": number, "value": value}
        limits = {"centre": 100.0, "lower_limit": 94.5, "upper_limit": 105.5, "in_baseline": False}
        return {**row, **limits, "unit": "%", "measured_at_utc": at(number), "rules": rules, "lot_id": lot_id}

    put(
        METHOD_TRENDS,
        point(20, []),
        point(21, ["nelson_2"], lot_id="NEB25-0001"),
        point(22, ["nelson_2", "nelson_1"], 94.0),
        point(23, []),
        point(24, ["nelson_5"]),
    )
    rows = found(lakehouse)
    assert {name: (row["severity"], row["subject"], row["lot_id"], row["raised_at_utc"]) for name, row in rows.items()} == {
        "chart_rule:r21": ("warning", "P ASSAY-01/API", "NEB25-0001", at(22)),
        "chart_rule:r24": ("info", "P ASSAY-01/API", None, at(24)),
    }
    evidence = "points 21 to 22 complete nelson_1, nelson_2; last 94 %; centre 100, limits 94.5 to 105.5"
    assert rows["chart_rule:r21"]["evidence"] == evidence
    assert rows["chart_rule:r24"]["evidence"].startswith("point 24 completes nelson_5; last 98 %")


def test_systems_certificates_and_uncalibrated_use(lakehouse: Lakehouse, put: Put) -> None:
    put(
        SUITABILITY,
        {
            "sequence_id": "SEQ-1",
            "instrument_id": "LC-01",
            "analyte": "API",
            "injections": 5,
            "passed": False,
            "failures": ["rsd_pct 3 > 2"],
        },
        {"sequence_id": "SEQ-2", "instrument_id": "LC-01", "analyte": "API", "injections": 5, "passed": True, "failures": []},
    )
    certificate = {"certificate_id": "CAL-1", "instrument_id": "LC-01", "unit": "nm", "performed_at_utc": at(1), "valid_until_utc": at(9)}
    put(
        CALIBRATIONS,
        {**certificate, "parameter": "wavelength", "deviation": 2.5, "tolerance": 1.0, "outcome": "fail"},
        {**certificate, "parameter": "lamp", "deviation": 0.5, "tolerance": 1.0, "outcome": "pass"},
    )
    injection = {"zone_known": True, "channels": ["A"], "processing_id": "none", "lot_id": "L", "method_id": "M", "instrument_id": "LC-01"}
    used = ("a", "sample", 4, "CAL-1", False), ("b", "standard", 6, "CAL-1", False), ("c", "sample", 3, "CAL-0", True)
    put(
        INJECTIONS,
        *(
            {**injection, "injection_id": name, "injection_name": name, "sample_role": role, "injected_at_utc": at(day)}
            | {"calibration_id": calibration, "calibration_valid": valid}
            for name, role, day, calibration, valid in used
        ),
        {
            **injection,
            "injection_id": "d",
            "injection_name": "d",
            "sample_role": "sample",
            "instrument_id": "LC-02",
            "injected_at_utc": at(8),
        },
    )
    rows = found(lakehouse)
    assert {name: (row["severity"], row["subject"], row["evidence"]) for name, row in rows.items()} == {
        "suitability:SEQ-1/API": ("critical", "SEQ-1", "5 standard injection(s) of API on LC-01: rsd_pct 3 > 2"),
        "calibration:LC-01/CAL-1": ("warning", "LC-01", "certificate CAL-1 failed: wavelength off by 2.5 nm, allowed 1 nm"),
        "calibration:LC-01/use/CAL-1": (
            *("critical", "LC-01"),
            "2 injection(s) from 2025-03-04 to 2025-03-06 without a valid certificate: CAL-1 failed or had expired",
        ),
        "calibration:LC-02/use/none": (
            *("critical", "LC-02"),
            "1 injection(s) from 2025-03-08 to 2025-03-08 without a valid certificate: there is none",
        ),
    }


def test_a_certificate_corrected_to_pass_is_no_exception_any_more(lakehouse: Lakehouse, put: Put) -> None:
    """The wavelength was off by 2.5 nm, typed wrongly: recorded again two days later it is off by 0.25."""
    certificate = {"certificate_id": "CAL-1", "instrument_id": "LC-01", "unit": "nm", "performed_at_utc": at(1), "valid_until_utc": at(9)}
    wavelength = {**certificate, "parameter": "wavelength", "tolerance": 1.0}
    put(CALIBRATIONS, {**wavelength, "deviation": 2.5, "outcome": "fail", "recorded_at_utc": at(2)})
    assert found(lakehouse).keys() == {"calibration:LC-01/CAL-1"}
    put(CALIBRATIONS, {**wavelength, "deviation": 0.25, "outcome": "pass", "recorded_at_utc": at(4)}, batch=2)
    assert found(lakehouse) == {}


def test_one_excursion_is_one_exception_and_injections_without_context_are_named(lakehouse: Lakehouse, put: Put) -> None:
    def day(number: int, minutes: float, high: float = 33.0, above: float = 1.5) -> dict[str, Any]:
        row = {"chamber_id": "CH-30", "day": date(2025, 3, number), "readings": 24, "excursion_min": minutes, "gap_min": 0.0}
        values = {"temperature_min_c": 29.5, "temperature_max_c": high, "degree_hours_above": above}
        return {**row, **values, "set_temperature_c": 30.0, "set_humidity_pct": 65.0}

    put(STORAGE_CONDITIONS, day(1, 60.0), day(2, 0.0), day(3, 800.0, 45.0), day(4, 700.5), day(6, 0.0))
    injection = {"zone_known": True, "channels": ["A"], "processing_id": "none", "injected_at_utc": at(4), "source": "hplc_waters"}
    put(
        INJECTIONS,
        {**injection, "injection_id": "i1", "injection_name": "lost", "sample_role": "unknown", "method_id": "M"},
        {**injection, "injection_id": "i2", "injection_name": "blank", "sample_role": "blank"},
        {**injection, "injection_id": "i3", "injection_name": "whole", "sample_role": "unknown", "method_id": "M", "lot_id": "L"},
    )
    rows = found(lakehouse)
    assert {name: (row["severity"], row["subject"], row["raised_at_utc"]) for name, row in rows.items()} == {
        "storage_excursion:CH-30/2025-03-01": ("warning", "CH-30", at(1)),
        "storage_excursion:CH-30/2025-03-03": ("critical", "CH-30", at(4)),
        "no_context:i1": ("warning", "i1", at(4)),
    }
    assert rows["storage_excursion:CH-30/2025-03-03"]["evidence"] == (
        "2025-03-03 to 2025-03-04: 1500.5 min outside tolerance (set 30 degC, 65 % RH); 29.5 to 45 degC; 3 degC*h above tolerance"
    )
    assert rows["no_context:i1"]["evidence"] == "injection lost of hplc_waters: lot not known"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((93.2104, "93.2104"), (95.0, "95"), (100.0, "100"), (0.5, "0.5"), (0.00005, "0.0001"), (-0.00001, "0"), (-2.5, "-2.5")),
        *((1e30, "1" + "0" * 30), (None, ""), (float("nan"), "")),
    ],
)
def test_numbers_have_at_most_four_decimals_and_no_trailing_zeros(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_corrected_failure_is_no_exception_any_more(lakehouse: Lakehouse, put: Put) -> None:
    put(RESULTS, result("r1", "S1", is_current=False), result("r1", "S1", "pass", result_version=2, value=99.0))
    assert found(lakehouse) == {}


def test_what_is_in_order_touches_no_exception(lakehouse: Lakehouse, put: Put) -> None:
    put(RESULTS, result("r1", "S1"))
    put(STORAGE_CONDITIONS, {"chamber_id": "CH-30", "day": date(2025, 3, 1), "readings": 24, "excursion_min": 0.0, "gap_min": 0.0})
    assert update(lakehouse, EXCEPTIONS_STATION).groups == 1
    put(RESULTS, result("r2", "S1", "pass"), result("r3", "S2", "unjudged"), result("r4", "S2", "void"))
    assert update(lakehouse, EXCEPTIONS_STATION).groups == 0


def a_result(random: Random) -> Change:
    subject = {"lot_id": random.choice(["A", "A", "B", None])}
    row = result(f"r{random.randint(1, 4)}", random.choice(["S1", "S2", "A"]), random.choice(["fail", "fail", "pass"]), **subject)
    return Change(RESULTS, row, now_and_then(random))


def an_event(random: Random) -> Change:
    row = {"event_id": f"e{random.randint(1, 3)}", "lot_id": "A", "sample_name": random.choice(["S1", "S2", "A"]), "at_utc": at(7)}
    more = {"event": random.choice(["oos_opened", "oos_closed", "sampled"]), "recorded_at_utc": at(7)}
    return Change(PROCESS_EVENTS, {**row, **more}, now_and_then(random))


def a_point(random: Random) -> Change:
    number = random.randint(1, 5)
    row = {"result_id": f"r{number}", "product": random.choice(["P", "P 10"]), "method_id": "ASSAY-01", "analyte": "API", "unit": "%"}
    values = {
        "point_no": number,
        "value": 98.0 + number,
        "in_baseline": False,
        "lot_id": random.choice("AB"),
        "measured_at_utc": at(number),
    }
    return Change(METHOD_TRENDS, {**row, **values, "rules": random.choice([[], ["nelson_1"], ["nelson_2"]])}, now_and_then(random))


def a_system(random: Random) -> Change:
    row = {"sequence_id": random.choice(["SEQ-1", "SEQ-2"]), "analyte": random.choice(["API", "IMP"]), "injections": 5, "failures": ["rsd"]}
    return Change(SUITABILITY, {**row, "passed": random.choice([True, False])}, now_and_then(random))


def a_certificate(random: Random) -> Change:
    number = random.randint(1, 3)
    row = {"certificate_id": "CAL-1", "instrument_id": random.choice(["LC-1", "LC-2"]), "parameter": f"p{number}", "unit": "nm"}
    values = {"deviation": 2.5, "tolerance": 1.0, "outcome": random.choice(["pass", "fail"]), "source_row": number}
    return Change(CALIBRATIONS, {**row, **values, "performed_at_utc": at(number), "valid_until_utc": at(9)}, now_and_then(random))


def an_injection(random: Random) -> Change:
    number = random.randint(1, 4)
    row = {"injection_id": f"i{number}", "injection_name": f"n{number}", "source": "hplc", "zone_known": True, "channels": ["A"]}
    is_valid = random.choice([None, True, False])
    calibration = {"calibration_valid": is_valid, "calibration_id": None if is_valid is None else "CAL-1"}
    place = {"instrument_id": random.choice(["LC-1", "LC-2", None]), "lot_id": random.choice(["A", None]), "method_id": "M"}
    role = {"sample_role": random.choice(["sample", "standard", "blank", None]), "processing_id": "none", "injected_at_utc": at(number)}
    return Change(INJECTIONS, {**row, **calibration, **place, **role}, now_and_then(random))


def a_day(random: Random) -> Change:
    minutes = random.choice([0.0, 800.3])
    row = {
        "chamber_id": random.choice(["CH-1", "CH-1", "CH-2"]),
        "day": date(2025, 3, random.randint(1, 5)),
        "readings": 24,
        "gap_min": 0.0,
    }
    values = {"excursion_min": minutes, "degree_hours_above": minutes / 60, "set_temperature_c": 30.0}
    return Change(STORAGE_CONDITIONS, {**row, **values}, now_and_then(random))


KEYS = {
    RESULTS.full_name: ["result_id"],
    PROCESS_EVENTS.full_name: ["event_id"],
    METHOD_TRENDS.full_name: ["result_id"],
    SUITABILITY.full_name: ["sequence_id", "analyte"],
    CALIBRATIONS.full_name: ["source_row"],
    INJECTIONS.full_name: ["injection_id"],
    STORAGE_CONDITIONS.full_name: ["chamber_id", "day"],
}


@settings(max_examples=4)
@given(histories(a_result, an_event, a_point, a_system, a_certificate, an_injection, a_day))
def test_exceptions_follow_from_their_inputs_in_whichever_order_these_came(batches: list[list[Change]]) -> None:
    assert_content_follows_inputs(EXCEPTIONS_STATION, KEYS, batches)
