"""Bringing the laboratory's processes up and down.

Belongs here: what ``lab up`` and ``lab down`` do: state the wish, see to it that somebody watches, wait, end all. Does not belong
here: which processes there are (``components.py``), keeping them alive (``supervision/``), Spark's own life
(``lab_assets.compute.spark_server``), printing.

Written for one machine; in a cluster its scheduler does this work.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from lab_assets.compute.spark_server import COMPONENT_NAME, SparkFiles, log_tail, stop_server
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.home_identity import place_of
from lab_assets.ops.components import Component, port_is_free, user_of_port
from lab_assets.ops.environment import child_environment
from lab_assets.ops.supervision.ending import WARM_UP, components_of, end_all
from lab_assets.ops.supervision.plan import (
    Plan,
    Record,
    State,
    UpState,
    log_path,
    now_utc,
    plan_path,
    read_plan,
    read_state,
    state_path,
    write_plan,
)
from lab_assets.ops.supervision.watch_files import LEADER, Look, Post, launch_watcher, posts
from lab_assets.process_identity import known_place, marked
from lab_assets.process_stamp import kill
from lab_assets.provenance import program_digest
from lab_assets.settings import Settings

READY_TIMEOUT_S: Final = 180.0
ANOTHER_TIMEOUT_S: Final = 240.0
ATTEMPTS: Final = 2
"""A component that ended so often before all answered is reported, with its last words."""
_SAID_AFTER_S: Final = 1.0
Say = Callable[[str], None]


class ProcessError(RuntimeError):
    """A process could not be started or ended."""


@contextmanager
def alone(settings: Settings, *, wait_s: float = ANOTHER_TIMEOUT_S, say: Say = lambda _line: None) -> Iterator[None]:
    """Hold the right to start and end processes of this home; a second command waits for the first.

    Args:
        settings: Whose processes.
        wait_s: How long to wait, seconds.
        say: Given a line when it waits.

    Raises:
        ProcessError: another command holds it for longer.
    """
    settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(settings.run / "up.lock")
    try:
        try:
            lock.acquire(timeout=min(wait_s, _SAID_AFTER_S))
        except Timeout:
            say(f"another 'lab up' or 'lab down' is at work on {settings.home}; waiting for it")
            lock.acquire(timeout=max(0.0, wait_s - _SAID_AFTER_S))
    except Timeout as error:
        raise ProcessError(f"another 'lab up' or 'lab down' is at work on {settings.home}; wait for it") from error
    try:
        yield
    finally:
        lock.release()


def start(settings: Settings, wanted: Sequence[Component], *, socket: Path, spark: bool, say: Say = lambda _line: None) -> UpState:
    """Have what is wanted running and watched, and wait until all of it answers.

    What runs already stays. Where nothing was watched before and this does not succeed, or is interrupted, everything is ended again.

    Args:
        settings: Whose processes.
        wanted: Components in the order of starting.
        socket: The code server's socket.
        spark: Whether the embedded Spark server is kept warm.
        say: Given what happens.

    Raises:
        EnvironmentFaultError: a port is taken.
        ProcessError: a process ended or did not answer in time.
    """
    clear_the_way(settings, wanted, say=say)
    watched = is_watched(settings)
    plan = Plan(
        place=place_of(settings),
        program=program_digest(),
        components=tuple(wanted),
        socket=str(socket),
        spark=spark,
        asked_utc=now_utc(),
    )
    (settings.run / "logs").mkdir(parents=True, exist_ok=True)
    before = _Before.of(settings, (*(each.name for each in wanted), COMPONENT_NAME, LEADER))
    try:
        write_plan(settings, plan)
        state, fresh = _wait(settings, plan, before, say)
    except BaseException:
        if not watched:
            stop(settings)
        raise
    if spark and fresh and not watched:
        _warm_spark(settings)
    return state


def is_watched(settings: Settings) -> bool:
    """Return whether a supervisor works on this home."""
    return read_plan(settings) is not None and Post(settings.run, LEADER).holder() is not None


def ensure_watched(settings: Settings) -> subprocess.Popen[bytes] | None:
    """Start a watcher where none holds a place: it becomes the supervisor, and starts the others.

    Returns:
        The watcher; ``None`` where there was one.
    """
    if any(post.is_held() for post in posts(settings.run)):
        return None
    return launch_watcher(settings.home.resolve(), child_environment(settings, component=LEADER))


def clear_the_way(settings: Settings, wanted: Sequence[Component], *, say: Say = lambda _line: None) -> None:
    """End what must not go on beside what is wanted: processes of an earlier program, orphans; and check that the ports are free.

    Args:
        settings: Whose processes.
        wanted: Components that are to run.
        say: Given what is ended, and why.

    Raises:
        EnvironmentFaultError: a port is taken by somebody else.
        ProcessError: a process cannot be ended.
    """
    place = known_place(settings)
    if place is not None:
        plan = read_plan(settings)
        left = components_of(marked(place)) - {COMPONENT_NAME, WARM_UP}
        if left and plan is None:
            say(f"nobody watches what is left of an earlier time ({', '.join(sorted(left))}): it is ended")
            stop(settings)
        elif left and plan is not None and plan.program != program_digest():
            say("what runs was started by an earlier state of the program: all of it is ended and started anew")
            stop(settings)
        server = SparkFiles(settings).read_state()
        if server is not None and server.program != program_digest():
            say("the Spark server was started by an earlier state of the program: it is ended and started anew")
            stop_server(settings)
    if not is_watched(settings):
        _make_room(settings, wanted)


def _make_room(settings: Settings, wanted: Sequence[Component]) -> None:
    """End orphans of what is to be started, and check that its ports are free."""
    known = read_state(settings)
    alive = {each.name for each in known.processes if each.process()} if known else set[str]()
    missing = [each for each in wanted if each.name not in alive]
    place = known_place(settings)
    if place is not None:
        kill([each for component in missing if not component.work_outlives_it for each in marked(place, component.name)])
    require_free_ports(missing)


def require_free_ports(wanted: Iterable[Component]) -> None:
    """Check that the ports are free.

    Raises:
        EnvironmentFaultError: one is taken, with the setting that moves it.
    """
    taken = [each for each in wanted if each.port is not None and not port_is_free(each.port)]
    if taken:
        places = ", ".join(f"port {each.port} of {each.name}{user_of_port(each.port or 0)}" for each in taken)
        variables = ", ".join(each.port_setting for each in taken)
        raise EnvironmentFaultError(Kind.PORT_TAKEN, places, what_to_do=f"end what uses it, or set {variables}; nothing was started")


@dataclass(frozen=True, kw_only=True)
class _Before:
    """What was on record before processes were asked for: whatever is there besides came of the asking, whatever the clock says.

    Attributes:
        ends_utc: By component, when it had ended.
        logs: Length of each component's log, bytes: what stands in it is of earlier times.
    """

    ends_utc: Mapping[str, Sequence[str]]
    logs: Mapping[str, int]

    @classmethod
    def of(cls, settings: Settings, names: Iterable[str]) -> _Before:
        """Look at a home."""
        known = read_state(settings)
        records = [] if known is None else [*known.processes, *([known.spark] if known.spark else [])]
        return cls(
            ends_utc={each.name: each.ends_utc for each in records},
            logs={name: path.stat().st_size for name in names if (path := log_of(settings, name)).exists()},
        )

    def new_ends(self, record: Record) -> int:
        """Return how often a component ended since."""
        return len([each for each in record.ends_utc if each not in self.ends_utc.get(record.name, ())])

    def last_words(self, settings: Settings, name: str) -> str:
        """Return where a component's log lies, and its end as far as it was written since."""
        path = log_of(settings, name)
        return f"the end of {path}:\n{log_tail(path, 12, after=self.logs.get(name, 0)) or '(it says nothing)'}"


