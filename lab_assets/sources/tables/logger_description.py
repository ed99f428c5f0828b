"""Descriptions of delimited loggers: what a laboratory writes down, in YAML, so that a new logger needs no code.

Belongs here: the keys of a description, their meaning and the check of every one. Does not belong here: files of loggers
(``logger_table.py``), where descriptions are kept. The guide is ``docs/add-an-instrument.md``.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lab_assets.contracts.bronze import CHAMBER_READINGS
from lab_assets.sources.core.decoding import is_secret, shorten
from lab_assets.sources.core.delimited import DECIMALS, ORDERS, SEPARATORS
from lab_assets.sources.core.loggers import LoggerColumn, LoggerDescription, LoggerTable
from lab_assets.sources.core.readings import same_unit

_TABLES: Final[dict[str, LoggerTable]] = {"sensor_readings": "sensor_readings", "chamber_readings": "chamber_readings"}
_Meaning = TypeVar("_Meaning")

MAX_DESCRIPTION_CHARS: Final = 100_000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
_KEYS: Final = (
    "name match separator decimal dates zone encoding skip_lines header_starts_with time logger columns missing table software instrument"
)
_CHAMBER_COLUMNS: Final = {column.name: column.unit or "" for column in CHAMBER_READINGS.columns if column.kind == "float64"}


class DescriptionError(ValueError):
    """A description that cannot be used.

    Attributes:
        key: The key that is wrong, dotted from the top, such as ``time.columns``.
    """

    def __init__(self, name: str, key: str, reason: str) -> None:
        super().__init__(f"{name}: {key}: {reason}" if key else f"{name}: {reason}")
        self.key = key


def parse_description(text: str, name: str) -> LoggerDescription:
    """Read one description.

    Args:
        text: YAML; only plain values, as the safe loader reads them.
        name: Name of the file it stands in, for messages.

    Returns:
        The description.

    Raises:
        DescriptionError: text that is no YAML mapping, a key that is unknown, missing or wrong; the message names it.
    """
    import yaml

    if len(text) > MAX_DESCRIPTION_CHARS:
        raise DescriptionError(name, "", f"longer than {MAX_DESCRIPTION_CHARS} characters")
    try:
        tokens = cast("Iterator[object]", yaml.scan(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
        if any(isinstance(token, (yaml.AnchorToken, yaml.AliasToken)) for token in tokens):
            raise DescriptionError(name, "", "anchors and aliases are not used in descriptions")  # they can multiply without end
        loaded: object = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, DescriptionError):
            raise
        raise DescriptionError(name, "", f"no YAML: {str(error).splitlines()[0]} {_mark(error)}".strip()) from error
    return _description(_Keys(name, "", _mapping(name, "", loaded)))


def _mark(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"(line {mark.line + 1})" if mark is not None else ""


class _Keys:
    """The keys of one mapping, each asked for once; what is left over is refused."""

    def __init__(self, name: str, prefix: str, values: Mapping[str, object]) -> None:
        self.name = name
        self._prefix = prefix
        self._left = dict(values)

    def wrong(self, key: str, reason: str) -> DescriptionError:
        return DescriptionError(self.name, f"{self._prefix}{key}", reason)

    def text(self, key: str, *, required: bool = False) -> str:
        value = self._left.pop(key, None)
        if value is None and not required:
            return ""
        if isinstance(value, bool) or not isinstance(value, (str, int, float)) or not str(value).strip():
            raise self.wrong(key, "a text is needed" if value is not None else "is missing")
        return str(value)

    def choice(self, key: str, meanings: Mapping[str, _Meaning]) -> _Meaning | None:
        value = self._left.pop(key, None)
        if value is None:
            return None
        word = str(value).casefold()
        if word not in meanings:
            raise self.wrong(key, f"{shorten(word)} is not one of {', '.join(meaning for meaning in meanings if meaning.strip())}")
        return meanings[word]

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._left.pop(key, None)
        values = cast("list[object]", value) if isinstance(value, list) else [] if value is None else [value]
        if any(isinstance(entry, (bool, dict, list)) or entry is None for entry in values):
            raise self.wrong(key, "a text or a list of texts is needed; put words such as yes or null in quotes")
        return tuple(str(entry) for entry in values)

    def whole(self, key: str) -> int:
        value = self._left.pop(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10_000:
            raise self.wrong(key, "a whole number from 0 to 10000 is needed")
        return value

    def below(self, key: str) -> _Keys:
        value = self._left.pop(key, None)
        if value is None:
            raise self.wrong(key, "is missing")
        return _Keys(self.name, f"{self._prefix}{key}.", _mapping(self.name, f"{self._prefix}{key}", value))

    def below_each(self) -> Iterator[tuple[str, _Keys]]:
        for key in list(self._left):
            yield key, self.below(key)

    def done(self, known: str) -> None:
        if self._left:
            raise self.wrong(next(iter(self._left)), f"is not known; known are {', '.join(known.split())}")


def _mapping(name: str, key: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise DescriptionError(name, key, "a mapping 'key: value' is needed")
    return {str(entry): content for entry, content in cast("dict[object, object]", value).items()}


def _description(keys: _Keys) -> LoggerDescription:
    name = keys.text("name", required=True)
    if not _NAME.fullmatch(name):
        raise keys.wrong("name", f"{shorten(name)}: only small letters, digits, - and _ are used, at most 60")
    table = keys.choice("table", _TABLES) or "sensor_readings"
    match = keys.below("match")
    match_columns, match_file_name = match.texts("columns"), match.text("file_name")
    match.done("columns file_name")
    if not match_columns and not match_file_name:
        raise keys.wrong("match", "columns or a file_name pattern are needed")
    time = keys.below("time")
    time_columns, time_format = time.texts("columns"), time.text("format")
    time.done("columns format")
    if not time_columns or not all(column.strip() for column in time_columns):
        raise keys.wrong("time.columns", "one or more column names are needed")
    logger = keys.below("logger")
    logger_id, logger_column, logger_line = logger.text("id"), logger.text("column"), logger.text("line")
    logger.done("id column line")
    if sum(map(bool, (logger_id, logger_column, logger_line))) != 1:
        raise keys.wrong("logger", "exactly one of id, column and line is needed")
    skip_lines, header_starts_with = keys.whole("skip_lines"), keys.text("header_starts_with")
    if skip_lines and header_starts_with:
        raise keys.wrong("skip_lines", "skip_lines and header_starts_with exclude each other")
    description = LoggerDescription(
        name=name,
        table=table,
        match_columns=match_columns,
        match_file_name=match_file_name,
        separator=keys.choice("separator", SEPARATORS),
        decimal=keys.choice("decimal", DECIMALS) or ".",
        order=keys.choice("dates", ORDERS),
        time_columns=time_columns,
        time_format=time_format,
        zone=_zone(keys),
        encoding=_encoding(keys),
        skip_lines=skip_lines,
        header_starts_with=header_starts_with,
        logger_id=logger_id,
        logger_column=logger_column,
        logger_line=logger_line,
        columns=_columns(keys, table),
        missing=keys.texts("missing"),
        software=keys.text("software") or None,
        instrument=keys.text("instrument") or None,
    )
    keys.done(_KEYS)
    return description


def _columns(keys: _Keys, table: LoggerTable) -> tuple[LoggerColumn, ...]:
    columns: list[LoggerColumn] = []
    for name, entry in keys.below("columns").below_each():
        if is_secret(name):
            raise keys.wrong(f"columns.{name}", "a column of credentials is never read")
        quantity = entry.text("column" if table == "chamber_readings" else "quantity", required=True)
        unit = entry.text("unit", required=True)
        entry.done("column unit" if table == "chamber_readings" else "quantity unit")
        if table == "chamber_readings":
            if quantity not in _CHAMBER_COLUMNS:
                raise keys.wrong(f"columns.{name}.column", f"{shorten(quantity)} is not one of {', '.join(_CHAMBER_COLUMNS)}")
            if not same_unit(unit, _CHAMBER_COLUMNS[quantity]):
                agreed = _CHAMBER_COLUMNS[quantity]
                raise keys.wrong(f"columns.{name}.unit", f"{shorten(unit)} where {agreed} is agreed; nothing is converted")
        columns.append(LoggerColumn(name=name, quantity=quantity, unit=unit))
    quantities = [column.quantity for column in columns]
    if not columns or len(set(quantities)) < len(quantities):
        raise keys.wrong("columns", "at least one column of readings is needed, and no quantity twice")
    return tuple(columns)


def _zone(keys: _Keys) -> str | None:
    zone = keys.text("zone")
    try:
        return ZoneInfo(zone).key if zone else None
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise keys.wrong("zone", f"{shorten(zone)} is not an IANA zone such as Europe/Berlin") from error


def _encoding(keys: _Keys) -> str | None:
    encoding = keys.text("encoding")
    try:
        bytes(4).decode(encoding or "utf-8", "replace")  # refuses codecs that are no text, and text that cannot be looked at leniently
        return codecs.lookup(encoding).name if encoding else None
    except (LookupError, UnicodeError, ValueError) as error:
        raise keys.wrong("encoding", f"{shorten(encoding)} is not an encoding of text such as cp1252") from error
