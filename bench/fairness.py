"""Scores while others load the service: latency beside the quiet one of the same minutes, and what is done at ten times the load.

Belongs here: the loads, and what scores feel of them, measured from outside. Does not belong here: latency and rate alone (``score.py``),
tests; nothing here passes or fails. Run as ``.venv/bin/python bench/fairness.py [--rounds 3] [--code DIR]``.

Each load runs in a process of its own (raw sockets, one event loop); scores are sent on one connection by this one, quiet before and after.
On two cores loads and service share the processor: loads give way (``nice``), as clients on other machines would not be in the way at all.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final, NamedTuple, cast

import numpy as np
import orjson
import uvloop
from rich.console import Console
from rich.table import Table
from score import ROOT, SCORE, raw, served

N_LOTS: Final = 3000
READERS, JOINS, IDLE, SLOW = 50, 8, 1000, 140
BEST_AT: Final = 8
"""Connections without a pause at which most is done."""
CROWD: Final = 10 * BEST_AT
JOIN: Final = "SELECT count(*) FROM silver.lots a, silver.lots b, silver.lots c WHERE a.lot_id || b.lot_id < c.lot_id"
SETTLE_S: Final = 2.0
CONTEXT: Final = multiprocessing.get_context("spawn")


class Scores(NamedTuple):
    """What one connection felt.

    Attributes:
        latencies_ms: Of each score that was answered.
        refused: Scores that were not.
    """

    latencies_ms: list[float]
    refused: int


class Crowd(NamedTuple):
    """What many connections felt together.

    Attributes:
        done_per_s: Scores answered a second.
        p99_ms: Of those.
        refused_per_s: Refusals a second.
        without_retry_after: Refusals that did not say when to come back.
    """

    done_per_s: float
    p99_ms: float
    refused_per_s: float
    without_retry_after: int


def main() -> None:
    """Make a laboratory, serve it, measure beside each other, print two tables."""
    options = argparse.ArgumentParser()
    options.add_argument("--code", type=Path, action="append", default=[], help="folder of another copy of the program to measure too")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--requests", type=int, default=1500)
    options.add_argument("--seconds", type=float, default=4.0, help="length of each crowd")
    chosen = options.parse_args()
    for code in (ROOT, *chosen.code):
        with tempfile.TemporaryDirectory() as folder:
            passwords = make_laboratory(code, Path(folder) / "home")
            with served(code, Path(folder) / "home") as port:
                tokens = {user: sign_in(port, user, password) for user, password in passwords.items()}
                report(code, port, tokens, chosen)


def report(code: Path, port: int, tokens: dict[str, str], chosen: argparse.Namespace) -> None:
    """Measure one copy of the program and print what was found."""
    score = raw("/v1/score", SCORE, tokens["analyst"])
    scores(port, score, chosen.requests)
    beside = Table(
        "load", "round", "quiet p50 / p99 ms", "loaded p50 / p99 ms", "p99 ratio", "refused", title=f"One scorer beside a load, {code}"
    )
    kept: dict[str, list[float]] = {}
    for number in range(1, chosen.rounds + 1):
        for name, load in loads(tokens).items():
            before = scores(port, score, chosen.requests // 2)
            with loaded(load, port):
                during = scores(port, score, chosen.requests)
            time.sleep(SETTLE_S)
            after = scores(port, score, chosen.requests // 2)
            quiet = np.percentile(before.latencies_ms + after.latencies_ms or [float("inf")], [50, 99])
            loud = np.percentile(during.latencies_ms or [float("inf")], [50, 99])
            kept.setdefault(name, []).append(loud[1] / quiet[1] if before.latencies_ms or after.latencies_ms else float("inf"))
            row = (f"{quiet[0]:.2f} / {quiet[1]:.2f}", f"{loud[0]:.2f} / {loud[1]:.2f}", f"{loud[1] / quiet[1]:.2f}", str(during.refused))
            beside.add_row(name, str(number), *row)
    for name, ratios in kept.items():
        beside.add_row(f"[bold]{name}", "median", "", "", f"[bold]{np.median(ratios):.2f}", "")
    crowds = Table(
        "round",
        "best/s",
        "its p99 ms",
        "at ten times/s",
        "done",
        "quiet p99 ms",
        "accepted p99 ms",
        "p99 ratio",
        "refused/s",
        title=f"Ten times the connections, {code}",
    )
    for number in range(1, chosen.rounds + 1):
        quiet_p99 = float(np.percentile(scores(port, score, chosen.requests).latencies_ms, 99))
        best = in_process(port, score, BEST_AT, chosen.seconds)
        crowd = in_process(port, score, CROWD, chosen.seconds)
        share, ratio = crowd.done_per_s / best.done_per_s, crowd.p99_ms / quiet_p99
        lost = f" ({crowd.without_retry_after} without Retry-After)" if crowd.without_retry_after else ""
        row = (
            f"{best.done_per_s:.0f}",
            f"{best.p99_ms:.1f}",
            f"{crowd.done_per_s:.0f}",
            f"{100 * share:.0f} %",
            f"{quiet_p99:.2f}",
            f"{crowd.p99_ms:.2f}",
            f"{ratio:.2f}",
        )
        crowds.add_row(str(number), *row, f"{crowd.refused_per_s:.0f}{lost}")
        time.sleep(SETTLE_S)
    console = Console(width=150)
    console.print(beside)
    console.print(crowds)


def make_laboratory(code: Path, home: Path) -> dict[str, str]:
    """Make a small laboratory with some thousand lots by a copy of the program, and return its people's passwords."""
    lines = (
        "import json, sys; from datetime import UTC, datetime; from pathlib import Path; from lab_assets_tests.service import laboratory as made",
        "lab = made.build(Path(sys.argv[1])); made.fill_tables(lab.settings); at = datetime(2026, 3, 1, tzinfo=UTC)",
        f"made.write(lab.settings, 'silver.lots', [{{'lot_id': f'N{{n}}', 'recorded_at_utc': at}} for n in range({N_LOTS})])",
        "print(json.dumps(lab.passwords))",
    )
    environment = {**os.environ, "PYTHONPATH": str(code)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), str(home)], cwd=code, env=environment, capture_output=True, text=True, check=True
    )
    return orjson.loads(done.stdout.splitlines()[-1])


