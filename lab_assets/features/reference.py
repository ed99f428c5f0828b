"""What to expect of one injection, built from what is in force for it.

Belongs here: windows, limits and standards to a ``MethodExpectation``.
Does not belong here: choosing them (``run_facts.py``), using the expectation (``progress.py``), the reportable value
(``lab_assets.domain.calibration``).

The external standard makes percent of the label claim (or of the sample's nominal content):

    value_pct = 100 * (A_sample / w_sample) / mean(A_std / (w_std * purity / 100)) * (nominal_sample / nominal_std) / RRF

so the area that means 100 % is known before the injection starts: ``mean(A_std / (w_std / nominal_std * purity / 100)) * w_sample /
nominal_sample * RRF``, with the standards of one nominal weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Final

from lab_assets.domain.in_force import Row
from lab_assets.features.expectation import ExpectedPeak, MethodExpectation

_MIN_PER: Final[Mapping[str, float]] = {"min": 1.0, "s": 1.0 / 60.0}


def expectation_of(
    windows: Sequence[Row],
    limits: Mapping[str, Row],
    standards: Sequence[Row],
    *,
    method_id: str,
    run_time_min: float,
    channel: str | None = None,
    weight_mg: float | None = None,
    nominal_weight_mg: float | None = None,
) -> MethodExpectation:
    """Return what one injection is expected to show.

    A weight that is not known counts as the nominal one, a purity as 100 %, a relative response as 1. An analyte the standards do not contain
    is expected in the middle of its window.

    Args:
        windows: Windows in force, rows of ``bronze.processing_methods``.
        limits: Limits in force by analyte, rows of ``bronze.specifications``.
        standards: Peaks of the standards the injection will be measured against: analyte, channel, area, height, retention_time_min,
            weight_mg, nominal_weight_mg, standard_purity_pct. Means depend on their order in the last digit.
        method_id: Test method.
        run_time_min: Planned length of the run, minutes.
        channel: Detector channel of the trace; ``None`` for any.
        weight_mg: Weight of the sample taken.
        nominal_weight_mg: Weight the method asks for.

    Raises:
        ValueError: a window's unit is neither ``min`` nor ``s``.
    """
    own = [row for row in windows if channel is None or row.get("channel") in {None, "", channel}]
    expected = sorted((_window(row) for row in own), key=lambda window: (window.start_min, window.analyte))
    main = next(
        (row["analyte"] for row in own if _standard_of(row) == row["analyte"] and row.get("calibration") == "external_standard"), ""
    )
    used = [row for row in standards if row.get("analyte") and row.get("channel") in {None, channel or row.get("channel")}]
    areas = _means(used, _claim_area)
    share = weight_mg / nominal_weight_mg if weight_mg and nominal_weight_mg else 1.0
    centres = {window.analyte: (window.start_min + window.end_min) / 2 for window in expected}
    return MethodExpectation(
        method_id=method_id,
        run_time_min=run_time_min,
        windows=tuple(expected),
        main_analyte=main,
        spec_low=_bounds(limits, "spec_low"),
        spec_high=_bounds(limits, "spec_high"),
        reference_area={
            row["analyte"]: areas[_standard_of(row)] * share * _or(row.get("relative_response"), 1.0)
            for row in own
            if _standard_of(row) in areas
        },
        reference_height=_means(used, lambda row: row.get("height")),
        reference_retention_min=centres | _means(used, lambda row: row.get("retention_time_min")),
    )


def _bounds(limits: Mapping[str, Row], name: str) -> dict[str, float]:
    return {analyte: float(row[name]) for analyte, row in limits.items() if row[name] is not None and isfinite(row[name])}


def standard_response(row: Row) -> float | None:
    """Return area per mg of pure standard of one standard's peak, ``None`` without area or weight.

    The quantity ``instrument_history`` wants; a purity that is not known counts as 100 %.
    """
    area, weight = row.get("area"), row.get("weight_mg")
    return area / (weight * _or(row.get("standard_purity_pct"), 100.0) / 100.0) if area is not None and weight else None


def _claim_area(row: Row) -> float | None:
    """Return the area a standard would have with exactly its nominal weight of pure substance."""
    area, weight, nominal = row.get("area"), row.get("weight_mg"), row.get("nominal_weight_mg")
    if area is None:
        return None
    taken = weight / nominal if weight and nominal else 1.0
    return area / (taken * _or(row.get("standard_purity_pct"), 100.0) / 100.0)


def _or(value: float | None, default: float) -> float:
    return default if value is None or not isfinite(value) or value <= 0 else float(value)


def _standard_of(row: Row) -> str:
    return row.get("reference_analyte") or row["analyte"]


def _window(row: Row) -> ExpectedPeak:
    unit = row.get("window_unit") or "min"
    if unit not in _MIN_PER:
        raise ValueError(f"window of {row['analyte']!r}: unit {unit!r} is neither min nor s")
    factor = _MIN_PER[unit]
    return ExpectedPeak(
        analyte=row["analyte"],
        channel=row.get("channel") or "",
        start_min=float(row["window_start"]) * factor,
        end_min=float(row["window_end"]) * factor,
    )


def _means(rows: Sequence[Row], quantity: Callable[[Row], float | None]) -> dict[str, float]:
    """Return the mean of a quantity by analyte over the rows where it is a positive number."""
    found: dict[str, list[float]] = {}
    for row in rows:
        value = quantity(row)
        if value is not None and isfinite(value) and value > 0:
            found.setdefault(row["analyte"], []).append(float(value))
    return {analyte: sum(values) / len(values) for analyte, values in found.items()}
