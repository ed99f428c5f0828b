"""Every rule a file or a row can break, and how to mend it.

Belongs here: the advice that people get beside a refusal. Does not belong here: the rules themselves, which stand where they are held.
"""

from __future__ import annotations

from typing import Final

_EXPORT_AGAIN: Final = "Export or transfer the file again and drop it under the same name; the new bytes take this one's place."
_RIGHTS: Final = "Give the service's account the right to read it, then touch the file or drop it again."
_LIMIT: Final = "Split the export, or ask the administrator to raise the limit if the file is genuine."

MEND: Final[dict[str, str]] = {
    "ambiguous_date": "State the order of dates in the file ('# dates: dmy' or 'mdy'), or export ISO dates (2025-04-03).",
    "bad_date": "Correct the date at its source and export again; ISO dates (2025-04-03T12:00:00Z) are always understood.",
    "bad_directive": "Correct the line '# key: value' that is named, or remove it.",
    "checksum": "The archive's own checksum contradicts a file in it: export the archive again.",
    "descending_x": "The time axis goes back: the export is damaged or holds several runs; export one run a file.",
    "duplicate_column": "Two columns have one name: remove or rename one in the export's settings.",
    "duplicate_key": "Two fields of one object have one name, and nothing says which counts: export it again.",
    "duplicate_x": "Two points have one time: export with more decimals, or one run a file.",
    "empty": _EXPORT_AGAIN,
    "encoding": "Export as UTF-8 text; the byte that is named is no text, so the file may also be damaged.",
    "encrypted": "Export without a password: what cannot be read cannot be checked.",
    "field_count": "The line has more or fewer fields than the header: look for a separator inside of a field, and quote it.",
    "error_value": "The cell holds an error of the spreadsheet (#N/A ...): correct it there and save.",
    "finite": "The value is not a finite number: correct it at its source and export again.",
    "folder": "Drop the files of the folder; only folders of instruments (.D, .raw) are taken whole.",
    "formula_without_value": "Open the workbook and save it once, so that formulas have values; or export values.",
    "hostile_xml": "The file declares entities or refers to other files, which no instrument does: export it again from the data system.",
    "implausible_date": "Correct the date at its source, or the clock of the instrument, and export again.",
    "long_line": _LIMIT,
    "memory_limit": _LIMIT,
    "missing": "Drop the file again.",
    "missing_column": "Add the column to the export's settings; if it was renamed, 'lab schema list' proposes it and 'lab schema accept' makes it count.",
    "missing_section": "Export with the section that is named.",
    "missing_value": "Fill the value in at its source and export again.",
    "missing_variable": _EXPORT_AGAIN,
    "nested_archive": "Unpack the inner archive and drop its files.",
    "nonexistent_time": "The local time was skipped when clocks went forward: check the zone of the source, or export with an offset.",
    "not_a_file": "Put a regular file in its place; links, pipes and folders are not followed.",
    "not_a_number": "Correct the value at its source, or state the decimal mark in the file ('# decimal: ,').",
    "not_finite": "The value is not a finite number: correct it at its source and export again.",
    "order": "Two limits are crossed: correct them at their source and export again.",
    "original_missing": "The kept original is gone: run 'lab scrub', restore the raw store from the last backup, then retry.",
    "parser_crashed": "The reader died on this file: keep it, report it to the administrator, and retry after the reader was mended.",
    "parser_timeout": _LIMIT,
    "percent_format": "The cell shows per cent and holds a fraction: store the number as it is shown, in a cell without that format.",
    "reader_error": "The reader has a fault: report it to the administrator, and retry after the reader was mended.",
    "too_large": _LIMIT,
    "truncated": _EXPORT_AGAIN,
    "unit_changed": "Set the agreed unit in the export's settings; nothing is converted.",
    "unit_missing": "State the unit in the header, as in Temp (°C).",
    "unknown_column": "This source is strict: remove the column from the export, or take the source from LAB_STRICT_SOURCES.",
    "unknown_format": "No reader knows this content: export in a known format, or add a reader or a description (docs/add-an-instrument.md).",
    "unreadable": _RIGHTS,
    "unsafe_name": "A name inside of the archive leads out of it: make the archive anew.",
    "unsupported": "Export in the form that is named; this one is not read.",
    "vocabulary": "Use one of the agreed words, or ask the owner of the table to agree on a new one.",
    "window_order": "The window ends before it starts: correct it in the method.",
    "zip_bomb": "The archive unpacks to far more than its size: make it anew from the original files.",
}
"""How to mend each broken rule, for people."""

OF_NAME: Final = frozenset(
    {
        *("ambiguous_date", "bad_date", "implausible_date", "nonexistent_time"),
        *("duplicate_column", "missing_column", "unknown_column", "unknown_format"),
    }
)
"""Rules that the path decides with: its drop folder has a zone, an order of dates, agreed columns, strictness; loggers ask for file names."""

_CONTRACT: Final = "The value breaks the table's contract: correct it at its source and export again."


def mend(rule: str | None) -> str:
    """Return how to mend a broken rule; rules of contracts, such as ``minimum(0)``, share one advice."""
    return MEND.get(rule or "", _CONTRACT)
