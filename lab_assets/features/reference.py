"""What to expect of one injection, built from rows of the lake.

Belongs here: plain dict rows of processing methods, specifications and standards to a ``MethodExpectation``.
Does not belong here: reading the rows, using the expectation (``progress.py``), the reportable value (``lab_assets.domain.calibration``).

The external standard makes percent of the label claim (or of the sample's nominal content):

    value_pct = 100 * (A_sample / w_sample) / mean(A_std / (w_std * purity / 100)) * (nominal_sample / nominal_std) / RRF

so the area that means 100 % is known before the injection starts: ``mean(A_std / (w_std / nominal_std * purity / 100)) * w_sample /
nominal_sample * RRF``, with the standards of one nominal weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any, Final

from lab_assets.features.expectation import ExpectedPeak, MethodExpectation

Row = Mapping[str, Any]
STANDARD_ROLES: Final = frozenset({"standard", "suitability"})
_MIN_PER: Final[Mapping[str, float]] = {"min": 1.0, "s": 1.0 / 60.0}


def expectation_from_rows(
    processing_rows: Iterable[Row],
    specification_rows: Iterable[Row],
    standards_rows: Iterable[Row],
    *,
    method_id: str,
    run_time_min: float,
    product: str | None = None,
    channel: str | None = None,
    weight_mg: float | None = None,
    nominal_weight_mg: float | None = None,
    as_of_utc: datetime | None = None,
) -> MethodExpectation:
    """Return what one injection is expected to show.

    A weight that is not known counts as the nominal one, a purity as 100 %, a relative response as 1. An analyte the standards do not contain
    is expected in the middle of its window.

    Args:
        processing_rows: ``bronze.processing_methods``; rows of this method, or without a method, count.
        specification_rows: ``bronze.specifications``; the version in force counts.
        standards_rows: Peaks of the standards the injection will be measured against (those of its sequence so far, or the instrument's last):
            ``silver.peaks`` columns analyte, channel, area, height, retention_time_min with ``silver.injections`` columns weight_mg,
            nominal_weight_mg, standard_purity_pct, and sample_role and known_time_utc where rows must still be sorted out.
        method_id: Test method.
        run_time_min: Planned length of the run, minutes.
        product: Product of the lot; no limits without it.
        channel: Detector channel of the trace; ``None`` for any.
        weight_mg: Weight of the sample taken.
        nominal_weight_mg: Weight the method asks for.
        as_of_utc: Nothing known later counts; ``None`` for no limit.

    Raises:
        ValueError: a window's unit is neither ``min`` nor ``s``.
    """
    methods = [row for row in processing_rows if row.get("method_name") in {None, "", method_id} and _on(row, channel)]
    own = [row for row in methods if row.get("method_name") == method_id] or methods
    windows = sorted((_window(row) for row in own), key=lambda window: (window.start_min, window.analyte))
    main = next(
        (row["analyte"] for row in own if _standard_of(row) == row["analyte"] and row.get("calibration") == "external_standard"), ""
    )
    standards = [row for row in standards_rows if _counts(row, as_of_utc) and row.get("channel") in {None, channel or row.get("channel")}]
    areas = _means(standards, _claim_area)
    share = weight_mg / nominal_weight_mg if weight_mg and nominal_weight_mg else 1.0
    low, high = _limits(specification_rows, method_id=method_id, product=product, as_of_utc=as_of_utc)
    centres = {window.analyte: (window.start_min + window.end_min) / 2 for window in windows}
    return MethodExpectation(
        method_id=method_id,
        run_time_min=run_time_min,
        windows=tuple(windows),
        main_analyte=main,
        spec_low=low,
        spec_high=high,
        reference_area={
            row["analyte"]: areas[_standard_of(row)] * share * _or(row.get("relative_response"), 1.0)
            for row in own
            if _standard_of(row) in areas
        },
        reference_height=_means(standards, lambda row: row.get("height")),
        reference_retention_min=centres | _means(standards, lambda row: row.get("retention_time_min")),
    )


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


def _on(row: Row, channel: str | None) -> bool:
    return channel is None or row.get("channel") in {None, "", channel}


def _counts(row: Row, as_of_utc: datetime | None) -> bool:
    known = row.get("known_time_utc")
    in_time = as_of_utc is None or (known is not None and known <= as_of_utc)
    return in_time and row.get("sample_role", "standard") in STANDARD_ROLES and bool(row.get("analyte"))


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


def _limits(
    rows: Iterable[Row], *, method_id: str, product: str | None, as_of_utc: datetime | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Return lower and upper limits by analyte, from the version in force (latest effective, then latest recorded)."""
    applies = [row for row in rows if row["product"] == product and row["method_id"] == method_id]
    if as_of_utc is not None:
        applies = [row for row in applies if row["effective_from_utc"] <= as_of_utc and row["recorded_at_utc"] <= as_of_utc]
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    newest = {row["analyte"]: row for row in sorted(applies, key=lambda row: (row["effective_from_utc"], row["recorded_at_utc"]))}
    for analyte, row in newest.items():
        for limits, value in ((low, row.get("spec_low")), (high, row.get("spec_high"))):
            if value is not None and isfinite(value):
                limits[analyte] = float(value)
    return low, high
