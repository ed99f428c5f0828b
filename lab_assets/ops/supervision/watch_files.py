"""Who watches, and whether anything is wanted: the locks by which watchers know of one another, and the file they wait for.

Belongs here: taking a place, showing that its holder works, seeing that another does not, and that the wish stands. Does not belong here: what the first of them
does (``supervisor.py``). Needs neither settings nor libraries beyond psutil: two of three watchers do nothing else.

The system frees a lock when its holder dies, however it dies. A holder that hangs keeps it: so each shows every second that it works,
and who sees that another does not ends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Final

from lab_assets.process_stamp import Stamp, is_suspended, kill, stamp_of

LEADER: Final = "supervisor"
STANDBYS: Final = ("standby-1", "standby-2")
"""Two, so that whichever two processes die at once, one of the three is left."""
MODULE: Final = "lab_assets.ops.supervision.watcher"
BEAT_S: Final = 1.0
LONGEST_SILENCE_S: Final = 25.0
SUSPENDED_S: Final = 2.0


class Wish:
    """The file that says what is meant to run. While it is there it stands, also where a power cut left half of it.

    Attributes:
        is_damaged: Whether it could not be read, nor be written again, at the last look.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / "wanted.json"
        self._held = b""
        self.is_damaged = False

    def stands(self) -> bool:
        """Return whether it is there; what it said last is written again where it is damaged."""
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # a disk that fails for a moment takes nothing back
            return True
        self.is_damaged = not _is_json(content)
        if not self.is_damaged:
            self._held = content
        elif self._held:
            draft = self.path.with_suffix(".again")
            with contextlib.suppress(OSError):  # a full disk: the next look tries again
                draft.write_bytes(self._held)
                draft.replace(self.path)
                self.is_damaged = False
        return True


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


class Post:
    """One watcher's place, held by a lock."""

    def __init__(self, run: Path, name: str) -> None:
        self.path = run / "watch" / f"{name}.lock"
        self.name = name
        self._file: IO[str] | None = None
        self._words = ""
        self._beaten_s = 0.0

    def take(self) -> bool:
        """Take the place unless somebody holds it; return whether it is ours."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        own = stamp_of(os.getpid())
        self._file, self._words = file, json.dumps({"pid": own.pid, "born": own.born})
        self._say()
        return True

    def _say(self) -> None:
        """Write who holds the place, where the file does not say so."""
        with contextlib.suppress(OSError):  # on a full disk nobody reads who holds it; that it is held counts
            if self._file is not None and self.path.read_bytes() != self._words.encode():
                self._file.truncate(0)
                self._file.write(self._words)
                self._file.flush()

    def leave(self) -> None:
        """Give the place up."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def beat(self) -> None:
        """Show that its holder works, and say again who that is where the file was damaged."""
        if time.monotonic() - self._beaten_s >= BEAT_S:
            self._beaten_s = time.monotonic()
            self._say()
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def is_held(self) -> bool:
        """Return whether somebody holds the place."""
        try:
            with self.path.open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def holder(self) -> Stamp | None:
        """Return who holds the place; ``None`` for nobody."""
        try:
            stamp = Stamp(**json.loads(self.path.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return stamp if stamp.process() is not None and self.is_held() else None


class Look:
    """One watcher's look at another."""

    def __init__(self, post: Post) -> None:
        self.post = post
        self._beat = 0
        self._beat_s = time.monotonic()
        self._looked_s = time.monotonic()
        self._suspended_s: float | None = None

    def hangs(self) -> str:
        """Say in which way the holder hangs; empty while it works, or nobody holds the place."""
        now = time.monotonic()
        if now - self._looked_s > LONGEST_SILENCE_S / 2:  # this process did nothing either: the machine was busy or asleep
            self._beat_s = now
        self._looked_s = now
        holder = self.post.holder()
        process = holder.process() if holder else None
        if process is None:
            self._suspended_s, self._beat_s = None, now
            return ""
        if is_suspended(process):
            self._suspended_s = self._suspended_s or now
            return "was stopped by a signal" if now - self._suspended_s > SUSPENDED_S else ""
        self._suspended_s = None
        with contextlib.suppress(OSError):
            beat = self.post.path.stat().st_mtime_ns
            if beat != self._beat:
                self._beat, self._beat_s = beat, now
        return f"did nothing for {now - self._beat_s:.0f} s" if now - self._beat_s > LONGEST_SILENCE_S else ""

    def end_what_hangs(self) -> None:
        """End a holder that hangs, so that its place is free."""
        if why := self.hangs():
            sys.stderr.write(f"the watcher {self.post.name} {why} and is ended\n")
            holder = self.post.holder()
            process = holder.process() if holder else None
            kill([process] if process else [])


def posts(run: Path) -> list[Post]:
    """Return the places of all watchers, the supervisor's first."""
    return [Post(run, name) for name in (LEADER, *STANDBYS)]


def launch_watcher(home: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a watcher; it takes the first free place, or ends."""
    log = home / "run" / "logs" / f"{LEADER}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            (sys.executable, "-m", MODULE, str(home)),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home,
            start_new_session=True,
        )
