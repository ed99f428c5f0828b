"""Which processes make up a running laboratory, how each is started and how each says that it is ready.

Belongs here: command lines, addresses, readiness. Does not belong here: starting and ending them (``processes.py``).

MLflow and Dagster have no accounts of their own, so they listen on the loopback whatever ``LAB_HOST`` is; the service is the
door for people and systems. The code server listens on a socket in a folder that only the owner can enter.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from lab_assets.grpc_health import answers_grpc
from lab_assets.ops.dagster_home import CODE_MODULE, LOCATION, history_in_files, home_folder
from lab_assets.orchestration.private.run_database import run_database
from lab_assets.process_identity import laboratory_of
from lab_assets.settings import Settings

LOOPBACK: Final = "127.0.0.1"
_SOCKET_PATH_BYTES: Final = 100  # Linux allows 108, macOS 104


@dataclass(frozen=True, kw_only=True)
class Component:
    """One process of the product.

    Attributes:
        name: Name for people.
        command: Command line.
        port: TCP port it listens on, if any.
        port_setting: Variable that moves the port.
        health: Path that answers 200 over HTTP when it is ready.
        socket: Socket on which it answers gRPC, if any.
        heartbeats: Database in which it leaves heartbeats, if any.
        address: Where people find it; empty for a process without a face.
        after: Components that must be ready before it starts.
        extra: Variables of its environment beyond the common ones.
        silence_s: It hangs when it has not answered for this long, seconds.
        work_outlives_it: Whether what it started goes on without it: runs do, and are looked after by the next daemon.
    """

    name: str
    command: tuple[str, ...]
    port: int | None = None
    port_setting: str = ""
    health: str = ""
    socket: Path | None = None
    heartbeats: Path | None = None
    address: str = ""
    after: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    silence_s: float = 30.0
    work_outlives_it: bool = False

    def answers(self, *, timeout_s: float = 2.0, ready: bool = False) -> bool:
        """Return whether the process answers; one that only leaves heartbeats is not asked, and answers.

        Args:
            timeout_s: How long to wait, seconds.
            ready: Whether it has to say that it is ready: one that is full or starting answers, too.
        """
        if self.port is not None:
            status = http_status(self.port, self.health, timeout_s=timeout_s)
            return status == 200 if ready else status is not None
        return self.socket is None or answers_grpc(f"unix:{self.socket}", timeout_s=timeout_s)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        paths = {"socket": self.socket, "heartbeats": self.heartbeats}
        return {**self.__dict__, "extra": dict(self.extra), **{name: str(path) if path else None for name, path in paths.items()}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Component:
        """Return what ``as_json`` made."""
        paths = {name: Path(content[name]) if content[name] else None for name in ("socket", "heartbeats")}
        return cls(**{**content, **paths, "command": tuple(content["command"]), "after": tuple(content["after"])})


def http_status(port: int, path: str, *, timeout_s: float) -> int | None:
    """Return what a loopback port answers to a GET; ``None`` for no answer in time."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def user_of_port(port: int) -> str:
    """Say which process listens on a port, and of which laboratory it is, where the system shows it; empty otherwise."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                home = laboratory_of(process)
                return f" by {process.name()} (process {process.pid}{f', of the laboratory in {home}' if home else ''})"
    return ""


def port_is_free(port: int) -> bool:
    """Return whether nothing listens on a loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def code_socket(settings: Settings) -> Path:
    """Return the path of the code server's socket, short enough for a socket address."""
    path = settings.run / "dagster.sock"
    if len(str(path).encode()) <= _SOCKET_PATH_BYTES:
        return path
    return Path(tempfile.mkdtemp(prefix="lab-")) / "dagster.sock"


def components(settings: Settings, *, code_module: str = CODE_MODULE, socket_path: Path | None = None) -> tuple[Component, ...]:
    """Return the processes of a laboratory in the order of starting; an external MLflow is not one of them.

    Args:
        settings: Ports and places.
        code_module: Module that holds the Dagster graph.
        socket_path: The code server's socket; default: a new path.
    """
    own_mlflow = not settings.mlflow_uri.startswith(("http://", "https://", "databricks"))
    code = _code_server(code_module, socket_path or code_socket(settings))
    return (*((_mlflow(settings),) if own_mlflow else ()), code, *_dagster(settings), _service(settings))


def _mlflow(settings: Settings) -> Component:
    port = settings.mlflow_port
    return Component(
        name="mlflow",
        command=(
            *(sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", settings.mlflow_uri, "--artifacts-destination", str(settings.mlflow_artifacts)),
            "--uvicorn-opts=--no-access-log",  # it is asked every few seconds whether it lives
        ),
        port=port,
        port_setting="LAB_MLFLOW_PORT",
        health="/health",
        address=f"http://{LOOPBACK}:{port}",
    )


def _code_server(module: str, socket_path: Path) -> Component:
    command = (*(sys.executable, "-m", "dagster", "api", "grpc", "--module-name", module), "--socket", str(socket_path))
    options = ("--location-name", LOCATION, "--use-python-environment-entry-point")
    return Component(name="dagster-code", command=(*command, *options), socket=socket_path)


def _dagster(settings: Settings) -> tuple[Component, Component]:
    workspace = str(home_folder(settings) / "workspace.yaml")
    port = settings.dagster_port
    web = Component(
        name="dagster-web",
        command=(sys.executable, "-m", "dagster_webserver", "-h", LOOPBACK, "-p", str(port), "-w", workspace),
        port=port,
        port_setting="LAB_DAGSTER_PORT",
        health="/server_info",
        address=f"http://{LOOPBACK}:{port}",
        after=("dagster-code",),
    )
    daemon = Component(
        name="dagster-daemon",
        command=(sys.executable, "-m", "dagster._daemon", "run", "-w", workspace),
        heartbeats=run_database(home_folder(settings)) if history_in_files(settings) else None,
        after=("dagster-code",),
        silence_s=100.0,  # Dagster leaves a heartbeat every 30 s
        work_outlives_it=True,
    )
    return web, daemon


def _service(settings: Settings) -> Component:
    shown = LOOPBACK if settings.host in {"0.0.0.0", "::", LOOPBACK} else settings.host  # noqa: S104 - compared, not bound
    return Component(
        name="service",
        command=(sys.executable, "-m", "lab_assets.service"),
        port=settings.service_port,
        port_setting="LAB_SERVICE_PORT",
        health="/healthz",
        address=f"http://{shown}:{settings.service_port}",
    )
