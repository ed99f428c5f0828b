"""The reader of tables whose columns carry the names of a contract: one class for LIMS exports, certificates and processing methods.

Belongs here: recognition by the header, and reading into the table that the header fits. Does not belong here: how a contract's columns are
read (``core/contract_table.py``), which contracts a format may hold (one file a format beside this one).
"""

from __future__ import annotations

from collections.abc import Sequence

from lab_assets.contracts.core import TableContract
from lab_assets.sources.base import ReadContext, ReadResult
from lab_assets.sources.core.contract_table import best_match, read_contract_table
from lab_assets.sources.core.delimited import DelimitedTable, Header, peek_header, read_table


class ContractTableReader:
    """Reader of delimited text that holds one table of several.

    Attributes:
        format: Name of the format.
        contracts: Contracts of the tables it may hold; the header says which.
        tables: Their names, without layer.
    """

    def __init__(self, format_name: str, contracts: Sequence[TableContract]) -> None:
        self.format: str = format_name
        self.contracts = tuple(contracts)
        self.tables: tuple[str, ...] = tuple(contract.name for contract in contracts)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format, judged by its header."""
        del name
        header = peek_header(head)
        return 0 if header is None else self.sureness(header)

    def sureness(self, header: Header) -> int:
        """Return how surely a header is of this format, 0 to 100: the share of a table's required columns."""
        match = best_match(header, self.contracts)
        return 0 if match is None else match.sureness

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one file into one table.

        Raises:
            UnreadableFileError: the file as a whole is not usable.
        """
        return self.read_table(read_table(data), context)

    def read_table(self, table: DelimitedTable, context: ReadContext) -> ReadResult:
        """Read the rows of one file or sheet.

        Raises:
            UnreadableFileError: the table as a whole is not usable.
        """
        return read_contract_table(table, context, format_name=self.format, contracts=self.contracts)
