"""Processes that begin with everything imported: what takes most of a short run is done once for all of them.

Belongs here: starting such a process and its end. Does not belong here: what it does. Each is forked from a server that has imported
the modules below and has done nothing else: no thread, no connection, no settings.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

# imported here, so that the server has them
import deltalake
import pandas as pd
import polars as pl
import pyarrow.dataset
import pyarrow.parquet
import pyspark.sql.connect.dataframe
import pyspark.sql.connect.functions
import pyspark.sql.connect.session

from lab_assets.ingest import ingestor as ingest
from lab_assets.lake import lakehouse as delta
from lab_assets.settings import PROJECT_ROOT

__all__ = ["WarmProcess", "delta", "deltalake", "ingest", "pd", "pl", "pyarrow", "pyspark"]

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


class WarmProcess:
    """A process that does one thing; it may be killed."""

    def __init__(self, work: Callable[[], None], environment: Mapping[str, str], folder: Path) -> None:
        """Start it.

        Args:
            work: A function of a module.
            environment: All of the process's environment.
            folder: Where its output is kept.
        """
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("*.out")))
        self._out, self._err = (folder / f"{number}.{name}" for name in ("out", "err"))
        self._out.touch()
        self._process = _CONTEXT.Process(target=_run, args=(work, dict(environment), self._out, self._err))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """Exit code; the number of the signal, negative, that ended it; ``None`` while it runs."""
        return self._process.exitcode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for its end and return what it wrote.

        Raises:
            subprocess.TimeoutExpired: it runs longer than the time in seconds; it is killed.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise subprocess.TimeoutExpired(str(self._process), timeout)
        return self._out.read_text(), self._err.read_text()


def _run(work: Callable[[], None], environment: dict[str, str], out: Path, err: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(PROJECT_ROOT)
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    work()
