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
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock

from lab_assets import process_identity, process_stamp
from lab_assets.compute.jars import ensure_jars
from lab_assets.home_identity import Place, place_of
from lab_assets.process_identity import COMPONENT, MARK, known_place, mark_of
from lab_assets.process_stamp import Stamp, stamp_of
from lab_assets.provenance import program_digest
from lab_assets.settings import Settings

START_TIMEOUT_S = 120.0
COMPONENT_NAME = "spark"
SUPERVISOR_MODULE = "lab_assets.compute.spark_supervisor"
_BEGINNING_S = 15.0
SESSION_PARAMETER = "session_id"
"""Parameter of a Spark Connect URL that names a session shared by several processes; none of them may end it."""


class SparkServerError(RuntimeError):
    """The Spark server could not be started or reached."""


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """What the supervisor states about the server.

    Attributes:
        place: The home it serves, where that stands, and the start of the machine.
        program: Digest of the program that the supervisor and Spark's workers run.
        supervisor: Process that keeps the server alive.
        java: The server itself; ``None`` before it was started.
        port: Loopback port.
        starts: How often Java was started, from 1.
        ready: Whether this start of Java has answered.
        last_end: How Java ended last; empty where it never did.
    """

    place: Place
    program: str
    supervisor: Stamp
    java: Stamp | None
    port: int
    starts: int
    ready: bool
    last_end: str = ""

    @property
    def lives(self) -> bool:
        """Whether the supervisor lives."""
        return self.supervisor.process() is not None

    @property
    def java_pid(self) -> int:
        """Number of the server's process; 0 before there is one."""
        return self.java.pid if self.java else 0


class SparkFiles:
    """Where the server's files lie below ``run/spark``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
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
        """Return the state; ``None`` when there is none, it is half written, or it speaks of another home or start of the machine."""
        state = self.stated()
        return state if state is not None and state.place == known_place(self._settings) else None

    def stated(self) -> ServerState | None:
        """Return what is written, of whatever place; ``None`` when there is nothing, or it is half written."""
        try:
            content = json.loads(self.state.read_text())
            java = content.pop("java")
            return ServerState(
                place=Place(**content.pop("place")),
                supervisor=Stamp(**content.pop("supervisor")),
                java=Stamp(**java) if java else None,
                **content,
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write_state(self, state: ServerState) -> None:
        """Replace the state atomically."""
        draft = self.state.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(state)))
        draft.replace(self.state)


def listening(port: int) -> bool:
    """Return whether something accepts connections on a loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def running_server(settings: Settings) -> ServerState | None:
    """Return the embedded server when its supervisor lives and it answers."""
    state = SparkFiles(settings).read_state()
    if state is None or not state.ready or not state.lives or not listening(state.port):
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
    if state is None or state.program != program_digest():
        with FileLock(files.start_lock):
            state = _current_server(settings) or _start(settings, files)
    token = files.token.read_text().strip()
    # "localhost" rather than 127.0.0.1: only then does the client send a token without TLS
    return f"sc://localhost:{state.port}/;token={token};{SESSION_PARAMETER}={_shared_session(token, state)}"


def _shared_session(token: str, state: ServerState) -> uuid.UUID:
    """Return the session that every process uses of one start of the server.

    Spark keeps Python workers apart by session: with a session for each run, each run would pay for workers of its own, and
    their memory would stay until the server ends.
    """
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{token}/{state.starts}")


def _current_server(settings: Settings) -> ServerState | None:
    """Return the running server; one that earlier code started is ended, since its workers would go on running that code."""
    state = running_server(settings)
    if state is not None and state.program != program_digest():
        stop_server(settings)
        return None
    return state


def _start(settings: Settings, files: SparkFiles) -> ServerState:
    deadline = time.monotonic() + START_TIMEOUT_S
    supervisor = launch_server(settings)
    while time.monotonic() < deadline:
        if state := running_server(settings):
            return state
        if supervisor is not None and supervisor.poll():
            raise SparkServerError(
                f"the Spark server could not be started; the end of {files.supervisor_log}:\n{log_tail(files.supervisor_log, 6)}"
            )
        if supervisor is None and not ((state := files.read_state()) and state.lives):  # whoever was starting it was ended meanwhile
            supervisor = launch_server(settings)
        time.sleep(0.1)
    raise SparkServerError(f"the Spark server did not answer within {START_TIMEOUT_S:.0f} s; see {files.log} and run 'lab doctor'")


