"""Checking a machine: whether the product can run here, and how to mend what is missing.

Belongs here: the checks of the machine. Does not belong here: what the laboratory keeps (``kept_checks.py``, ``lake_checks.py``), printing,
mending.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from lab_assets.compute.jars import JarsMissingError, java_executable, present_jars, required_jars
from lab_assets.disk import existing, room_state, rooms, unwritable
from lab_assets.environment_errors import fault_of
from lab_assets.listening import WAY_OUT, host_problem
from lab_assets.ops.checks import Check, place_of_fault
from lab_assets.ops.components import components, port_is_free
from lab_assets.ops.kept_checks import KEPT
from lab_assets.ops.lake_checks import LAKE
from lab_assets.ops.processes import read_state
from lab_assets.setting_rules import nearest
from lab_assets.settings import SOURCE_SETTINGS, Settings, unknown_variables, variable_of

JAVA_VERSIONS: Final = (17, 21)
LEAST_MEMORY_GIB: Final = 3.0
LEAST_ADDRESSES_GIB: Final = 4.0
"""Libraries set addresses aside by the GiB, for arenas and stacks of threads, and hang or end without them."""
MOST_CLOCK_SKEW_S: Final = 5.0


def examine(settings: Settings) -> list[Check]:
    """Run every check; none changes anything but a short-lived file in ``LAB_HOME``."""
    machine: tuple[Callable[[Settings], Check], ...] = (_python, _settings, _java, _jars, _home, _disk, _growth, _memory, _clock)
    checks = (*machine, _address, _ports, _spark, *KEPT, *LAKE, _inbox, _formats)
    return [_examined(check, settings) for check in checks]


def _examined(check: Callable[[Settings], Check], settings: Settings) -> Check:
    """Make a check; what the environment does to it is its finding."""
    try:
        return check(settings)
    except Exception as error:  # noqa: BLE001 - every other check is made all the same
        fault, name = fault_of(error, settings), check.__name__.removeprefix("_")
        if fault is None:  # a library that could be loaded in part alone, for want of memory, fails in ways of its own
            found = f"it could not be looked at ({type(error).__name__}: {str(error).partition(chr(10))[0][:200]})"
            return Check(
                name=name, state="failed", found=found, mend="mend first what else fails here, above all 'memory'; then look again"
            )
        return Check(name=name, state="failed", found=place_of_fault(fault), mend=fault.what_to_do)


def _python(_settings: Settings) -> Check:
    found = f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    return Check(name="python", state="ok" if sys.version_info >= (3, 11) else "failed", found=found, mend="")


def java_version(text: str) -> int | None:
    """Return the feature version out of what ``java -version`` says: 17 for ``openjdk version "17.0.15"``, 8 for ``"1.8.0"``."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None


def _java(settings: Settings) -> Check:
    if settings.spark_remote:
        return Check(name="java", state="ok", found="not needed: LAB_SPARK_REMOTE names a server")
    mend = "install a JRE 17 or 21 (for example 'apt-get install openjdk-17-jre-headless') and have it first on the path"
    try:
        answer = subprocess.run([java_executable(), "-version"], capture_output=True, text=True, check=False, timeout=20)
    except JarsMissingError:
        return Check(name="java", state="failed", found="no java on the path", mend=mend)
    version = java_version(answer.stderr + answer.stdout)
    state = "ok" if version in JAVA_VERSIONS else "failed"
    return Check(name="java", state=state, found=f"Java {version}", mend="" if state == "ok" else mend)


def _jars(settings: Settings) -> Check:
    if settings.spark_remote or present_jars(settings):
        return Check(name="jars", state="ok", found=f"{len(required_jars())} JARs in {settings.jars_dir}")
    return Check(name="jars", state="failed", found=f"JARs are missing in {settings.jars_dir}", mend="run 'make setup'")


def _settings(settings: Settings) -> Check:
    """Tell of variables that set nothing, and of sources that have no drop folder."""
    unknown = [f"{name} sets nothing{f', did you mean {right}?' if right else ''}" for name, right in unknown_variables().items()]
    strangers = [
        f"{variable} names {source!r}, which has no drop folder{f', did you mean {right}?' if (right := _like(settings, source)) else ''}"
        for variable, source in sources_without_folder(settings)
    ]
    if not unknown and not strangers:
        return Check(name="settings", state="ok", found=f"{len(settings.model_fields_set)} set, all known")
    mend = "correct the names in the environment and in .env; lab_assets/settings.py lists every setting"
    return Check(name="settings", state="warning", found="; ".join([*unknown, *strangers]), mend=mend)


