"""The supervisor: follows the wish of ``lab up``, keeps each component and Spark alive, and says how they are.

Belongs here: the loop over all of them, its state file, the watchers beside it. Does not belong here: one component (``keeper.py``).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Final

from lab_assets.compute.spark_server import stop_server
from lab_assets.home_identity import LostError
from lab_assets.ops.components import Component
from lab_assets.ops.supervision.alerts import FAILING, RECOVERED, tell
from lab_assets.ops.supervision.ending import end_all
from lab_assets.ops.supervision.keeper import Keeper
from lab_assets.ops.supervision.plan import (
    Plan,
    Record,
    State,
    UpState,
    now_utc,
    plan_path,
    read_plan,
    read_state,
    state_path,
    write_plan,
    write_state,
    written_state,
)
from lab_assets.ops.supervision.spark_keeper import SparkKeeper
from lab_assets.ops.supervision.watch_files import LEADER, STANDBYS, Look, Post, Wish, launch_watcher
from lab_assets.process_identity import COMPONENT, known_place
from lab_assets.process_stamp import end, stamp_of
from lab_assets.settings import Settings, get_settings

INTERVAL_S: Final = 0.2
_WISH_INTERVAL_S: Final = 0.5
_WATCHERS_INTERVAL_S: Final = 1.0
_GONE_S: Final = 3.0
"""A wish that cannot be read for a moment is not one that was taken back."""
_LAUNCH_INTERVAL_S: Final = 2.0
_END_TIMEOUT_S: Final = 15.0


class Supervisor:
    """All processes of one home."""

    def __init__(self, settings: Settings, plan: Plan, post: Post) -> None:
        self.settings = settings
        self.plan = plan
        self.post = post
        known = read_state(settings)
        self._records = {each.name: each for each in known.processes} if known else {}
        self.keepers = {each.name: self._keeper(each) for each in plan.components}
        self.spark = SparkKeeper(settings, known.spark if known else None) if plan.spark else None
        self._told = {each.name: each.failing for each in self._all_records()}
        self._watchers = [Look(Post(settings.run, name)) for name in STANDBYS]
        self._launched: list[subprocess.Popen[bytes]] = []
        self._cannot_write = False
        self._wish = Wish(settings.run)
        self._wish_s = self._watchers_s = 0.0
        self._launched_s = 0.0
        self._wanted_s = time.monotonic()

    def run(self) -> int:
        """Supervise until nothing is wanted any more; return the exit code."""
        while self._is_wanted():
            for keeper in self.keepers.values():
                keeper.step(may_start=self._may_start(keeper.component))
            if self.spark is not None:
                self.spark.step()
            self._tell()
            self._write()
            self.post.beat()
            self._keep_watchers()
            time.sleep(INTERVAL_S)
        self._end_all()
        return 0

    def _may_start(self, component: Component) -> bool:
        return all(self.keepers[name].has_worked for name in component.after if name in self.keepers)

    def _is_wanted(self) -> bool:
        if time.monotonic() - self._wish_s < _WISH_INTERVAL_S:
            return True
        self._wish_s = time.monotonic()
        stands = self._wish.stands()
        try:
            plan = read_plan(self.settings)
            if plan is None and stands and plan_path(self.settings).exists() and known_place(self.settings) == self.plan.place:
                plan = self._wish_again()
        except LostError as error:
            sys.stderr.write(f"{error}\n")
            return True
        if plan is not None:
            self._wanted_s = time.monotonic()
            if plan.asked_utc != self.plan.asked_utc:
                self._follow(plan)
            return True
        return (self._wish.is_damaged or time.monotonic() - self._wanted_s < _GONE_S) and self.settings.home.exists()

    def _wish_again(self) -> Plan:
        """Write the wish again: it is there, and what it says is not what anybody wished of this place."""
        with suppress(OSError):  # a full disk: the next look tries again
            write_plan(self.settings, self.plan)
        return self.plan

    def _follow(self, plan: Plan) -> None:
        """Follow another wish: what is not as wanted is started now, however long it was to wait."""
        self.plan = plan
        wanted = {each.name: each for each in plan.components}
        for name, keeper in list(self.keepers.items()):
            if wanted.get(name) == keeper.component and keeper.record.state is not State.DIED:
                continue
            process = keeper.record.process()
            end([process] if process else [], timeout_s=_END_TIMEOUT_S)
            self._records[name] = Record(
                name=name, restarts=keeper.record.restarts, last_end=keeper.record.last_end, failing=keeper.record.failing
            )
            del self.keepers[name]
        self.keepers = {name: self.keepers.get(name) or self._keeper(each) for name, each in wanted.items()}
        if plan.spark and (self.spark is None or self.spark.record.state is State.DIED):
            self.spark = SparkKeeper(self.settings)

    def _keeper(self, component: Component) -> Keeper:
        return Keeper(self.settings, self.plan.place, component, self._records.get(component.name))

    def _all_records(self) -> list[Record]:
        return [*(each.record for each in self.keepers.values()), *([self.spark.record] if self.spark else [])]

    def _tell(self) -> None:
        """Raise an alert for what has begun to fail, and another where that is over."""
        for record in self._all_records():
            if record.failing == self._told.get(record.name, False):
                continue
            self._told[record.name] = record.failing
            words = f"keeps ending: {record.last_end}" if record.failing else "works again"
            sys.stderr.write(f"{now_utc()} {record.name} {words}\n")
            copy = Record(**record.__dict__)
            threading.Thread(target=tell, args=(self.settings, copy, FAILING if record.failing else RECOVERED), daemon=True).start()

    def _write(self) -> None:
        """Say how all are, also where what was said is gone or damaged: by the file alone others know of them."""
        state = UpState(
            place=self.plan.place,
            supervisor=stamp_of(os.getpid()),
            socket=self.plan.socket,
            asked_utc=self.plan.asked_utc,
            processes=tuple(each.record for each in self.keepers.values()),
            spark=self.spark.record if self.spark else None,
        )
        if written_state(self.settings) == state:
            return
        try:
            write_state(self.settings, state)
            self._cannot_write = False
        except OSError as error:  # others report a full disk; what runs goes on
            if not self._cannot_write:
                sys.stderr.write(f"{now_utc()} the state cannot be written: {error}\n")
            self._cannot_write = True

    def _keep_watchers(self) -> None:
        if time.monotonic() - self._watchers_s < _WATCHERS_INTERVAL_S:
            return
        self._watchers_s = time.monotonic()
        self._launched = [each for each in self._launched if each.poll() is None]
        for look in self._watchers:
            look.end_what_hangs()
        if any(not look.post.is_held() for look in self._watchers) and time.monotonic() - self._launched_s > _LAUNCH_INTERVAL_S:
            self._launched_s = time.monotonic()
            self._launched.append(launch_watcher(self.settings.home, {**os.environ, COMPONENT: LEADER}))

    def _end_all(self) -> None:
        """End what runs; nobody wants it any more."""
        records = [each.record for each in self.keepers.values()]
        end_all(self.plan.place, records)
        if self.plan.spark:
            stop_server(self.settings)
        state_path(self.settings).unlink(missing_ok=True)


def supervise(post: Post) -> int:
    """Supervise the home that the settings name, from the first watcher's place.

    Args:
        post: That place, held.
    """
    settings = get_settings()
    plan = read_plan(settings)
    if plan is None:  # the wish is of another place, or has just been taken back
        return 0
    return Supervisor(settings, plan, post).run()
