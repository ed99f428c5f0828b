"""Named places where a test may kill the process or fill the disk, to prove that nothing is lost there.

Belongs here: the switch. Does not belong here: what happens after a restart.
"""

from __future__ import annotations

import errno
import os
import signal

from lab_assets.settings import get_settings


def failpoint(name: str) -> None:
    """End this process as ``kill -9`` does when ``LAB_FAILPOINT`` names this place.

    Raises:
        OSError: no space is left, when ``LAB_FAILPOINT`` is ``NAME:enospc``.
    """
    wanted = get_settings().failpoint
    if not wanted.startswith(name):
        return
    if wanted == name:
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == f"{name}:enospc":
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (failpoint {name})")
