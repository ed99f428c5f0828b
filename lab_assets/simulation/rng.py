"""Repeatable randomness: one independent generator for each named thing of the simulated world.

Belongs here: how a seed and a name become a generator. Does not belong here: any distribution.
"""

from __future__ import annotations

import hashlib

import numpy as np


def rng_for(seed: int, *name: str | int) -> np.random.Generator:
    """Return the generator that belongs to one named thing.

    Two things never share a stream, so that a scenario that adds a draw in one place leaves every other place as it was.

    Args:
        seed: Seed of the whole simulation.
        *name: What the generator is for, such as ``"lot", 12``.

    Returns:
        A PCG64 generator seeded with the first 128 bits of SHA-256 over seed and name.
    """
    digest = hashlib.sha256("\x1f".join([str(seed), *(str(part) for part in name)]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
