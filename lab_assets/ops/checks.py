"""One answer of ``lab doctor``.

Belongs here: its form. Does not belong here: looking (``doctor.py``, ``kept_checks.py``, ``lake_checks.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

from lab_assets.fault_kinds import EnvironmentFaultError


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        name: What was looked at.
        state: ``ok``, ``warning`` (it runs, with a limit) or ``failed``.
        found: What was found.
        mend: How to mend it; empty when all is well.
    """

    name: str
    state: str
    found: str
    mend: str = ""


def place_of_fault(fault: EnvironmentFaultError) -> str:
    """Return what kept a check from being made, and where."""
    return ": ".join(each for each in (fault.what, " ".join(part for part in (fault.where, fault.how_much) if part)) if each)
