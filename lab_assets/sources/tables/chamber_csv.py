"""Logs of stability chambers: delimited text with a time, a temperature and a relative humidity.

Belongs here: the many names and units of these columns in English and German, one zone for the file, the hour that happens twice.
Units stand behind the names (``Temp (°C)``, ``RH [%]``, ``temperature_c``) or in directives (``# temperature unit: °C``). A unit other than
degrees Celsius and per cent refuses the file: nothing is converted silently. Columns that mean nothing known are kept in ``rescued`` and
reported as drift; an accepted rename makes one count. Does not belong here: excursions and averages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from lab_assets.contracts.bronze import CHAMBER_READINGS
from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, SchemaEvent, UnreadableFileError
from lab_assets.sources.core.cells import CellError, number_of, usable
from lab_assets.sources.core.column_drift import event, missing_reason, proposal_events, refuse_unknown, unknown_events
from lab_assets.sources.core.contract_table import refuse_cut_row, refuse_cut_value
from lab_assets.sources.core.decoding import is_secret
from lab_assets.sources.core.delimited import DelimitedTable, Header, normalise, peek_header, read_table, split_unit
from lab_assets.sources.core.moments import MomentError, known_zone
from lab_assets.sources.core.quantities import NumberError
from lab_assets.sources.core.readings import join_day_and_clock, moment_after

_TABLE: Final = CHAMBER_READINGS.name
_AGREED_UNITS: Final = {"temperature_c": "°C", "set_temperature_c": "°C", "humidity_pct": "%", "set_humidity_pct": "%"}
_RENAMED_TIMES: Final = frozenset({"read_at_text", "read_at_utc"})
_CELSIUS: Final = frozenset({"°c", "ºc", "c", "degc", "deg c", "celsius", "grad c"})
_PERCENT: Final = frozenset({"%", "%rh", "% rh", "%rf", "% rf", "pct", "percent", "% r.h.", "%r.h."})
_PATTERNS: Final = (
    ("set_temperature_c", re.compile(r"(?:set|soll)\w*(?:temp\w*|_t)|temp\w*_(?:set\w*|soll\w*)")),
    ("set_humidity_pct", re.compile(r"(?:set|soll)\w*(?:rh|hum\w*|feuchte|rf)|(?:rh|humidity|feuchte|rf)_(?:set\w*|soll\w*)")),
    ("temperature_c", re.compile(r"(?:actual_|ist_?|chamber_|air_)?(?:temp|temperature|temperatur|t)(?:_ist|_actual)?")),
    ("humidity_pct", re.compile(r"(?:actual_|ist_?)?(?:rh|humidity|relative_humidity|rel_humidity|rel_?_?feuchte|feuchte|rf|luftfeuchte)")),
    ("chamber_id", re.compile(r"chamber|chamber_id|chamber_name|kammer|klimakammer|unit_id")),
    ("date", re.compile(r"date|datum")),
    ("clock", re.compile(r"clock|uhrzeit")),
    (
        "time",
        re.compile(r"time|timestamp|date_?time|date_time_stamp|zeit|zeitstempel|zeitpunkt|read_at|read_at_text|reading_time|logged_at"),
    ),
)
_SUFFIXES: Final = {"c": "°C", "f": "°F", "k": "K", "pct": "%", "percent": "%", "utc": "UTC", "fraction": "fraction"}


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Positions of the meaningful columns by contract name (or ``date``, ``clock``, ``time``), their units, and accepted renames."""

    at: dict[str, int]
    units: dict[str, str | None]
    renamed: dict[str, str]


