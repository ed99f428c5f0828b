"""``gold.suitability``: was the chromatographic system of each sequence fit for it.

Belongs here: which injections and peaks speak for a system, what is asked of it. Does not belong here: the judgement
(``lab_assets.domain.suitability``), the figures of single peaks (``silver.peaks``).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.gold import SUITABILITY
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.domain.calibration import rsd_pct
from lab_assets.domain.in_force import Row
from lab_assets.domain.run_context import STANDARD_ROLES
from lab_assets.domain.suitability import SuitabilityCriteria, SuitabilityMeasures, judge_suitability
from lab_assets.stations.gold.frames import target_rows
from lab_assets.stations.station import Group, Input, Station, keys_of, of

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader

CRITERIA: Final = SuitabilityCriteria(min_tailing=0.8, max_tailing=1.8, max_rsd_pct=2.0, min_signal_to_noise=None)
"""Repeatability of the standard within 2.0 % and symmetry 0.8-1.8 (USP <621>). Plates and resolution are asked for by single
methods only; signal to noise speaks of a sensitivity solution, which a standard is not."""


def _sequences_of_injections(_read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the sequences of changed standards; other injections say nothing of the system."""
    return keys_of(_standards(changes.both), ["sequence_id"])


def _sequences_of_peaks(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the sequences of the standards whose peaks changed."""
    import polars as pl

    named = changes.both.filter(pl.col("analyte").is_not_null())
    columns = ["injection_id", "sequence_id", "sample_role"]
    runs = read.keyed(INJECTIONS, columns, injection_id=named["injection_id"], injection_name=named["injection_name"])
    return keys_of(_standards(runs), ["sequence_id"])


def _standards(injections: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return injections.filter(pl.col("sample_role").is_in(sorted(STANDARD_ROLES)), pl.col("sequence_id").is_not_null())


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Judge the systems of sequences by the peaks of their standards."""
    import polars as pl

    standards = _standards(read.keyed(INJECTIONS, sequence_id=keys["sequence_id"]))
    peaks = read.keyed(PEAKS, injection_id=standards["injection_id"], injection_name=standards["injection_name"])
    # peaks by windows that are no longer in force are kept beside: they would count each standard twice
    peaks = peaks.filter(pl.col("is_current"), pl.col("analyte").is_not_null()).drop("injection_name", "is_current")
    systems = standards.join(peaks, on="injection_id").group_by("sequence_id", "analyte", maintain_order=True)
    made = [
        suitability_row({"sequence_id": sequence_id, "analyte": analyte, "peaks": rows.to_dicts()})
        for (sequence_id, analyte), rows in systems
    ]
    return target_rows(read, made)


def suitability_row(system: Row) -> dict[str, Any]:
    """Return one row of ``gold.suitability``; of several detector channels the worst figures count.

    Args:
        system: ``sequence_id``, ``analyte`` and the list ``peaks`` of its standards.
    """
    peaks = sorted(system["peaks"], key=_order)
    tailing = [row["tailing"] for row in peaks if row["tailing"] is not None]
    plates = [row["plates"] for row in peaks if row["plates"] is not None]
    by_channel: dict[str, list[Row]] = {}
    for row in peaks:
        by_channel.setdefault(row["channel"], []).append(row)
    spreads = [rsd for rows in by_channel.values() if not isnan(rsd := rsd_pct(_responses(rows)))]  # nan: fewer than two injections
    rsd_max = max(spreads, default=None)
    failures: dict[str, None] = {}
    for extreme in (max, min):  # both ends of the symmetry count
        measures = SuitabilityMeasures(tailing=extreme(tailing, default=None), plates=min(plates, default=None), rsd_pct=rsd_max)
        failures.update(dict.fromkeys(judge_suitability(measures, CRITERIA).failures))
    return {
        "sequence_id": system["sequence_id"],
        "method_id": peaks[0]["method_id"],
        "instrument_id": peaks[0]["instrument_id"],
        "analyte": system["analyte"],
        "injections": len({row["injection_id"] for row in peaks}),
        "area_rsd_pct": rsd_max,
        "tailing_max": max(tailing, default=None),
        "plates_min": min(plates, default=None),
        "passed": not failures,
        "failures": list(failures),
        "started_at_utc": peaks[0]["injected_at_utc"],
    }


def _order(peak: Row) -> tuple[Any, ...]:
    """Return the sort key of peaks: by time of injection, those without time last, then by content."""
    return (peak["injected_at_utc"] is None, peak["injected_at_utc"], peak["injection_id"], peak["channel"], peak["peak_no"])


def _responses(peaks: Sequence[Row]) -> list[float]:
    """Return the areas, per mg of pure standard where every weight is known: two weighings differ without any fault."""
    taken = [
        (row["weight_mg"] or 0.0) * (100.0 if row["standard_purity_pct"] is None else row["standard_purity_pct"]) / 100 for row in peaks
    ]
    return [row["area"] / mass for row, mass in zip(peaks, taken, strict=True)] if all(taken) else [row["area"] for row in peaks]


_STANDARDS: Final = of(INJECTIONS, "sequence_id", "sample_role") + of(PEAKS, "analyte", "is_current")
_SPREAD: Final = _STANDARDS + of(INJECTIONS, "weight_mg", "standard_purity_pct") + of(PEAKS, "channel", "area")
_FIRST: Final = of(INJECTIONS, "sequence_id", "sample_role", "injected_at_utc")
SUITABILITY_STATION: Final = Station(
    target=SUITABILITY,
    inputs=(
        Input(
            table=INJECTIONS,
            columns=(
                *("injection_id", "injection_name", "sequence_id", "sample_role", "method_id", "instrument_id"),
                *("injected_at_utc", "weight_mg", "standard_purity_pct"),
            ),
            touches=_sequences_of_injections,
        ),
        Input(
            table=PEAKS,
            columns=("injection_id", "injection_name", "channel", "peak_no", "analyte", "area", "tailing", "plates", "is_current"),
            touches=_sequences_of_peaks,
        ),
    ),
    make=_make,
    group=Group(columns=("sequence_id",)),
    feeds={
        "sequence_id": of(INJECTIONS, "sequence_id"),
        "method_id": of(INJECTIONS, "method_id") + _FIRST,
        "instrument_id": of(INJECTIONS, "instrument_id") + _FIRST,
        "analyte": of(PEAKS, "analyte", "is_current"),
        "injections": of(INJECTIONS, "injection_id") + _STANDARDS,
        "area_rsd_pct": _SPREAD,
        "tailing_max": _STANDARDS + of(PEAKS, "tailing"),
        "plates_min": _STANDARDS + of(PEAKS, "plates"),
        "passed": _SPREAD + of(PEAKS, "tailing"),
        "failures": _SPREAD + of(PEAKS, "tailing"),
        "started_at_utc": _FIRST,
    },
)
