"""Keeping the Spark server's own supervisor alive, and the server wanted.

Belongs here: starting that supervisor again when it died or hangs. Does not belong here: Java, which it looks after itself
(``lab_assets.compute.spark_supervisor``).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import Final

import psutil
from filelock import FileLock, Timeout

from lab_assets.compute.jars import JarsMissingError
from lab_assets.compute.spark_server import COMPONENT_NAME, ServerState, SparkFiles, hold, launch_server, log_tail
from lab_assets.ops.supervision.keeper import Restarts
from lab_assets.ops.supervision.plan import Record, State
from lab_assets.process_stamp import is_suspended, kill, stamp_of
from lab_assets.settings import Settings

LONGEST_SILENCE_S: Final = 40.0
SUSPENDED_S: Final = 1.0
_INTERVAL_S: Final = 0.5


class SparkKeeper:
    """The embedded Spark server of one home."""

    def __init__(self, settings: Settings, record: Record | None = None) -> None:
        self.settings = settings
        self.files = SparkFiles(settings)
        self.files.prepare()
        self.record = record or Record(name=COMPONENT_NAME)
        self.restarts = Restarts(self.record)
        self._child: subprocess.Popen[bytes] | None = None
        self._ready_s: float | None = None
        self._suspended_s: float | None = None
        self._java_starts = 0
        self._looked_s = 0.0
        self._beat, self._beat_s = 0, time.monotonic()
        self._lease = hold(settings, os.getpid())

    def step(self) -> None:
        """Look once, and do what is to be done."""
        if time.monotonic() - self._looked_s < _INTERVAL_S:
            return
        self._looked_s = time.monotonic()
        if self._child is not None:
            self._child.poll()
        if not self._lease.exists():  # somebody cleared the folder: the server would end as idle
            self._lease = hold(self.settings, os.getpid())
        state = self.files.read_state()
        process = state.supervisor.process() if state else None
        if state is not None and process is not None:
            self._watch(state, process)
        elif self.record.process() is not None:
            self.record.turn(State.STARTING)  # it was started and has not said anything yet
        elif self.record.stamp is not None:
            self._note_end("its supervisor is gone")
        elif self.restarts.due:
            self._start()

    def _start(self) -> None:
        try:
            with FileLock(self.files.start_lock, timeout=0):
                self._child = launch_server(self.settings)
        except Timeout:  # a run is starting it
            return
        except JarsMissingError as error:
            self.restarts.note_end(str(error), worked_s=0.0)
            return
        if self._child is not None:
            self._ready_s = None
            self.restarts.note_start(stamp_of(self._child.pid))

    def _watch(self, state: ServerState, process: psutil.Process) -> None:
        if state.supervisor != self.record.stamp:  # started by a run, or by the laboratory's last supervisor
            self._ready_s, self._java_starts, self._beat_s = None, state.starts, time.monotonic()
            self.restarts.note_start(state.supervisor)
        self.record.address = f"sc://localhost:{state.port}"
        if state.starts > self._java_starts:
            self.record.restarts += state.starts - max(self._java_starts, 1)
            self._java_starts = state.starts
        self.record.last_end = state.last_end or self.record.last_end
        if hangs := self._hangs(process):
            self.record.turn(State.HUNG)
            if hangs != "a moment":
                kill([process, *([java] if state.java and (java := state.java.process()) else [])])
                self._note_end(f"its supervisor {hangs} and was ended")
            return
        if not state.ready:
            self.record.turn(State.STARTING)
            return
        self._ready_s = self._ready_s or time.monotonic()
        java = state.java.process() if state.java else None
        self.record.turn(State.DIED if java is None else State.HUNG if is_suspended(java) else State.RUNNING)
        self.restarts.note_work(worked_s=time.monotonic() - self._ready_s)

    def _hangs(self, process: psutil.Process) -> str:
        if is_suspended(process):
            self._suspended_s = self._suspended_s or time.monotonic()
            return "was stopped by a signal" if time.monotonic() - self._suspended_s > SUSPENDED_S else "a moment"
        self._suspended_s = None
        with contextlib.suppress(OSError):
            beat = self.files.state.stat().st_mtime_ns
            if beat != self._beat:
                self._beat, self._beat_s = beat, time.monotonic()
            if (silent_s := time.monotonic() - self._beat_s) > LONGEST_SILENCE_S:
                return f"did nothing for {silent_s:.0f} s"
        return ""

    def _note_end(self, how: str) -> None:
        worked_s = 0.0 if self._ready_s is None else time.monotonic() - self._ready_s
        self._child = self._ready_s = self._suspended_s = None
        words = log_tail(self.files.supervisor_log, 1).strip()
        self.restarts.note_end(f"{how}; last words: {words}" if words else how, worked_s=worked_s)