class ChamberCsvReader:
    """Reader of chamber logs."""

    format: str = "chamber_csv"
    tables: tuple[str, ...] = (_TABLE,)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: a time column, a temperature column and no more than a log has."""
        del name
        header = peek_header(head)
        return 0 if header is None else self.sureness(header)

    def sureness(self, header: Header) -> int:
        """Return how surely a header is of this format, 0 to 100."""
        at = _columns(header).at
        if len(header.names) < 2 or not ("time" in at or "date" in at):
            return 0
        if "temperature_c" not in at:  # so that a log whose temperature has a new name is refused with that reason
            return 50 if "humidity_pct" in at and ("chamber_id" in at or "chamber" in header.directives) else 0
        return 92 if "humidity_pct" in at or "chamber" in header.directives else 75

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one log of one or more chambers.

        Raises:
            UnreadableFileError: ``missing_column``, ``unit_changed``, ``unit_missing``, ``duplicate_column``, ``truncated``, a rule of
                the text itself or, when strict, ``unknown_column``.
        """
        return self.read_table(read_table(data), context)

    def read_table(self, table: DelimitedTable, context: ReadContext) -> ReadResult:
        """Read the rows of one log or sheet.

        Raises:
            UnreadableFileError: the log as a whole is not usable.
        """
        table = replace(table, order=table.order or context.date_order)
        columns = _columns(table.header, context.renames.get(_TABLE, {}))
        events = _check(table.header, columns, context)
        zone, zone_known = _zone(table, columns, context)
        rows: list[Row] = []
        rejected = [
            RejectedRow(
                table=_TABLE, source_row=line, rule="field_count", reason=f"{len(fields)} fields under {len(table.header.names)} names"
            )
            for line, fields in table.ragged
        ]
        others = _others(table.header, columns.at)
        previous: dict[str, datetime] = {}
        for line, fields in table.rows:
            try:
                row = _row(fields, table, columns, zone, previous)
                row["rescued"] = {name: str(value) for index, name in others if (value := fields[index])}
            except (CellError, NumberError, MomentError) as error:
                refuse_cut_row(line, table)
                raw = {name: str(value) for name, value in zip(table.header.names, fields, strict=True) if not is_secret(name)}
                rejected.append(RejectedRow(table=_TABLE, source_row=line, rule=error.rule, reason=str(error), row=raw))
            else:
                rows.append({**row, "zone_known": row["zone_known"] or zone_known, "source_row": line})
        refuse_cut_value(table)
        _check_fraction(rows, columns)
        return ReadResult(format=self.format, tables={_TABLE: rows}, rejected=rejected, events=events)


def _columns(header: Header, renames: Mapping[str, str] | None = None) -> _Columns:
    """Find the columns by name, case and unit put aside; an accepted rename counts before any pattern.

    Raises:
        UnreadableFileError: ``duplicate_column`` when a renamed column is there under its old name as well.
    """
    at: dict[str, int] = {}
    units: dict[str, str | None] = {}
    renamed: dict[str, str] = {}
    targets = [(renames or {}).get(normalise(written)) for written in header.names]
    for index, written in enumerate(header.names):
        name, unit = _name_and_unit(written)
        meaning = next((meaning for meaning, pattern in _PATTERNS if pattern.fullmatch(name)), None)
        target = targets[index]
        if target is not None and (target in CHAMBER_READINGS.column_names or target in _RENAMED_TIMES):
            meaning = "time" if target in _RENAMED_TIMES else target
            unit = unit or _AGREED_UNITS.get(target)  # who accepted the column as that one agreed to its unit
            renamed[normalise(written)] = target
        if meaning is None:
            continue
        if meaning in at and meaning in {"time" if new in _RENAMED_TIMES else new for new in targets}:
            both = f"{header.names[at[meaning]]!r} and {written!r}"
            raise UnreadableFileError("duplicate_column", f"column {meaning!r} is there twice: {both}", f"line {header.line}")
        if meaning not in at:
            at[meaning] = index
            units[meaning] = unit
    if "date" in at and "time" in at:
        at.setdefault("clock", at.pop("time"))
        units.setdefault("clock", units.pop("time"))
    return _Columns(at=at, units=units, renamed=renamed)


def _name_and_unit(written: str) -> tuple[str, str | None]:
    """Return a normalised name without its unit, and the unit where it states one."""
    plain, unit = split_unit(written)
    name = normalise(plain.replace("%", " ").replace("°", " "))
    base, _, suffix = name.rpartition("_")
    if unit is None and base and suffix in _SUFFIXES:
        return base, _SUFFIXES[suffix]
    return name, "%" if unit is None and "%" in written else unit