def launch_server(settings: Settings) -> subprocess.Popen[bytes] | None:
    """Start a supervisor where none lives, and do not wait for its server; of several at once all but one end by themselves.

    Returns:
        The supervisor's process; ``None`` where one lives.

    Raises:
        JarsMissingError: the JARs are missing and cannot be fetched.
    """
    ensure_jars(settings)
    files = SparkFiles(settings)
    files.prepare()
    known = files.read_state()
    if known is not None and known.lives:
        return None
    process_stamp.kill(_supervisors_without_state(settings))
    files.state.unlink(missing_ok=True)
    with files.supervisor_log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", SUPERVISOR_MODULE, supervised_settings(settings)],
            env={**os.environ, MARK: mark_of(place_of(settings)), COMPONENT: COMPONENT_NAME},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=files.folder,
        )


def _supervisors_without_state(settings: Settings) -> list[psutil.Process]:
    """Return supervisors of this home that no state names, as those of an earlier version of the program; none that begins just now."""
    named = json.dumps(str(settings.home.resolve()))
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            command = process.cmdline()
            if SUPERVISOR_MODULE in command and named in command[-1] and time.time() - process.create_time() > _BEGINNING_S:
                found += process_stamp.family(process)
    return found


def supervised_settings(settings: Settings) -> str:
    """Return the settings the supervisor needs, as JSON: its working directory has no ``.env`` of ours."""
    needed = settings.model_dump(mode="json", include={"home", "jars_dir", "spark_memory", "spark_idle_s"})
    return json.dumps({name: str(Path(value).resolve()) if name in {"home", "jars_dir"} else value for name, value in needed.items()})


@contextmanager
def lease(settings: Settings) -> Iterator[None]:
    """Tell the supervisor that this process uses the server, so that it does not end as idle."""
    files = SparkFiles(settings)
    files.prepare()
    path = hold(settings, os.getpid())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            files.clients.touch()


def hold(settings: Settings, pid: int) -> Path:
    """Leave a lease in the name of a process: the server stays as long as the process lives and the file is there."""
    path = SparkFiles(settings).clients / f"{pid}-{time.monotonic_ns()}"
    path.write_text(json.dumps({"place": asdict(place_of(settings)), "holder": asdict(stamp_of(pid))}))
    return path


def live_leases(files: SparkFiles, place: Place) -> int:
    """Count leases of living processes, and remove those of dead ones and of other places: a copied home brings the original's along."""
    alive = 0
    for path in files.clients.iterdir():
        try:
            content = json.loads(path.read_text())
            lives = Place(**content["place"]) == place and Stamp(**content["holder"]).process() is not None
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError):  # half written, or damaged: its name says whose it is
            lives = _holder_lives(path)
        if lives:
            alive += 1
        else:
            path.unlink(missing_ok=True)
    return alive


def _holder_lives(lease_file: Path) -> bool:
    number = lease_file.name.partition("-")[0]
    return number.isdecimal() and psutil.pid_exists(int(number))


def stop_server(settings: Settings, *, timeout_s: float = 20.0) -> bool:
    """End the embedded server of this home, in whichever phase it is; return whether one was running."""
    files = SparkFiles(settings)
    place = known_place(settings)
    if place is None:  # nothing was ever started here
        return False
    state = files.read_state()
    stamps = [state.supervisor, *([state.java] if state.java else [])] if state else []
    members = [process for each in stamps if (process := each.process())]
    process_stamp.end(members, timeout_s=timeout_s)
    orphans = [*process_identity.marked(place, COMPONENT_NAME), *_supervisors_without_state(settings)]
    process_stamp.end(orphans, timeout_s=timeout_s)
    files.state.unlink(missing_ok=True)
    return bool(members or orphans)


def log_tail(path: Path, lines: int = 20, *, after: int = 0) -> str:
    """Return the last lines of a log; of those after its first bytes, where it still has more."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return ""
    new = text[after:] if len(text) >= after else text  # a shorter one was begun anew
    return "\n".join(new.decode(errors="replace").splitlines()[-lines:])
