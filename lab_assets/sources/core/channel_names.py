"""Names of the channels of one injection, which must differ.

Belongs here: telling apart channels that a file gives the same name. Does not belong here: finding the names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lab_assets.sources.core.decoding import stem
from lab_assets.sources.core.trace_rows import Trace


def distinct(traces: Sequence[Trace]) -> list[Trace]:
    """Return traces of which no two have the same name.

    Args:
        traces: Channels of one injection; ``rescued["file"]`` says where one comes from.

    Returns:
        The traces in their order; those with the same name are named after their file as well, and numbered where that is not enough.
    """
    names = Counter(trace.name for trace in traces)
    unique = [f"{stem(trace.rescued.get('file', ''))}: {trace.name}" if names[trace.name] > 1 else trace.name for trace in traces]
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    result: list[Trace] = []
    for trace, name in zip(traces, unique, strict=True):
        final, number = name, max(1, numbers[name])
        while final in taken:
            number += 1
            final = f"{name} ({number})"
        taken.add(final)
        numbers[name] = number
        result.append(replace(trace, name=final))
    return result
