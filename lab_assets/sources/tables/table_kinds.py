"""The kinds of tables that anybody may write, as text or as a sheet of a workbook: which of them a header is.

Belongs here: the choice among tables with a header. Does not belong here: any one kind (one file each beside this one), workbooks
(``table_xlsx.py``), loggers that a description makes known (``logger_table.py``).
"""

from __future__ import annotations

from typing import Final, Protocol

from lab_assets.sources.base import ReadContext, ReadResult
from lab_assets.sources.core.delimited import DelimitedTable, Header
from lab_assets.sources.tables.calibration_csv import CALIBRATION_CSV
from lab_assets.sources.tables.chamber_csv import ChamberCsvReader
from lab_assets.sources.tables.lims_csv import LIMS_CSV
from lab_assets.sources.tables.processing_table import ProcessingTableReader


class TableKind(Protocol):
    """What reads a table from a header and rows, be they of a text or of a sheet."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Bronze tables it may fill."""
        ...

    def sureness(self, header: Header) -> int:
        """Return how surely a header is of this kind, 0 to 100."""
        ...

    def read_table(self, table: DelimitedTable, context: ReadContext) -> ReadResult:
        """Read the rows of one table."""
        ...


PROCESSING: Final = ProcessingTableReader()
CHAMBER: Final = ChamberCsvReader()

READERS: Final = (PROCESSING, LIMS_CSV, CHAMBER, CALIBRATION_CSV)
"""The surest kind reads a table. One header may fit two of them equally well; then the first counts, so the order stands in one place."""
