"""A scrub of the whole laboratory: files, tables, databases and models.

Belongs here: putting the looks together, and alerts by name. Does not belong here: hashing files (``lab_assets.ingest.scrub``), schedules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lab_assets.contracts.governance import INTEGRITY
from lab_assets.contracts.ml import ALERTS
from lab_assets.ingest.scrub import Finding, ScrubReport, scrub
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.provenance import code_version
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger
from lab_assets.stations.runner import only_one

if TYPE_CHECKING:
    from lab_assets.contracts.core import TableContract


def scrub_laboratory(
    settings: Settings, ledger: Ledger, *, today: date | None = None, say: Callable[[str], None] = lambda _line: None
) -> ScrubReport:
    """Look at everything that a laboratory keeps; nothing is changed but for the entry of the audit trail.

    Args:
        settings: Whose laboratory.
        ledger: What was recorded.
        today: The day whose part of the files is due; ``None`` for every file. Databases, models and tables are looked at each time.
        say: Given how far it is.
    """
    others = [*_tables(settings, ledger), *_databases(settings), *_models(settings, ledger)]
    return scrub(settings, ledger, today=today, others=others, say=say)


def _tables(settings: Settings, ledger: Ledger) -> Iterator[Finding]:
    """Yield tables that are gone or older than known, and what another program wrote."""
    from lab_assets.lake.damaged_tables import damaged_tables, unknown_writes

    if "://" in settings.lake and not settings.lake.startswith("file://"):
        return
    for damage in damaged_tables(settings, ledger):
        yield Finding(kind="table", object=damage.table, problem="foreign" if damage.is_foreign else "changed", told_as=damage.problem)
    for write in unknown_writes(settings, ledger):
        yield Finding(kind="table", object=write.table, problem="foreign", told_as=write.problem)


def _databases(settings: Settings) -> Iterator[Finding]:
    """Yield databases of SQLite with broken pages; MLflow's is looked at with its models."""
    from lab_assets.state.database import database_file, file_fault

    own = database_file(settings)
    for path in (*([own] if own is not None else []), *sorted((settings.home / "dagster" / "storage").rglob("*.db"))):
        if fault := file_fault(path):
            yield Finding(kind="database", object=_shown(settings, path), problem="unreadable", told_as=fault)


def _models(settings: Settings, ledger: Ledger) -> Iterator[Finding]:
    """Yield registered versions whose bundle is not the one of their digest, and a registry that lost some."""
    from lab_assets.registry.known_models import model_faults
    from lab_assets.registry.serving import registry_of

    registry = registry_of(settings)
    for fault in model_faults(registry, ledger.engine):
        name = f"model:{registry.model_name}@{fault.version}" if fault.version else "mlflow"
        yield Finding(kind="model", object=name, problem="changed", told_as=fault.problem, expected_sha256=fault.digest)


def _shown(settings: Settings, path: Path) -> str:
    return str(path.relative_to(settings.home)) if path.is_relative_to(settings.home) else str(path)


def update_integrity(
    lake: Lakehouse, *, run_id: str = "", today: date | None = None, say: Callable[[str], None] = lambda _line: None
) -> ScrubReport:
    """Scrub, keep what was found, and raise an alert for each thing that was not found before.

    Returns:
        What the scrub found.
    """
    at = datetime.now(UTC)
    report = scrub_laboratory(lake.settings, lake.ledger, today=today, say=say)
    derivation = Derivation(inputs={"state:scrub": at.isoformat()}, run_id=run_id, code_version=code_version())

    def keep(table: TableContract, rows: Sequence[dict[str, object]]) -> None:
        if rows:
            lake.append(table, lake.local_rows(table, rows), derivation=derivation)

    keep(INTEGRITY, [{**asdict(finding), "scrubbed_at_utc": at} for finding in report.findings])
    if report.findings:
        with only_one(lake, ALERTS.full_name):
            keep(ALERTS, _new_alerts(lake, report.findings, at))
    return report


def _new_alerts(lake: Lakehouse, findings: Sequence[Finding], at: datetime) -> list[dict[str, object]]:
    """Return an alert for each finding that none was raised for."""
    import polars as pl

    alerts = {_alert_id(each): each for each in findings}
    held = set(lake.polars(ALERTS, ["alert_id"], where=pl.col("kind") == "integrity")["alert_id"])
    return [
        {
            "alert_id": alert_id,
            "kind": "integrity",
            "severity": "critical",
            "subject": finding.object,
            "message": f"{finding.object} is {finding.problem} ({finding.told_as}); see docs/recovery.md for the way back",
            "raised_at_utc": at,
        }
        for alert_id, finding in alerts.items()
        if alert_id not in held
    ]


def _alert_id(finding: Finding) -> str:
    said = f"integrity|{finding.kind}|{finding.object}|{finding.problem}|{finding.found_sha256}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]
