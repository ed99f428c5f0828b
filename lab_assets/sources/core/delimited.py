"""Delimited text with a header: directives, separator, rows with their line numbers.

Belongs here: everything that does not depend on what the columns mean. Does not belong here: numbers, dates, contracts.

A file may begin with lines ``# key: value``. Known keys are ``table``, ``separator`` (``,`` ``;`` ``tab``), ``decimal`` (``.`` ``,``),
``dates`` (``iso`` ``dmy`` ``mdy``) and ``zone`` (IANA); others are kept for the format that knows them. Spreadsheet programs save such
lines quoted or with separators behind them, and may put ``sep=;`` first; both are understood.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lab_assets.sources.core.cells import ERROR_TEXTS
from lab_assets.sources.core.decoding import DecodedText, decode, is_secret, peek_lines
from lab_assets.sources.core.moments import DateOrder
from lab_assets.sources.core.read_result import UnreadableFileError

_DIRECTIVE: Final = re.compile(r"#\s*+([A-Za-z][\w ]*+)\s*+[:=](.*)")
_QUOTED_LINE: Final = re.compile(r'"((?:[^"]|"")*+)"[\t;,]*')
_SEP_LINE: Final = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
SEPARATORS: Final = {"\t": "\t", "tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", ",": ",", ";": ";", "|": "|"}
DECIMALS: Final = {".": ".", ",": ",", "point": ".", "dot": ".", "comma": ","}
ORDERS: Final[dict[str, DateOrder]] = {"iso": "ymd", "ymd": "ymd", "dmy": "dmy", "mdy": "mdy"}
_Meaning = TypeVar("_Meaning")
_SPELLED_UNITS: Final = {"%": "pct", "percent": "pct", "µg": "ug", "μg": "ug", "mcg": "ug"}
"""Units in brackets whose usual sign is not what a column name carries."""
_UNIT: Final = re.compile(r"(?P<name>.*?)[\s_]*[(\[](?P<unit>[^()\[\]]*)[)\]]\s*", re.DOTALL)
_MAX_NAME_CHARS: Final = 200
"""Longest text that is searched for a unit and compared; what is longer is no column name and would take quadratic time."""
_MAX_RAGGED: Final = 10_000
"""Most rows that are rejected one by one while fewer fit; a file of more is none of its kind."""
MAX_COLUMNS: Final = 4096
"""Most columns of a table; no logger or LIMS writes a tenth of them."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What stands above the rows.

    Attributes:
        directives: Declarations of the file by key in lower case.
        names: Column names as written.
        separator: Field separator; empty in a spreadsheet.
        line: Line or row of the column names.
    """

    directives: dict[str, str]
    names: tuple[str, ...]
    separator: str
    line: int

    @property
    def software(self) -> str | None:
        """Software that wrote the file and its version, as the file states them."""
        name = next((self.directives[key] for key in ("software", "application", "program") if self.directives.get(key)), None)
        version = self.directives.get("software version") or self.directives.get("version")
        return f"{name} {version}" if name and version and version not in name else name

    @property
    def instrument(self) -> str | None:
        """Instrument that wrote the file, as the file states it."""
        keys = ("instrument", "instrument id", "instrument_id", "instrument name", "device", "logger", "chamber")
        return next((self.directives[key] for key in keys if self.directives.get(key)), None)


@dataclass(frozen=True, kw_only=True)
class DelimitedTable:
    """A delimited file, or one sheet of a workbook.

    Attributes:
        header: Directives and column names.
        rows: Line number and fields of each row, fields as many as names, without blanks around them.
        ragged: Line number and fields of rows with another number of fields.
        last_line_ended: Whether the last line has a line end.
        decimal: Declared decimal mark, ``.`` by default.
        order: Declared order of dates, if any.
        zone: Declared zone, if any.
    """

    header: Header
    rows: list[tuple[int, list[str]]]
    ragged: list[tuple[int, list[str]]] = field(default_factory=list[tuple[int, list[str]]])
    last_line_ended: bool = True
    decimal: str = "."
    order: DateOrder | None = None
    zone: str | None = None


@lru_cache(maxsize=4096)
def normalise(name: str) -> str:
    """Return a column name in lower case with underscores: ``Weight [mg]`` and ``weight-mg`` become ``weight_mg``."""
    match = _unit_match(name)
    plain = f"{match['name']}_{_SPELLED_UNITS.get(match['unit'].casefold().strip(), match['unit'])}" if match else name.strip()
    plain = plain[:_MAX_NAME_CHARS]
    return re.sub(r"[\s\-./]+", "_", plain.lower()).strip("_")


def split_unit(name: str) -> tuple[str, str | None]:
    """Return a column name and the unit written behind it in brackets, such as ``('Temp', '°C')``."""
    match = _unit_match(name)
    return (match["name"].strip(), match["unit"].strip()) if match else (name.strip(), None)


def _unit_match(name: str) -> re.Match[str] | None:
    return _UNIT.fullmatch(name.strip()) if len(name) <= _MAX_NAME_CHARS else None


@lru_cache(maxsize=4)
def peek_header(head: bytes) -> Header | None:
    """Return the header of a file leniently, for recognising its format; ``None`` when it has none.

    Args:
        head: The first bytes of a file.
    """
    try:
        return _header(peek_lines(head)[:200])
    except UnreadableFileError:
        return None


def read_table(data: bytes) -> DelimitedTable:
    """Read a delimited file.

    Args:
        data: The whole file.

    Returns:
        Its rows as text.

    Raises:
        UnreadableFileError: ``empty``, ``encoding``, ``truncated``, ``duplicate_column`` or ``bad_directive``.
    """
    text = decode(data)
    return table_below(text, _header(text.lines))


def table_below(text: DecodedText, header: Header) -> DelimitedTable:
    """Read the rows below a header.

    Args:
        text: The whole file.
        header: What stands above the rows.

    Raises:
        UnreadableFileError: ``empty``, ``truncated``, ``field_count``, ``too_large``, ``duplicate_column`` or ``bad_directive``.
    """
    rows, ragged = _rows(text, header)
    return typed_table(header, rows, ragged, last_line_ended=text.last_line_ended)


def typed_table(
    header: Header, rows: list[tuple[int, list[str]]], ragged: list[tuple[int, list[str]]], *, last_line_ended: bool
) -> DelimitedTable:
    """Return a table with its declarations understood, columns without name and content left out.

    Args:
        header: Directives and names as written.
        rows: Line number and fields of whole rows.
        ragged: Line number and fields of the other rows.
        last_line_ended: Whether the file ends with a line end.

    Raises:
        UnreadableFileError: ``empty``, ``too_large``, ``duplicate_column`` or ``bad_directive``.
    """
    if not rows and not ragged:
        raise UnreadableFileError("empty", "the file has a header and no rows")
    header, rows = _without_empty_columns(header, rows)
    if len(header.names) > MAX_COLUMNS:
        raise UnreadableFileError("too_large", f"there are {len(header.names)} columns, more than {MAX_COLUMNS}", f"line {header.line}")
    duplicates = sorted(name for name, count in Counter(header.names).items() if count > 1)
    if duplicates:
        raise UnreadableFileError("duplicate_column", f"column {duplicates[0]!r} is there twice", f"line {header.line}")
    return DelimitedTable(
        header=header,
        rows=rows,
        ragged=ragged,
        last_line_ended=last_line_ended,
        decimal=_declared(header, "decimal", DECIMALS) or ".",
        order=_declared(header, "dates", ORDERS),
        zone=_zone(header),
    )


def note_directive(line: str, directives: dict[str, str]) -> bool:
    """Take a line ``# key: value`` into the directives; credentials are passed over.

    Args:
        line: One line of a file.
        directives: Declarations by key in lower case; added to.

    Returns:
        Whether the line is a directive or a remark, and so no header.
    """
    if quoted := _QUOTED_LINE.fullmatch(line):
        line = quoted[1].replace('""', '"')
    if declared := _SEP_LINE.fullmatch(line):
        directives["separator"] = declared[1]
        return True
    if not line.startswith("#"):
        return False
    match = _DIRECTIVE.fullmatch(line)
    if match and not is_secret(match[1]):
        # separators behind the value stand for the empty cells beside it; a value may be a separator itself
        value = match[2].strip()
        directives[match[1].strip().casefold()] = value.rstrip("\t;, ") or value[:1]
    return True


def _header(lines: Sequence[str]) -> Header:
    directives: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or note_directive(line, directives):
            continue
        declared = directives.get("separator", "").casefold()
        if declared and declared not in SEPARATORS:
            raise UnreadableFileError("bad_directive", f"separator {declared!r} is not one of , ; tab", f"line {number}")
        separator = SEPARATORS[declared] if declared else max("\t;,", key=line.count)
        return Header(directives=directives, names=split_names(line, separator), separator=separator, line=number)
    raise UnreadableFileError("empty", "the file has no header")


def split_names(line: str, separator: str) -> tuple[str, ...]:
    """Return the column names of a header line.

    Raises:
        UnreadableFileError: ``long_line`` for a name that cannot be one, ``too_large`` for more than ``MAX_COLUMNS``.
    """
    try:
        names = tuple(name.strip() for name in next(csv.reader([line], delimiter=separator), list[str]()))
    except csv.Error as error:
        raise UnreadableFileError("long_line", f"the line of the column names cannot be one ({error})") from error
    if len(names) > MAX_COLUMNS and any(names[MAX_COLUMNS:]):
        raise UnreadableFileError("too_large", f"there are {len(names)} columns, more than {MAX_COLUMNS}")
    return names


def _without_empty_columns(header: Header, rows: list[tuple[int, list[str]]]) -> tuple[Header, list[tuple[int, list[str]]]]:
    """Leave out columns without name and content; name those with content by their place."""
    unnamed = [index for index, name in enumerate(header.names) if not name]
    if not unnamed:
        return header, rows
    used = {index for index in unnamed if any(fields[index] for _, fields in rows)}
    kept = [index for index, name in enumerate(header.names) if name or index in used]
    names = tuple(header.names[index] or f"column {index + 1}" for index in kept)
    return replace(header, names=names), [(line, [fields[index] for index in kept]) for line, fields in rows]


def _declared(header: Header, key: str, meanings: Mapping[str, _Meaning]) -> _Meaning | None:
    text = header.directives.get(key)
    if text is None:
        return None
    if text.casefold() not in meanings:
        raise UnreadableFileError("bad_directive", f"{key} {text[:40]!r} is not one of {', '.join(meanings)}")
    return meanings[text.casefold()]


def _zone(header: Header) -> str | None:
    name = header.directives.get("zone")
    if name is None:
        return None
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnreadableFileError("bad_directive", f"zone {name[:40]!r} is not an IANA zone such as Europe/Berlin") from error
    return name


def _rows(text: DecodedText, header: Header) -> tuple[list[tuple[int, list[str]]], list[tuple[int, list[str]]]]:
    """Return whole rows and ragged rows; a ragged last row without a line end means a cut file."""
    good: list[tuple[int, list[str]]] = []
    ragged: list[tuple[int, list[str]]] = []
    reader = csv.reader((f"{line}\n" for line in text.lines[header.line :]), delimiter=header.separator, strict=True)
    line, fields = header.line + 1, list[str]()
    try:
        for fields in reader:
            number, line = line, header.line + reader.line_num + 1
            if not any(cell.strip() for cell in fields) or is_remark(fields, len(header.names)):
                continue
            whole = len(fields) == len(header.names)
            (good if whole else ragged).append((number, [field.strip() for field in fields]))
            if len(ragged) > max(_MAX_RAGGED, len(good)):
                reason = f"{len(ragged)} rows have another number of fields than the header, more than have the same"
                raise UnreadableFileError("field_count", f"{reason}: this is no table", f"line {number}")
    except csv.Error as error:
        raise UnreadableFileError("truncated", f"a quoted field does not end ({error}); transfer the file again", f"line {line}") from error
    if ragged and not text.last_line_ended and (not good or ragged[-1][0] > good[-1][0]):
        raise UnreadableFileError("truncated", "the last line is cut; transfer the file again", f"line {ragged[-1][0]}")
    return good, ragged


def is_remark(fields: Sequence[str], n_names: int) -> bool:
    """Tell whether a row is a remark: it begins with ``#`` and holds nothing else, or not as many fields as there are columns.

    A whole row whose first field begins with ``#``, such as a sample's number or a spreadsheet's error, is data.

    Args:
        fields: Fields of the row.
        n_names: Number of columns.
    """
    if not fields[0].startswith("#") or fields[0].strip() in ERROR_TEXTS:
        return False
    return len(fields) != n_names or not any(field.strip() for field in fields[1:])
