"""A wall clock that can be set for the processes of one laboratory alone.

Belongs here: building the library that they load, and the file that says by how much. Does not belong here: when it is set.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock_step.c")


@dataclass(frozen=True)
class SteppedClock:
    """The clock of the processes that are started with an environment.

    Attributes:
        library: What they load.
        step: File with the seconds by which they are ahead.
    """

    library: Path
    step: Path

    @classmethod
    def made(cls, folder: Path) -> SteppedClock | None:
        """Build the library; ``None`` where no C compiler is installed."""
        compiler = shutil.which("cc")
        if compiler is None:
            return None
        clock = cls(folder / "clock_step.so", folder / "clock_step")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", clock.library, _SOURCE, "-ldl"], check=True)
        clock.set(0)
        return clock

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be started with."""
        return {"LD_PRELOAD": str(self.library), "CLOCK_STEP_FILE": str(self.step)}

    def set(self, seconds: int) -> None:
        """Set the clock of all of them that far from the true one."""
        with self.step.open("r+b" if self.step.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))

    @property
    def ahead_s(self) -> int:
        """By how much it is set now, seconds."""
        return struct.unpack("=q", self.step.read_bytes())[0]
