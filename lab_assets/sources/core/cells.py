"""Fields of tables: plain text, and the typed cells of spreadsheets that text alone would misstate.

Belongs here: what kind of cell a field came from, and the one way in which it becomes a number or a text. Does not belong here: files,
columns, contracts.

A field of delimited text is a plain ``str``. A spreadsheet's cell is a ``str`` as well, so that every reader takes both; where its type
says more than its text, it is one of the classes below.
"""

from __future__ import annotations

from typing import Final

from lab_assets.sources.core.quantities import parse_number

_ENGLISH: Final = ("#N/A", "#VALUE!", "#REF!", "#DIV/0!", "#NUM!", "#NAME?", "#NULL!", "#GETTING_DATA", "#SPILL!", "#CALC!")
ERROR_TEXTS: Final = frozenset({*_ENGLISH, "#NV", "#WERT!", "#BEZUG!", "#ZAHL!"})
"""Errors as spreadsheets show and export them, in English and German."""


class CellError(ValueError):
    """A field without a usable value.

    Attributes:
        rule: ``formula_without_value``, ``error_value`` or ``percent_format``.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


class StoredNumber(str):
    """A number a spreadsheet stores, with a decimal point whatever mark the file declares for text."""

    __slots__ = ()


class PercentNumber(StoredNumber):
    """A number that is shown a hundred times larger, with a per cent sign: 0.995 stored, 99.5 % seen."""

    __slots__ = ()


class UnvaluedFormula(str):
    """A formula, as its text, whose value was never stored."""

    __slots__ = ()


def usable(field: str) -> str:
    """Return a field as plain text.

    Args:
        field: One field of a table.

    Raises:
        CellError: it is a spreadsheet's error, or a formula whose value was not stored.
    """
    if isinstance(field, UnvaluedFormula):
        raise CellError("formula_without_value", "a formula without a stored value; open the workbook, let it calculate, save it")
    if field.startswith("#") and field in ERROR_TEXTS:
        raise CellError("error_value", f"{str(field)!r} is a spreadsheet's error, not a value")
    return str(field)


def number_of(field: str, decimal: str) -> float:
    """Read a field as one number.

    Args:
        field: One field of a table, not empty.
        decimal: Decimal mark that the file declares for text.

    Raises:
        CellError: an error, a formula without value, or a number shown as per cent, whose meaning is unclear.
        NumberError: the text is not a finite number.
    """
    if isinstance(field, PercentNumber):
        shown = f"{float(field) * 100:.10g} %"
        raise CellError("percent_format", f"{field!s} is stored and {shown} is shown; store the number itself, without per cent format")
    return parse_number(usable(field), "." if isinstance(field, StoredNumber) else decimal)
