"""Starting, watching and ending the laboratory's processes.

Belongs here: what ``lab up`` and ``lab down`` do. Does not belong here: which processes there are (``components.py``), Spark's
own life (``lab_assets.compute.spark_server``), printing.

``run/up.json`` lists what was started: process id with its creation time, so that a number used again by the system is
never taken for ours. Written for one machine; in a cluster its scheduler does this work.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from filelock import FileLock, Timeout

from lab_assets.compute.spark_server import SparkFiles, log_tail, remote_url, stop_server
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.ops.components import Component, port_is_free
from lab_assets.ops.environment import MARK, child_environment
from lab_assets.settings import Settings

READY_TIMEOUT_S: Final = 180.0
END_TIMEOUT_S: Final = 20.0
Say = Callable[[str], None]


class ProcessError(RuntimeError):
    """A process could not be started or ended."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """One process that ``lab up`` started.

    Attributes:
        name: Component.
        pid: Process id.
        created_s: When the system says it was created, seconds since the epoch.
        address: Where people find it.
    """

    name: str
    pid: int
    created_s: float
    address: str

    def process(self) -> psutil.Process | None:
        """Return the process while it lives; ``None`` for a dead one or another that got its number."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created_s) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True, kw_only=True)
class UpState:
    """What ``run/up.json`` holds.

    Attributes:
        mark: Value of the mark that every process and descendant carries.
        socket: The code server's socket.
        processes: What was started.
    """

    mark: str
    socket: str
    processes: tuple[Started, ...]


def state_path(settings: Settings) -> Path:
    """Return where the state is kept."""
    return settings.run / "up.json"


def log_path(settings: Settings, name: str) -> Path:
    """Return the log of one process."""
    return settings.run / "logs" / f"{name}.log"


def read_state(settings: Settings) -> UpState | None:
    """Return what was started last; ``None`` when nothing is meant to run."""
    try:
        content = json.loads(state_path(settings).read_text())
        return UpState(mark=content["mark"], socket=content["socket"], processes=tuple(Started(**each) for each in content["processes"]))
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return None


def _write_state(settings: Settings, state: UpState) -> None:
    draft = state_path(settings).with_suffix(".draft")
    draft.write_text(json.dumps(asdict(state), indent=1))
    draft.replace(state_path(settings))


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold the right to start and end processes of this home.

    Raises:
        ProcessError: another command holds it.
    """
    settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(settings.run / "up.lock", timeout=5):
            yield
    except Timeout as error:
        raise ProcessError(f"another 'lab up' or 'lab down' is at work on {settings.home}; wait for it") from error


def start(settings: Settings, wanted: Sequence[Component], *, socket: Path, spark: bool, say: Say = lambda _line: None) -> UpState:
    """Start what does not run yet and wait until all answer; what was started here is ended again when one fails.

    Args:
        settings: Whose processes.
        wanted: Components in the order of starting.
        socket: The code server's socket.
        spark: Whether the embedded Spark server is kept warm.
        say: Told what happens.

    Raises:
        ProcessError: a port is taken, or a process ended or did not answer in time.
    """
    known = read_state(settings)
    alive = {each.name: each for each in known.processes if each.process()} if known else {}
    missing = [component for component in wanted if component.name not in alive]
    require_free_ports(missing)
    mark = known.mark if known and alive else secrets.token_hex(16)
    (settings.run / "logs").mkdir(parents=True, exist_ok=True)
    started: dict[str, Started] = dict(alive)
    fresh: list[Started] = []

    def launched(component: Component) -> None:
        fresh.append(_launch(settings, component, mark))
        started[component.name] = fresh[-1]
        _write_state(settings, UpState(mark=mark, socket=str(socket), processes=tuple(started.values())))
        say(f"starting {component.name}")

    try:
        for component in missing:
            if not component.after:
                launched(component)
        if spark:
            say("starting spark")
            remote_url(settings)
        for component in missing:
            if component.after:
                _wait(settings, [each for each in wanted if each.name in component.after], started)
                launched(component)
        _wait(settings, wanted, started)
        if spark:
            _hold_spark(settings, started)
        if spark and fresh:
            _warm_spark(settings, mark)
    except BaseException:
        _end([process for each in fresh if (process := each.process())])
        _forget(settings, {each.name for each in fresh})
        raise
    return UpState(mark=mark, socket=str(socket), processes=tuple(started.values()))


def require_free_ports(wanted: Iterable[Component]) -> None:
    """Check that the ports are free.

    Raises:
        EnvironmentFaultError: one is taken, with the setting that moves it.
    """
    taken = [each for each in wanted if each.port is not None and not port_is_free(each.port)]
    if taken:
        places = ", ".join(f"port {each.port} of {each.name}{_user_of(each.port)}" for each in taken)
        variables = ", ".join(each.port_setting for each in taken)
        raise EnvironmentFaultError(Kind.PORT_TAKEN, places, what_to_do=f"end what uses it, or set {variables}; nothing was started")


def _user_of(port: int | None) -> str:
    """Say which process listens on a port, where the system shows it."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def _launch(settings: Settings, component: Component, mark: str) -> Started:
    if component.socket is not None:
        component.socket.unlink(missing_ok=True)
    with log_path(settings, component.name).open("ab") as log:
        child = subprocess.Popen(
            component.command,
            env={**child_environment(settings, mark=mark), **component.extra},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=settings.home,
            start_new_session=True,
        )
    return Started(name=component.name, pid=child.pid, created_s=psutil.Process(child.pid).create_time(), address=component.address)


