"""The columns of a file against those of a contract: renames, unknown and missing columns, changed units.

Belongs here: which column of a file is which of the contract, and what is reported of the differences. Does not belong here: the values
(``contract_table.py``), other names (``synonyms.py``), who accepts a rename.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lab_assets.contracts.bronze import PROVENANCE
from lab_assets.contracts.core import Column, TableContract
from lab_assets.sources.core.decoding import is_secret
from lab_assets.sources.core.delimited import Header, normalise
from lab_assets.sources.core.read_result import SchemaEvent, UnreadableFileError
from lab_assets.sources.core.reader import ReadContext
from lab_assets.sources.core.synonyms import base_and_unit, propose

_NOT_IN_FILES: Final = frozenset({column.name for column in PROVENANCE} | {"rescued"})
_HINT: Final = "'lab schema list' shows the proposal, 'lab schema accept' makes it count"
EventKind = Literal["unknown_column", "renamed_column", "missing_column", "unit_changed"]


@dataclass(frozen=True, kw_only=True)
class FittedColumns:
    """The columns of one file.

    Attributes:
        names: For each column of the file the contract's name, or its own, normalised, where the contract has none.
        events: Differences, in the order unknown, renamed, missing.
        warnings: What people should know of them.
    """

    names: tuple[str, ...]
    events: tuple[SchemaEvent, ...]
    warnings: tuple[str, ...]


def file_columns(contract: TableContract) -> tuple[Column, ...]:
    """Return the columns a file may bring: all but provenance and ``rescued``."""
    return tuple(column for column in contract.columns if column.name not in _NOT_IN_FILES)


def event(kind: EventKind, table: str, column: str, header: Header, proposed: str | None = None) -> SchemaEvent:
    """Return one difference, with the instrument and software that the file states."""
    return SchemaEvent(kind=kind, table=table, column=column, proposed=proposed, instrument=header.instrument, software=header.software)


def apply_renames(names: Sequence[str], known: Iterable[str], renames: Mapping[str, str]) -> tuple[str, ...]:
    """Return normalised names with the accepted ones replaced; a name the contract has is never another one's.

    Args:
        names: Normalised names as the file writes them.
        known: Names of the contract.
        renames: Accepted: normalised name to contract column.
    """
    own = set(known)
    return tuple(renames[name] if name not in own and renames.get(name) in own else name for name in names)


def fit_columns(header: Header, contract: TableContract, context: ReadContext) -> FittedColumns:
    """Find out which column of a file is which of a contract.

    Args:
        header: Directives and column names.
        contract: The table the file is read into.
        context: Accepted renames, and whether unknown columns are let pass.

    Returns:
        Names and differences.

    Raises:
        UnreadableFileError: ``duplicate_column``, ``unit_changed``, ``missing_column`` or, when strict, ``unknown_column``.
    """
    columns = {column.name: column for column in file_columns(contract)}
    written = tuple(normalise(name) for name in header.names)
    _refuse_changed_units(header, contract, written, columns)
    names = apply_renames(written, columns, context.renames.get(contract.name, {}))
    refuse_renamed_units(header, contract.name, written, names)
    refuse_duplicates(header, names)
    accepted = [event("renamed_column", contract.name, old, header, new) for old, new in zip(written, names, strict=True) if old != new]
    missing = [name for name in columns if name not in names]
    unknown = [name for name in names if name not in columns]
    required = [name for name in missing if not columns[name].nullable]
    unexpected = unknown_events(contract.name, unknown, header)
    proposals = proposal_events(contract.name, unknown, missing, header)
    absent = [event("missing_column", contract.name, name, header) for name in required]
    events = (*unexpected, *accepted, *proposals, *absent)
    if required:
        raise UnreadableFileError(
            "missing_column", missing_reason(contract.name, required, unknown, proposals), f"line {header.line}", events
        )
    refuse_unknown(unknown, header, context, events)
    as_written = [shown for shown, name in zip(header.names, names, strict=True) if name in unknown and not is_secret(shown)]
    warnings = [f"columns kept in rescued: {', '.join(as_written[:20])}"] if as_written else []
    return FittedColumns(names=names, events=events, warnings=(*warnings, *map(_likely, proposals)))


def refuse_renamed_units(header: Header, table: str, written: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a rename that was accepted for a column in another unit than the contract's.

    Raises:
        UnreadableFileError: ``unit_changed``.
    """
    for old, new in zip(written, names, strict=True):
        unit = base_and_unit(old)[1]
        if old != new and unit is not None and unit != base_and_unit(new)[1]:
            changed = event("unit_changed", table, old, header, new)
            raise UnreadableFileError(
                "unit_changed",
                f"column {old!r} is accepted as {new!r}, but in another unit; nothing is converted",
                f"line {header.line}",
                [changed],
            )


