"""Which code is running.

Belongs here: commit, version, digest of the program's files. Does not belong here: what they are recorded with.
"""

import hashlib
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from lab_assets.settings import PROJECT_ROOT


@cache
def code_version() -> str:
    """Return the commit of the code, or the package's version where there is no repository; ``+changes`` for uncommitted ones."""
    version = metadata.version("lab-assets")
    if not (PROJECT_ROOT / ".git").exists():
        return version
    # a look writes nothing: killed while it refreshed the index, it would leave a lock that stops everybody's git
    git = ["git", "--no-optional-locks", "-C", str(PROJECT_ROOT)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode != 0:
        return version
    changed = subprocess.run([*git, "status", "--porcelain", "--", "lab_assets"], capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


@cache
def program_digest() -> str:
    """Return a digest of the package's modules as they lie on disk now: what a process that was started earlier is held against.

    Unlike ``code_version`` it tells two states of uncommitted changes apart, and a commit that changes no module from none.
    """
    package = Path(__file__).resolve().parent
    digest = hashlib.blake2b(metadata.version("pyspark").encode(), digest_size=16)
    for file in sorted(package.rglob("*.py")):
        digest.update(str(file.relative_to(package)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
