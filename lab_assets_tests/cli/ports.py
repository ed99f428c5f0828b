"""Ports that nobody else uses."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_port() -> int:
    """Return one port."""
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """Return ports that differ: each stays taken until all are found."""
    with ExitStack() as taken:
        probes = [taken.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
