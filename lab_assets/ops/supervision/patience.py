"""When what ended is started again, and when it counts as failing.

Belongs here: the numbers and the rule, as functions of what happened. Does not belong here: clocks, processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

WORKED_S: Final = 10.0
"""A process that answered for this long worked: its end is not one of a row of quick ones."""
LONGEST_DELAY_S: Final = 60.0
QUICK_ENDS: Final = 5
"""So many quick ends in a row are no accident."""
OFTEN: Final = 20
"""So many ends within ``OFTEN_WITHIN`` are none either, however long it worked between."""
OFTEN_WITHIN: Final = timedelta(minutes=10)


def delay_s(quick_ends: int) -> float:
    """Return how long to wait before the next start, seconds: nothing after one that worked, then 1, 2, 4 ... up to a minute.

    Args:
        quick_ends: Ends in a row before it had worked for a while.
    """
    return min(LONGEST_DELAY_S, 2.0 ** (quick_ends - 2)) if quick_ends > 1 else 0.0


def keeps_ending(quick_ends: int, ends: Sequence[datetime], now: datetime) -> bool:
    """Return whether a process ends again and again, so that a person has to look.

    Args:
        quick_ends: Ends in a row before it had worked for a while.
        ends: When it ended.
        now: The time.
    """
    return quick_ends >= QUICK_ENDS or sum(1 for each in ends if timedelta() <= now - each <= OFTEN_WITHIN) >= OFTEN
