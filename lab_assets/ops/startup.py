"""Bringing a whole laboratory up: folders, database, Dagster's home, then the processes.

Belongs here: what must be in place before the first process starts. Does not belong here: starting (``processes.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab_assets.disk import unwritable
from lab_assets.environment_errors import fault_of
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.ops.components import code_socket, components
from lab_assets.ops.dagster_home import CODE_MODULE, dagster_instance, write_workspace
from lab_assets.ops.processes import UpState, read_state, require_free_ports, start
from lab_assets.settings import Settings


def bring_up(settings: Settings, *, code_module: str = CODE_MODULE, say: Callable[[str], None] = lambda _line: None) -> UpState:
    """Start what does not run yet, and wait until everything answers; the caller holds ``alone``.

    Args:
        settings: Whose laboratory.
        code_module: Module that holds the Dagster graph.
        say: Told what happens.

    Raises:
        EnvironmentFaultError: a port is taken, or the database cannot be brought to this version.
        ProcessError: a process ended or did not answer in time.
        SparkServerError: the Spark server did not answer in time.
        JarsMissingError: Java or the JARs are missing.
    """
    known = read_state(settings)
    code_lives = known is not None and any(each.name == "dagster-code" and each.process() for each in known.processes)
    socket = Path(known.socket) if known is not None and code_lives else code_socket(settings)
    wanted = components(settings, code_module=code_module, socket_path=socket)
    running = {each.name for each in known.processes if each.process()} if known else set()
    require_free_ports(each for each in wanted if each.name not in running)
    prepare(settings, say=say)
    write_workspace(settings, socket)
    return start(settings, wanted, socket=socket, spark=not settings.spark_remote, say=say)


def require_writable(settings: Settings) -> None:
    """Refuse to start anything where nothing could be kept.

    Raises:
        EnvironmentFaultError: a folder of the laboratory cannot be written; it is named.
    """
    if faults := unwritable(settings):
        found = fault_of(next(iter(faults.values())), settings)
        named = ", ".join(f"{folder}: {fault.strerror}" for folder, fault in faults.items())
        raise EnvironmentFaultError(
            found.kind if found is not None else Kind.DISK_ERROR,
            named,
            what="the laboratory's data cannot be written",
            what_to_do="nothing was started, see 'lab doctor'",
        )


def prepare(settings: Settings, *, say: Callable[[str], None] = lambda _line: None) -> None:
    """Make the folders, bring the databases to their newest form, make Dagster's storage; one process does it, before others start.

    Raises:
        EnvironmentFaultError: the database is newer than this version, or cannot be copied before it is brought to it.
    """
    from lab_assets.registry.serving import registry_of
    from lab_assets.state.database import open_database
    from lab_assets.state.upgrade import upgrade

    settings.home.mkdir(parents=True, exist_ok=True)
    for folder in (settings.inbox, settings.quarantine, settings.mlflow_artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (settings.run, settings.raw):
        folder.mkdir(exist_ok=True, mode=0o700)
    upgrade(settings, say=say)
    open_database(settings).dispose()
    registry_of(settings).make_portable()
    with dagster_instance(settings):
        pass
