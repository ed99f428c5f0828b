"""Runs the service: ``python -m lab_assets.service``.

Belongs here: the server's options. Does not belong here: the application.
"""

from __future__ import annotations

import gc
import socket
import sys
from contextlib import suppress
from typing import Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from lab_assets.environment_errors import fault_of
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.listening import family_of, require_host
from lab_assets.service.app import create_app
from lab_assets.service.connections import Connections, raise_handle_limit
from lab_assets.service.gate import Gate
from lab_assets.service.guarded_protocol import IDLE_S, guarded
from lab_assets.settings import Settings, get_settings
from lab_assets.state.database import open_database

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a thread that makes a page may keep the interpreter from the event loop, which answers scores; Python's own default is ten times that."""
ACCEPTS: Final = 16
"""Connections taken in at once. The event loop takes one from each listening handle before it works on: with a single one, new connections
would wait for seconds in a crowd, those of probes among them."""


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
    gate = Gate(connections=Connections(most=raise_handle_limit()))
    app = create_app(settings, gate=gate)
    gc.collect()
    gc.freeze()  # what is loaded now lives as long as the process; collections need not walk it
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.service_port,
        loop="uvloop",
        http=guarded(gate),
        access_log=False,
        log_level=settings.log_level.lower(),
        server_header=False,
        backlog=1024,
        timeout_keep_alive=int(IDLE_S),
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener, *(listener.dup() for _ in range(ACCEPTS - 1))])
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def require_startable(settings: Settings) -> None:
    """See that the port is free and the database is this version's, before a server prints what it knows.

    Raises:
        EnvironmentFaultError: the address is not this machine's, the port is taken, or the database cannot be opened.
    """
    require_host(settings.host)
    with socket.socket(family_of(settings.host), socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.service_port))
        except OSError as error:
            where = f"port {settings.service_port} of {settings.host}"
            words = "end what uses it, or set LAB_SERVICE_PORT"
            raise EnvironmentFaultError(Kind.PORT_TAKEN, where, f"({error.strerror})", what_to_do=words) from error
    open_database(settings).dispose()
