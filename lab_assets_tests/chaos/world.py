"""A laboratory of its own ports whose real processes run, and the files that it is to take.

Belongs here: founding it, its commands, its processes. Does not belong here: what is done to it (``mishaps.py``), verdicts.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from lab_assets.governance.users import ensure_demo_users
from lab_assets.ingest.inbox_mark import make_inbox
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.database import open_database, writing
from lab_assets.state.ledger import Ledger
from lab_assets_tests.chaos.clock import SteppedClock
from lab_assets_tests.cli.ports import free_ports
from lab_assets_tests.faults.laboratory import environment_of, lab_command
from lab_assets_tests.no_spark import NoSparkKeeper
from lab_assets_tests.orders.laboratory import File, corrections, simulated
from lab_assets_tests.stations.ml.models import put_into_service

LOTS: Final = 4
CORRECTIONS: Final = 6
COMMAND_S: Final = 240.0
DISK: Final = "disk"
DISK_MIB: Final = 768
OWN_DISK: Final = "LAB_CHAOS_OWN_DISK"
"""Set where the mounts of this process are its own, so that the laboratory gets a disk that can be filled."""


@dataclass(frozen=True)
class World:
    """One laboratory under test.

    Attributes:
        settings: Its home.
        files: All files that it is to take, junk among them.
        passwords: By person.
        port: Of its service.
        log: What was done to it and when, one line each.
        environment: Of its processes.
        clock: Of its processes; missing where it cannot be set for them alone.
        problems: What went wrong whatever the tables hold.
    """

    settings: Settings
    files: tuple[File, ...]
    passwords: dict[str, str]
    port: int
    log: Path
    environment: dict[str, str] = field(repr=False)
    clock: SteppedClock | None
    problems: list[str] = field(default_factory=list[str])

    def note(self, line: str) -> None:
        """Write what is done into the log."""
        with self.log.open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {line}\n")

    def lab(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the real command to its end; one that does not come to it is ended, and noted as a problem."""
        return self.ended(self.begun(*arguments), *arguments)

    def begun(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the real command."""
        pipe = subprocess.PIPE
        return subprocess.Popen(lab_command(*arguments), env=self.environment, cwd=PROJECT_ROOT, text=True, stdout=pipe, stderr=pipe)

    def ended(self, child: subprocess.Popen[str], *arguments: str, within_s: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        """Wait for the end of a command."""
        began, words = time.monotonic(), f"lab {' '.join(arguments)}"
        try:
            stdout, stderr = child.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            child.kill()
            stdout, stderr = child.communicate()
            self.problems.append(f"{words} did not end within {within_s:.0f} s")
            self.note(f"{self.problems[-1]}: {stderr.strip()[-600:]}")
        if child.returncode:
            self.note(f"{words} ended with {child.returncode} after {time.monotonic() - began:.0f} s: {stderr.strip()[-600:]}")
        elif arguments[0] == "up":
            self.note(f"{words} took {time.monotonic() - began:.0f} s")
        return subprocess.CompletedProcess(child.args, child.returncode, stdout, stderr)

    def status(self) -> dict[str, Any]:
        """Return what ``lab status`` says, or that it says nothing as its only problem."""
        done = self.lab("status", "--json")
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {"up": False, "inbox": None, "problems": [f"lab status ended with {done.returncode}: {done.stderr.strip()[-300:]}"]}

    def give_the_disk_back(self) -> None:
        """Take the laboratory's own disk away, with all on it."""
        if os.path.ismount(self.settings.home.parent):
            subprocess.run(["umount", "--lazy", self.settings.home.parent], check=True)

    def processes(self) -> list[psutil.Process]:
        """Return every living process of this home but commands of people."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("LAB_HOME") == str(self.settings.home) and not _is_of_people(process):
                    found.append(process)
        return found


def _is_of_people(process: psutil.Process) -> bool:
    return any("from lab_assets.cli.main import app" in word for word in process.cmdline())


def kind_of(process: psutil.Process) -> str:
    """Return what a process does, for people and for a fair choice among kinds."""
    command = " ".join(process.cmdline())
    signs = ("SparkConnectServer", "spark_supervisor", "mlflow", "dagster_webserver", "dagster._daemon", "dagster api grpc")
    more = ("run_processes", "compute.worker", "lab_assets.service", "supervis", "execute_run")
    return next((sign for sign in (*signs, *more) if sign in command), command[:60])


def found_world(folder: Path, seed: int) -> World:
    """Make a laboratory with a model that serves; nothing runs yet."""
    home = folder / DISK / "lab"
    home.parent.mkdir(parents=True)
    if os.environ.get(OWN_DISK):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", home.parent], check=True)
    settings = Settings(home=home)
    engine = open_database(settings)
    with writing(engine) as connection:
        passwords = ensure_demo_users(connection)
    put_into_service(Lakehouse(settings, NoSparkKeeper(settings, str(home)), Ledger(engine)))
    engine.dispose()
    make_inbox(settings)
    service_port, dagster_port, mlflow_port = free_ports(3)
    clock = SteppedClock.made(folder)
    environment = environment_of(
        settings,
        LAB_SERVICE_PORT=str(service_port),
        LAB_DAGSTER_PORT=str(dagster_port),
        LAB_MLFLOW_PORT=str(mlflow_port),
        LAB_STABLE_S="0.5",
        LAB_CONTEXT_GRACE_S="0",
        # the disk is small on purpose
        LAB_DISK_WARN_GIB="0",
        LAB_DISK_LEAST_GIB="0",
        PYTHONPATH=os.pathsep.join((str(PROJECT_ROOT), os.environ.get("PYTHONPATH", ""))),
        **(clock.environment if clock else {}),
    )
    return World(
        settings=settings,
        files=files_of(folder / "files", seed),
        passwords=passwords,
        port=service_port,
        log=folder / "history.log",
        environment=environment,
        clock=clock,
    )


def files_of(folder: Path, seed: int) -> tuple[File, ...]:
    """Return the files of a small laboratory, some that correct others, and some that nobody can read, in a random order."""
    rng = random.Random(seed)
    good = list(simulated(folder, 100 + seed, LOTS))
    late = [each.file for each in corrections(good, seed, CORRECTIONS)]
    every = [*good, *late, *_junk(good, rng)]
    rng.shuffle(every)
    return tuple(every)


def _junk(files: Sequence[File], rng: random.Random) -> list[File]:
    """Return files that are refused: noise, nothing, and files of which the transfer broke off, under names of their own."""
    sources = sorted({file.path.partition("/")[0] for file in files})
    noise = [File(f"{rng.choice(sources)}/noise_{number}.dat", rng.randbytes(rng.randint(1, 5000))) for number in range(4)]
    whole = rng.sample([file for file in files if not file.path.startswith(("lims/", "metrology/"))], 4)
    torn = [File(_renamed(file.path, "torn"), file.data[: rng.randrange(1, len(file.data))]) for file in whole]
    return [*noise, *torn, File(f"{rng.choice(sources)}/nothing.txt", b"")]


def _renamed(path: str, mark: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{mark}_{name}"