def _wait(settings: Settings, plan: Plan, before: _Before, say: Say) -> tuple[UpState, bool]:
    """Wait until all answer; return how they are, and whether any was started meanwhile."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    said: set[str] = set()
    launched: list[subprocess.Popen[bytes]] = []
    launched_s = float("-inf")
    looks = [Look(post) for post in posts(settings.run)]
    while True:
        for look in looks:
            look.end_what_hangs()
        if time.monotonic() - launched_s > 2.0:
            launched_s = time.monotonic()
            launched += [watcher] if (watcher := ensure_watched(settings)) else []
        if sum(1 for each in launched if each.poll()) >= ATTEMPTS:
            raise ProcessError(f"the supervisor could not be started; {before.last_words(settings, LEADER)}")
        state = read_state(settings)
        records = _followed(state, plan)
        for record in records:
            if record.state is State.STARTING and record.name not in said:
                said.add(record.name)
                say(f"starting {record.name}")
            if before.new_ends(record) >= ATTEMPTS:
                how = record.last_end.partition("; last words")[0]
                words = before.last_words(settings, record.name)
                raise ProcessError(f"{record.name} ended at once, {ATTEMPTS} times ({how}); {words}")
        if state is not None and records and all(each.state is State.RUNNING and each.process() for each in records):
            return state, bool(said)
        if time.monotonic() > deadline:
            raise ProcessError(_silence(settings, records, before))
        time.sleep(0.1)


def _followed(state: UpState | None, plan: Plan) -> list[Record]:
    """Return what the supervisor says once it follows this wish."""
    if state is None or state.asked_utc != plan.asked_utc:
        return []
    return [*state.processes, *([state.spark] if state.spark else [])]


def _silence(settings: Settings, records: Sequence[Record], before: _Before) -> str:
    if not records:
        return f"nothing supervises {settings.home} after {READY_TIMEOUT_S:.0f} s; {before.last_words(settings, LEADER)}"
    late = next((each for each in records if each.state is not State.RUNNING), records[0])
    return f"{late.name} did not answer within {READY_TIMEOUT_S:.0f} s; {before.last_words(settings, late.name)}"


def log_of(settings: Settings, name: str) -> Path:
    """Return where a process says what it does; Spark's lies beside its server's."""
    return settings.run / "spark" / "supervisor.log" if name == COMPONENT_NAME else log_path(settings, name)


def _warm_spark(settings: Settings) -> None:
    """Warm the server in the background: the first file that lands waits no longer than the next."""
    with log_path(settings, "warm-up").open("ab") as log:
        subprocess.Popen(
            (sys.executable, "-m", "lab_assets.ops.warm_up"),
            env=child_environment(settings, component=WARM_UP),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=settings.home,
            start_new_session=True,
        )


def stop(settings: Settings, *, say: Say = lambda _line: None) -> list[str]:
    """End everything of this home, with all descendants and orphans, and Spark; safe to repeat, in whatever state it is.

    Returns:
        Names of what was ended.

    Raises:
        ProcessError: a process is left.
    """
    place = known_place(settings)
    if place is None:  # nothing was ever started here
        return []
    plan, state = read_plan(settings), read_state(settings)
    plan_path(settings).unlink(missing_ok=True)  # from here on nobody starts anything
    kill([process for post in posts(settings.run) if (holder := post.holder()) and (process := holder.process())])
    kill(marked(place, LEADER))
    ended = end_all(place, state.processes if state else (), say=say)
    if stop_server(settings):
        say("ending spark")
        ended.append(COMPONENT_NAME)
    if left := marked(place):
        raise ProcessError(f"still running: {', '.join(str(process.pid) for process in left)}; end them by hand")
    for socket in {each.socket for each in (plan, state) if each}:
        _remove_socket(settings, Path(socket))
    state_path(settings).unlink(missing_ok=True)
    return ended


def _remove_socket(settings: Settings, path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent != settings.run and path.parent.name.startswith("lab-"):
        shutil.rmtree(path.parent, ignore_errors=True)


def as_json(state: UpState) -> list[dict[str, Any]]:
    """Return the processes as plain data."""
    return [{"name": each.name, "pid": each.pid or None, "address": each.address} for each in state.processes]
