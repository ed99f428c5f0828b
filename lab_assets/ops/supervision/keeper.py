"""Keeping one component alive: start, watch, end, wait, start again.

Belongs here: what happens to one process. Does not belong here: the order among them (``supervisor.py``), the rule for waiting
(``patience.py``), the Spark server, which has a supervisor of its own (``spark_keeper.py``).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Final

import psutil

from lab_assets.compute.spark_server import log_tail
from lab_assets.home_identity import Place
from lab_assets.ops.components import Component, port_is_free, user_of_port
from lab_assets.ops.supervision.health import INTERVAL_S, Health
from lab_assets.ops.supervision.patience import OFTEN, WORKED_S, delay_s, keeps_ending
from lab_assets.ops.supervision.plan import Record, State, log_path, now_utc
from lab_assets.process_identity import COMPONENT, marked
from lab_assets.process_stamp import Stamp, family, is_suspended, kill, stamp_of
from lab_assets.settings import Settings

START_TIMEOUT_S: Final = 180.0
SUSPENDED_S: Final = 1.0
SUSPECT_S: Final = 1.5 * INTERVAL_S
"""It has missed an answer."""
_LAST_WORDS: Final = 400


class Restarts:
    """Waiting longer and longer before what keeps ending is started again."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._due_s = time.monotonic() + (delay_s(record.quick_ends) if record.state is State.DIED else 0.0)

    @property
    def due(self) -> bool:
        """Whether the next start is due."""
        return time.monotonic() >= self._due_s

    def note_start(self, process: Stamp) -> None:
        """Note that it was started."""
        record = self.record
        record.restarts += 1 if record.starts else 0
        record.starts += 1
        record.stamp, record.started_utc, record.next_start_utc = process, now_utc(), ""
        record.turn(State.STARTING)

    def note_end(self, how: str, *, worked_s: float) -> None:
        """Note that it ended, and when it is started again.

        Args:
            how: How it ended.
            worked_s: For how long it had answered, seconds.
        """
        record = self.record
        record.quick_ends = 0 if worked_s >= WORKED_S else record.quick_ends + 1
        record.ends_utc = list(deque([*record.ends_utc, now_utc()], OFTEN))
        record.last_end, record.stamp = how, None
        record.failing = record.failing or keeps_ending(
            record.quick_ends, list(map(datetime.fromisoformat, record.ends_utc)), datetime.now(UTC)
        )
        record.turn(State.DIED)
        delay = delay_s(record.quick_ends)
        self._due_s = time.monotonic() + delay
        record.next_start_utc = (datetime.now(UTC) + timedelta(seconds=delay)).isoformat(timespec="seconds")

    def note_work(self, *, worked_s: float) -> None:
        """Note that it has answered for a while: what was, is over."""
        if worked_s >= WORKED_S:
            self.record.quick_ends = 0
            if not keeps_ending(0, list(map(datetime.fromisoformat, self.record.ends_utc)), datetime.now(UTC)):
                self.record.failing = False