def _like(settings: Settings, source: str) -> str:
    return nearest(source, [each.name for each in settings.inbox.iterdir() if each.is_dir()])


def sources_without_folder(settings: Settings) -> list[tuple[str, str]]:
    """Return the sources that a setting names and that have no drop folder, each after the variable; none before there is an inbox."""
    named = ((name, source) for name in SOURCE_SETTINGS for source in getattr(settings, name))
    return [(variable_of(name), source) for name, source in named if settings.inbox.is_dir() and not (settings.inbox / source).is_dir()]


def _spark(settings: Settings) -> Check:
    """Try another Spark server: files that its workers cannot see would be called missing."""
    if not settings.spark_remote:
        return Check(name="spark", state="ok", found="the embedded server, on this machine")
    from pyspark.errors import PySparkException

    from lab_assets.compute.protocol import WorkError
    from lab_assets.compute.session import SparkGoneError
    from lab_assets.ops.setting_checks import require_shared_folders

    try:
        require_shared_folders(settings)
    except (PySparkException, WorkError, SparkGoneError) as error:
        mend = "see that the server of LAB_SPARK_REMOTE runs, and that its workers have this version of the product"
        return Check(name="spark", state="failed", found=str(error).strip().splitlines()[0][:300], mend=mend)
    return Check(name="spark", state="ok", found="the workers of LAB_SPARK_REMOTE share the laboratory's folders")


def _home(settings: Settings) -> Check:
    faults = unwritable(settings)
    if not faults:
        return Check(name="home", state="ok", found=f"{settings.home} can be written")
    found = ", ".join(f"{folder}: {fault.strerror}" for folder, fault in faults.items())
    mend = "free space, mount it for writing or grant the right to write; or set LAB_HOME to another folder"
    return Check(name="home", state="failed", found=found, mend=mend)


def _disk(settings: Settings) -> Check:
    """Hold the room of every disk against the levels of the settings: a warning comes before it runs out."""
    found = [(room, room_state(room, settings)) for room in rooms(settings)]
    state = next(worst for worst in ("failed", "warning", "ok") if any(each == worst for _, each in found))
    short = [room for room, each in found if each != "ok"]
    mend = "" if state == "ok" else f"free space or move a part to a larger disk, before there is less than {settings.disk_least_gib:g} GiB"
    return Check(name="disk", state=state, found="; ".join(room.words for room in short or [found[0][0]]), mend=mend)


def _growth(settings: Settings) -> Check:
    """Tell how long the disk lasts by the growth of the home."""
    from lab_assets.upkeep.storage import in_words, storage_of

    if not settings.home.is_dir():
        return Check(name="growth", state="ok", found="not made yet")
    found = storage_of(settings, now=datetime.now(UTC), keep=False)
    if found.problem:
        problem, _, mend = found.problem.partition(": ")
        return Check(name="growth", state="failed" if found.level == "critical" else "warning", found=problem, mend=mend)
    grows = "how it grows is not known yet" if found.growth_bytes_day is None else f"{in_words(found.growth_bytes_day)} more a day"
    return Check(name="growth", state="ok", found=f"{in_words(found.total_bytes)} in {settings.home}, {grows}")


def _memory(_settings: Settings) -> Check:
    limit_bytes = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit_bytes != resource.RLIM_INFINITY and limit_bytes < LEAST_ADDRESSES_GIB * 2**30:
        found = (
            f"this process may take {limit_bytes / 2**30:.1f} GiB of addresses ('ulimit -v'), and libraries need {LEAST_ADDRESSES_GIB:.0f}"
        )
        return Check(name="memory", state="failed", found=found, mend="take the limit off ('ulimit -v unlimited')")
    available_gib = psutil.virtual_memory().available / 2**30
    state = "ok" if available_gib >= LEAST_MEMORY_GIB else "warning"
    mend = "" if state == "ok" else f"all processes together need about {LEAST_MEMORY_GIB:.0f} GiB; end others, or lower LAB_SPARK_MEMORY"
    return Check(name="memory", state=state, found=f"{available_gib:.1f} GiB available", mend=mend)


