"""Which table a version number is of: one that began anew counts from 0 again.

Belongs here: telling the lives of a table apart. Does not belong here: beginning one anew (``writer.py``), rows of lineage.

Delta gives a table an id when it is made, which changes of its columns, properties and rows, and a restore, leave as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lab_assets.lake.opening import open_table

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from lab_assets.contracts.core import TableContract
    from lab_assets.lake.reader import LakeReader


@dataclass(frozen=True, kw_only=True)
class TableLife:
    """A table from its version 0 on, until it is lost.

    Attributes:
        table_id: Delta's id of the table.
        began_at_utc: When it was made.
    """

    table_id: str
    began_at_utc: datetime

    def holds(self, table_id: str | None, committed_at_utc: datetime) -> bool:
        """Return whether a commit is of this life.

        Args:
            table_id: Id of its table; empty where that was not recorded: its time says it then.
            committed_at_utc: When it was committed.
        """
        return table_id == self.table_id if table_id else committed_at_utc >= self.began_at_utc


def life_of(table: DeltaTable) -> TableLife:
    """Return the life of an open table."""
    described = table.metadata()
    began = datetime.fromtimestamp((described.created_time or 0) / 1000, tz=UTC)
    return TableLife(table_id=str(described.id), began_at_utc=began)


def present_life(lake: LakeReader, contract: TableContract) -> TableLife | None:
    """Return the life of a table that is there; ``None`` where nothing was ever written.

    Raises:
        DamagedTableError: its log is not what was committed.
    """
    table = open_table(contract, lake.uri(contract), lake.ledger)
    return None if table is None else life_of(table)
