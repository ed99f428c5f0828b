"""What is meant to run, and what does: the two files by which ``lab up``, the watchers and ``lab status`` know of one another.

Belongs here: their content, reading and writing. Does not belong here: acting on them.

``run/wanted.json`` is the wish: ``lab up`` writes it, ``lab down`` deletes it, and whoever watches ends when it is gone. ``run/up.json``
is the state, written by the supervisor alone. Both name the place they are true of: in a copied home, and after a restart of the
machine, they say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from lab_assets.home_identity import Place
from lab_assets.ops.components import Component
from lab_assets.ops.supervision.watch_files import Wish
from lab_assets.process_identity import known_place
from lab_assets.process_stamp import Stamp
from lab_assets.settings import Settings


class State(StrEnum):
    """How a process is."""

    RUNNING = "running"
    STARTING = "starting"
    HUNG = "hung"
    DIED = "died"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is meant to run.

    Attributes:
        place: The home, where it stands, and the start of the machine.
        program: Digest of the program that asked for it.
        components: The processes, in the order of starting.
        socket: The code server's socket.
        spark: Whether the embedded Spark server is kept warm.
        asked_utc: When ``lab up`` asked.
    """

    place: Place
    program: str
    components: tuple[Component, ...]
    socket: str
    spark: bool
    asked_utc: str


@dataclass(kw_only=True)
class Record:
    """What is known of one process.

    Attributes:
        name: Component.
        address: Where people find it.
        state: How it is.
        since_utc: Since when it has been so.
        stamp: The process; ``None`` before the first and between two.
        started_utc: When that was started.
        starts: How often it was started since the laboratory was brought up.
        restarts: How often it had to be started again.
        last_end: How it ended last: its exit code, signal or silence, with its last words.
        next_start_utc: When it is started again, while it has died.
        failing: Whether it keeps ending, so that it is tried seldom and an alert stands.
        quick_ends: How often it ended in a row before it had worked for a while.
        ends_utc: When it ended, the last times.
    """

    name: str
    address: str = ""
    state: State = State.STOPPED
    since_utc: str = ""
    stamp: Stamp | None = None
    started_utc: str = ""
    starts: int = 0
    restarts: int = 0
    last_end: str = ""
    next_start_utc: str = ""
    failing: bool = False
    quick_ends: int = 0
    ends_utc: list[str] = field(default_factory=list[str])

    @property
    def pid(self) -> int:
        """Number of the process; 0 without one."""
        return self.stamp.pid if self.stamp else 0

    def process(self) -> psutil.Process | None:
        """Return the process while it lives."""
        return self.stamp.process() if self.stamp else None

    def turn(self, state: State) -> None:
        """Note another state and since when."""
        if state != self.state:
            self.state, self.since_utc = state, now_utc()


@dataclass(frozen=True, kw_only=True)
class UpState:
    """What runs.

    Attributes:
        place: The home, where it stands, and the start of the machine.
        supervisor: The process that wrote this.
        socket: The code server's socket.
        asked_utc: Which wish it follows.
        processes: What is known of each process, Spark apart.
        spark: What is known of the Spark server; ``None`` where it is not kept.
    """

    place: Place
    supervisor: Stamp
    socket: str
    asked_utc: str
    processes: tuple[Record, ...]
    spark: Record | None = None


def now_utc() -> str:
    """Return the time, as the files have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def plan_path(settings: Settings) -> Path:
    """Return where the wish is kept."""
    return Wish(settings.run).path


def state_path(settings: Settings) -> Path:
    """Return where the state is kept."""
    return settings.run / "up.json"


def log_path(settings: Settings, name: str) -> Path:
    """Return the log of one process."""
    return settings.run / "logs" / f"{name}.log"


def read_plan(settings: Settings) -> Plan | None:
    """Return what is meant to run in this home; ``None`` when nothing is, or what is written is of another place."""
    try:
        content = _read(plan_path(settings))
        parts = tuple(Component.from_json(each) for each in content.pop("components"))
        plan = Plan(place=Place(**content.pop("place")), components=parts, **content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return plan if plan.place == known_place(settings) else None


def write_plan(settings: Settings, plan: Plan) -> None:
    """Say what is meant to run."""
    content = {**plan.__dict__, "place": asdict(plan.place), "components": [each.as_json() for each in plan.components]}
    _write(plan_path(settings), content)


def read_state(settings: Settings) -> UpState | None:
    """Return what runs in this home; ``None`` when nothing was started, or what is written is of another place or version."""
    state = written_state(settings)
    return state if state is not None and state.place == known_place(settings) else None


def written_state(settings: Settings) -> UpState | None:
    """Return the state that is written, of whatever place; ``None`` when there is none, or it cannot be read."""
    try:
        content = _read(state_path(settings))
        records = tuple(_record(each) for each in content.pop("processes"))
        spark = content.pop("spark")
        return UpState(
            place=Place(**content.pop("place")),
            supervisor=Stamp(**content.pop("supervisor")),
            processes=records,
            spark=_record(spark) if spark else None,
            **content,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def is_state_damaged(settings: Settings) -> bool:
    """Return whether a state is written that cannot be read."""
    return written_state(settings) is None and state_path(settings).exists()


def write_state(settings: Settings, state: UpState) -> None:
    """Say what runs."""
    _write(state_path(settings), asdict(state))


def _record(content: Mapping[str, Any]) -> Record:
    stamp = content["stamp"]
    return Record(**{**content, "state": State(content["state"]), "stamp": Stamp(**stamp) if stamp else None})


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _write(path: Path, content: Mapping[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=1))
    draft.replace(path)
