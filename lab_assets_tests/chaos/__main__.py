"""The command: one or more random histories, each with its verdict."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lab_assets_tests.chaos import history, verdict
from lab_assets_tests.chaos.world import OWN_DISK, found_world

_OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")


def main() -> int:
    """Run histories of the seeds; return 1 when one did not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=3.0, help="length of each history")
    options.add_argument("--seed", type=int, action="append", help="may be given several times; default 1")
    options.add_argument("--folder", type=Path, help="where the laboratories are made and kept; default: a new folder that is removed")
    chosen = options.parse_args()
    if OWN_DISK not in os.environ and _own_mounts_are_permitted():
        os.environ[OWN_DISK] = "1"
        os.execvp(_OWN_MOUNTS[0], [*_OWN_MOUNTS, sys.executable, "-m", "lab_assets_tests.chaos", *sys.argv[1:]])  # noqa: S606 - this program again
    failed = 0
    for seed in chosen.seed or [1]:
        with tempfile.TemporaryDirectory(prefix="lab-chaos-") as made:
            folder = (chosen.folder or Path(made)) / str(seed)
            folder.mkdir(parents=True)
            lines = judged(folder, seed=seed, minutes=chosen.minutes)
        failed += bool(lines)
    return 1 if failed else 0


def _own_mounts_are_permitted() -> bool:
    return bool(shutil.which(_OWN_MOUNTS[0])) and not subprocess.run([*_OWN_MOUNTS, "true"], capture_output=True, check=False).returncode


def judged(folder: Path, *, seed: int, minutes: float) -> list[str]:
    """Run one history and print it with its verdict; return what did not hold."""
    world = found_world(folder, seed)
    try:
        answers = history.run(world, seed=seed, minutes=minutes)
        found = verdict.judge(world, answers, folder).lines()
    finally:
        world.lab("down")
        world.give_the_disk_back()
    codes = ", ".join(f"{name} {code}: {count}" for (name, code), count in sorted(answers.codes.items()))
    heading = f"seed {seed}, {minutes:g} min, {len(world.files)} files; answers: {codes}"
    sys.stdout.write("\n".join((heading, world.log.read_text(), *(found or ["held"]), "")))
    sys.stdout.flush()
    return found


if __name__ == "__main__":
    sys.exit(main())