def _check(header: Header, columns: _Columns, context: ReadContext) -> list[SchemaEvent]:
    """Return how the columns differ from the contract; refuse a log that lacks what it needs, or brings it in other units."""
    at = columns.at
    unknown = [normalise(name) for _, name in _others(header, at)]
    absent = [name for name in ("temperature_c", "humidity_pct", "set_temperature_c", "set_humidity_pct", "chamber_id") if name not in at]
    if header.directives.get("chamber"):
        absent = [name for name in absent if name != "chamber_id"]
    if not ("time" in at or "date" in at):
        absent.append("read_at_text")
    events = unknown_events(_TABLE, unknown, header)
    events += [event("renamed_column", _TABLE, old, header, new) for old, new in columns.renamed.items()]
    events += (proposals := proposal_events(_TABLE, unknown, absent, header))
    if required := [name for name in absent if name in {"temperature_c", "read_at_text", "chamber_id"}]:
        events += [event("missing_column", _TABLE, name, header) for name in required]
        reason = missing_reason("a chamber log", required, unknown, proposals)
        if required == ["chamber_id"]:
            reason += "; or state it as '# chamber: NAME'"
        raise UnreadableFileError("missing_column", reason, "header", events)
    _check_units(header, columns)
    refuse_unknown(unknown, header, context, events)
    return events


def _check_units(header: Header, columns: _Columns) -> None:
    for column in ("temperature_c", "set_temperature_c", "humidity_pct", "set_humidity_pct"):
        if column not in columns.at:
            continue
        quantity = "temperature" if "temperature" in column else "humidity"
        unit = columns.units[column] or header.directives.get(f"{quantity} unit") or header.directives.get(f"{quantity}_unit")
        written = header.names[columns.at[column]]
        if unit is None and quantity == "temperature":
            raise UnreadableFileError("unit_missing", f"column {written!r} states no unit; write it as Temp (°C)", "header")
        if unit is not None and unit.casefold() not in (_CELSIUS if quantity == "temperature" else _PERCENT):
            agreed = "°C" if quantity == "temperature" else "%"
            changed = event("unit_changed", _TABLE, normalise(written), header, column)
            raise UnreadableFileError(
                "unit_changed", f"{quantity} in {unit!r}, agreed is {agreed}; nothing is converted", "header", [changed]
            )


def _zone(table: DelimitedTable, columns: _Columns, context: ReadContext) -> tuple[str, bool]:
    """Return the zone of local times and whether the file states it: a directive, or the unit of the time column."""
    if table.zone:
        return table.zone, True
    for name in ("time", "clock", "date"):
        stated = columns.units.get(name)
        if stated and (zone := known_zone(stated)):
            return zone, True
    return context.zone, False


def _row(fields: list[str], table: DelimitedTable, columns: _Columns, zone: str, previous: dict[str, datetime]) -> Row:
    """Type one reading."""
    at = columns.at
    chamber = usable(fields[at["chamber_id"]]) if "chamber_id" in at else table.header.directives["chamber"]
    if not chamber:
        raise NumberError("missing_value", "the chamber is empty")
    text = join_day_and_clock([usable(fields[at[name]]) for name in ("date", "clock", "time") if name in at])
    moment = moment_after(text, previous.get(chamber), zone=zone, order=table.order)
    row: Row = {"chamber_id": chamber, "read_at_text": text, "read_at_utc": moment.utc, "zone_known": moment.zone_known}
    for column in ("temperature_c", "humidity_pct", "set_temperature_c", "set_humidity_pct"):
        value = fields[at[column]] if column in at else ""
        row[column] = number_of(value, table.decimal) if value else None
    previous[chamber] = moment.utc
    return row


def _others(header: Header, at: Mapping[str, int]) -> list[tuple[int, str]]:
    """Return position and name of the columns that no contract names, credentials left out."""
    taken = set(at.values())
    return [(index, name) for index, name in enumerate(header.names) if index not in taken and not is_secret(name)]


def _check_fraction(rows: list[Row], columns: _Columns) -> None:
    """Refuse humidity without a stated unit that can only be a fraction."""
    values = [row["humidity_pct"] for row in rows if row["humidity_pct"] is not None]
    if values and columns.units.get("humidity_pct") is None and max(values) <= 1.0:
        raise UnreadableFileError(
            "unit_changed", "humidity without a unit is at most 1: a fraction, agreed is %; nothing is converted", "header"
        )
