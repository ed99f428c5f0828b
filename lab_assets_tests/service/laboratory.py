"""A small real laboratory: SQLite with the demonstration people, Delta tables, an approved model that serves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake
from sqlalchemy import Engine

from lab_assets.contracts.all_contracts import contract
from lab_assets.domain.processing_methods import WindowSet
from lab_assets.features.definitions import CHECKPOINTS_PCT, FEATURE_NAMES, FEATURE_SET_VERSION, names_of
from lab_assets.features.extra import extra_features
from lab_assets.features.progress import progress_features
from lab_assets.features.vector import storable
from lab_assets.governance.approvals import Approvals
from lab_assets.governance.users import ensure_demo_users
from lab_assets.modeling.bundle import ModelBundle
from lab_assets.modeling.experiment import ExperimentPlan, fit_bundle
from lab_assets.modeling.training import BoosterParams, TrainingMatrix
from lab_assets.registry.serving import cache_bundle
from lab_assets.settings import Settings
from lab_assets.state.database import open_database, writing

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
RUN_TIME_MIN = 6.0
NOISE_MAU = 0.05
"""One standard deviation of the noise of every trace."""
MODEL = "oos_risk"
SCALES = {
    "last_peak_plates": (10_000, 3_000),
    "pressure_mean_bar": (115.0, 10.0),
    "ih_pressure_mean_bar": (110.0, 10.0),
    "pressure_shift_pct": (0.0, 5.0),
    "main_value_pct": (100.0, 10.0),
    **{feature.name: (0.0, 1e6) for feature in extra_features()},
}
"""Centre and spread of the training rows where 0 and 1 would be far from what the laboratory's runs show; a feature that somebody adds may
show anything."""


@dataclass(frozen=True)
class Laboratory:
    """Where it is, who works there."""

    settings: Settings
    engine: Engine
    passwords: dict[str, str]
    bundle: ModelBundle


def train(seed: int, names: tuple[str, ...] = FEATURE_NAMES, feature_set_version: str = FEATURE_SET_VERSION) -> ModelBundle:
    """A model in which worst_margin_so_far below 0 and high pressure ripple mean failure; of some features only where these are named."""
    rng = np.random.default_rng(seed)
    n = 1200
    features = rng.normal(size=(n, len(FEATURE_NAMES)))
    features[:, FEATURE_NAMES.index("checkpoint_pct")] = rng.choice(CHECKPOINTS_PCT, size=n)
    margin, ripple = FEATURE_NAMES.index("worst_margin_so_far"), FEATURE_NAMES.index("pressure_ripple_pct")
    for name, (centre, spread) in SCALES.items():
        features[:, FEATURE_NAMES.index(name)] = centre + spread * features[:, FEATURE_NAMES.index(name)]
    odds = -2.0 - 2.5 * features[:, margin] + 1.5 * features[:, ripple]
    labels = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    features[rng.random(features.shape) < 0.05] = np.nan
    checkpoints = rng.choice(CHECKPOINTS_PCT, size=n)
    features[:, FEATURE_NAMES.index("checkpoint_pct")] = checkpoints
    matrix = TrainingMatrix(
        features=np.ascontiguousarray(features[:, [FEATURE_NAMES.index(name) for name in names]]),
        labels=labels,
        lots=np.array([f"L{i // 4}" for i in range(n)]),
        times=np.arange(n),
        checkpoints=checkpoints.astype(np.int64),
        methods=np.full(n, "ASSAY-01"),
        names=names,
    )
    parts = np.array(["train"] * 800 + ["calibrate"] * 400)
    plan = ExperimentPlan(
        model_name=MODEL,
        feature_set_version=feature_set_version,
        training_set_id=f"set-{seed}",
        params=BoosterParams(max_trees=40, leaves=7),
        seed=seed,
    )
    return fit_bundle(matrix, parts, plan)


def approve(lab: Laboratory, version: str, bundle: ModelBundle) -> None:
    """Submit, approve and promote a version, and put its bytes into the local verified cache."""
    ledger = Approvals(lab.engine)
    submitted = ledger.submit(
        MODEL, version, digest=bundle.digest, metrics={"brier": 0.1}, data_versions={"ml.labels": 1},
        trained_by="scientist", submitted_by="scientist", reason="first",
    )  # fmt: skip
    ledger.approve(submitted.approval_id, approver="qa", evidence=submitted.evidence_digest, reason="good")
    cache_bundle(lab.settings, bundle)
    ledger.promote(MODEL, version, by="qa", reason="serve")


def build(home: Path) -> Laboratory:
    """Make the laboratory in an empty folder."""
    settings = Settings(home=home)
    engine = open_database(settings)
    with writing(engine) as connection:
        passwords = ensure_demo_users(connection)
    lab = Laboratory(settings=settings, engine=engine, passwords=passwords, bundle=train(1))
    approve(lab, "1", lab.bundle)
    return lab


def write(settings: Settings, table: str, rows: list[dict[str, Any]], *, mode: str = "append") -> None:
    """Write rows of a contract's table; columns that are not named are null."""
    promise = contract(table)
    schema = promise.arrow_schema()
    arrays = [pa.array([_pairs(row.get(field.name)) for row in rows], type=field.type) for field in schema]
    layer, _, name = table.partition(".")
    write_deltalake(settings.table_uri(layer, name), pa.Table.from_arrays(arrays, schema=schema), mode=mode)