def refuse_duplicates(header: Header, names: Sequence[str]) -> None:
    """Refuse a file in which one column is there twice, be it under two names.

    Args:
        header: Column names as written.
        names: The same columns, normalised and with accepted renames.

    Raises:
        UnreadableFileError: ``duplicate_column``.
    """
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        both = " and ".join(repr(shown) for shown, name in zip(header.names, names, strict=True) if name == twice)
        raise UnreadableFileError("duplicate_column", f"column {twice!r} is there twice: {both}", f"line {header.line}")


def refuse_unknown(unknown: Sequence[str], header: Header, context: ReadContext, events: Sequence[SchemaEvent]) -> None:
    """Refuse unknown columns where the laboratory wants that.

    Raises:
        UnreadableFileError: ``unknown_column``.
    """
    if context.strict and unknown:
        shown = ", ".join(unknown[:6])
        raise UnreadableFileError("unknown_column", f"no contract names {shown}; remove it from the export", f"line {header.line}", events)


def unknown_events(table: str, unknown: Sequence[str], header: Header) -> list[SchemaEvent]:
    """Return one event for each column that the contract does not name, credentials left out."""
    return [event("unknown_column", table, name, header) for name in unknown if not is_secret(name)]


def proposal_events(table: str, unknown: Sequence[str], missing: Sequence[str], header: Header) -> list[SchemaEvent]:
    """Return what unknown columns may be: a missing one under another name, or in another unit.

    Args:
        table: Bronze table.
        unknown: Normalised names of the file that the contract lacks.
        missing: Columns of the contract that the file lacks.
        header: Of the file.
    """
    found = [(name, propose(name, missing)) for name in unknown if not is_secret(name)]
    return [
        event("unit_changed" if proposal.reason == "unit" else "renamed_column", table, name, header, proposal.column)
        for name, proposal in found
        if proposal is not None
    ]


def _refuse_changed_units(header: Header, contract: TableContract, names: Sequence[str], columns: Mapping[str, Column]) -> None:
    """Refuse a column of the contract that comes in another unit: ``weight_g`` where ``weight_mg`` is agreed."""
    for name in sorted(set(names) - columns.keys()):
        base, unit = base_and_unit(name)
        agreed = {base_and_unit(other): other for other in columns if other not in names}
        twin = next((other for (own, its_unit), other in agreed.items() if own == base and its_unit and its_unit != unit), None)
        if unit is not None and twin is not None:
            changed = event("unit_changed", contract.name, name, header, twin)
            raise UnreadableFileError(
                "unit_changed", f"column {name!r} where {twin!r} is agreed; nothing is converted", f"line {header.line}", [changed]
            )


def missing_reason(table: str, required: Sequence[str], unknown: Sequence[str], proposals: Sequence[SchemaEvent]) -> str:
    """Return why a file without its required columns is refused, and which of its columns may be one of them."""
    reason = f"{table} needs {', '.join(required)}"
    likely = [f"{found.column} may be {found.proposed}" for found in proposals if found.kind == "renamed_column"]
    if likely:
        return f"{reason}; {', '.join(likely[:6])}: {_HINT}"
    others = [name for name in unknown if not is_secret(name)]
    return f"{reason}; unknown here: {', '.join(sorted(others)[:6])}" if others else reason


def _likely(found: SchemaEvent) -> str:
    if found.kind == "unit_changed":
        return f"column {found.column} may be {found.proposed} in another unit; nothing is converted"
    return f"column {found.column} may be {found.proposed}: {_HINT}"
