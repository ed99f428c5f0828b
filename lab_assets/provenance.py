"""Which code is running.

Belongs here: commit and version. Does not belong here: what they are recorded with.
"""

import subprocess
from functools import cache
from importlib import metadata

from lab_assets.settings import PROJECT_ROOT


@cache
def code_version() -> str:
    """Return the commit of the code, or the package's version where there is no repository; ``+changes`` for uncommitted ones."""
    version = metadata.version("lab-assets")
    if not (PROJECT_ROOT / ".git").exists():
        return version
    git = ["git", "-C", str(PROJECT_ROOT)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode != 0:
        return version
    changed = subprocess.run([*git, "status", "--porcelain", "--", "lab_assets"], capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")