def _pairs(value: Any) -> Any:
    return list(value.items()) if isinstance(value, dict) else value


def chromatogram(until_min: float = RUN_TIME_MIN, *, seed: int = 3, points_per_min: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """An impurity at 1.2 min and a main peak at 3.6 min on a noisy baseline."""
    x = np.arange(0, until_min + 1e-9, 1 / points_per_min)
    rng = np.random.default_rng(seed)
    peaks = [(1.2, 4.0, 0.04), (3.6, 900.0, 0.06)]
    y = sum(height * np.exp(-((x - at) ** 2) / (2 * width**2)) for at, height, width in peaks)
    return x, y + rng.normal(0, NOISE_MAU, size=x.size)


def fill_tables(settings: Settings) -> None:
    """One instrument, one lot, one finished standard, one finished sample run, one open lot."""
    times = {
        "event_time_utc": NOW - timedelta(days=2),
        "known_time_utc": NOW - timedelta(days=2),
        "feature_set_version": FEATURE_SET_VERSION,
    }
    history = dict.fromkeys(names_of("instrument_history"), 1.5)
    write(settings, "features.instrument_history", [
        {"instrument_id": "HPLC-1", "method_id": "ASSAY-01", "injection_id": "i-std", **times, **history, "ih_pressure_mean_bar": 100.0},
        {"instrument_id": "HPLC-1", "method_id": "ASSAY-01", "injection_id": "i-1", **times, **history,
         "event_time_utc": NOW - timedelta(days=1), "known_time_utc": NOW - timedelta(days=1), "ih_pressure_mean_bar": 110.0},
    ])  # fmt: skip
    write(settings, "features.lot_history", [
        {"lot_id": "LOT-1", **times, **dict.fromkeys(names_of("lot_history"), 0.5)},
    ])  # fmt: skip
    write(settings, "features.storage_exposure", [{"sample_name": "S-1", **times, **dict.fromkeys(names_of("storage_exposure"), 2.0)}])
    x, y = chromatogram()
    write(settings, "features.injection_progress", [
        {"injection_id": "i-1", "injection_name": "SEQ-1_002", "checkpoint_pct": pct, **times,
         "event_time_utc": NOW - timedelta(days=1), "known_time_utc": NOW - timedelta(days=1),
         **storable(progress_features(x, y, checkpoint_pct=pct, run_time_min=RUN_TIME_MIN))}
        for pct in CHECKPOINTS_PCT
    ])  # fmt: skip
    _context(settings)


def _context(settings: Settings) -> None:
    recorded = NOW - timedelta(days=30)
    run = {"source": "hplc", "method_id": "ASSAY-01", "instrument_id": "HPLC-1", "zone_known": True, "channels": ["A"],
           "run_time_min": RUN_TIME_MIN, "sequence_id": "SEQ-1"}  # fmt: skip
    write(settings, "silver.injections", [
        {**run, "injection_id": "i-std", "injection_name": "SEQ-1_001", "sample_role": "standard", "sample_name": "STD", "weight_mg": 20.0,
         "nominal_weight_mg": 20.0, "standard_purity_pct": 100.0, "source_sha256": "ab" * 32, "analyst": "Ann Analyst",
         "injected_at_utc": NOW - timedelta(days=2), "known_time_utc": NOW - timedelta(days=2)},
        {**run, "injection_id": "i-1", "injection_name": "SEQ-1_002", "sample_role": "sample", "sample_name": "S-1", "lot_id": "LOT-1",
         "source_sha256": "cd" * 32, "analyst": "Ann Analyst",
         "injected_at_utc": NOW - timedelta(days=1), "known_time_utc": NOW - timedelta(days=1)},
    ])  # fmt: skip
    windows = _windows()
    write(settings, "silver.peaks", [
        {"injection_id": "i-std", "injection_name": "SEQ-1_001", "channel": "A", "processing_id": WindowSet.of(windows).processing_id, "peak_no": 1, "analyte": "API", "integration": "detected",
         "retention_time_min": 3.6, "area": 135.0, "area_unit": "mAU*min", "height": 900.0, "height_unit": "mAU",
         "signal_to_noise": 2 * 900.0 / (3.6 * NOISE_MAU), "source_sha256": "ab" * 32},
    ])  # fmt: skip
    origin = {
        "source": "lims",
        "source_file": "f.csv",
        "source_sha256": "ef" * 32,
        "source_row": 1,
        "ingested_at_utc": recorded,
        "ingest_batch": 1,
    }
    write(settings, "bronze.processing_methods", [
        {**origin, **row, "source_row": number, "method_name": "ASSAY-01"} for number, row in enumerate(windows, 1)
    ])  # fmt: skip
    write(settings, "bronze.specifications", [
        {**origin, "spec_id": "SP-1", "product": "P", "method_id": "ASSAY-01", "analyte": "API", "spec_low": 95.0, "spec_high": 105.0,
         "unit": "%", "effective_from_utc": recorded, "recorded_at_utc": recorded},
        {**origin, "spec_id": "SP-1", "product": "P", "method_id": "ASSAY-01", "analyte": "IMP-A", "spec_high": 0.5,
         "unit": "%", "effective_from_utc": recorded, "recorded_at_utc": recorded},
    ])  # fmt: skip
    plan = {**origin, "sequence_id": "SEQ-1", "method_id": "ASSAY-01", "instrument_id": "HPLC-1", "weight_mg": 20.0,
            "nominal_weight_mg": 20.0, "recorded_at_utc": recorded}  # fmt: skip
    write(settings, "bronze.lims_sequences", [
        {**plan, "injection_name": "SEQ-1_001", "position": 1, "sample_name": "STD", "sample_role": "standard", "standard_purity_pct": 100.0},
        {**plan, "injection_name": "SEQ-1_002", "position": 2, "sample_name": "S-1", "sample_role": "sample"},
        {**plan, "injection_name": "SEQ-1_003", "position": 3, "sample_name": "S-1", "sample_role": "sample"},
    ])  # fmt: skip
    write(settings, "bronze.lims_samples", [
        {**origin, "sample_name": "S-1", "lot_id": "LOT-1", "sample_type": "release", "recorded_at_utc": recorded},
    ])  # fmt: skip
    write(settings, "bronze.lims_lots", [{**origin, "lot_id": "LOT-1", "product": "P", "recorded_at_utc": recorded}])
    write(settings, "silver.samples", [{"sample_name": "S-1", "lot_id": "LOT-1", "sample_type": "release", "recorded_at_utc": recorded}])
    write(settings, "silver.lots", [
        {"lot_id": "LOT-1", "product": "P", "customer": "Secret Customer", "formulation": "secret", "recorded_at_utc": recorded},
    ])  # fmt: skip
    write(settings, "gold.lot_disposition", [
        {"lot_id": "LOT-1", "product": "P", "state": "open", "failing_tests": [], "missing_tests": ["ASSAY-01/API"], "results": 0},
        {"lot_id": "LOT-2", "product": "P", "state": "fail", "failing_tests": ["RS-01/IMP-A"], "missing_tests": [], "results": 4},
    ])  # fmt: skip
    write(settings, "gold.exceptions", [
        {"exception_id": "e1", "kind": "oos", "severity": "critical", "subject": "LOT-2", "lot_id": "LOT-2", "owner_role": "qc_lead",
         "evidence": "IMP-A 0.71 %, limit 0.5 %", "raised_at_utc": NOW},
    ])  # fmt: skip


def _windows() -> list[dict[str, Any]]:
    every = {"channel": None, "integration": "detected", "window_unit": "min", "calibration": "external_standard", "slope": None,
             "intercept": None, "relative_response": 1.0, "reference_analyte": "API", "result_unit": "%"}  # fmt: skip
    places = (("IMP-A", 1.0, 1.4), ("API", 3.2, 4.0))
    return [{**every, "analyte": name, "window_start": start, "window_end": end} for name, start, end in places]
