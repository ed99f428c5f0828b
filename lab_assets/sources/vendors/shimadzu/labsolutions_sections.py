"""LabSolutions ASCII exports cut into sections: titles, header fields, separators, decimal marks.

Belongs here: what every part of the format shares. Does not belong here: traces (``labsolutions_text.py``) and tables of peaks
(``labsolutions_peaks.py``).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core.decoding import is_secret

POINTS_HEADER: Final = re.compile(r'"?(?:R\. ?Time|Ret\. ?Time)')
"""Begin of the line above the points of a trace."""

_SEPARATED: Final = re.compile(r'"?(?:Application Name|Output Date|# of Points|R\. ?Time ?\(min\)|Ret\. ?Time)"?([\t,;])')
_SEARCHED_LINES: Final = 2000


@dataclass(frozen=True, kw_only=True)
class Section:
    """One block: its title, the file's line number of the title, and the lines below it; ``last`` when the file ends with it."""

    title: str
    line: int
    body: Sequence[str]
    last: bool


@dataclass(frozen=True, kw_only=True)
class Export:
    """One injection's sections, and how the file writes fields and numbers."""

    sections: list[Section]
    separator: str
    decimal: str
    last_line_ended: bool

    def fields(self, title: str) -> dict[str, str]:
        """Return the name and value pairs of a header section."""
        for section in self.sections:
            if section.title == title:
                return pairs(section.body, self.separator)
        return {}

    def cells(self, line: str) -> list[str]:
        """Return the fields of a line; quotes protect separators in names."""
        plain = line.split(self.separator)
        if '"' in line:
            try:
                rows: list[list[str]] = list(csv.reader([line], delimiter=self.separator))
            except csv.Error:  # a field beyond the module's limit; the count of fields will tell
                rows = []
            plain = rows[0] if rows else plain
        return [cell.strip() for cell in plain]


def split_exports(lines: Sequence[str], *, last_line_ended: bool) -> list[Export]:
    """Cut a file into exports: batch exports write one behind the other, each with its own ``[Header]``."""
    # nearly all lines are points and begin with a digit or sign; one comparison leaves them out
    worded = [index for index, line in enumerate(lines) if line >= "A"]
    starts = [index for index in worded if lines[index][0] == "[" and lines[index].rstrip().endswith("]")]
    ends = [*starts[1:], len(lines)][: len(starts)]
    sections = [
        Section(title=lines[start].strip(), line=start + 1, body=lines[start + 1 : end], last=end == len(lines))
        for start, end in zip(starts, ends, strict=True)
    ]
    separator = _separator(lines)
    decimal = "."
    if separator != ",":
        decimal = "," if any("," in lines[index] for index in _telling(lines, worded)) else "."
    return [Export(sections=group, separator=separator, decimal=decimal, last_line_ended=last_line_ended) for group in _by_header(sections)]


def _separator(lines: Sequence[str]) -> str:
    """Return the separator of fields: tab, or comma or semicolon by an option of the export."""
    for line in lines[:_SEARCHED_LINES]:
        if line >= "A" or line.startswith(("#", '"')):
            match = _SEPARATED.match(line)
            if match:
                return match[1]
    return "\t"


def _telling(lines: Sequence[str], worded: Sequence[int]) -> Iterator[int]:
    """Yield the lines that show the decimal mark: ends of traces and first points."""
    for index in worded:
        if lines[index].startswith("End Time"):
            yield index
        elif POINTS_HEADER.match(lines[index]) and index + 1 < min(len(lines), _SEARCHED_LINES):
            yield index + 1


def _by_header(sections: Sequence[Section]) -> list[list[Section]]:
    groups: list[list[Section]] = [[]]
    for section in sections:
        if section.title == "[Header]" and any(other.title == "[Header]" for other in groups[-1]):
            groups.append([])
        groups[-1].append(section)
    return groups


def pairs(body: Sequence[str], separator: str) -> dict[str, str]:
    """Return the name and value pairs of lines; the first of two wins, credentials are left out."""
    found: dict[str, str] = {}
    for line in body:
        key, mark, value = line.partition(separator)
        if mark and not is_secret(key):
            found.setdefault(key.strip().strip('"'), value.strip().strip('"'))
    return found


def stated_count(fields: dict[str, str], key: str, section: Section) -> int | None:
    """Return a stated number of points or rows, ``None`` when none is stated.

    Raises:
        UnreadableFileError: ``not_a_number``.
    """
    text = fields.get(key)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise UnreadableFileError("not_a_number", f"{key!r} is {text[:40]!r}", section.title)
    return int(text)
