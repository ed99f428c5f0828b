"""A full disk under the audit trail, and a data directory that cannot be written: real mounts, in a namespace of the test's own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab_assets.ops.startup import prepare
from lab_assets.settings import Settings
from lab_assets_tests.faults.disk_programs import MOST_TRIES, model_name
from lab_assets_tests.faults.laboratory import environment_of, folder, found, in_namespace, lab_command


def on_small_disk(tmp_path: Path, program: str, *, mib: int, **environment: str) -> dict[str, Any]:
    """Run a program of ``disk_programs.py`` with ``LAB_HOME`` on a disk of that size."""
    home = folder(tmp_path / "lab")
    env = environment_of(Settings(home=home), **environment)
    command = [sys.executable, "-m", "lab_assets_tests.faults.disk_programs", program]
    done = in_namespace(f"mount -t tmpfs -o size={mib}m tmpfs {home}", *command, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_with_no_space_for_the_audit_entry_the_action_does_not_happen(tmp_path: Path) -> None:
    """Case 26: on a full disk of 2 MiB grants and an approval are refused; nothing of them is left, and they work again with space.

    Every grant that was told done is there with its entry, every refused one is not, and the chain holds before and after.
    """
    told = on_small_disk(tmp_path, "full_audit", mib=2)
    kept = [model_name(number) for number in range(told["done"])]
    assert 0 < told["done"] < MOST_TRIES
    assert told["refused"] in {"AuditError", "OperationalError"}
    assert told["signing"] in {"AuditError", "OperationalError"}
    assert told["entry"] == "AuditError"
    full = told["full"]
    assert full["granted"] == full["grant_entries"] == kept
    assert full["entries"] == told["entries"] < MOST_TRIES
    assert (full["states"], full["approve_entries"], full["chain"]) == (["submitted"], 0, [True, ""])

    (problem,) = [each for each in json.loads(full["status"]["stdout"])["problems"] if "audit" in each]
    assert problem == "no audit entry can be written (No space left on device): what needs one is refused"
    checks = {each["name"]: each for each in json.loads(full["doctor"]["stdout"])["checks"]}
    assert (full["doctor"]["code"], checks["home"]["state"]) == (1, "failed")
    assert "No space left on device" in checks["home"]["found"]

    free = told["free"]
    assert told["again"] == ""
    assert (free["states"], free["approve_entries"], free["chain"], free["granted"]) == (["approved"], 1, [True, ""], kept)
    assert [each for each in json.loads(free["status"]["stdout"])["problems"] if "audit" in each] == []


def test_the_services_health_tells_a_full_disk_and_its_end(tmp_path: Path) -> None:
    """Case 26: ``/healthz`` says ok, degraded with the reason, and ok again; meanwhile a sign-in is refused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    told = on_small_disk(tmp_path, "full_service", mib=16, LAB_SERVICE_PORT=port)
    problem = "no audit entry can be written (No space left on device): what needs one is refused"
    assert told["before"] == [200, {"status": "ok"}]
    assert told["full"] == [200, {"status": "degraded", "problems": [problem]}]
    assert told["ready"][0] == 503
    assert problem in told["ready"][1]["problems"]
    assert told["refused"][0] == 503
    assert told["refused"][1]["detail"] == "No space left on device; nothing is lost, free space and run it again; nothing was done"
    assert told["signed_in"] == 200
    assert told["after"] == [200, {"status": "ok"}]


@pytest.fixture
def made(tmp_path: Path) -> Settings:
    """A home as ``lab up`` leaves it."""
    settings = Settings(home=tmp_path / "lab")
    prepare(settings)
    found(settings).engine.dispose()
    return settings


def read_only(settings: Settings, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``lab`` where one folder is mounted read-only over itself."""
    mount = f"mount --bind {path} {path} && mount -o remount,bind,ro {path}"
    return in_namespace(mount, *lab_command(*arguments), env=environment_of(settings))


def test_a_read_only_home_stops_the_start_with_one_line(made: Settings) -> None:
    """Case 28: ``lab up`` ends with 2, ``lab doctor`` with 1, and both name the folder and the reason; ``lab status`` still looks."""
    up = read_only(made, made.home, "up")
    assert (up.returncode, up.stdout) == (2, "")
    (line,) = up.stderr.splitlines()
    assert line.startswith(f"error: the laboratory's data cannot be written: {made.home}: Read-only file system")
    assert line.endswith("nothing was started, see 'lab doctor'")

    doctor = read_only(made, made.home, "doctor", "--json")
    (check,) = [each for each in json.loads(doctor.stdout)["checks"] if each["name"] == "home"]
    assert (doctor.returncode, check["state"]) == (1, "failed")
    assert check["found"].startswith(f"{made.home}: Read-only file system")
    assert check["mend"].startswith("free space, mount it for writing")

    status = read_only(made, made.home, "status", "--json")
    assert status.returncode == 0, status.stderr
    assert "no audit entry can be written (Read-only file system): what needs one is refused" in json.loads(status.stdout)["problems"]


def test_a_command_in_a_read_only_home_names_the_file_and_says_what_to_do(made: Settings) -> None:
    """A database that cannot be written, or whose file cannot be opened, as another account left it."""
    refused = read_only(made, made.home, "table", "rebuild", "silver.lots")
    (line,) = refused.stderr.splitlines()
    assert refused.returncode == 2
    assert line == f"error: Read-only file system: {made.home}; mount it for writing, or set LAB_HOME to another folder"


def test_one_read_only_folder_of_the_home_is_named(made: Settings) -> None:
    """Case 28: the folder of the raw files alone is read-only; the line names it and nothing else."""
    up = read_only(made, made.raw, "up")
    assert up.returncode == 2
    assert up.stderr == (
        f"error: the laboratory's data cannot be written: {made.raw}: Read-only file system; nothing was started, see 'lab doctor'\n"
    )
