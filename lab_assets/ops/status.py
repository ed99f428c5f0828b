"""What runs, where, and how it is: the answer of ``lab status``.

Belongs here: looking. Does not belong here: changing anything, printing.

The supervisor's state file says what it knows; whether a process lives and answers is seen here once more, so that the answer is true
also where nobody watches.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
from pydantic import BaseModel, ConfigDict, Field

from lab_assets.compute.spark_server import COMPONENT_NAME, SparkFiles
from lab_assets.disk import room_state, rooms
from lab_assets.environment_errors import fault_of
from lab_assets.fault_kinds import EnvironmentFaultError
from lab_assets.grpc_health import answers_grpc
from lab_assets.ops.components import Component
from lab_assets.ops.dagster_home import home_folder
from lab_assets.ops.processes import log_of
from lab_assets.ops.startup import wanted_components
from lab_assets.ops.supervision.plan import Record, State, is_state_damaged, read_plan, read_state, state_path
from lab_assets.ops.supervision.watch_files import LEADER, Look, Post, Wish
from lab_assets.orchestration.private.run_database import (
    SINGLE_ASSETS,
    FailedRuns,
    UnfinishedRun,
    failed_runs,
    run_database,
    unfinished_runs,
)
from lab_assets.process_identity import known_place, marked
from lab_assets.process_stamp import Stamp, family, is_suspended, stamp_of
from lab_assets.settings import Settings
from lab_assets.upkeep.storage import storage_of

if TYPE_CHECKING:
    from sqlalchemy import Engine

LATE_START: Final = timedelta(seconds=60)
LONG_SILENCE: Final = timedelta(minutes=30)
_ANSWER_S: Final = 2.0
_UNREADABLE: Final = "{} cannot be read; the supervisor writes it again within a second, and without one 'lab up' does"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ComponentStatus(_Document):
    """One process."""

    name: str = Field(description="mlflow, dagster-code, dagster-web, dagster-daemon, service, spark or supervisor.")
    state: State = Field(
        description="running (answers); starting (lives, has not answered yet); hung (lives, does not answer, is replaced); died (is gone, "
        "is started again); stopped (is not wanted)."
    )
    pid: int | None = Field(default=None, description="Process id, while it lives.")
    since_utc: str | None = Field(default=None, description="Since when it is in this state.")
    problem: str = Field(default="", description="What is wrong and what happens next; empty while it runs.")
    failing: bool = Field(default=False, description="It keeps ending: it is tried once a minute, and the audit trail has an alert.")
    restarts: int = Field(default=0, description="How often it had to be started again since 'lab up'.")
    last_end: str = Field(default="", description="How it ended last, with its last words; empty where it never did.")
    address: str = Field(default="", description="Where people find it; empty for a process without a face.")
    memory_mib: float | None = Field(
        default=None, description="Resident memory, MiB; of the supervisor alone, of others with all descendants."
    )
    uptime_s: float | None = Field(default=None, description="Seconds since the process began.")


class RunStatus(_Document):
    """One run of Dagster that has not ended."""

    run_id: str = Field(description="Dagster's id.")
    job: str = Field(description="Its job.")
    status: str = Field(description="Dagster's word: QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING.")
    age_s: float = Field(description="Seconds since it was asked for.")
    last_event_utc: str | None = Field(default=None, description="When it reported last.")
    pid: int | None = Field(default=None, description="Process id, while it lives.")
    problem: str = Field(default="", description="What is wrong; empty while it goes on.")


class LabStatus(_Document):
    """The whole laboratory."""

    home: str = Field(description="LAB_HOME.")
    up: bool = Field(description="Whether every process of 'lab up' runs and answers.")
    components: list[ComponentStatus] = Field(description="Each process, Spark and the supervisor included.")
    runs: list[RunStatus] = Field(default_factory=list[RunStatus], description="Runs that have not ended, the oldest first.")
    inbox: dict[str, int] | None = Field(default=None, description="Files waiting, by state; null before the first start.")
    last_batch: dict[str, Any] | None = Field(default=None, description="The newest ingestion batch; null before the first.")
    serving: dict[str, Any] | None = Field(default=None, description="The model version that serves; null for none.")
    problems: list[str] = Field(default_factory=list, description="What does not hold, for people.")
    storage: dict[str, Any] | None = Field(
        default=None, description="How large the home is, by part, how it grows, and how long its disk lasts; null before there is a home."
    )
    to_make_anew: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Tables that wait to be made anew, as after a restore, each with the reason; the next run, or 'lab ingest', does it.",
    )


def lab_status(settings: Settings) -> LabStatus:
    """Look at processes, runs, inbox, ledger and model.

    Raises:
        LostError: the home's own record cannot be read.
    """
    wish = Wish(settings.run)
    wanted = read_plan(settings) is not None or (wish.stands() and wish.is_damaged)
    parts = [*_components(settings, wanted=wanted), _supervisor(settings, wanted=wanted)]
    runs = [_run(settings, each) for each in unfinished_runs(run_database(home_folder(settings)))]
    problems = [_UNREADABLE.format(state_path(settings))] if is_state_damaged(settings) else []
    problems += [f"{each.name} {each.problem}" for each in parts if each.problem]
    problems += [f"run {each.run_id[:8]} of {each.job} {each.problem}" for each in runs if each.problem]
    problems += [_words(each) for each in failed_runs(run_database(home_folder(settings)))]
    problems += [f"little room is left on a disk ({room.words})" for room in rooms(settings) if room_state(room, settings) != "ok"]
    storage = storage_of(settings, now=datetime.now(UTC)) if settings.home.is_dir() else None
    problems += [storage.problem] if storage is not None and storage.problem else []
    kept = {"storage": None if storage is None else asdict(storage), **_kept(settings, problems)}
    up = wanted and all(each.state is State.RUNNING for each in parts)
    return LabStatus(home=str(settings.home), up=up, components=parts, runs=runs, problems=problems, **kept)


def _components(settings: Settings, *, wanted: bool) -> list[ComponentStatus]:
    plan, state = read_plan(settings), read_state(settings)
    parts = plan.components if plan else wanted_components(settings)
    known = {each.name: each for each in state.processes} if state else _marked(settings, parts)
    records = [known.get(each.name) or Record(name=each.name, address=each.address) for each in parts]
    with ThreadPoolExecutor(len(records) + 1) as together:
        spark = together.submit(_spark, settings, (state.spark if state else None), wanted=wanted)
        looked = list(together.map(lambda each: _component(settings, *each, wanted=wanted), zip(parts, records, strict=True)))
        kept = plan.spark if plan else not settings.spark_remote
        return [*looked, *([spark.result()] if kept else [])]


def _marked(settings: Settings, parts: Iterable[Component]) -> dict[str, Record]:
    """Return what can be seen of components without the supervisor's word: the oldest process that was started as each."""
    place = known_place(settings)
    if place is None or not is_state_damaged(settings):
        return {}
    found: dict[str, Record] = {}
    for each in parts:
        ages = [(stamp_of(process.pid).born, process.pid) for process in marked(place, each.name)]
        stamp = Stamp(pid=min(ages)[1], born=min(ages)[0]) if ages else None
        unknown = "" if ages else "nobody can say how"
        found[each.name] = Record(name=each.name, address=each.address, state=State.RUNNING, stamp=stamp, last_end=unknown)
    return found


