"""The archive of the classes that a Spark server loads, made once: a server that reads it starts in half of the processor time.

Belongs here: making it. Does not belong here: using it (``spark_supervisor.py``). Run as ``python -m lab_assets.compute.class_archive``.

A server loads some ten thousand classes out of four hundred JARs and checks each. One that has run a job writes them into a file when it
ends (class data sharing), and later ones map that file into their memory. Java passes over the archive where JARs or Java are others.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab_assets.compute.jars import class_archive
from lab_assets.compute.spark_server import listening, log_tail
from lab_assets.compute.spark_supervisor import free_port, java_command, java_environment
from lab_assets.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

_LONGEST_S: Final = 300.0


def make_archive(settings: Settings) -> Path:
    """Run a server of its own through one job and keep the classes that it loaded.

    Args:
        settings: Whose JARs; nothing of the laboratory is touched.

    Raises:
        RuntimeError: the server did not start, or wrote no archive.
    """
    archive = class_archive(settings)
    with tempfile.TemporaryDirectory(dir=settings.jars_dir.resolve()) as folder:
        draft = Path(folder) / archive.name
        scratch = settings.model_copy(update={"home": Path(folder)})
        log = Path(folder) / "server.log"
        with _server(scratch, draft, log) as url:
            _run_a_job(scratch.model_copy(update={"spark_remote": url}))
        if not draft.is_file():
            raise RuntimeError(f"the server wrote no archive:\n{log_tail(log)}")
        draft.replace(archive)
    return archive


@contextmanager
def _server(settings: Settings, archive: Path, log: Path) -> Iterator[str]:
    """Run a server and yield its URL; it writes the archive while it ends."""
    port, token = free_port(), secrets.token_urlsafe(32)
    with log.open("wb") as output:
        command = java_command(settings, port, archive_to=archive)
        java = subprocess.Popen(
            command, env=java_environment(token), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=settings.home
        )
    try:
        deadline = time.monotonic() + _LONGEST_S
        while not listening(port):
            if java.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{log_tail(log)}")
            time.sleep(0.1)
        yield f"sc://localhost:{port}/;token={token}"
        java.terminate()
        java.wait(_LONGEST_S)
    finally:
        java.kill()
        java.wait()


def _run_a_job(settings: Settings) -> None:
    """Ask for what the product asks of Spark."""
    import pyarrow as pa

    from lab_assets.compute.session import SessionKeeper
    from lab_assets.compute.spark import SparkCompute

    rows = pa.table({"n": list(range(10))})
    keeper = SessionKeeper(settings)
    try:
        SparkCompute(keeper).map_rows(unchanged, rows, rows.schema, tasks=2)
    finally:
        keeper.close()


def unchanged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield what is given."""
    yield from batches


def main() -> int:
    """Make the archive; where that fails, Spark starts without it."""
    from lab_assets.settings import get_settings

    try:
        make_archive(get_settings())
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"no archive of Spark's classes, servers start without it: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
