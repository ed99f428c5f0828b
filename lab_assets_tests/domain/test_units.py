from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.domain.units import (
    area_factor,
    area_unit,
    convert_area,
    is_signal_unit,
    minutes_per,
    normalise_signal_unit,
    signal_factor,
    signal_unit_of_area,
    to_minutes,
)


@pytest.mark.parametrize("text", ["Time-Sec", "seconds", "s", "time in seconds", "Sec", "Time (s)"])
def test_spellings_of_seconds(text: str) -> None:
    assert to_minutes(90.0, text) == pytest.approx(1.5)


@pytest.mark.parametrize("text", ["min", "Minutes", "R.Time (min)", "mins", "Time [min]"])
def test_spellings_of_minutes(text: str) -> None:
    assert to_minutes(np.array([1.0, 2.0]), text).tolist() == [1.0, 2.0]


def test_hours_and_milliseconds() -> None:
    assert minutes_per("h") == 60
    assert to_minutes(40.0, "msec") == pytest.approx(40 / 60_000)


@pytest.mark.parametrize("text", ["", "furlong", "min/s", "time", "mAU"])
def test_what_is_no_time_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unknown time unit"):
        minutes_per(text)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("uV", "µV"),
        ("μV", "µV"),
        ("microvolts", "µV"),
        ("volts", "V"),
        ("mau", "mAU"),
        ("AU", "AU"),
        ("nC", "nC"),
        ("uS", "µS"),
        ("mV", "mV"),
    ],
)
def test_signal_units_have_one_spelling(text: str, unit: str) -> None:
    assert normalise_signal_unit(text) == unit


def test_unknown_and_missing_signal_units_are_kept() -> None:
    assert normalise_signal_unit(" pH ") == "pH"
    assert normalise_signal_unit("") is None
    assert normalise_signal_unit(None) is None


def test_scales_of_one_quantity_convert() -> None:
    assert signal_factor("uV", "mV") == pytest.approx(1e-3)
    assert signal_factor("AU", "mAU") == pytest.approx(1e3)
    assert signal_factor("pH", "pH") == 1
    assert signal_factor("V", "µV") == pytest.approx(1e6)


def test_other_quantities_do_not_convert() -> None:
    with pytest.raises(ValueError, match="cannot convert"):
        signal_factor("mAU", "mV")


@pytest.mark.parametrize("text", ["µV*s", "uV.sec", "uV·s", "uV s", "uV x s", "uV-Sec"])
def test_area_spellings(text: str) -> None:
    assert area_factor(text, "µV*min") == pytest.approx(1 / 60)


def test_area_of_sixty_microvolt_seconds() -> None:
    assert convert_area(60_000.0, unit="uV*s", to_unit="mV*min") == pytest.approx(1.0)


def test_no_area_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="not an area unit"):
        area_factor("mAU", "mAU*min")


def test_area_unit_is_composed() -> None:
    assert area_unit("uV") == "µV*min"
    assert area_unit(None) == "min"


@given(st.floats(-1e12, 1e12), st.sampled_from(["µV*s", "mV*min", "V*h"]), st.sampled_from(["µV*s", "mV*min", "V*h"]))
def test_conversion_there_and_back(area: float, unit: str, other: str) -> None:
    assert convert_area(convert_area(area, unit=unit, to_unit=other), unit=other, to_unit=unit) == pytest.approx(area, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "known"),
    [("mAU", True), ("µV", True), ("kV", True), ("nRIU", True), ("counts", True), ("furlong", False), ("bar", False), ("", False)],
)
def test_units_of_a_signal_are_known(text: str, known: bool) -> None:
    assert is_signal_unit(text) is known


@pytest.mark.parametrize(("area", "signal"), [("mAU*min", "mAU"), ("uV*sec", "µV"), ("min", None), ("", None), ("mAU*furlong", None)])
def test_the_signal_within_an_area(area: str, signal: str | None) -> None:
    assert signal_unit_of_area(area) == signal
