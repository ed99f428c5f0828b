"""The truth file: the oracle's risk at each checkpoint, the outcome and the latent state of every sample injection.

Belongs here: its columns and how good the oracle is. Does not belong here: anything the pipeline reads.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lab_assets.simulation.bench_work import Injection
from lab_assets.simulation.risk import CHECKPOINTS_PCT
from lab_assets.simulation.write_tables import Record, write_csv


def truth_records(injection: Injection) -> list[Record]:
    """Return one record for each checkpoint of a sample injection; none for blanks and standards.

    Besides ``injection_name``, ``checkpoint_pct``, ``risk``, ``is_oos``, ``lot_id``, ``method_id`` and ``injected_at_utc`` come
    the results as the simulator computes them (``value_*``, %) and the latent state.
    """
    planned, system, sample = injection.planned, injection.system, injection.planned.sample
    if sample is None:
        return []
    latent: Record = {
        "is_oos": injection.is_oos,
        "lot_id": sample.lot.lot_id,
        "sample_name": planned.sample_name,
        "sample_type": sample.kind,
        "method_id": planned.method_id,
        "instrument_id": injection.instrument.instrument_id,
        "analyst": planned.analyst,
        "injected_at_utc": planned.injected_at,
        "value_api": injection.values.get("API"),
        "value_imp_a": injection.values.get("IMP-A"),
        "value_imp_b": injection.values.get("IMP-B"),
        "true_potency_pct": sample.potency_pct,
        "true_impurity_a_pct": sample.impurity_a_pct,
        "true_impurity_b_pct": sample.impurity_b_pct,
        "true_dissolution_pct": sample.lot.dissolution_pct,
        "preparation_log": injection.common,
        "pump_wear": system.pump_wear,
        "injector_wear": system.injector_wear,
        "lamp_age": system.lamp_age,
        "column_plates": system.plates,
        "column_injections": system.column_injections,
        "flow": system.flow,
        "volume": system.volume,
        "carry_over": system.carry_over,
    }
    return [
        {"injection_name": planned.injection_name, "checkpoint_pct": point, "risk": risk} | latent
        for point, risk in zip(CHECKPOINTS_PCT, injection.risks, strict=True)
    ]


def oracle_quality(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return how well the oracle predicts the outcome, by checkpoint: the bound for any model.

    Args:
        records: Truth records.

    Returns:
        Checkpoint (as text) to ``roc_auc`` (rank statistic of Mann and Whitney, nan with one class), ``average_precision``
        and ``brier``.
    """
    quality: dict[str, dict[str, float]] = {}
    for point in CHECKPOINTS_PCT:
        at = [record for record in records if record["checkpoint_pct"] == point]
        risk = np.array([record["risk"] for record in at], dtype=float)
        outcome = np.array([record["is_oos"] for record in at], dtype=bool)
        quality[str(point)] = {
            "roc_auc": _roc_auc(outcome, risk),
            "average_precision": _average_precision(outcome, risk),
            "brier": float(np.mean((risk - outcome) ** 2)) if at else float("nan"),
        }
    return quality


def _roc_auc(outcome: np.ndarray, risk: np.ndarray) -> float:
    from scipy.stats import rankdata

    n_oos = int(outcome.sum())
    n_in = outcome.size - n_oos
    if not n_oos or not n_in:
        return float("nan")
    return float((rankdata(risk)[outcome].sum() - n_oos * (n_oos + 1) / 2) / (n_oos * n_in))


def _average_precision(outcome: np.ndarray, risk: np.ndarray) -> float:
    """Sum of precision over each rise of recall, equal risks taken together."""
    if not outcome.any():
        return float("nan")
    order = np.argsort(-risk, kind="stable")
    hits = np.cumsum(outcome[order])
    last = np.append(np.flatnonzero(np.diff(risk[order])), outcome.size - 1)
    precision = hits[last] / (last + 1)
    return float(np.sum(precision * np.diff(hits[last], prepend=0)) / outcome.sum())


def write_truth(records: Sequence[Record], path: Path) -> None:
    """Write the truth as Parquet, or as CSV when the path ends so; the same bytes for the same records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(records[0]) if records else ["injection_name", "checkpoint_pct", "risk", "is_oos"]
    if path.suffix == ".csv":
        path.write_bytes(write_csv(records, columns))
        return
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pa.table({name: [record[name] for record in records] for name in columns}), buffer)
    path.write_bytes(buffer.getvalue())
