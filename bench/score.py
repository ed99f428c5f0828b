"""``POST /v1/score`` and a posted trace over real HTTP, on a small laboratory made for it: latency of one connection, requests a second of eight.

Belongs here: the service's fast path, measured from outside. Does not belong here: tests; nothing here passes or fails.
Run as ``.venv/bin/python bench/score.py``; ``--code DIR`` measures another copy of the program in turns with this one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from lab_assets_tests.service import laboratory

ROOT = Path(__file__).parents[1]
FEATURES = {
    "checkpoint_pct": 50.0, "method_is_assay": 1.0, "method_is_rs": 0.0, "method_is_diss": 0.0, "baseline_noise_pct": 0.004,
    "baseline_offset_pct": 0.07, "baseline_slope_pct_per_min": 0.002, "void_height_pct": 1.1, "void_time_min": 0.67, "peaks_so_far": 1.0,
    "last_peak_plates": 1.0, "last_peak_tailing": 1.1, "retention_shift_pct": 0.2, "early_impurity_pct": 0.2, "main_area_share": 0.5,
    "main_height_share": 0.9, "worst_margin_so_far": 0.8, "pressure_mean_bar": 2.0, "pressure_ripple_pct": 1.2, "ih_pressure_mean_bar": 2.1,
    "ih_pressure_ripple_pct": 0.9, "ih_plates_ratio": 0.99, "ih_tailing": 1.05, "ih_standard_rsd_pct": 0.26, "lot_results_known": 2.0,
    "lot_min_margin": 0.4, "lot_last_margin": 0.4, "storage_days": 0.0, "storage_stress_months": 0.0, "storage_excursion_min": 0.0,
}  # fmt: skip
SCORE = orjson.dumps({"injection_id": "i-1", "lot_id": "LOT-1", "checkpoint_pct": 50, "features": FEATURES})


def main() -> None:
    """Make a laboratory, serve it, measure, print a table."""
    options = argparse.ArgumentParser()
    options.add_argument("--code", type=Path, action="append", default=[], help="folder of another copy of the program to measure in turns")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--requests", type=int, default=3000)
    chosen = options.parse_args()
    table = Table("program", "route", "p50 ms", "p99 ms", "requests/s, 8 connections", title="Scoring over HTTP, best of the rounds")
    with tempfile.TemporaryDirectory() as folder:
        programs = {code: Path(folder) / str(place) for place, code in enumerate((ROOT, *chosen.code))}
        passwords = {code: make_laboratory(code, home) for code, home in programs.items()}
        found: dict[tuple[Path, str], list[tuple[float, float, float]]] = {}
        for _ in range(chosen.rounds):
            for code, home in programs.items():
                with served(code, home) as port:
                    token = sign_in(port, passwords[code])
                    for name, path, body, share in routes():
                        request = raw(path, body, token)
                        latencies = one_connection(port, request, chosen.requests // share)
                        rate = asyncio.run(connections(port, request, chosen.requests // share, at_once=8))
                        p50, p99 = np.percentile(latencies, [50, 99])
                        found.setdefault((code, name), []).append((float(p50), float(p99), rate))
    for (code, name), rounds in found.items():
        best = [min(one[0] for one in rounds), min(one[1] for one in rounds), max(one[2] for one in rounds)]
        table.add_row("this" if code == ROOT else str(code), name, f"{best[0]:.3f}", f"{best[1]:.3f}", f"{best[2]:.0f}")
    Console(width=140).print(table)


def routes() -> Iterator[tuple[str, str, bytes, int]]:
    """Return name, path, body and by how much fewer requests are sent."""
    yield "score", "/v1/score", SCORE, 1
    x, y = laboratory.chromatogram(3.0, points_per_min=1667)
    trace = {"injection_name": "SEQ-1_003", "method_id": "ASSAY-01", "instrument_id": "HPLC-1", "y_unit": "mAU", "x_min": x.tolist()}
    yield f"trace, {x.size} points", "/v1/runs/i-bench/trace", orjson.dumps({**trace, "y": y.tolist()}), 20


def make_laboratory(code: Path, home: Path) -> str:
    """Make a small laboratory by a copy of the program, and return its analyst's password."""
    lines = (
        "import sys; from pathlib import Path; from lab_assets_tests.service import laboratory as made",
        "lab = made.build(Path(sys.argv[1])); made.fill_tables(lab.settings); print(lab.passwords['analyst'])",
    )
    environment = {**os.environ, "PYTHONPATH": str(code)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), str(home)], cwd=code, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]


@contextmanager
def served(code: Path, home: Path) -> Iterator[int]:
    """Run the service of a copy of the program on a free port, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "LAB_HOME": str(home), "LAB_SERVICE_PORT": str(port), "LAB_LOG_LEVEL": "WARNING", "PYTHONPATH": str(code)}
    child = subprocess.Popen([sys.executable, "-m", "lab_assets.service"], cwd=code, env=environment)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        child.terminate()
        child.wait(30)


def raw(path: str, body: bytes, token: str) -> bytes:
    """Return one HTTP request as bytes."""
    sign = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST {path} HTTP/1.1\r\nHost: lab\r\nContent-Type: application/json\r\n{sign}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def sign_in(port: int, password: str) -> str:
    """Return a bearer token."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(raw("/v1/login", orjson.dumps({"user": "analyst", "password": password}), ""))
        return orjson.loads(answer_of(connection))["token"]


def answer_of(connection: socket.socket) -> bytes:
    """Read one answer whole and return its body; stop on anything but 200."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")).split(b":")[1])
    while len(body) < length:
        body += connection.recv(65536)
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise SystemExit(f"unexpected answer: {head!r} {body!r}")
    return body


def one_connection(port: int, request: bytes, count: int) -> list[float]:
    """Return the latency of each request on one open connection, milliseconds; the first tenth warms up."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        latencies: list[float] = []
        for _ in range(count):
            began = time.perf_counter()
            connection.sendall(request)
            answer_of(connection)
            latencies.append(1000 * (time.perf_counter() - began))
    return latencies[count // 10 :]


async def connections(port: int, request: bytes, count: int, *, at_once: int) -> float:
    """Return requests done a second over several open connections; those refused do not count."""
    done = 0

    async def one() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count // at_once):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            done += head.startswith(b"HTTP/1.1 200")
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(at_once)))
    return done / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
