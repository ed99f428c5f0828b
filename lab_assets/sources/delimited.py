"""Delimited text with a header: directives, separator, rows with their line numbers.

Belongs here: everything that does not depend on what the columns mean. Does not belong here: numbers, dates, contracts.

A file may begin with lines ``# key: value``. Known keys are ``table``, ``separator`` (``,`` ``;`` ``tab``), ``decimal`` (``.`` ``,``),
``dates`` (``iso`` ``dmy`` ``mdy``) and ``zone`` (IANA); others are kept for the format that knows them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.decoding import DecodedText, decode, is_secret, peek_lines
from lab_assets.sources.moments import DateOrder

_DIRECTIVE: Final = re.compile(r"#\s*([A-Za-z][\w ]*?)\s*[:=]\s*(.*?)\s*")
_SEPARATORS: Final = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", ",": ",", ";": ";", "|": "|"}
_DECIMALS: Final = {".": ".", ",": ",", "point": ".", "dot": ".", "comma": ","}
_ORDERS: Final[dict[str, DateOrder]] = {"iso": "ymd", "ymd": "ymd", "dmy": "dmy", "mdy": "mdy"}
_Meaning = TypeVar("_Meaning")
_UNIT: Final = re.compile(r"(?P<name>.*?)[\s_]*[(\[](?P<unit>[^()\[\]]*)[)\]]\s*")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What stands above the rows.

    Attributes:
        directives: Declarations of the file by key in lower case.
        names: Column names as written.
        separator: Field separator.
        line: Line of the column names.
    """

    directives: dict[str, str]
    names: tuple[str, ...]
    separator: str
    line: int


@dataclass(frozen=True, kw_only=True)
class DelimitedTable:
    """A delimited file.

    Attributes:
        header: Directives and column names.
        rows: Line number and fields of each row, fields as many as names.
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
    match = _UNIT.fullmatch(name.strip())
    plain = f"{match['name']}_{match['unit']}" if match else name.strip()
    return re.sub(r"[\s\-./]+", "_", plain.lower()).strip("_")


def split_unit(name: str) -> tuple[str, str | None]:
    """Return a column name and the unit written behind it in brackets, such as ``('Temp', '°C')``."""
    match = _UNIT.fullmatch(name.strip())
    return (match["name"].strip(), match["unit"].strip()) if match else (name.strip(), None)


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
    header = _header(text.lines)
    duplicates = sorted({name for name in header.names if header.names.count(name) > 1})
    if duplicates:
        raise UnreadableFileError("duplicate_column", f"column {duplicates[0]!r} is there twice", f"line {header.line}")
    rows, ragged = _rows(text, header)
    if not rows and not ragged:
        raise UnreadableFileError("empty", "the file has a header and no rows")
    return DelimitedTable(
        header=header,
        rows=rows,
        ragged=ragged,
        last_line_ended=text.last_line_ended,
        decimal=_declared(header, "decimal", _DECIMALS) or ".",
        order=_declared(header, "dates", _ORDERS),
        zone=_zone(header),
    )


def _header(lines: Sequence[str]) -> Header:
    directives: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if line.startswith("#"):
            match = _DIRECTIVE.fullmatch(line)
            if match and not is_secret(match[1]):
                directives[match[1].casefold()] = match[2]
            continue
        declared = directives.get("separator", "").casefold()
        if declared and declared not in _SEPARATORS:
            raise UnreadableFileError("bad_directive", f"separator {declared!r} is not one of , ; tab", f"line {number}")
        separator = _SEPARATORS[declared] if declared else max("\t;,", key=line.count)
        names = next(csv.reader([line], delimiter=separator), list[str]())
        return Header(directives=directives, names=tuple(name.strip() for name in names), separator=separator, line=number)
    raise UnreadableFileError("empty", "the file has no header")


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
    except (ZoneInfoNotFoundError, ValueError) as error:
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
            if not any(cell.strip() for cell in fields) or fields[0].startswith("#"):
                continue
            whole = len(fields) == len(header.names)
            (good if whole else ragged).append((number, fields))
    except csv.Error as error:
        raise UnreadableFileError("truncated", f"a quoted field does not end ({error}); transfer the file again", f"line {line}") from error
    if ragged and not text.last_line_ended and (not good or ragged[-1][0] > good[-1][0]):
        raise UnreadableFileError("truncated", "the last line is cut; transfer the file again", f"line {ragged[-1][0]}")
    return good, ragged
