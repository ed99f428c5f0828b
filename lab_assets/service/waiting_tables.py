"""Tables that wait to be made anew, as after a restore or a rollback: what is scored meanwhile may rest on less than the next run brings.

A run of the stations makes such tables before it reads what rests on them; a request cannot wait for that. It is answered as other doubtful
input is: with a warning that is kept with the decision, and with no verdict.

Belongs here: which of the tables that are read wait, and the words for it. Does not belong here: marks (``lab_assets.state.station_work``),
making tables (``lab_assets.stations``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from lab_assets.state.station_work import StationWork

_LOG: Final = logging.getLogger(__name__)


class WaitingTables:
    """What waits of some tables, and of those that they are made from, while something is read of them.

    Marks are looked at before reading and after it: of a table that is set back, or made anew, in between, one of the looks finds the mark.
    """

    def __init__(self, ledger: StationWork | None, tables: Iterable[str]) -> None:
        """Look for the first time.

        Args:
            ledger: Where marks are; ``None`` where no database was made yet.
            tables: ``layer.table`` of what will be read.
        """
        self._ledger = ledger
        self._names = _with_upstream(frozenset(tables))
        self._found = self._look()

    def warnings(self) -> tuple[str, ...]:
        """Look again, and return a warning for each table that waited at either look."""
        self._found |= self._look()
        return tuple(
            f"{name} waits to be made anew ({self._found[name]}): what rests on it may be wrong until the next run"
            for name in self._names
            if name in self._found
        )

    def _look(self) -> dict[str, str]:
        try:
            return {} if self._ledger is None else self._ledger.to_make_anew(self._names)
        except SQLAlchemyError as error:  # tables are read without the database as well
            _LOG.warning("tables are read without asking whether they wait to be made anew: %s", str(error).splitlines()[0])
            return {}


@cache
def _with_upstream(tables: frozenset[str]) -> tuple[str, ...]:
    from lab_assets.stations.all_stations import upstream

    return tuple(upstream(set(tables)))
