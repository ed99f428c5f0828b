"""Small laboratories to back up, and what of them must be equal afterwards.

Belongs here: homes, contents of tables. Does not belong here: assertions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from lab_assets.cli.main import app
from lab_assets.contracts.all_contracts import contracts
from lab_assets.governance.mask_methods import MaskKey
from lab_assets.home_identity import place_of
from lab_assets.ingest.raw_store import RawStore
from lab_assets.ingest.reconciler import Reconciler
from lab_assets.ingest.scrub import scrub
from lab_assets.lake.damaged_tables import damaged_tables
from lab_assets.ops.backup.backup_report import BackupReport
from lab_assets.ops.backup.making import KeysChoice, make_backup
from lab_assets.ops.backup.restore_report import Chosen, RestoreReport
from lab_assets.ops.backup.restoring import restore
from lab_assets.settings import Settings, get_settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets_tests.faults.ingestion import Plant, plant_at, run_of
from lab_assets_tests.faults.laboratory import environment_of
from lab_assets_tests.faults.warm_process import WarmProcess

WORD = "a passphrase of the tests"


def plant_with_files(home: Path) -> Plant:
    """A home with two good runs, a duplicate and a refused file, a key, and an audit trail of one entry more."""
    plant = plant_at(home)
    plant.drop("a.txt", run_of("S-1"))
    plant.drop("b.txt", run_of("S-2"))
    plant.drop("again.txt", run_of("S-1"))
    plant.drop("noise.dat", b"\x01\x02\x03" * 50)
    plant.ingest_whole()
    place_of(plant.settings)
    MaskKey.of(plant.settings)
    AuditLog(plant.lake.ledger.engine).append(actor="qa", action="test.note", target="lab")
    return plant


def back_up(plant: Plant, folder: Path, **options: Any) -> BackupReport:
    """Make a backup with the passphrase of the tests."""
    options.setdefault("keys", KeysChoice(passphrase=WORD))
    return make_backup(plant.settings, open_database(plant.settings), folder, by="shell:test", **options)


def put_in(folder: Path, home: Path, **options: Any) -> RestoreReport:
    """Make the laboratory of a backup in another place."""
    replace = options.pop("replace", False)
    chosen = Chosen(folder=folder, **{"passphrase": WORD, **options})
    return restore(Settings(home=home, stable_s=0), chosen, by="shell:test", replace=replace)


def rows_of(plant: Plant, *, but: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Return the rows of every table that is there, as sorted text.

    Args:
        plant: The laboratory.
        but: Tables that are left out.
    """
    lake = plant.lake
    held = lake.versions_as_they_are(list(contracts()))
    found: dict[str, list[str]] = {}
    for name, version in held.items():
        if version >= 0 and name not in but:
            frame = lake.polars(contracts()[name])
            found[name] = sorted(repr(row) for row in frame.select(sorted(frame.columns)).iter_rows())
    return found


def other(plant: Plant, home: Path) -> Plant:
    """Return the laboratory of another place with the settings of this one."""
    return Plant(plant.settings.model_copy(update={"home": home}))


def killed_at(place: str, work: Callable[[], object], settings: Settings) -> int | None:
    """Do something in a process of its own that is to be killed at a place; return its exit code."""
    child = WarmProcess(work, environment_of(settings, LAB_FAILPOINT=place), settings.home.parent / "output")  # type: ignore[arg-type]  # what it returns is nobody's
    child.communicate(timeout=120)
    return child.returncode


def problems_of(plant: Plant) -> list[str]:
    """What audit trail, tables, ledger and originals have against a laboratory."""
    ledger = plant.lake.ledger
    found = [] if (checked := AuditLog(ledger.engine).verify()).ok else [checked.reason]
    found += [each.problem for each in damaged_tables(plant.settings, ledger)]
    found += Reconciler(plant.lake, RawStore(plant.settings.raw)).settle()
    return found + [f"{each.problem}: {each.object}" for each in scrub(plant.settings, ledger).findings]


def flip(path: Path) -> None:
    """Change one bit in the middle of a file, whatever its rights."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(content))


def lab_in(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Give a command to the laboratory of a home, in this process; return its exit code and what it wrote."""
    get_settings.cache_clear()
    try:
        done = CliRunner().invoke(app, list(arguments), env={"LAB_HOME": str(home), "LAB_BACKUP_PASSPHRASE": WORD})
    finally:
        get_settings.cache_clear()
    return done.exit_code, done.stdout, done.stderr
