"""Writers and readers of one table: ``python -m lab_assets_tests.faults.table_programs NAME ...``, settings from the environment.

Belongs here: what runs beside a test until its standard input ends, and the table. Does not belong here: assertions.
"""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING

from lab_assets.compute.session import SessionKeeper
from lab_assets.contracts.core import Column, TableContract
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import get_settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets_tests.faults.children import meet, reply

if TYPE_CHECKING:
    import pyarrow as pa

NUMBERS = TableContract(
    layer="silver",
    name="numbers_of_test",
    grain="one number of one writer",
    description="What several processes write at once.",
    owner="team:test",
    columns=(
        Column(name="writer", kind="string", meaning="who wrote it", nullable=False),
        Column(name="number", kind="int64", meaning="counts up for each writer", nullable=False),
    ),
)


def numbers(lake: Lakehouse, writer: str, *values: int) -> pa.Table:
    """Return rows of one writer."""
    return lake.local_rows(NUMBERS, [{"writer": writer, "number": value} for value in values])


def write(lake: Lakehouse, writer: str) -> None:
    """Append one row after the other, even numbers by ``append``, odd ones twice by ``append_once``; tell each that was acknowledged."""
    meet()
    number = 0
    while number < 20 or not told_to_end():
        number += 1
        rows = numbers(lake, writer, number)
        if number % 2 == 0:
            version = lake.append(NUMBERS, rows)
        else:
            version = lake.append_once(NUMBERS, rows, app=writer, version=number)
            lake.append_once(NUMBERS, rows, app=writer, version=number)
        reply([number, version])
        time.sleep(0.02)  # the other writers want the processors too


def read(lake: Lakehouse, version: str) -> None:
    """Read one earlier version and the last one over and over; tell what row counts each showed."""
    meet()
    pinned, latest, reads = set[int](), set[int](), 0
    while reads < 5 or not told_to_end():
        pinned.add(lake.polars(NUMBERS, version=int(version)).height)
        latest.add(lake.polars(NUMBERS).height)
        reads += 1
    reply({"pinned": sorted(pinned), "latest": sorted(latest)})


def told_to_end() -> bool:
    """Return whether standard input ended."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


PROGRAMS = {each.__name__: each for each in (write, read)}

if __name__ == "__main__":
    settings = get_settings()
    PROGRAMS[sys.argv[1]](Lakehouse(settings, SessionKeeper(settings), Ledger(open_database(settings))), *sys.argv[2:])