class Keeper:
    """One component."""

    def __init__(self, settings: Settings, place: Place, component: Component, record: Record | None = None) -> None:
        """Keep a component, from where another supervisor left it.

        Args:
            settings: Whose.
            place: The laboratory.
            component: What to start.
            record: What the last supervisor knew of it.
        """
        self.settings = settings
        self.place = place
        self.component = component
        self.record = record or Record(name=component.name)
        self.record.address = component.address
        self.restarts = Restarts(self.record)
        self.health = Health(component)
        self._child: subprocess.Popen[bytes] | None = None
        self._ready_s: float | None = None
        self._suspended_s: float | None = None
        if self.record.process() is not None:
            ready = self.record.state is not State.STARTING
            self._ready_s = time.monotonic() if ready else None
            self.health.begin(ready=ready)

    @property
    def has_worked(self) -> bool:
        """Whether it answered, in this life or an earlier one, or is not to be waited for."""
        return self.record.state is State.RUNNING or self.record.restarts > 0 or self.record.failing

    def step(self, *, may_start: bool) -> None:
        """Look once, and do what is to be done.

        Args:
            may_start: Whether what it comes after is there.
        """
        process = self.record.process()
        if process is not None:
            self._watch(process)
        elif self.record.stamp is not None:
            self._note_end(self._exit_in_words())
        elif may_start and self.restarts.due:
            self._start()

    def _start(self) -> None:
        self._end_leftovers()
        port = self.component.port
        if port is not None and not port_is_free(port):
            how = f"port {port} of {self.component.name} is in use{user_of_port(port)}: end it or set {self.component.port_setting}"
            self.record.starts += 1
            self.restarts.note_end(how, worked_s=0.0)
            return
        if self.component.socket is not None:
            self.component.socket.unlink(missing_ok=True)
            self.component.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = log_path(self.settings, self.component.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            self._child = subprocess.Popen(
                self.component.command,
                env={**os.environ, COMPONENT: self.component.name, **self.component.extra},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.settings.home,
                start_new_session=True,
            )
        self._ready_s = self._suspended_s = None
        self.restarts.note_start(stamp_of(self._child.pid))
        self.health.begin()

    def _watch(self, process: psutil.Process) -> None:
        if is_suspended(process):
            self._suspended_s = self._suspended_s or time.monotonic()
            self.record.turn(State.HUNG)
            if time.monotonic() - self._suspended_s > SUSPENDED_S:
                self._replace(process, "it was stopped by a signal")
            return
        self._suspended_s = None
        silent_s = self.health.silent_s
        if not self.health.ready:
            self.record.turn(State.STARTING)
            if silent_s > START_TIMEOUT_S:
                self._replace(process, f"it did not answer within {START_TIMEOUT_S:.0f} s of its start")
            return
        self._ready_s = self._ready_s or time.monotonic()
        if self._waits_for_a_suspended_child(process, silent_s):
            self._replace(process, "a child of it was stopped by a signal")
            return
        if silent_s > self.component.silence_s:
            self._replace(process, f"it did not answer for {silent_s:.0f} s")
            return
        self.record.turn(State.RUNNING)
        self.restarts.note_work(worked_s=time.monotonic() - self._ready_s)

    def _waits_for_a_suspended_child(self, process: psutil.Process, silent_s: float) -> bool:
        """Return whether it is silent because a child does nothing; looked at only once it is silent, since it means to look at all processes."""
        if self.component.work_outlives_it or silent_s <= SUSPECT_S:
            return False
        return any(map(is_suspended, family(process)))

    def _replace(self, process: psutil.Process, why: str) -> None:
        self.record.turn(State.HUNG)
        victims = [process]
        if self.component.work_outlives_it:
            victims += process.children()  # what it works with; what those started goes on
        kill(victims)
        self._note_end(f"{why} and was ended")

    def _note_end(self, how: str) -> None:
        worked_s = 0.0 if self._ready_s is None else time.monotonic() - self._ready_s
        if self._child is not None:
            self._child.poll()
        self._child = self._ready_s = self._suspended_s = None
        self._end_leftovers()
        words = log_tail(log_path(self.settings, self.component.name), 1).strip()[-_LAST_WORDS:]
        self.restarts.note_end(f"{how}; last words: {words}" if words else how, worked_s=worked_s)

    def _end_leftovers(self) -> None:
        """End what an ended process left behind: a child of it may hold its port."""
        if not self.component.work_outlives_it:
            kill(marked(self.place, self.component.name))
            return
        own = [each for each in marked(self.place, self.component.name) if _runs(each, self.component.command)]
        kill(own)

    def _exit_in_words(self) -> str:
        code = None if self._child is None else self._child.poll()
        if code is None:
            return "it is gone"
        return f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"


def _runs(process: psutil.Process, command: tuple[str, ...]) -> bool:
    """Return whether a process runs a command; its own children run others."""
    try:
        return tuple(process.cmdline()) == command
    except psutil.Error:
        return False
