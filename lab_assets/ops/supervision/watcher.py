"""One of three watchers: the first supervises the laboratory's processes, the others take its place.

Belongs here: taking a place, waiting. Does not belong here: supervising (``supervisor.py``). Run as
``python -m lab_assets.ops.supervision.watcher HOME`` with the settings in the environment.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Final

from lab_assets.ops.supervision.watch_files import LEADER, STANDBYS, Look, Post, Wish

_INTERVAL_S: Final = 0.5


def stand_by(home: Path) -> Post | None:
    """Wait until the supervisor's place is free and take it; ``None`` when nobody is needed.

    Args:
        home: The laboratory.
    """
    run = home / "run"
    leader = Post(run, LEADER)
    own: Post | None = None
    look, wish = Look(leader), Wish(run)
    while wish.stands():
        if leader.take():
            if own is not None:
                own.leave()
            return leader
        own = own or next((post for name in STANDBYS if (post := Post(run, name)).take()), None)
        if own is None:
            return None
        own.beat()
        look.end_what_hangs()
        time.sleep(_INTERVAL_S)
    return None


def main() -> int:
    """Watch one home until nothing is wanted there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt of the terminal is for the command that was given there
    post = stand_by(Path(sys.argv[1]))
    if post is None:
        return 0
    from lab_assets.ops.supervision.supervisor import supervise  # not before it is needed: those who wait stay small

    return supervise(post)


if __name__ == "__main__":
    sys.exit(main())
