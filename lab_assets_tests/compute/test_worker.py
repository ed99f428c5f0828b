"""The process beside this one: forks without threads, is replaced when it dies, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lab_assets.compute.protocol import WorkError
from lab_assets.compute.worker import Worker
from lab_assets_tests.compute.work import die, fail, imported, look_around, prepare_numbers, run


def until(fulfilled: Callable[[], bool], *, timeout_s: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if fulfilled():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.stop()


def test_work_is_forked_from_a_process_without_threads_beside_this_one(worker: Worker) -> None:
    """Whatever threads this process has."""
    release = threading.Event()
    threading.Thread(target=release.wait, daemon=True).start()
    first, second = run(worker, look_around), run(worker, look_around)
    release.set()
    assert first["threads"] == 1
    assert first["parent"] == second["parent"] != os.getpid()
    assert first["process"] != second["process"]


def test_a_child_has_what_was_prepared() -> None:
    worker = Worker()
    worker.start(prepare_numbers)
    assert run(worker, imported)["process"] == 1
    worker.stop()


def test_a_fault_of_the_function_is_raised_with_its_words(worker: Worker) -> None:
    with pytest.raises(WorkError, match="KeyError: 'no such column'"):
        run(worker, fail)
    assert run(worker, look_around)["threads"] == 1


def test_a_killed_child_costs_its_own_work_alone(worker: Worker) -> None:
    parent = run(worker, look_around)["parent"]
    with pytest.raises(WorkError, match="SIGSEGV"):
        run(worker, die)
    assert run(worker, look_around)["parent"] == parent


def test_a_killed_worker_is_reported_and_replaced(worker: Worker) -> None:
    before = run(worker, look_around)["parent"]
    os.kill(before, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(before)] if psutil.pid_exists(before) else [], timeout=5)
    after = run(worker, look_around)["parent"]
    assert after != before


def test_work_ends_with_the_process_that_asked_for_it() -> None:
    """A run that is killed leaves no child that would go on writing."""
    program = (
        "from lab_assets_tests.compute.work import *; worker = Worker(); print(run(worker, look_around)['parent'], flush=True);"
        "run(worker, hang)"
    )
    asking = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    beside = psutil.Process(int(asking.stdout.readline()))
    assert until(lambda: len(beside.children(recursive=True)) == 2)
    everyone = [beside, *beside.children(recursive=True)]
    asking.kill()
    asking.wait()
    asking.stdout.close()
    _, alive = psutil.wait_procs(everyone, timeout=20)
    assert alive == []


def test_a_process_without_threads_forks_its_worker_which_keeps_none_of_its_files(tmp_path: Path) -> None:
    """The fork has what the process imported; a lock that the process holds ends with it."""
    program = (
        "import sys, fractions, os; from lab_assets_tests.compute.work import *; from pathlib import Path;"
        "held = open(sys.argv[1], 'w'); worker = Worker(); worker.start(); beside = run(worker, look_around)['parent'];"
        "print(run(worker, imported)['process'], [os.readlink(path) for path in Path(f'/proc/{beside}/fd').iterdir()].count(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "held.lock")]
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as what runs are forked from
    done = subprocess.run(command, env=alone, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1", "0"]
