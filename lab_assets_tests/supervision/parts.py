"""Small components, and waiting for what a supervisor does to them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from lab_assets.ops.components import Component
from lab_assets.ops.processes import start
from lab_assets.ops.supervision.plan import Record, read_state
from lab_assets.settings import Settings
from lab_assets_tests.cli.ports import free_port

_PROGRAM = """
import http.server, os, subprocess, sys, time
port, folder = int(sys.argv[1]), sys.argv[2]
if os.path.exists(f"{folder}/dies-{port}"):
    sys.exit("no licence")
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if os.path.exists(f"{folder}/deaf-{port}-{os.getpid()}"):
            time.sleep(600)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Page)
if os.path.exists(f"{folder}/child-{port}"):  # a child that detaches itself and holds the port
    os.set_inheritable(server.fileno(), True)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True, close_fds=False)
server.serve_forever()
"""
"""A web server: dies at once, becomes deaf, or leaves a child that holds its port, as files in the folder say."""


def web(folder: Path, name: str = "web", port: int | None = None, **fields: Any) -> Component:
    """A component that answers at a port."""
    chosen = port or free_port()
    return Component(
        name=name,
        command=(sys.executable, "-c", _PROGRAM, str(chosen), str(folder)),
        port=chosen,
        port_setting="LAB_WEB_PORT",
        health="/",
        address=f"http://127.0.0.1:{chosen}",
        **fields,
    )


def bring_up(settings: Settings, *wanted: Component) -> None:
    """Have components running and watched."""
    settings.run.mkdir(parents=True, exist_ok=True)
    start(settings, wanted, socket=settings.run / "none.sock", spark=False)


def record_of(settings: Settings, name: str) -> Record:
    """What the supervisor says of a component."""
    state = read_state(settings)
    assert state is not None
    return next(each for each in state.processes if each.name == name)


def until(what: str, holds: Callable[[], object], timeout_s: float = 30) -> None:
    """Wait until something holds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + timeout_s, f"{what} did not come within {timeout_s:.0f} s"
        time.sleep(0.1)


def lives(pid: int) -> bool:
    """Return whether a process lives."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