def _component(settings: Settings, component: Component, record: Record, *, wanted: bool) -> ComponentStatus:
    process = record.process()
    if process is None:
        return _without_process(settings, record, wanted=wanted)
    state = State.RUNNING
    if is_suspended(process):
        state = State.HUNG
    elif record.state is State.STARTING:
        state = State.STARTING
    elif record.state is State.HUNG or not component.answers(timeout_s=_ANSWER_S):
        state = State.HUNG
    return _of(settings, record, state, process)


def _spark(settings: Settings, record: Record | None, *, wanted: bool) -> ComponentStatus:
    record = record or Record(name=COMPONENT_NAME)
    server = SparkFiles(settings).read_state()
    process = server.supervisor.process() if server else record.process()
    if process is None:
        return _without_process(settings, record, wanted=wanted)
    if server is None:
        return _of(settings, record, State.STARTING, process)
    java = server.java.process() if server.java else None
    if is_suspended(process) or (java is not None and is_suspended(java)):
        state = State.HUNG
    elif not server.ready or java is None:
        state = State.STARTING
    else:
        state = State.RUNNING if answers_grpc(f"127.0.0.1:{server.port}", timeout_s=_ANSWER_S) else State.HUNG
    record.address = f"sc://localhost:{server.port}"
    return _of(settings, record, state, process)


