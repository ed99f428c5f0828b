"""Bringing a whole laboratory up: folders, database, Dagster's home, then the processes.

Belongs here: what must be in place before the first process starts. Does not belong here: starting (``processes.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab_assets.compute.jars import ensure_jars
from lab_assets.disk import unwritable
from lab_assets.environment_errors import fault_of
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.ops.components import Component, code_socket, components
from lab_assets.ops.dagster_home import CODE_MODULE, dagster_instance, write_workspace
from lab_assets.ops.processes import clear_the_way, start
from lab_assets.ops.supervision.plan import UpState, read_plan
from lab_assets.settings import Settings
from lab_assets.unfinished_restore import require_no_unfinished_restore


def bring_up(settings: Settings, *, code_module: str = CODE_MODULE, say: Callable[[str], None] = lambda _line: None) -> UpState:
    """Start what does not run yet, and wait until everything answers; the caller holds ``alone``.

    Args:
        settings: Whose laboratory.
        code_module: Module that holds the Dagster graph.
        say: Given what happens.

    Raises:
        EnvironmentFaultError: a restore was interrupted here, a port is taken, or the database cannot be brought to this version.
        ProcessError: a process ended or did not answer in time.
        JarsMissingError: Java or the JARs are missing.
    """
    require_no_unfinished_restore(settings)
    known = read_plan(settings)
    socket = Path(known.socket) if known is not None else code_socket(settings)
    wanted = components(settings, code_module=code_module, socket_path=socket)
    if not settings.spark_remote:
        ensure_jars(settings)
    clear_the_way(settings, wanted, say=say)  # before anything is made or migrated
    prepare(settings, say=say)
    write_workspace(settings, socket)
    return start(settings, wanted, socket=socket, spark=not settings.spark_remote, say=say)


def wanted_components(settings: Settings) -> tuple[Component, ...]:
    """Return what ``lab up`` would start; nothing is made."""
    return components(settings, socket_path=settings.run / "dagster.sock")


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
        LostError: the database, or MLflow's, was made before and is gone or empty; nothing is made in its place.
    """
    from lab_assets.ingest.inbox_mark import make_inbox
    from lab_assets.registry.serving import registry_of
    from lab_assets.state.database import is_made, open_database
    from lab_assets.state.upgrade import upgrade

    is_made(settings)
    registry_of(settings).require_kept()

    settings.home.mkdir(parents=True, exist_ok=True)
    for folder in (settings.quarantine, settings.mlflow_artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (settings.run, settings.raw):
        folder.mkdir(exist_ok=True, mode=0o700)
    upgrade(settings, say=say)
    open_database(settings).dispose()
    registry_of(settings).make_portable()
    make_inbox(settings)
    with dagster_instance(settings):
        pass
