"""Faults of the environment, really made: each is one line that says what, where and what to do, with exit code 2 and no traceback."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab_assets.environment_errors import fault_in_text, fault_of
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.governance.mask_methods import MaskKey
from lab_assets.ops.startup import prepare
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets_tests.faults.ingestion import full, plant_at, run_of
from lab_assets_tests.faults.laboratory import environment_of, folder, found, in_namespace, lab_command

NOBODY = 65534
QUERY = ("query", "SELECT 1", "--as", "admin")
NO_INODES = "mount -t tmpfs -o size=64m,nr_inodes={inodes} tmpfs {home}"


@pytest.fixture
def made(tmp_path: Path) -> Settings:
    """A home as ``lab up`` leaves it."""
    settings = Settings(home=tmp_path / "lab")
    prepare(settings)
    found(settings).engine.dispose()
    return settings


def limited(settings: Settings, limit: Callable[[], None], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``lab`` after a limit was set in its process."""
    env = environment_of(settings)
    options = {"env": env, "cwd": PROJECT_ROOT, "capture_output": True, "text": True, "timeout": 120}
    return subprocess.run(lab_command(*arguments), check=False, preexec_fn=limit, **options)


def assert_told(done: subprocess.CompletedProcess[str], kind: Kind, *words: str) -> None:
    """One line on stderr, its document on stdout, exit code 2."""
    assert "Traceback" not in done.stderr
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], done.stderr.strip()) == (kind, f"error: {error['message']}")
    assert [word for word in words if word not in done.stderr] == []


def test_a_full_disk_is_named_by_a_query(tmp_path: Path) -> None:
    """The audit entry of a query cannot be written: the folder, what is free and what to do."""
    home = folder(tmp_path / "lab")
    fill = (
        "import sys; from lab_assets_tests.faults.disk_programs import fill; from lab_assets.settings import get_settings as s; fill(s())"
    )
    setup = f"{sys.executable} -c 'from lab_assets_tests.faults.laboratory import found; from lab_assets.settings import get_settings; found(get_settings())'"
    mount = f'mount -t tmpfs -o size=3m tmpfs {home} && {setup} && {sys.executable} -c "{fill}"'
    done = in_namespace(mount, *lab_command(*QUERY, "--json"), env=environment_of(Settings(home=home)))
    assert_told(done, Kind.DISK_FULL, f"No space left on device: the disk of {home}", "has 0 KiB free", "free space and run it again")


def test_no_free_inodes_are_named_and_doctor_works(tmp_path: Path) -> None:
    home = folder(tmp_path / "lab")
    env = environment_of(Settings(home=home))
    mount = NO_INODES.format(inodes=2, home=home) + f" && touch {home}/ballast"
    assert_told(in_namespace(mount, *lab_command("ingest", "--json"), env=env), Kind.NO_INODES, f"the disk of {home} has 0 free inodes")
    doctor = in_namespace(mount, *lab_command("doctor", "--json"), env=env)
    checks = {check["name"]: check for check in json.loads(doctor.stdout)["checks"]}
    assert (doctor.returncode, doctor.stderr, checks["disk"]["state"], checks["clock"]["state"]) == (1, "", "failed", "warning")
    assert "0 free inodes" in checks["disk"]["found"]


