"""Delimited files whose columns carry the names of a contract: recognition, typing, rejects.

Belongs here: what LIMS exports, calibration certificates and processing methods have in common. Does not belong here: ranges and
keys, which the contract's own validation checks, or columns named otherwise.

Times: an offset written in the value counts; else the zone the file declares; else UTC, which the columns' names (``..._utc``) say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lab_assets.contracts.bronze import PROVENANCE
from lab_assets.contracts.core import Column, TableContract
from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, UnreadableFileError
from lab_assets.sources.decoding import is_secret, looks_cut
from lab_assets.sources.delimited import DelimitedTable, Header, normalise, read_table
from lab_assets.sources.moments import MomentError, parse_moment
from lab_assets.sources.quantities import NumberError, parse_number

_NOT_IN_FILES: Final = frozenset({column.name for column in PROVENANCE} | {"rescued"})
_UNIT_SUFFIXES: Final = frozenset(
    {"kg", "g", "mg", "ug", "µg", "ng", "lb", "pct", "percent", "ppm", "fraction", "ratio", "months", "weeks", "days", "years", "min", "s"}
)
_TRUE_FALSE: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class FieldError(ValueError):
    """One field that cannot be taken.

    Attributes:
        rule: Short stable name of the rule.
        column: The column.
    """

    def __init__(self, rule: str, column: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule
        self.column = column


@dataclass(frozen=True, kw_only=True)
class Match:
    """How well a header fits a contract.

    Attributes:
        contract: The contract.
        share: Share of its required columns that are there, 0 to 1.
        n_known: Number of its columns that are there.
    """

    contract: TableContract
    share: float
    n_known: int


def file_columns(contract: TableContract) -> tuple[Column, ...]:
    """Return the columns a file may bring: all but provenance and ``rescued``."""
    return tuple(column for column in contract.columns if column.name not in _NOT_IN_FILES)


def best_match(header: Header | None, contracts: Iterable[TableContract]) -> Match | None:
    """Return the contract a header fits best, or ``None`` when it fits none.

    A header fits when it has at least three columns of the contract and half of the required ones; a ``# table:`` directive decides.

    Args:
        header: Header of a delimited file.
        contracts: Candidates.
    """
    if header is None:
        return None
    names = {normalise(name) for name in header.names}
    declared = normalise(header.directives.get("table", ""))
    best: Match | None = None
    for contract in contracts:
        columns = file_columns(contract)
        required = [column.name for column in columns if not column.nullable]
        share = sum(name in names for name in required) / len(required)
        match = Match(contract=contract, share=share, n_known=sum(column.name in names for column in columns))
        if declared and declared in {contract.name, contract.name.removeprefix("lims_")}:
            return match
        fits = match.share >= 0.5 and match.n_known >= 3
        if fits and (best is None or (match.share, match.n_known) > (best.share, best.n_known)):
            best = match
    return None if declared else best


def read_contract_table(data: bytes, context: ReadContext, *, format_name: str, contracts: Sequence[TableContract]) -> ReadResult:
    """Read a delimited file into the contract its header fits.

    Args:
        data: The whole file.
        context: What is known besides the bytes.
        format_name: Name of the format, for the result.
        contracts: Candidates.

    Returns:
        Rows and rejects of one table.

    Raises:
        UnreadableFileError: ``missing_column``, ``unit_changed``, ``truncated``, ``unknown_format`` or a rule of the text itself.
    """
    del context  # times are UTC by their columns' names unless the file says otherwise
    table = read_table(data)
    match = best_match(table.header, contracts)
    if match is None:
        raise UnreadableFileError("unknown_format", f"columns {', '.join(table.header.names[:8])} fit no contract")
    contract = match.contract
    check_columns(table.header, contract)
    names = [normalise(name) for name in table.header.names]
    rows: list[Row] = []
    rejected = [_ragged(line, fields, table, contract) for line, fields in table.ragged]
    for line, fields in table.rows:
        raw = {name: value.strip() for name, value in zip(names, fields, strict=True)}
        try:
            rows.append({**contract_row(raw, contract, table), "source_row": line})
        except FieldError as error:
            refuse_cut_row(line, table)
            rejected.append(
                RejectedRow(table=contract.name, source_row=line, rule=error.rule, reason=str(error), column=error.column, row=visible(raw))
            )
    _refuse_cut_value(table)
    warnings = _warnings(table.header, contract)
    return ReadResult(format=format_name, tables={contract.name: rows}, rejected=rejected, warnings=warnings)


def check_columns(header: Header, contract: TableContract) -> None:
    """Refuse a header that lacks a required column or brings a known column in another unit.

    Raises:
        UnreadableFileError: ``unit_changed`` or ``missing_column``.
    """
    names = {normalise(name) for name in header.names}
    known = {column.name: column for column in file_columns(contract)}
    for name in sorted(names - known.keys()):
        base, _, suffix = name.rpartition("_")
        twins = [other for other in known if other not in names and other.rpartition("_")[0] == base]
        if suffix in _UNIT_SUFFIXES and any(twin.rpartition("_")[2] in _UNIT_SUFFIXES for twin in twins):
            raise UnreadableFileError("unit_changed", f"column {name!r} where {twins[0]!r} is agreed; nothing is converted", "header")
    missing = [column.name for column in known.values() if not column.nullable and column.name not in names]
    if missing:
        unknown = sorted(names - known.keys())
        hint = f"; unknown here: {', '.join(unknown[:6])}" if unknown else ""
        raise UnreadableFileError("missing_column", f"{contract.name} needs {', '.join(missing)}{hint}", f"line {header.line}")


def contract_row(raw: Mapping[str, str], contract: TableContract, table: DelimitedTable) -> Row:
    """Type one row.

    Args:
        raw: Text by normalised column name.
        contract: What the columns promise.
        table: The file, for its decimal mark, date order and zone.

    Returns:
        Values by column, with what the contract does not name in ``rescued``.

    Raises:
        FieldError: the first field that breaks a rule.
    """
    columns = {column.name: column for column in file_columns(contract)}
    row: Row = {name: _value(raw.get(name, ""), column, table) for name, column in columns.items()}
    row["rescued"] = {name: value for name, value in raw.items() if name not in columns and value and not is_secret(name)}
    return row


def _value(text: str, column: Column, table: DelimitedTable) -> object:
    """Type one field."""
    if not text:
        if not column.nullable:
            raise FieldError("missing_value", column.name, f"{column.name} is empty")
        return None
    if column.allowed and text not in column.allowed:
        raise FieldError("vocabulary", column.name, f"{column.name} is {text[:40]!r}, not one of {', '.join(column.allowed)}")
    try:
        if column.kind == "float64":
            return parse_number(text, table.decimal)
        if column.kind == "timestamp_utc":
            return parse_moment(text, zone=table.zone or "UTC", order=table.order).utc
    except (NumberError, MomentError) as error:
        raise FieldError(error.rule, column.name, f"{column.name}: {error}") from error
    if column.kind == "int64":
        if not text.lstrip("+-").isascii() or not text.lstrip("+-").isdigit() or len(text) > 18:
            raise FieldError("not_a_number", column.name, f"{column.name}: {text[:40]!r} is not a whole number")
        return int(text)
    if column.kind == "bool":
        if text.casefold() not in _TRUE_FALSE:
            raise FieldError("vocabulary", column.name, f"{column.name}: {text[:40]!r} is neither true nor false")
        return _TRUE_FALSE[text.casefold()]
    return text


def visible(raw: Mapping[str, str]) -> dict[str, str]:
    """Return a row as read without fields that may hold credentials."""
    return {name: value for name, value in raw.items() if not is_secret(name)}


def refuse_cut_row(line: int, table: DelimitedTable) -> None:
    """Refuse the file when a bad row is its last and has no line end: the row was cut.

    Raises:
        UnreadableFileError: ``truncated``.
    """
    if not table.last_line_ended and line == table.rows[-1][0]:
        raise UnreadableFileError("truncated", "the last line is cut; transfer the file again", f"line {line}")


def _refuse_cut_value(table: DelimitedTable) -> None:
    """Refuse the file when its last field, without line end, lost digits against the fields above it."""
    if table.last_line_ended or len(table.rows) < 2:
        return
    (line, last), above = table.rows[-1], [fields[-1] for _, fields in table.rows[-21:-1]]
    if last[-1][:1].isdigit() and all(value[:1].isdigit() for value in above):
        stamps = all(len(value) > 8 and not value.replace(".", "").isdigit() for value in above)
        shorter = stamps and len({len(value) for value in above}) == 1 and len(last[-1]) < len(above[-1])
        decimals = table.decimal
        plain = [value.replace(decimals, ".") for value in above]
        if shorter or (not stamps and "." in plain[-1] and looks_cut(plain, last[-1].replace(decimals, "."))):
            raise UnreadableFileError("truncated", "the last field is cut; transfer the file again", f"line {line}")


def _ragged(line: int, fields: Sequence[str], table: DelimitedTable, contract: TableContract) -> RejectedRow:
    reason = f"{len(fields)} fields under {len(table.header.names)} column names"
    raw = {normalise(name): value for name, value in zip(table.header.names, fields, strict=False)}
    return RejectedRow(table=contract.name, source_row=line, rule="field_count", reason=reason, row=visible(raw))


def _warnings(header: Header, contract: TableContract) -> list[str]:
    known = {column.name for column in file_columns(contract)}
    unknown = [name for name in header.names if normalise(name) not in known and not is_secret(name)]
    return [f"columns kept in rescued: {', '.join(unknown[:20])}"] if unknown else []