def sign_in(port: int, user: str, password: str) -> str:
    """Return a bearer token."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(raw("/v1/login", orjson.dumps({"user": user, "password": password}), ""))
        return orjson.loads(answered(connection)[1])["token"]


def answered(connection: socket.socket) -> tuple[int, bytes]:
    """Read one answer whole; return its status and body."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (more := connection.recv(65536)):
            return 0, b""
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    length = _length(head)
    while len(body) < length:
        body += connection.recv(65536)
    return int(head[9:12]), body


def _length(head: bytes) -> int:
    return int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])


def scores(port: int, request: bytes, count: int) -> Scores:
    """Send scores one after the other on one connection, anew where it was closed."""
    latencies_ms, refused = [], 0
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    deadline = time.monotonic() + 60
    for _ in range(count):
        began = time.perf_counter()
        connection.sendall(request)
        status, _ = answered(connection)
        if status == 200:
            latencies_ms.append(1000 * (time.perf_counter() - began))
        else:
            refused += 1
            connection.close()
            connection = socket.create_connection(("127.0.0.1", port))
        if time.monotonic() > deadline:
            break
    connection.close()
    return Scores(latencies_ms, refused)


# --- loads, each in a process of its own

Load = Callable[[int], Awaitable[None]]


class Repeated(NamedTuple):
    """Clients that send a request again and again, as soon as it is answered."""

    request: bytes
    clients: int

    async def __call__(self, port: int) -> None:
        """Go on until the process is ended."""

        async def one() -> None:
            while True:
                with suppress(OSError, asyncio.IncompleteReadError):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    while True:
                        writer.write(self.request)
                        await read_answer(reader)

        await asyncio.gather(*(one() for _ in range(self.clients)))


