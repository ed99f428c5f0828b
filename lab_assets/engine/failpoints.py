"""Named places where a test may kill the process, to prove that nothing is lost there.

Belongs here: the switch. Does not belong here: what happens after a restart.
"""

from __future__ import annotations

import os
import signal

from lab_assets.settings import get_settings


def failpoint(name: str) -> None:
    """End this process as ``kill -9`` does when ``LAB_FAILPOINT`` names this place."""
    if get_settings().failpoint == name:
        os.kill(os.getpid(), signal.SIGKILL)
