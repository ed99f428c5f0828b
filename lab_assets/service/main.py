"""Runs the service: ``python -m lab_assets.service``.

Belongs here: the server's options. Does not belong here: the application.
"""

from __future__ import annotations

import gc
import socket
import sys

import uvicorn

from lab_assets.environment_errors import fault_of
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.service.app import create_app
from lab_assets.settings import Settings, get_settings
from lab_assets.state.database import open_database


def main() -> None:
    """Serve on the configured address with one worker until stopped.

    Raises:
        SystemExit: the environment keeps it from starting: one line on stderr says what, with exit code 2.
    """
    try:
        settings = get_settings()
        require_startable(settings)
    except Exception as error:
        fault = fault_of(error)
        if fault is None:
            raise
        sys.stderr.write(f"error: {fault}\n")
        raise SystemExit(2) from None
    app = create_app(settings)
    gc.collect()
    gc.freeze()  # what is loaded now lives as long as the process; collections need not walk it
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.service_port,
        workers=1,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level=settings.log_level.lower(),
        server_header=False,
        limit_concurrency=1024,
        backlog=512,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=16 * 1024,
    )


def require_startable(settings: Settings) -> None:
    """See that the port is free and the database is this version's, before a server prints what it knows.

    Raises:
        EnvironmentFaultError: the port is taken, or the database cannot be opened.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.service_port))
        except OSError as error:
            where = f"port {settings.service_port} of {settings.host}"
            words = "end what uses it, or set LAB_SERVICE_PORT"
            raise EnvironmentFaultError(Kind.PORT_TAKEN, where, f"({error.strerror})", what_to_do=words) from error
    open_database(settings).dispose()
