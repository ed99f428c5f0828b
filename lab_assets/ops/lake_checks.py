"""Checks of ``lab doctor``: the tables against what was committed.

Belongs here: verdicts and what helps. Does not belong here: finding damage (``lab_assets.lake``), data files (``lab scrub`` hashes them).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab_assets.ops.checks import Check
from lab_assets.ops.kept_checks import known_ledger
from lab_assets.settings import Settings

if TYPE_CHECKING:
    from lab_assets.lake.damaged_tables import Damage
    from lab_assets.state.ledger import Ledger


def _lake(settings: Settings) -> Check:
    """Hold every table against what was committed: one that is gone, or whose log is, was not lost by us and is not made anew unasked."""
    from lab_assets.lake.damaged_tables import damaged_tables

    if "://" in settings.lake and not settings.lake.startswith("file://"):
        return Check(name="lake", state="ok", found=f"{settings.lake}: looked at when it is first used")
    folder = Path(settings.lake.removeprefix("file://"))
    if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Check(name="lake", state="failed", found=f"{folder} cannot be read and written", mend="grant the right")
    ledger = known_ledger(settings)
    if damaged := damaged_tables(settings, ledger):
        found = "; ".join(each.problem for each in damaged)
        return Check(name="lake", state="failed", found=found, mend="; ".join(_mends(damaged)))
    if not folder.exists():
        return Check(name="lake", state="ok", found="not made yet; the first ingestion makes it")
    tables = sum(1 for _ in folder.glob("*/[!.]*/_delta_log"))
    if ledger is None:
        return Check(name="lake", state="ok", found=f"{tables} tables in {folder}, which no database knows")
    return _others(settings, ledger, f"{tables} tables in {folder}")


def _others(settings: Settings, ledger: Ledger, counted: str) -> Check:
    """Tell of what another program wrote to a whole lake."""
    from lab_assets.lake.damaged_tables import unknown_writes
    from lab_assets.lake.reader import LakeReader
    from lab_assets.stations.governance.lineage import written_by_others

    recorded, unknown = written_by_others(LakeReader(settings, ledger)), unknown_writes(settings, ledger)
    if not recorded and not unknown:
        return Check(name="lake", state="ok", found=counted)
    found: list[str] = []
    if recorded:
        listed = ", ".join(f"{name} (version {', '.join(map(str, versions[:5]))})" for name, versions in recorded.items())
        found.append(f"another program than this one wrote to {listed}")
    found += [each.problem for each in unknown]
    mend = "'lab table rebuild TABLE' makes anew what follows from other tables; 'lab table restore TABLE VERSION' takes back what others wrote"
    return Check(name="lake", state="warning", found=f"{counted}; {'; '.join(found)}", mend=mend)


def _mends(damaged: Sequence[Damage]) -> Iterator[str]:
    """Yield what helps, the tables together that the same helps."""
    from lab_assets.stations.all_stations import stations

    by_mend: dict[str, list[str]] = {}
    for each in damaged:
        by_mend.setdefault(each.mend, []).append(each.table)
    for mend, names in by_mend.items():
        yield f"{', '.join(names)}: {mend[0].lower()}{mend[1:]}"
    lost = {each.table for each in damaged if not each.is_readable}
    if made := [name for name in stations() if name in lost]:
        commands = ", ".join(f"'lab table rebuild {name}'" for name in made)
        in_order = " in this order" if len(made) > 1 else ""
        yield f"or, without a backup, {commands}{in_order}: what follows from other tables is made anew, without its earlier versions"


def _stations(settings: Settings) -> Check:
    """Tell of tables that wait to be made anew, and of what is set aside: until then they are not what their inputs make of them."""
    ledger = known_ledger(settings)
    waiting = {} if ledger is None else ledger.to_make_anew()
    aside = [] if ledger is None else ledger.set_aside()
    found = [f"to be made anew: {', '.join(f'{name} ({reason})' for name, reason in waiting.items())}"] if waiting else []
    mends = ["the next run of 'lab up' does it; 'lab ingest' does it now"] if waiting else []
    if aside:
        found.append(f"set aside, since runs fail on it: {'; '.join(each.words() for each in aside[:10])}")
        mends.append("'lab run aside' lists all; mend what is named, then 'lab run retry'")
    if not found:
        return Check(name="stations", state="ok", found="no table waits to be made anew, and nothing is set aside")
    return Check(name="stations", state="warning", found="; ".join(found), mend="; ".join(mends))


LAKE: Final[tuple[Callable[[Settings], Check], ...]] = (_lake, _stations)
