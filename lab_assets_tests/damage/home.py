"""A small laboratory with everything that a home keeps, its backup, and an earlier state of it.

Belongs here: making it, copying it, what it answers, what looks at it. Does not belong here: damage, assertions.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab_assets.contracts.all_contracts import contract, contracts
from lab_assets.governance.approvals import Approvals
from lab_assets.governance.audit_acceptance import confirm, propose
from lab_assets.governance.gateway import QueryGateway
from lab_assets.governance.mask_methods import MaskKey
from lab_assets.governance.users import create_user
from lab_assets.lake.writer import LakeWriter
from lab_assets.ops.backup.making import KeysChoice, make_backup
from lab_assets.ops.backup.parts import restore_part
from lab_assets.ops.backup.restore_report import Chosen
from lab_assets.ops.checks import Check
from lab_assets.ops.kept_checks import KEPT
from lab_assets.ops.lake_checks import LAKE
from lab_assets.registry.mlflow_registry import TrainingRecord
from lab_assets.registry.serving import bundle_of, registry_of
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database, writing
from lab_assets.state.ledger import Ledger
from lab_assets.stations.governance.scrubbing import scrub_laboratory
from lab_assets_tests.faults.ingestion import Plant, plant_at, run_of
from lab_assets_tests.modeling.data import PLAN, experiment

WORD = "a passphrase of the tests"
AT = datetime(2026, 3, 1, tzinfo=UTC)
ROWS: dict[str, list[dict[str, Any]]] = {
    "silver.lots": [{"lot_id": f"L{number}", "product": "P", "recorded_at_utc": AT} for number in range(4)],
    "gold.lot_disposition": [{"lot_id": f"L{number}", "product": "P", "state": "open"} for number in range(4)],
    "features.storage_exposure": [{"lot_id": f"L{number}", "known_time_utc": AT, "event_time_utc": AT} for number in range(4)],
    "ml.labels": [{"injection_id": f"I{number}", "is_oos": False} for number in range(4)],
    "governance.access": [{"user_name": f"u{number}", "reviewed_at_utc": AT} for number in range(4)],
}
"""Rows by table of each layer, one a commit."""


@dataclass(frozen=True)
class Template:
    """A whole home, the state it had some commits before, and the backup of it."""

    home: Path
    older: Path
    backup: Path
    digest: str
    answers: Mapping[str, Any]


def make_template(folder: Path) -> Template:
    """Make the laboratory: files, tables of every layer, a model, a key, accounts, a history of runs."""
    plant = plant_at(folder / "lab")
    plant.drop("a.txt", run_of("S-1"))
    plant.ingest_whole()
    settings, engine = plant.settings, open_database(plant.settings)
    with writing(engine) as connection:
        for name, role in (("admin", "admin"), ("qa", "qa"), ("scientist", "scientist")):
            create_user(connection, name=name, password="correct-horse-9", roles=(role,), actor="system:test")
    lake = LakeWriter(settings, Ledger(engine))
    for name, rows in ROWS.items():
        lake.append(contract(name), lake.local_rows(contract(name), rows[:1]))
    registry_of(settings).versions()
    _history(settings.home / "dagster" / "storage" / "runs.db")
    _settle_mlflow(settings)
    shutil.copytree(settings.home, folder / "older")
    _settle(engine)
    shutil.copy(settings.home / "lab.db", folder / "older" / "lab.db")

    QueryGateway(settings, engine)
    record = TrainingRecord(
        plan=PLAN, experiment=replace(experiment()), trained_by="scientist", trained_at_utc=AT, code_commit="c",
        table_versions={"ml.labels": 1}, table_uris={},
    )  # fmt: skip
    logged = registry_of(settings).log_training(record)
    Approvals(engine).submit(
        "oos_risk", "1", digest=logged.digest, metrics={"log_loss": 0.2}, data_versions={"ml.labels": 1}, trained_by="scientist",
        submitted_by="scientist", reason="first",
    )  # fmt: skip
    plant.drop("b.txt", run_of("S-2"))
    plant.ingest_whole()
    for name, rows in ROWS.items():
        table = contract(name)
        for row in rows[1:-1]:
            lake.append(table, lake.local_rows(table, [row]))
        lake.checkpoint(table)
        lake.append(table, lake.local_rows(table, rows[-1:]))
    (settings.home / "formats").mkdir(exist_ok=True)
    make_backup(settings, engine, folder / "backup", by="shell:test", keys=KeysChoice(passphrase=WORD))
    _settle(engine)
    engine.dispose()
    _settle_mlflow(settings)
    shutil.rmtree(settings.run / "models", ignore_errors=True)
    return Template(folder / "lab", folder / "older", folder / "backup", logged.digest, answers_of(settings, logged.digest))


def _settle(engine: Any) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _settle_mlflow(settings: Settings) -> None:
    """Bring MLflow's log into its file: what is in the log would stand for a damaged page."""
    with closing(sqlite3.connect(settings.home / "mlflow" / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _history(path: Path) -> None:
    """A database as Dagster's storage is one."""
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, body TEXT)")
        connection.executemany("INSERT INTO runs (body) VALUES (?)", [("x" * 500,) for _ in range(200)])


def answers_of(settings: Settings, digest: str) -> dict[str, Any]:
    """Return what the doors of a laboratory answer: rows of every table, the model's bytes, the key of pseudonyms.

    Raises:
        Exception: something that is asked for is lost or damaged; the error names it.
    """
    engine = open_database(settings)
    try:
        lake = LakeWriter(settings, Ledger(engine))
        tables = {
            name: sorted(map(repr, lake.polars(table).rows()))
            for name, table in contracts().items()
            if name in ROWS or (name.startswith("bronze.") and lake.ledger.noted_version(name) is not None)
        }
        model = bundle_of(settings, digest, version="1").digest
        QueryGateway(settings, engine)
        return {"tables": tables, "model": model, "key": MaskKey.of(settings)}
    finally:
        engine.dispose()


def looked_at(settings: Settings) -> dict[str, str]:
    """Return what ``lab doctor`` finds wrong in what is kept, and ``lab scrub`` where the database can be opened, by check or object."""
    checks: list[Check] = [check(settings) for check in (*KEPT, *LAKE)]
    found = {each.name: f"{each.found} {each.mend}" for each in checks if each.state != "ok"}
    if "database" not in found and "identity" not in found:
        engine = open_database(settings)
        found |= {each.object: f"{each.problem} {each.told_as}" for each in scrub_laboratory(settings, Ledger(engine)).findings}
        engine.dispose()
    return found


def bring_back(settings: Settings, template: Template, place: str) -> None:
    """Follow ``docs/recovery.md``: put what is named back from the backup; accept what differs in the audit trail since."""
    restore_part(settings, Chosen(folder=template.backup, passphrase=WORD), place)
    engine = open_database(settings)
    if not AuditLog(engine).verify().ok:
        confirm(engine, propose(engine, by="admin", reason="put back from the backup").seq, by="qa", reason="seen")
    engine.dispose()


__all__ = ["Plant", "Template", "answers_of", "bring_back", "looked_at", "make_template"]