class Held(NamedTuple):
    """Clients that open a connection, send a part of a request slowly or nothing at all, and come again when they are closed."""

    slowly: bytes
    clients: int

    async def __call__(self, port: int) -> None:
        """Go on until the process is ended."""

        async def one() -> None:
            while True:
                with suppress(OSError):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    if self.slowly:
                        writer.write(self.slowly)
                        for _ in range(60):
                            await asyncio.sleep(1)
                            writer.write(b" ")
                    else:
                        await reader.read()
                    writer.close()

        await asyncio.gather(*(one() for _ in range(self.clients)))


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """Read one answer, return its head."""
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(_length(head))
    return head


def loads(tokens: dict[str, str]) -> dict[str, Load]:
    """Return the loads by name."""
    page = f"GET / HTTP/1.1\r\nHost: lab\r\nAuthorization: Bearer {tokens['viewer']}\r\n\r\n".encode()
    join = raw("/v1/query", orjson.dumps({"sql": JOIN}), tokens["scientist"])
    head = b"POST /v1/login HTTP/1.1\r\nHost: lab\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
    return {
        f"{READERS} page readers": Repeated(page, READERS),
        f"{JOINS} cross joins of another person": Repeated(join, JOINS),
        f"{IDLE} idle connections": Held(b"", IDLE),
        f"{SLOW} slow sign-ins": Held(head, SLOW),
    }


@contextmanager
def loaded(load: Load, port: int) -> Iterator[None]:
    """Run a load in a process, and end it."""
    begun = CONTEXT.Event()
    child = CONTEXT.Process(target=_run_load, args=(load, port, begun), daemon=True)
    child.start()
    begun.wait(60)
    time.sleep(SETTLE_S)
    try:
        yield
    finally:
        child.kill()
        child.join()


def _run_load(load: Load, port: int, begun: Event) -> None:
    os.nice(10)

    async def run() -> None:
        asyncio.get_running_loop().call_soon(begun.set)
        await load(port)

    uvloop.run(run())


# --- a crowd of scorers


def in_process(port: int, request: bytes, clients: int, seconds: float) -> Crowd:
    """Let a crowd send scores without a pause, whatever it is told, from a process of its own."""
    with CONTEXT.Pool(1) as pool:
        return pool.apply(crowd, (port, request, clients, seconds))


class Scorer(asyncio.Protocol):
    """One connection of a crowd: sends the next score as soon as the last one was answered, whatever the answer."""

    def __init__(self, request: bytes, until: float) -> None:
        self._request, self._until = request, until
        self._received, self._began = b"", 0.0
        self.latencies_ms: list[float] = []
        self.refused = self.without_retry_after = 0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take an answer in; its body is whole when its length has come."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self._received = b""
        if head.startswith(b"HTTP/1.1 200"):
            self.latencies_ms.append(1000 * (time.perf_counter() - self._began))
        else:
            self.refused += 1
            self.without_retry_after += b"retry-after" not in head.lower()
        if time.perf_counter() < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Nothing more comes."""
        if not self.ended.done():
            self.ended.set_result(None)

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)


def crowd(port: int, request: bytes, clients: int, seconds: float) -> Crowd:
    """Send scores on many connections at once."""
    scorers: list[Scorer] = []

    async def all_of_them() -> None:
        until = time.perf_counter() + seconds
        loop = asyncio.get_running_loop()
        for _ in range(clients):
            _, one = await loop.create_connection(lambda: Scorer(request, until), "127.0.0.1", port)
            scorers.append(one)
        await asyncio.wait([one.ended for one in scorers], timeout=seconds + 5)

    uvloop.run(all_of_them())
    latencies_ms = [latency for one in scorers for latency in one.latencies_ms]
    refused, without = sum(one.refused for one in scorers), sum(one.without_retry_after for one in scorers)
    p99_ms = float(np.percentile(latencies_ms, 99)) if latencies_ms else float("inf")
    return Crowd(len(latencies_ms) / seconds, p99_ms, refused / seconds, without)


if __name__ == "__main__":
    main()
