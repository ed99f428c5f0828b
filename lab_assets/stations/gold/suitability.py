"""``gold.suitability``: was the chromatographic system of each sequence fit for it.

Belongs here: which injections and peaks speak for a system, what is asked of it. Does not belong here: the judgement
(``lab_assets.domain.suitability``), the figures of single peaks (``silver.peaks``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.gold import SUITABILITY
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.domain.calibration import rsd_pct
from lab_assets.domain.suitability import SuitabilityCriteria, SuitabilityMeasures, judge_suitability
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.silver.reference import gathered, replace_on_news

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Row = Mapping[str, Any]

CRITERIA: Final = SuitabilityCriteria(min_tailing=0.8, max_tailing=1.8, max_rsd_pct=2.0, min_signal_to_noise=None)
"""Repeatability of the standard within 2.0 % and symmetry 0.8-1.8 (USP <621>). Plates and resolution are asked for by single
methods only; signal to noise speaks of a sensitivity solution, which a standard is not."""


def update_suitability(lake: Lakehouse) -> int:
    """Judge every sequence anew when injections or peaks have moved.

    Returns:
        Version of the table afterwards.
    """
    return replace_on_news(lake, SUITABILITY, (INJECTIONS, PEAKS), lambda: _suitability(lake).toArrow())


def _suitability(lake: Lakehouse) -> DataFrame:
    standards = (
        lake.read(INJECTIONS)
        .where("sample_role in ('standard', 'suitability') and sequence_id is not null")
        .select("injection_id", "sequence_id", "method_id", "instrument_id", "injected_at_utc", "weight_mg", "standard_purity_pct")
    )
    peaks = lake.read(PEAKS).where("analyte is not null").select("injection_id", "channel", "analyte", "area", "tailing", "plates")
    found = standards.join(peaks, on="injection_id")
    systems = gathered(["sequence_id", "analyte"], {"peaks": found})
    return systems.mapInArrow(judge_systems, schema=SUITABILITY.spark_ddl())


def judge_systems(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Judge the systems of each batch; the function given to ``mapInArrow``."""
    import pyarrow as pa

    for batch in batches:
        yield pa.RecordBatch.from_pylist([suitability_row(one) for one in batch.to_pylist()], schema=SUITABILITY.arrow_schema())


def suitability_row(system: Row) -> dict[str, Any]:
    """Return one row of ``gold.suitability``; of several detector channels the worst figures count.

    Args:
        system: ``sequence_id``, ``analyte`` and the list ``peaks`` of its standards.
    """
    peaks = sorted(system["peaks"], key=lambda row: (row["injected_at_utc"] is None, row["injected_at_utc"], row["injection_id"]))
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


def _responses(peaks: Sequence[Row]) -> list[float]:
    """Return the areas, per mg of pure standard where every weight is known: two weighings differ without any fault."""
    taken = [
        (row["weight_mg"] or 0.0) * (100.0 if row["standard_purity_pct"] is None else row["standard_purity_pct"]) / 100 for row in peaks
    ]
    return [row["area"] / mass for row, mass in zip(peaks, taken, strict=True)] if all(taken) else [row["area"] for row in peaks]
