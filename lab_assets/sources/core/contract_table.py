"""Delimited files whose columns carry the names of a contract: recognition, typing, rejects.

Belongs here: what LIMS exports, calibration certificates and processing methods have in common. Does not belong here: ranges and
keys, which the contract's own validation checks, or which column is which when names drift (``column_drift.py``).

Times: an offset written in the value counts; else the zone the file declares; else UTC where the file's own column name says so
(``..._utc``); else the zone of the source, with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from lab_assets.contracts.core import Column, TableContract
from lab_assets.sources.core.cells import CellError, number_of, usable
from lab_assets.sources.core.column_drift import apply_renames, file_columns, fit_columns
from lab_assets.sources.core.decoding import is_secret, looks_cut
from lab_assets.sources.core.delimited import DelimitedTable, Header, normalise
from lab_assets.sources.core.moments import DateOrder, MomentError, parse_moment
from lab_assets.sources.core.quantities import NumberError
from lab_assets.sources.core.read_result import ReadResult, RejectedRow, Row, UnreadableFileError
from lab_assets.sources.core.reader import ReadContext
from lab_assets.sources.core.synonyms import is_synonym

_TRUE_FALSE: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_MOST_COLUMNS: Final = 500
"""Columns beyond these are not asked for synonyms: no LIMS table is that wide."""


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
class FieldRules:
    """Rules by which the fields of one file become values.

    Attributes:
        contract: What the columns promise.
        decimal: Decimal mark.
        order: Order of day and month, if any was declared.
        stated_zones: By column: zone of times without one, where the file says it.
        assumed_zone: Zone of the other columns' times without one.
        assumed_for: Columns in which that zone had to be assumed; added to while rows are typed.
    """

    contract: TableContract
    decimal: str
    order: DateOrder | None
    stated_zones: Mapping[str, str]
    assumed_zone: str
    assumed_for: set[str] = field(default_factory=set[str])

    @property
    def warnings(self) -> list[str]:
        """What people should know of the times that were typed."""
        return [f"times of {name} state no zone; they are read as {self.assumed_zone}" for name in sorted(self.assumed_for)]


@dataclass(frozen=True, kw_only=True)
class Match:
    """How well a header fits a contract.

    Attributes:
        contract: The contract.
        share: Share of its required columns that are there, 0 to 1.
        n_known: Number of its columns that are there.
        by_synonyms: Whether other names of the columns had to be counted.
    """

    contract: TableContract
    share: float
    n_known: int
    by_synonyms: bool = False

    @property
    def sureness(self) -> int:
        """How surely the file is of this contract, 0 to 100; one known by synonyms alone leaves the file to any other reader."""
        return int(20 + 15 * self.share) if self.by_synonyms else int(40 + 50 * self.share)


def best_match(header: Header, contracts: Iterable[TableContract], renames: Mapping[str, Mapping[str, str]] | None = None) -> Match | None:
    """Return the contract a header fits best, or ``None`` when it fits none.

    A header fits when it has at least three columns of the contract and half of the required ones; a ``# table:`` directive decides.
    Where no contract fits by its own names, known other names of its columns are counted as well, so that the refusal of a drifted file
    names what it lacks.

    Args:
        header: Header of a delimited file.
        contracts: Candidates.
        renames: Accepted renames by table.
    """
    candidates = tuple(contracts)
    declared = normalise(header.directives.get("table", ""))
    written = tuple(normalise(name) for name in header.names)
    own = [_match(written, contract, (renames or {}).get(contract.name, {})) for contract in candidates]
    if declared:
        return next((match for match in own if declared in {match.contract.name, match.contract.name.removeprefix("lims_")}), None)
    if found := _best(own):
        return found
    return _best([_synonym_match(written[:_MOST_COLUMNS], contract) for contract in candidates])


def _best(matches: Sequence[Match]) -> Match | None:
    fitting = [match for match in matches if match.share >= 0.5 and match.n_known >= 3]
    return max(fitting, key=lambda match: (match.share, match.n_known), default=None)


def _match(written: Sequence[str], contract: TableContract, renames: Mapping[str, str]) -> Match:
    columns = file_columns(contract)
    return _counted(set(apply_renames(written, [column.name for column in columns], renames)), contract)


def _synonym_match(written: Sequence[str], contract: TableContract) -> Match:
    """Count each column that is there under its own or a known other name; a name counts once."""
    columns = [column.name for column in file_columns(contract)]
    found = set(written) & set(columns)
    for name in written:
        if name not in columns:
            found |= set([column for column in columns if column not in found and is_synonym(name, column)][:1])
    return _counted(found, contract, by_synonyms=True)


def _counted(names: set[str], contract: TableContract, *, by_synonyms: bool = False) -> Match:
    columns = file_columns(contract)
    required = [column.name for column in columns if not column.nullable]
    share = sum(name in names for name in required) / len(required)
    n_known = sum(column.name in names for column in columns)
    return Match(contract=contract, share=share, n_known=n_known, by_synonyms=by_synonyms)


def read_contract_table(table: DelimitedTable, context: ReadContext, *, format_name: str, contracts: Sequence[TableContract]) -> ReadResult:
    """Read a table into the contract its header fits.

    Args:
        table: Rows of a delimited file or of one sheet.
        context: What is known besides the bytes.
        format_name: Name of the format, for the result.
        contracts: Candidates.

    Returns:
        Rows, rejects and schema events of one table.

    Raises:
        UnreadableFileError: ``missing_column``, ``duplicate_column``, ``unit_changed``, ``truncated``, ``unknown_format`` or, when
            strict, ``unknown_column``.
    """
    match = best_match(table.header, contracts, context.renames)
    if match is None:
        raise UnreadableFileError("unknown_format", f"columns {', '.join(table.header.names[:8])} fit no contract")
    contract = match.contract
    fitted = fit_columns(table.header, contract, context)
    rules = field_rules(table, fitted.names, contract, context)
    rows: list[Row] = []
    rejected = [_ragged(line, fields, table, contract) for line, fields in table.ragged]
    for line, fields in table.rows:
        raw = dict(zip(fitted.names, fields, strict=True))
        try:
            rows.append({**contract_row(raw, rules), "source_row": line})
        except FieldError as error:
            refuse_cut_row(line, table)
            rejected.append(
                RejectedRow(table=contract.name, source_row=line, rule=error.rule, reason=str(error), column=error.column, row=visible(raw))
            )
    refuse_cut_value(table)
    warnings = [*fitted.warnings, *rules.warnings]
    return ReadResult(format=format_name, tables={contract.name: rows}, rejected=rejected, warnings=warnings, events=list(fitted.events))


def field_rules(table: DelimitedTable, names: Sequence[str], contract: TableContract, context: ReadContext) -> FieldRules:
    """Return the rules by which the fields of a file become values.

    Args:
        table: The file, for what it declares.
        names: The contract's name of each of its columns.
        contract: What the columns promise.
        context: What is declared for its source.
    """
    written = dict(zip(names, map(normalise, table.header.names), strict=False))
    columns = [column.name for column in file_columns(contract)]
    in_utc = {name: "UTC" for name in columns if written.get(name, name).endswith("utc")}
    return FieldRules(
        contract=contract,
        decimal=table.decimal,
        order=table.order or context.date_order,
        stated_zones=dict.fromkeys(columns, table.zone) if table.zone else in_utc,
        assumed_zone=context.zone,
    )


def contract_row(raw: Mapping[str, str], rules: FieldRules) -> Row:
    """Type one row.

    Args:
        raw: Text by normalised column name.
        rules: By which its fields become values.

    Returns:
        Values by column, with what the contract does not name in ``rescued``.

    Raises:
        FieldError: the first field that breaks a rule.
    """
    columns = {column.name: column for column in file_columns(rules.contract)}
    row: Row = {name: _value(raw.get(name, ""), column, rules) for name, column in columns.items()}
    row["rescued"] = {name: str(value) for name, value in raw.items() if name not in columns and value and not is_secret(name)}
    return row


def _value(written: str, column: Column, rules: FieldRules) -> object:
    """Type one field."""
    if not written:
        if not column.nullable:
            raise FieldError("missing_value", column.name, f"{column.name} is empty")
        return None
    try:
        if column.kind == "float64":
            return number_of(written, rules.decimal)
        text = usable(written)
        if column.kind == "timestamp_utc":
            return _instant(text, column.name, rules)
    except (CellError, NumberError, MomentError) as error:
        raise FieldError(error.rule, column.name, f"{column.name}: {error}") from error
    if column.allowed and text not in column.allowed:
        raise FieldError("vocabulary", column.name, f"{column.name} is {text[:40]!r}, not one of {', '.join(column.allowed)}")
    if column.kind == "int64":
        if not _WHOLE.fullmatch(text):
            raise FieldError("not_a_number", column.name, f"{column.name}: {text[:40]!r} is not a whole number")
        return int(text)
    if column.kind == "bool":
        if text.casefold() not in _TRUE_FALSE:
            raise FieldError("vocabulary", column.name, f"{column.name}: {text[:40]!r} is neither true nor false")
        return _TRUE_FALSE[text.casefold()]
    return text


def _instant(text: str, column: str, rules: FieldRules) -> datetime:
    stated = rules.stated_zones.get(column)
    moment = parse_moment(text, zone=stated or rules.assumed_zone, order=rules.order)
    if not stated and not moment.zone_known:
        rules.assumed_for.add(column)
    return moment.utc


def visible(raw: Mapping[str, str]) -> dict[str, str]:
    """Return a row as read without fields that may hold credentials."""
    return {name: str(value) for name, value in raw.items() if not is_secret(name)}


def refuse_cut_row(line: int, table: DelimitedTable) -> None:
    """Refuse the file when a bad row is its last and has no line end: the row was cut.

    Raises:
        UnreadableFileError: ``truncated``.
    """
    if not table.last_line_ended and line == table.rows[-1][0]:
        raise UnreadableFileError("truncated", "the last line is cut; transfer the file again", f"line {line}")


def refuse_cut_value(table: DelimitedTable) -> None:
    """Refuse the file when its last field, without line end, lost digits against the fields above it.

    Raises:
        UnreadableFileError: ``truncated``.
    """
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
