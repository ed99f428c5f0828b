"""Processes for Dagster's runs, forked from one that has imported what every run needs.

Belongs here: the warm process and asking it for another. Does not belong here: what a run does, and whether it lives
(``run_launcher.py``). Run as ``python -m lab_assets.orchestration.private.run_processes``: it forks once for each line it reads, and ends when whoever
writes them is gone.

A run of a dropped file is a few seconds of work. A new interpreter spends as long on importing Dagster, Spark's client and the
table libraries; a fork has them. The product's own modules are not imported here, so a changed one counts from the next run on.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
from typing import Final

PRELOADED: Final = (
    *("dagster", "dagster._cli.api", "dagster_pyspark", "sqlalchemy", "alembic", "pandas", "pyarrow.dataset", "pyarrow.parquet"),
    *("pyspark.sql.connect.session", "pyspark.sql.connect.dataframe", "pyspark.sql.connect.functions"),
    *("scipy.signal", "scipy.special", "lightgbm"),
)
"""No module here may start threads when imported: they would not live on in a fork. That leaves out polars and deltalake."""

_ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1"}
"""OpenBLAS starts its threads when it is loaded; the product's own arrays are too short to gain from them."""


class RunProcesses:
    """The warm process of one daemon, started when the first run is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._warm: subprocess.Popen[str] | None = None

    def begin(self, arguments: str) -> int:
        """Begin a process for a run and return its number.

        Args:
            arguments: What ``dagster api execute_run`` is given, one line.

        Raises:
            OSError: the warm process could not be started or is gone.
        """
        with self._lock:
            if self._warm is None or self._warm.poll() is not None:
                command, environment = (sys.executable, "-m", __name__), os.environ | _ONE_THREAD
                self._warm = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            answer = self._ask(self._warm, arguments)
        return int(answer)

    def _ask(self, warm: subprocess.Popen[str], arguments: str) -> str:
        if warm.stdin is None or warm.stdout is None:
            raise OSError("the process that runs are forked from has no pipes")
        warm.stdin.write(arguments.replace("\n", " ") + "\n")
        warm.stdin.flush()
        answer = warm.stdout.readline()
        if not answer:
            raise OSError(f"the process that runs are forked from ended with {warm.wait()}; its messages are in the daemon's log")
        return answer


def main() -> None:
    """Import, then fork a process for each line of standard input."""
    for name in PRELOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt of the terminal is for the runs; this one ends with its daemon
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended runs leave no zombies
    while line := sys.stdin.readline():
        process = os.fork()
        if process == 0:
            sys.exit(_run(line))
        with contextlib.suppress(BrokenPipeError):  # the daemon ended meanwhile; the run goes on
            sys.stdout.write(f"{process}\n")
            sys.stdout.flush()


def _run(arguments: str) -> int:
    """Be the run: without the pipes of the process it comes from, with the signals of a new one."""
    from dagster._cli.api import execute_run_command

    from lab_assets.compute.worker import worker_of_this_process

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    worker_of_this_process().start()  # a fork, as long as the run has no threads
    return execute_run_command.main([arguments], standalone_mode=False) or 0


if __name__ == "__main__":
    main()