def _supervisor(settings: Settings, *, wanted: bool) -> ComponentStatus:
    post = Post(settings.run, LEADER)
    holder = post.holder()
    record = Record(name=LEADER, stamp=holder, state=State.RUNNING)
    process = record.process()
    if process is not None:
        return _of(settings, record, State.HUNG if Look(post).hangs() or is_suspended(process) else State.RUNNING, process)
    if post.is_held():  # the system frees the lock of whoever dies
        problem = f"works, but {post.path}, which says who it is, cannot be read; it writes it again within seconds"
        return ComponentStatus(name=LEADER, state=State.RUNNING, problem=problem)
    if not wanted:
        return ComponentStatus(name=LEADER, state=State.STOPPED)
    return ComponentStatus(name=LEADER, state=State.DIED, problem="is gone, and nobody restarts what dies: 'lab up' starts it again")


def _without_process(settings: Settings, record: Record, *, wanted: bool) -> ComponentStatus:
    if not wanted:
        return ComponentStatus(name=record.name, state=State.STOPPED, address=record.address)
    return _of(settings, record, State.DIED, None)


def _of(settings: Settings, record: Record, state: State, process: psutil.Process | None) -> ComponentStatus:
    return ComponentStatus(
        name=record.name,
        state=state,
        since_utc=record.since_utc if record.since_utc and record.state is state else _now(),
        problem=_problem(settings, record, state),
        failing=record.failing,
        restarts=record.restarts,
        last_end=record.last_end,
        address=record.address,
        **({} if process is None else _vital(process, alone=record.name == LEADER)),
    )


def _problem(settings: Settings, record: Record, state: State) -> str:
    if record.failing:
        ended = f"keeps ending ({record.last_end or 'no reason known'})"
        return f"{ended}; it is tried once a minute, see {log_of(settings, record.name)}"
    if state is State.HUNG:
        return f"lives but does not answer; it is replaced, see {log_of(settings, record.name)}"
    if state is State.DIED:
        return f"is gone ({record.last_end or 'killed a moment ago'}) and is started again"
    if state is State.STARTING and record.restarts:
        return f"is being started again ({record.last_end})"
    return ""


def _run(settings: Settings, run: UnfinishedRun) -> RunStatus:
    now = datetime.now(UTC)
    number, _, _birth = run.process.partition("@")
    process = _process_of(run)
    last_event = _last_event(settings, run.run_id)
    problem = ""
    if number and process is None:
        problem = f"has lost its process {number}; 'lab up', or the next ingestion, ends it and takes up its work"
    elif process is not None and is_suspended(process):
        problem = f"hangs: its process {number} was stopped by a signal; 'kill -CONT {number}' lets it go on"
    elif run.status in {"NOT_STARTED", "STARTING"} and now - run.changed_utc > LATE_START:
        problem = f"has been starting for {(now - run.changed_utc).total_seconds():.0f} s"
    elif run.status == "STARTED" and last_event is not None and now - last_event > LONG_SILENCE:
        problem = f"has reported nothing for {(now - last_event).total_seconds() / 60:.0f} min"
    return RunStatus(
        run_id=run.run_id,
        job=run.job,
        status=run.status,
        age_s=round((now - run.created_utc).total_seconds(), 1),
        last_event_utc=last_event.isoformat(timespec="seconds") if last_event else None,
        pid=process.pid if process else None,
        problem=problem,
    )


