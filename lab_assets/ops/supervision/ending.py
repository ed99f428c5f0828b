"""Ending the processes of a laboratory, whatever state they are in.

Belongs here: the order, and finding what nobody knows of any more. Does not belong here: who wants it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import psutil

from lab_assets.compute.spark_server import COMPONENT_NAME
from lab_assets.home_identity import Place
from lab_assets.ops.supervision.plan import Record
from lab_assets.ops.supervision.watch_files import LEADER
from lab_assets.process_identity import COMPONENT, marked
from lab_assets.process_stamp import end, family

WARM_UP: Final = "warm-up"
END_TIMEOUT_S: Final = 20.0
LAUNCHES_MORE: Final = "dagster-daemon"
"""It ends first, because it would begin more runs."""
KEEPS_NOTHING: Final = "dagster-code"
"""It waits long for its clients before it ends, and has nothing to finish."""
_NOTHING_TO_FINISH_S: Final = 3.0


def end_all(place: Place, records: Sequence[Record], *, say: Callable[[str], None] = lambda _line: None) -> list[str]:
    """End all processes of a laboratory with their descendants and orphans; Spark is ended by its own rules.

    Args:
        place: The laboratory.
        records: What is known to have been started.
        say: Given what happens.

    Returns:
        Names of the components of which something ran.
    """
    living = {each.name: process for each in records if (process := each.process())}
    orphans = [each for each in marked(place) if each.pid not in {process.pid for process in living.values()}]
    left_over = sorted(components_of(orphans) - {COMPONENT_NAME, LEADER, WARM_UP, *living})
    ended = [*living, *left_over]
    for name in ended:
        say(f"ending {name}")
    if daemon := living.get(LAUNCHES_MORE):
        end([daemon], timeout_s=END_TIMEOUT_S)
    with ThreadPoolExecutor(2) as together:  # all at once
        code = living.pop(KEEPS_NOTHING, None)
        together.submit(end, family(code) if code else [], timeout_s=_NOTHING_TO_FINISH_S)
        together.submit(end, [member for each in living.values() for member in family(each)], timeout_s=END_TIMEOUT_S)
    end([each for each in marked(place) if _component(each) != COMPONENT_NAME], timeout_s=END_TIMEOUT_S)
    return ended


def components_of(processes: Sequence[psutil.Process]) -> set[str]:
    """Return which components processes belong to."""
    return {_component(each) for each in processes} - {""}


def _component(process: psutil.Process) -> str:
    try:
        return process.environ().get(COMPONENT, "")
    except (psutil.Error, OSError):
        return ""