def test_the_home_of_another_account_is_named_with_both(made: Settings) -> None:
    """Root without its right to pass over rights opens a database of another account's: not SQLite's words, but whose it is and who asks."""
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    if os.geteuid() != 0 or subprocess.run([*plain, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("giving a file to another account and giving up a right needs root and setpriv")
    for path in made.home.glob("lab.db*"):
        path.chmod(0o600)
        os.chown(path, NOBODY, NOBODY)
    command = [*plain, *lab_command(*QUERY, "--json")]
    env = environment_of(made)
    done = subprocess.run(command, env=env, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=120)
    words = "(it belongs to nobody, this runs as root); run it as the account that owns the laboratory"
    assert_told(done, Kind.NO_RIGHT, f"Permission denied: {made.home / 'lab.db'}", words)


@pytest.mark.parametrize(
    ("which", "limit", "kind", "word"),
    [
        (resource.RLIMIT_NOFILE, 5, Kind.NO_HANDLES, "may hold 5 files open ('ulimit -n')"),
        (resource.RLIMIT_FSIZE, 8192, Kind.FILE_SIZE, "no larger than 8192 bytes"),
    ],
    ids=["handles", "file size"],
)
def test_a_limit_of_the_process_is_named(made: Settings, which: int, limit: int, kind: Kind, word: str) -> None:
    def limit_it() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(which, (limit, limit))

    assert_told(limited(made, limit_it, *QUERY, "--json"), kind, word)


def test_a_port_that_is_taken_is_named_with_its_variable(made: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        env = environment_of(made, LAB_SERVICE_PORT=port, LAB_DAGSTER_PORT="1", LAB_MLFLOW_PORT="2")
        for command in (lab_command("up"), [sys.executable, "-m", "lab_assets.service"]):
            done = subprocess.run(command, env=env, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=60)
            (line,) = done.stderr.splitlines()
            assert (done.returncode, f"port {port}" in line, "set LAB_SERVICE_PORT" in line) == (2, True, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_says_what_was_kept_and_what_will_finish_it(tmp_path: Path, number: signal.Signals) -> None:
    """Interrupted between the ledger's rows and the tables: no traceback, the batch and its files named; the next run finishes them."""
    plant = plant_at(tmp_path / "lab")
    for each in range(3):
        plant.drop(f"{each}.txt", run_of(f"S-{each}"))
    (hold := plant.settings.home / "hold").mkdir()
    program = (
        "import time, pathlib, lab_assets.ingest.ingestor as ingestor\n"
        "def waiting(name):\n"
        "    if name == 'staging_written':\n"
        f"        pathlib.Path({str(hold)!r}, 'reached').touch(); time.sleep(60)\n"
        "ingestor.failpoint = waiting\n"
        "from lab_assets.cli.main import app; app(['ingest'])"
    )
    remote = {"LAB_SPARK_REMOTE": plant.settings.spark_remote or "", "LAB_STABLE_S": "0"}
    env, pipe = environment_of(plant.settings, **remote), subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", program], env=env, cwd=PROJECT_ROOT, text=True, stdout=pipe, stderr=pipe)
    deadline = time.monotonic() + 90
    while not (hold / "reached").exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, "Traceback" in err, out) == (130, False, ""), err
    assert "interrupted: 0 file(s) are committed; 3 more are recorded, their originals kept; nothing is lost" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_asks_twice_is_heeded_where_a_library_never_comes_back(number: signal.Signals) -> None:
    """The main thread waits for a lock of the C library for ever, as where a thread of Rust could get no memory."""
    program = (
        "import ctypes\n"
        "from lab_assets.ops.interrupts import interrupts_for_this_process\n"
        "lock, system = ctypes.create_string_buffer(64), ctypes.CDLL(None)\n"
        "with interrupts_for_this_process():\n"
        "    system.pthread_mutex_lock(lock)\n"
        "    print('waits', flush=True)\n"
        "    system.pthread_mutex_lock(lock)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT_ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == "waits\n"
    child.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):  # what it began may end
        child.wait(timeout=5)
    child.send_signal(number)
    _, err = child.communicate(timeout=10)
    said = "ended at once, as was asked twice; nothing is lost, and the next run goes on from what is recorded\n"
    assert (child.returncode, err) == (130, said)


def test_sigterm_interrupts_a_command_as_ctrl_c_does() -> None:
    program = (
        "import os, signal, time\n"
        "from lab_assets.ops.interrupts import interrupts_for_this_process\n"
        "try:\n"
        "    with interrupts_for_this_process():\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, text=True, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_no_key_is_left_behind_where_none_could_be_written(tmp_path: Path) -> None:
    """A file may be created on a full disk, and nothing put into it."""
    from lab_assets_tests.faults.ingestion import tmpfs, unmount

    tmpfs(disk := tmp_path / "disk", "64k")
    try:
        with full(disk), pytest.raises(OSError, match="No space left"):
            MaskKey.of(Settings(home=disk))
        assert not list(disk.rglob("mask*"))
    finally:
        unmount(disk)


def test_levels_of_room_warn_before_it_runs_out(settings: Settings) -> None:
    """This disk has less than a million GiB, and more than a thousandth of one."""
    from lab_assets.disk import room_state, rooms

    (room,) = rooms(settings)
    levels = [(1e-6, 1e-3), (1e-3, 1e6), (1e6, 1e6)]
    states = [room_state(room, settings.model_copy(update={"disk_least_gib": low, "disk_warn_gib": high})) for low, high in levels]
    assert states == ["ok", "warning", "failed"]


def test_an_error_is_recognised_whatever_raised_it() -> None:
    """SQLite, Rust, the JVM, a chain of causes, a group; not what only looks like one."""
    assert [kind_of(RuntimeError(text)) for text in ("disk I/O error", "kind: StorageFull", "java.lang.OutOfMemoryError: heap")] == [
        "disk_error",
        "disk_full",
        "no_memory",
    ]
    caused = ValueError("cannot")
    caused.__cause__ = OSError(errno.EROFS, "Read-only file system", "/mnt/lab/x")
    assert kind_of(ExceptionGroup("several", [caused])) == "read_only"
    assert kind_of(MemoryError()) == "no_memory"
    assert kind_of(ImportError("libarrow.so: failed to map segment from shared object")) == "no_memory"
    assert kind_of(PermissionError("viewer may not approve")) is None
    assert kind_of(FileNotFoundError(errno.ENOENT, "No such file", "/x")) is None
    assert kind_of(RuntimeError("Kernel error: Unsupported: Feature 'x' is not supported")) == "newer_table"


def kind_of(error: BaseException) -> str | None:
    fault = fault_of(error)
    return None if fault is None else str(fault.kind)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_fault_is_read_again_from_the_text_of_a_failed_step(kind: Kind) -> None:
    """Every kind has words of its own, and comes back from what Dagster keeps of it."""
    fault = EnvironmentFaultError(kind, "/labs/a", "(12 of 13)")
    again = fault_in_text(f"{EnvironmentFaultError.__module__}.EnvironmentFaultError: {fault}\n")
    assert again is not None
    assert (again.kind, str(again)) == (kind, str(fault))