def _words(failed: FailedRuns) -> str:
    runs = "the last run" if failed.number == 1 else f"the last {failed.number} runs"
    job = "single assets" if failed.job == SINGLE_ASSETS else failed.job
    reason = failed.reason or "no reason is on record"
    return f"{runs} of {job} failed, at {failed.ended_utc:%Y-%m-%d %H:%M} UTC: {reason}; 'lab run log {failed.newest_id[:8]}' shows all"


def _process_of(run: UnfinishedRun) -> psutil.Process | None:
    """Return the process of a run while it lives; the launcher notes when it was created, as psutil tells it."""
    number, _, created = run.process.partition("@")
    try:
        process = psutil.Process(int(number))
        same = abs(process.create_time() - float(created)) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (ValueError, psutil.Error):
        return None


def _last_event(settings: Settings, run_id: str) -> datetime | None:
    """Return when a run reported last: its events are a database of their own."""
    folder = home_folder(settings) / "storage" / "history" / "runs"
    times = list(_changed(folder.glob(f"{run_id}.db*")))
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _changed(paths: Iterator[Path]) -> Iterator[float]:
    for path in paths:
        try:
            yield path.stat().st_mtime
        except FileNotFoundError:
            continue


def _vital(process: psutil.Process, *, alone: bool) -> dict[str, Any]:
    try:
        began = process.create_time()
    except psutil.Error:
        return {}
    return {
        "pid": process.pid,
        "memory_mib": round(memory_mib([process] if alone else family(process)), 1),
        "uptime_s": round(max(0.0, time.time() - began), 1),
    }


def memory_mib(processes: Iterable[psutil.Process]) -> float:
    """Return the resident memory of processes together, in MiB."""
    total = 0
    for member in processes:
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total / 2**20


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _kept(settings: Settings, problems: list[str]) -> dict[str, Any]:
    """Read inbox, last batch and serving model from the database; nothing is made where there is none."""
    from sqlalchemy.exc import SQLAlchemyError

    from lab_assets.governance.health import record_health
    from lab_assets.home_identity import LostError
    from lab_assets.state.database import is_made, open_engine, require_this_version, revision_of

    try:
        if not is_made(settings):
            return {}
        engine = open_engine(settings)
        revision = revision_of(settings, engine)
        require_this_version(engine, revision)
        if revision is None:
            problems.append("the database holds no tables yet: a first 'lab up' is making them, or makes them when it is repeated")
            return {}
        problems.extend(_lost_beside(settings))
    except (LostError, EnvironmentFaultError) as error:
        problems.append(str(error))
        return {}
    except SQLAlchemyError as error:  # as where it cannot be opened on a full disk or a read-only mount: the record's health says why
        fault = fault_of(error, settings)
        problems.extend([*([str(fault)] if fault is not None else []), *record_health(settings, open_engine(settings)).problems])
        return {}
    problems.extend(record_health(settings, engine).problems)
    from lab_assets.ingest.inbox import InboxError
    from lab_assets.ops.batches import counts_of, last_batch, look_now
    from lab_assets.state.station_work import StationWork

    inbox = None
    try:
        found = look_now(settings, engine)
        inbox = counts_of(found)
        problems.extend(found.problems.values())
    except InboxError as error:
        problems.append(str(error))
    work = StationWork(engine)
    aside = [each.words() for each in work.set_aside()]
    problems.extend(f"set aside, since runs fail on it: {words}; 'lab run retry' tries it again" for words in aside)
    return {
        "inbox": inbox,
        "last_batch": last_batch(engine),
        "serving": _serving(settings, engine, problems),
        "to_make_anew": work.to_make_anew(),
    }


def _lost_beside(settings: Settings) -> list[str]:
    """Return what was made in this home beside the database and is gone."""
    from lab_assets.home_identity import Kept, LostError, require_kept
    from lab_assets.registry.serving import registry_of

    lost: list[str] = []
    for look in (
        registry_of(settings).require_kept,
        *(partial(require_kept, settings, each) for each in (Kept.MASK_KEY, Kept.AUDIT_ANCHOR)),
    ):
        try:
            look()
        except LostError as error:
            lost.append(str(error))
    return lost


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
