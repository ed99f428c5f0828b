"""How the files of one kind of logger are read, as its description says.

Belongs here: the meaning of a description. Does not belong here: the YAML it is written in (``tables/logger_description.py``), files of
loggers (``tables/logger_table.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lab_assets.sources.core.moments import DateOrder

LoggerTable = Literal["sensor_readings", "chamber_readings"]
"""Bronze tables that readings of loggers go to."""


@dataclass(frozen=True, kw_only=True)
class LoggerColumn:
    """One column of readings.

    Attributes:
        name: Name in the file, with or without its unit in brackets.
        quantity: What is measured, such as ``temperature``; for chambers the contract's column, such as ``temperature_c``.
        unit: Unit of the readings; a unit that the file states must be the same.
    """

    name: str
    quantity: str
    unit: str


@dataclass(frozen=True, kw_only=True)
class LoggerDescription:
    """How the files of one kind of logger are read.

    Attributes:
        name: Short name; the format is called ``logger:<name>``.
        match_columns: Names that the header must have for a file to be of this logger.
        match_file_name: Pattern of the file name such as ``FZ-*.csv``; empty for any.
        separator: Field separator; ``None`` where the header tells.
        decimal: Decimal mark of the readings.
        order: Order of day and month, if the dates need one.
        time_format: ``strptime`` format of the time, where the usual ones do not do; empty otherwise.
        zone: IANA zone of times without one, if the logger's is known.
        encoding: Encoding of the text; ``None`` where the bytes tell.
        skip_lines: Lines above the column names.
        header_starts_with: How the line of the column names begins; empty where ``skip_lines`` counts.
        time_columns: Columns that together are the time, in the order of day and time.
        logger_id: Constant name of the logger; empty where a column or a line states it.
        logger_column: Column that names the logger; empty when there is none.
        logger_line: Beginning of the line above the column names that names the logger; empty when there is none.
        columns: Columns of readings.
        missing: Texts that stand for no reading.
        table: Bronze table the readings go to.
        software: Software that writes the files, for the record of drift.
        instrument: Kind of logger, for the record of drift.
    """

    name: str
    columns: tuple[LoggerColumn, ...]
    time_columns: tuple[str, ...]
    match_columns: tuple[str, ...] = ()
    match_file_name: str = ""
    separator: str | None = None
    decimal: str = "."
    order: DateOrder | None = None
    time_format: str = ""
    zone: str | None = None
    encoding: str | None = None
    skip_lines: int = 0
    header_starts_with: str = ""
    logger_id: str = ""
    logger_column: str = ""
    logger_line: str = ""
    missing: tuple[str, ...] = ()
    table: LoggerTable = "sensor_readings"
    software: str | None = None
    instrument: str | None = None

    @property
    def format(self) -> str:
        """Name of the format of its files."""
        return f"logger:{self.name}"
