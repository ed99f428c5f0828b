"""A random history: files that land one after the other, people at work, and mishaps among them.

Belongs here: drawing it from a seed. Does not belong here: the mishaps, what is right in the end (``verdict.py``).
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Sequence
from typing import Final

from lab_assets_tests.chaos.mishaps import MISHAPS
from lab_assets_tests.chaos.people import Answers, People
from lab_assets_tests.chaos.world import World
from lab_assets_tests.orders.laboratory import File

SHARE: Final = 0.8
"""Part of the time in which the files land."""
PAUSE_S: Final = (3.0, 12.0)


def run(world: World, *, seed: int, minutes: float) -> Answers:
    """Start the laboratory, drop every file, let mishaps happen for a time, and leave it to itself."""
    rng = random.Random(seed)
    ends = time.monotonic() + minutes * 60
    world.lab("up")
    dropping = threading.Thread(target=_drop_all, args=(world, world.files, random.Random(seed + 1), minutes * 60 * SHARE))
    with People(world) as people:
        dropping.start()
        while time.monotonic() < ends:
            time.sleep(rng.uniform(*PAUSE_S))
            (mishap,) = rng.choices([each for _, each in MISHAPS], weights=[weight for weight, _ in MISHAPS])
            mishap(world, rng)
        dropping.join()
    return people.answers


def _drop_all(world: World, files: Sequence[File], rng: random.Random, during_s: float) -> None:
    """Drop files alone and in heaps; a full disk holds a person up until there is space."""
    pause_s, left = during_s / len(files), list(files)
    while left:
        heap = [left.pop() for _ in range(min(len(left), rng.choice((1, 1, 1, 2, 12))))]
        for file in heap:
            while not _dropped(world, file, rng):
                time.sleep(1.0)
        time.sleep(rng.uniform(0.2, 1.8) * pause_s * len(heap))


def _dropped(world: World, file: File, rng: random.Random) -> bool:
    """Write a file as instruments do: under another name and renamed, at once, or in two parts."""
    target = world.settings.inbox / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    way = rng.choice(("renamed", "at once", "in parts"))
    draft = target.with_name(f".{target.name}.part") if way == "renamed" else target
    try:
        with draft.open("wb") as opened:
            half = len(file.data) // 2 if way == "in parts" else len(file.data)
            opened.write(file.data[:half])
            opened.flush()
            if half < len(file.data):
                time.sleep(rng.uniform(0, 0.2))
                opened.write(file.data[half:])
            opened.flush()
            os.fsync(opened.fileno())
        if draft is not target:
            draft.rename(target)
    except OSError:
        draft.unlink(missing_ok=True)
        return False
    return True
