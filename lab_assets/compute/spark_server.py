"""The embedded Spark Connect server seen from its users: find it, start it, hold it, stop it.

Belongs here: the files in ``run/spark`` and the promises between users and the supervisor. Does not belong here: the
supervising loop (``spark_supervisor.py``), sessions (``session.py``).

Written for one machine; ``LAB_SPARK_REMOTE`` replaces it by a cluster.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock

from lab_assets.compute.jars import ensure_jars
from lab_assets.settings import Settings

START_TIMEOUT_S = 120.0
SESSION_PARAMETER = "session_id"
"""Parameter of a Spark Connect URL that names a session shared by several processes; none of them may end it."""


class SparkServerError(RuntimeError):
    """The Spark server could not be started or reached."""


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """What the supervisor states about the server.

    Attributes:
        supervisor_pid: Process that keeps the server alive.
        java_pid: The server itself.
        port: Loopback port.
        starts: How often Java was started, from 1.
    """

    supervisor_pid: int
    java_pid: int
    port: int
    starts: int


class SparkFiles:
    """Where the server's files lie below ``run/spark``."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.run / "spark"
        self.state = self.folder / "server.json"
        self.token = self.folder / "token"
        self.log = self.folder / "server.log"
        self.supervisor_log = self.folder / "supervisor.log"
        self.clients = self.folder / "clients"
        self.start_lock = self.folder / "start.lock"
        self.life_lock = self.folder / "life.lock"

    def prepare(self) -> None:
        """Make the folders, readable by the owner alone."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.clients.mkdir(exist_ok=True, mode=0o700)

    def read_state(self) -> ServerState | None:
        """Return the state, or ``None`` when there is none or it is half written."""
        try:
            return ServerState(**json.loads(self.state.read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None

    def write_state(self, state: ServerState) -> None:
        """Replace the state atomically."""
        draft = self.state.with_suffix(".draft")
        draft.write_text(json.dumps(state.__dict__))
        draft.replace(self.state)


def listening(port: int) -> bool:
    """Return whether something accepts connections on a loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def process_alive(pid: int) -> bool:
    """Return whether a process runs and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def running_server(settings: Settings) -> ServerState | None:
    """Return the embedded server when its supervisor lives and it answers."""
    state = SparkFiles(settings).read_state()
    if state is None or not process_alive(state.supervisor_pid) or not listening(state.port):
        return None
    return state


def remote_url(settings: Settings) -> str:
    """Return the Spark Connect URL to use, starting the embedded server on first need.

    Raises:
        SparkServerError: the server did not answer in time.
        JarsMissingError: its JARs are missing and cannot be fetched.
    """
    if settings.spark_remote:
        return settings.spark_remote
    files = SparkFiles(settings)
    files.prepare()
    state = running_server(settings)
    if state is None:
        with FileLock(files.start_lock):
            state = running_server(settings) or _start(settings, files)
    token = files.token.read_text().strip()
    # "localhost" rather than 127.0.0.1: only then does the client send a token without TLS
    return f"sc://localhost:{state.port}/;token={token};{SESSION_PARAMETER}={_shared_session(token, state)}"


def _shared_session(token: str, state: ServerState) -> uuid.UUID:
    """Return the session that every process uses of one start of the server.

    Spark keeps Python workers apart by session: with a session for each run, each run would pay for workers of its own, and
    their memory would stay until the server ends.
    """
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{token}/{state.starts}")


def _start(settings: Settings, files: SparkFiles) -> ServerState:
    ensure_jars(settings)
    deadline = time.monotonic() + START_TIMEOUT_S
    known = files.read_state()
    if known is None or not process_alive(known.supervisor_pid):
        files.state.unlink(missing_ok=True)
        with files.supervisor_log.open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "lab_assets.compute.spark_supervisor", supervised_settings(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=files.folder,
            )
    while time.monotonic() < deadline:
        if state := running_server(settings):
            return state
        time.sleep(0.1)
    raise SparkServerError(f"the Spark server did not answer within {START_TIMEOUT_S:.0f} s; see {files.log} and run 'lab doctor'")


def supervised_settings(settings: Settings) -> str:
    """Return the settings the supervisor needs, as JSON: its working directory has no ``.env`` of ours."""
    needed = settings.model_dump(mode="json", include={"home", "jars_dir", "spark_memory", "spark_idle_s"})
    return json.dumps({name: str(Path(value).resolve()) if name in {"home", "jars_dir"} else value for name, value in needed.items()})


@contextmanager
def lease(settings: Settings) -> Iterator[None]:
    """Tell the supervisor that this process uses the server, so that it does not end as idle."""
    files = SparkFiles(settings)
    files.prepare()
    path = files.clients / f"{os.getpid()}-{time.monotonic_ns()}"
    path.write_text(str(os.getpid()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            files.clients.touch()


def live_leases(files: SparkFiles) -> int:
    """Count leases of living processes and remove those of dead ones."""
    alive = 0
    for path in files.clients.iterdir():
        pid = int(path.name.split("-")[0])
        if process_alive(pid):
            alive += 1
        else:
            path.unlink(missing_ok=True)
    return alive


def stop_server(settings: Settings, *, timeout_s: float = 20.0) -> bool:
    """End the embedded server; return whether one was running."""
    files = SparkFiles(settings)
    state = files.read_state()
    if state is None:
        return False
    members = [process for pid in (state.supervisor_pid, state.java_pid) if (process := _process(pid))]
    for process in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(members, timeout=timeout_s)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    files.state.unlink(missing_ok=True)
    return bool(members)


def _process(pid: int) -> psutil.Process | None:
    """Return a process when it is one of ours: its command line names the product or Spark Connect."""
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return None
    return process if "lab_assets" in command or "SparkConnectServer" in command else None


def log_tail(path: Path, lines: int = 20) -> str:
    """Return the last lines of a log."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
