"""What runs, where, and how it is: the answer of ``lab status``.

Belongs here: looking. Does not belong here: changing anything, printing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from lab_assets.compute.spark_server import SparkFiles, listening, process_alive
from lab_assets.disk import room_state, rooms
from lab_assets.environment_errors import fault_of
from lab_assets.fault_kinds import EnvironmentFaultError
from lab_assets.ops.components import Component, components
from lab_assets.ops.processes import memory_mib, read_state
from lab_assets.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass(frozen=True, kw_only=True)
class ProcessStatus:
    """One process.

    Attributes:
        name: Component.
        state: ``running``, ``silent`` (lives, does not answer), ``died`` (was started, is gone) or ``stopped``.
        pid: Process id, when it lives.
        address: Where people find it.
        memory_mib: Resident memory with all descendants, MiB.
        uptime_s: Seconds since its start.
    """

    name: str
    state: str
    pid: int | None = None
    address: str = ""
    memory_mib: float | None = None
    uptime_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class LabStatus:
    """The whole laboratory.

    Attributes:
        home: ``LAB_HOME``.
        up: Whether every process of ``lab up`` runs and answers.
        processes: Each of them, and Spark.
        inbox: Files waiting; ``None`` before the first ingestion.
        last_batch: The newest ingestion batch.
        serving: The model version that serves.
        problems: What does not hold, for people.
        to_make_anew: Tables that wait to be made anew, as after a restore, each with the reason; the next run, or ``lab ingest``, does it.
    """

    home: str
    up: bool
    processes: list[ProcessStatus]
    inbox: dict[str, int] | None = None
    last_batch: dict[str, Any] | None = None
    serving: dict[str, Any] | None = None
    problems: list[str] = field(default_factory=list)
    to_make_anew: dict[str, str] = field(default_factory=dict[str, str])


def lab_status(settings: Settings) -> LabStatus:
    """Look at processes, inbox, ledger and model."""
    state = read_state(settings)
    socket = Path(state.socket) if state else settings.run / "dagster.sock"
    wanted = components(settings, socket_path=socket)
    processes = [_component(settings, component) for component in wanted]
    if not settings.spark_remote:
        processes.append(_spark(settings))
    problems = [f"{each.name} {_MEANINGS[each.state]}" for each in processes if each.state in _MEANINGS]
    problems += [f"little room is left on a disk ({room.words})" for room in rooms(settings) if room_state(room, settings) != "ok"]
    kept = _kept(settings, problems)
    up = state is not None and all(each.state == "running" for each in processes)
    return LabStatus(home=str(settings.home), up=up, processes=processes, problems=problems, **kept)


_MEANINGS = {"died": "was started and is gone; 'lab up' starts it again", "silent": "lives but does not answer; see its log in run/logs"}


def _component(settings: Settings, component: Component) -> ProcessStatus:
    state = read_state(settings)
    started = next((each for each in state.processes if each.name == component.name), None) if state else None
    process = started.process() if started else None
    if process is None:
        return ProcessStatus(name=component.name, state="died" if started else "stopped", address=component.address)
    activity = "running" if component.answers() else "silent"
    return ProcessStatus(name=component.name, state=activity, address=component.address, **_vital(process))


def _spark(settings: Settings) -> ProcessStatus:
    known = SparkFiles(settings).read_state()
    if known is None or not process_alive(known.supervisor_pid):
        return ProcessStatus(name="spark", state="stopped")
    activity = "running" if listening(known.port) else "silent"
    return ProcessStatus(
        name="spark", state=activity, address=f"sc://localhost:{known.port}", **_vital(psutil.Process(known.supervisor_pid))
    )


def _vital(process: psutil.Process) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "memory_mib": round(memory_mib(process), 1),
        "uptime_s": round(max(0.0, time.time() - process.create_time()), 1),
    }


def _kept(settings: Settings, problems: list[str]) -> dict[str, Any]:
    """Read inbox, last batch and serving model from the database; nothing is made where there is none."""
    from sqlalchemy.exc import SQLAlchemyError

    from lab_assets.governance.health import record_health
    from lab_assets.state.database import current_revision, open_engine, require_this_version

    if settings.db_url is None and not (settings.home / "lab.db").exists():
        return {}
    engine = open_engine(settings)
    try:
        require_this_version(engine, current_revision(engine))
    except EnvironmentFaultError as error:
        problems.append(str(error))
        return {}
    except SQLAlchemyError as error:  # as where it cannot be opened on a full disk or a read-only mount: the record's health says why
        fault = fault_of(error, settings)
        problems.extend([*([str(fault)] if fault is not None else []), *record_health(settings, engine).problems])
        return {}
    problems.extend(record_health(settings, engine).problems)
    from lab_assets.ingest.inbox import InboxError
    from lab_assets.ops.batches import last_batch, waiting_files
    from lab_assets.state.station_work import StationWork

    inbox = None
    try:
        inbox = waiting_files(settings, engine)
    except InboxError as error:
        problems.append(str(error))
    return {
        "inbox": inbox,
        "last_batch": last_batch(engine),
        "serving": _serving(settings, engine, problems),
        "to_make_anew": StationWork(engine).to_make_anew(),
    }


def _serving(settings: Settings, engine: Engine, problems: list[str]) -> dict[str, Any] | None:
    from lab_assets.registry.serving import NotApprovedError, current_serving, serving_problem

    try:
        serving = current_serving(engine)
    except NotApprovedError as error:
        problems.append(str(error))
        return None
    if serving is None:
        return None
    if problem := serving_problem(settings, serving):
        problems.append(problem)
    names = ("model_name", "version", "digest", "since_utc", "decided_by")
    return {name: getattr(serving, name) for name in names}
