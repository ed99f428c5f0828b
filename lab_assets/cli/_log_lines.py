"""What libraries log while a command works, as lines for people.

Belongs here: how a record looks where nobody else keeps it. Does not belong here: logs of servers and runs, which are configured there.
"""

from __future__ import annotations

import logging


class OneLineFormatter(logging.Formatter):
    """One line a record: what happened, and the first line of the error, without a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        error = record.exc_info[1] if record.exc_info else None
        said = [record.getMessage(), *([str(error) or type(error).__name__] if error is not None else [])]
        return f"{record.levelname.lower()}: {': '.join(each.strip().partition(chr(10))[0] for each in said)}"


def logs_in_one_line() -> None:
    """Have records that no handler takes, which Python prints to stderr with their tracebacks, printed as one line each."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(OneLineFormatter())