def clock_skew_s(folder: Path) -> float:
    """Return how far the file system's clock is ahead of this machine's, seconds; a network drive may differ."""
    probe = folder / f".lab-doctor-{uuid.uuid4().hex}"
    before_s = time.time()
    probe.touch()
    written_s = probe.stat().st_mtime
    probe.unlink()
    after_s = time.time()
    return written_s - min(max(written_s, before_s), after_s)


def _clock(settings: Settings) -> Check:
    folder = existing(settings.inbox)
    try:
        skew_s = clock_skew_s(folder)
    except OSError as error:
        found = f"{folder} cannot be written ({error.strerror}), so its clock cannot be read"
        return Check(name="clock", state="warning", found=found, mend="see 'home'")
    year = time.gmtime().tm_year
    if year < 2024:
        return Check(name="clock", state="failed", found=f"the clock says {year}", mend="set the clock, for example by NTP")
    state = "ok" if abs(skew_s) <= MOST_CLOCK_SKEW_S else "warning"
    mend = "" if state == "ok" else "synchronise the clocks of this machine and of the file server"
    return Check(name="clock", state=state, found=f"file times differ by {skew_s:+.1f} s", mend=mend)


def _address(settings: Settings) -> Check:
    if problem := host_problem(settings.host):
        return Check(name="address", state="failed", found=problem, mend=WAY_OUT)
    return Check(name="address", state="ok", found=f"the service can listen at {settings.host}")


def _ports(settings: Settings) -> Check:
    state = read_state(settings)
    running = {each.name for each in state.processes if each.process()} if state else set()
    ours = [each for each in components(settings, socket_path=settings.run / "dagster.sock") if each.port is not None]
    taken = [each for each in ours if each.name not in running and not port_is_free(each.port or 0)]
    if taken:
        found = ", ".join(f"{each.port} ({each.name})" for each in taken)
        mend = ", ".join(f"end what uses {each.port} or set {each.port_setting}" for each in taken)
        return Check(name="ports", state="failed", found=f"in use: {found}", mend=mend)
    used = ", ".join(f"{each.port} {'ours' if each.name in running else 'free'}" for each in ours)
    return Check(name="ports", state="ok", found=used)


def _inbox(settings: Settings) -> Check:
    """Tell of files that nobody will ever take because of their names."""
    from lab_assets.ingest.candidates import patience_of
    from lab_assets.ingest.inbox import InboxError, nothing_taken
    from lab_assets.ingest.inbox_mark import watch_of

    if not settings.home.exists():
        return Check(name="inbox", state="ok", found="not made yet; 'lab up' makes it")
    try:
        found = watch_of(settings).look(nothing_taken, patience_of(settings))
    except InboxError as error:
        problem, _, what_to_do = str(error).partition(": ")
        return Check(name="inbox", state="failed", found=problem, mend=what_to_do)
    counted = f"{len(found.ready) + found.growing} file(s) in the drop folders"
    if found.problems:
        problems, mends = zip(*(problem.split(": ", 1) for problem in found.problems.values()), strict=True)
        return Check(name="inbox", state="failed", found=f"{counted}; {'; '.join(problems)}", mend="; ".join(dict.fromkeys(mends)))
    if not found.passed_over:
        return Check(name="inbox", state="ok", found=counted)
    mend = "names such as .part, .tmp or ~$ mean a transfer under way: rename what is finished"
    return Check(name="inbox", state="warning", found=f"{counted}, {found.passed_over} passed over for their names", mend=mend)


def _formats(settings: Settings) -> Check:
    """Tell of descriptions of loggers that cannot be used."""
    from lab_assets.ingest.logger_formats import load_loggers
    from lab_assets.sources.all_readers import READERS, installed

    loggers, problems = load_loggers(settings.formats)
    if problems:
        return Check(name="formats", state="warning", found="; ".join(problems), mend=f"correct what is named in {settings.formats}")
    names = sorted(reader.format for reader in (*READERS, *installed().readers))
    found = f"{len(names)} known: {', '.join(names)}; {len(loggers)} logger(s) described in {settings.formats}"
    return Check(name="formats", state="ok", found=found)