def _wait(settings: Settings, wanted: Sequence[Component], started: dict[str, Started]) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    waiting = list(wanted)
    while waiting:
        for component in waiting:
            if started[component.name].process() is None:
                raise ProcessError(_failure(settings, component, "ended at once"))
        waiting = [component for component in waiting if not component.answers(timeout_s=1.0)]
        if waiting and time.monotonic() > deadline:
            raise ProcessError(_failure(settings, waiting[0], f"did not answer within {READY_TIMEOUT_S:.0f} s"))
        if waiting:
            time.sleep(0.2)


def _failure(settings: Settings, component: Component, what: str) -> str:
    path = log_path(settings, component.name)
    return f"{component.name} {what}; the end of {path}:\n{log_tail(path, 12)}"


def _hold_spark(settings: Settings, started: dict[str, Started]) -> None:
    """Leave leases in the daemon's and the code server's names: Spark stays warm as long as one of them lives."""
    for name in ("dagster-daemon", "dagster-code"):
        if name in started:
            (SparkFiles(settings).clients / f"{started[name].pid}-up").write_text(str(started[name].pid))


def _warm_spark(settings: Settings, mark: str) -> None:
    """Warm the server in the background: the first file that lands waits no longer than the next."""
    with log_path(settings, "warm-up").open("ab") as log:
        subprocess.Popen(
            (sys.executable, "-m", "lab_assets.ops.warm_up"),
            env=child_environment(settings, mark=mark),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=settings.home,
            start_new_session=True,
        )


def stop(settings: Settings, *, say: Say = lambda _line: None) -> list[str]:
    """End everything that was started here, with all descendants, and Spark; safe to repeat.

    Returns:
        Names of what was ended.

    Raises:
        ProcessError: a process is left.
    """
    state = read_state(settings)
    ended: list[str] = []
    if state is not None:
        # the daemon first, because it would launch more; then all others at once
        living = [(each.name, process) for each in state.processes if (process := each.process())]
        for group in ([one for one in living if one[0] == "dagster-daemon"], [one for one in living if one[0] != "dagster-daemon"]):
            for name, _ in group:
                say(f"ending {name}")
            _end([member for _, process in group for member in _family(process)])
            ended += [name for name, _ in group]
        _end(marked(state.mark))
        left = marked(state.mark)
        if left:
            raise ProcessError(f"still running: {', '.join(str(process.pid) for process in left)}; end them by hand")
    if stop_server(settings):
        say("ending spark")
        ended.append("spark")
    if state is not None:
        _remove_socket(settings, Path(state.socket))
    state_path(settings).unlink(missing_ok=True)
    return ended


def _remove_socket(settings: Settings, path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent != settings.run and path.parent.name.startswith("lab-"):
        shutil.rmtree(path.parent, ignore_errors=True)


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def marked(mark: str) -> list[psutil.Process]:
    """Return living processes that carry a mark in their environment, however they came to be orphans."""
    found: list[psutil.Process] = []
    own = psutil.Process().pid
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != own and process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def _end(processes: Sequence[psutil.Process]) -> None:
    """Ask processes to end, then make them."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=END_TIMEOUT_S)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)


def _forget(settings: Settings, names: set[str]) -> None:
    state = read_state(settings)
    if state is None:
        return
    rest = tuple(each for each in state.processes if each.name not in names)
    if rest:
        _write_state(settings, UpState(mark=state.mark, socket=state.socket, processes=rest))
    else:
        state_path(settings).unlink(missing_ok=True)


def memory_mib(process: psutil.Process) -> float:
    """Return the resident memory of a process and its descendants, in MiB."""
    total = 0
    for member in _family(process):
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total / 2**20


def as_json(state: UpState) -> list[dict[str, Any]]:
    """Return the processes as plain data."""
    return [{"name": each.name, "pid": each.pid, "address": each.address} for each in state.processes]
