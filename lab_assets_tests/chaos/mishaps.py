"""What happens to a laboratory: kills, stops, restarts, a full disk, other people's commands.

Belongs here: one function a mishap, each noted in the world's log. Does not belong here: when they happen (``history.py``).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psutil

from lab_assets_tests.chaos.world import World, kind_of

FULL_S: Final = 6.0
STOPPED_S: Final = 20.0


def kill_one(world: World, rng: random.Random) -> None:
    """Kill a process of a random kind, as the system does when memory is short."""
    if process := _any_of(world, rng):
        world.note(f"kill -9 {process.pid} {kind_of(process)}")
        with suppress(psutil.Error):
            process.kill()


def kill_two(world: World, rng: random.Random) -> None:
    """Kill two at once."""
    kill_one(world, rng)
    kill_one(world, rng)


def kill_all(world: World, rng: random.Random) -> None:
    """Kill everything, as a power cut does, and start it again after a moment."""
    world.note("kill -9 of all")
    for process in world.processes():
        with suppress(psutil.Error):
            process.kill()
    time.sleep(rng.uniform(0, 3))
    world.lab("up")


def stop_one(world: World, rng: random.Random) -> None:
    """Let a process hang; what nobody ended goes on after a while."""
    process = _any_of(world, rng)
    if process is None:
        return
    world.note(f"kill -STOP {process.pid} {kind_of(process)}")
    with suppress(psutil.Error):
        process.suspend()

    def resume() -> None:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGCONT)

    threading.Timer(STOPPED_S, resume).start()


def restart(world: World, rng: random.Random) -> None:
    """Bring the laboratory down and up, as for an update of the machine."""
    world.note("lab down, lab up")
    world.lab("down")
    time.sleep(rng.uniform(0, 2))
    world.lab("up")


def up_twice(world: World, _rng: random.Random) -> None:
    """Two people bring the laboratory up at the same moment."""
    world.note("lab up, twice at once")
    children = [world.begun("up") for _ in range(2)]
    for child in children:
        world.ended(child, "up")


def ingest_by_hand(world: World, rng: random.Random) -> None:
    """Somebody ingests by hand beside the sensor, and perhaps interrupts it."""
    child = world.begun("ingest")
    if rng.random() < 0.5:
        time.sleep(rng.uniform(1, 8))
        world.note("lab ingest, interrupted")
        child.send_signal(signal.SIGINT)
    else:
        world.note("lab ingest beside the sensor")
    world.ended(child, "ingest")


def fill_the_disk(world: World, _rng: random.Random) -> None:
    """Leave no byte on the laboratory's disk for some seconds; only where it is one of the test's own."""
    home = world.settings.home
    if not os.path.ismount(home.parent):
        return
    world.note(f"the disk is full for {FULL_S:.0f} s")
    filler = home.parent / "filler"
    try:
        with filler.open("wb") as file, suppress(OSError):
            while shutil.disk_usage(home).free:
                file.write(bytes(2**20))
                file.flush()
        time.sleep(FULL_S)
    finally:
        filler.unlink(missing_ok=True)


def set_the_clock(world: World, rng: random.Random) -> None:
    """Set the clock forward or back by up to half an hour; the next step may set it right."""
    if world.clock is None:
        return
    seconds = rng.choice((0, rng.randint(-1800, 1800)))
    world.note(f"the clock is {seconds:+d} s from the true one, before {world.clock.ahead_s:+d} s")
    world.clock.set(seconds)


def tear_a_state_file(world: World, rng: random.Random) -> None:
    """Leave a file in which a process keeps what it knows half written, as a power cut does."""
    found = sorted(path for path in world.settings.run.rglob("*.json") if path.is_file())
    if not found:
        return
    path = rng.choice(found)
    world.note(f"half of {path.relative_to(world.settings.home)} is left")
    with suppress(OSError):
        os.truncate(path, path.stat().st_size // 2)


MISHAPS: Final[tuple[tuple[int, Callable[[World, random.Random], None]], ...]] = (
    (8, kill_one),
    (2, kill_two),
    (4, stop_one),
    (1, kill_all),
    (1, restart),
    (1, up_twice),
    (2, ingest_by_hand),
    (2, fill_the_disk),
    (2, set_the_clock),
    (2, tear_a_state_file),
)
"""How often each is drawn, relative to the others."""


def _any_of(world: World, rng: random.Random) -> psutil.Process | None:
    kinds: dict[str, list[psutil.Process]] = {}
    for process in world.processes():
        with suppress(psutil.Error):
            kinds.setdefault(kind_of(process), []).append(process)
    return rng.choice(kinds[rng.choice(sorted(kinds))]) if kinds else None
