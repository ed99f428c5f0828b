"""Exit codes of the commands besides 0 and 1.

Belongs here: one name a code. Does not belong here: when a command ends with which.
"""

from __future__ import annotations

from typing import Final

ENVIRONMENT: Final = 2
"""What the command needs is not there or not as it should be; also the code of wrong arguments."""
INTERRUPTED: Final = 130
"""A person ended it, as a shell tells Ctrl-C: 128 and the signal's number."""
