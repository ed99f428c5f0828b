"""Logs of stability chambers: delimited text with a time, a temperature and a relative humidity.

Belongs here: the many names and units of these columns in English and German, one zone for the file, the hour that happens twice.
Units stand behind the names (``Temp (°C)``, ``RH [%]``, ``temperature_c``) or in directives (``# temperature unit: °C``). A unit other than
degrees Celsius and per cent refuses the file: nothing is converted silently. Does not belong here: excursions and averages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, UnreadableFileError
from lab_assets.sources.contract_table import refuse_cut_row
from lab_assets.sources.decoding import is_secret
from lab_assets.sources.delimited import DelimitedTable, Header, normalise, peek_header, read_table, split_unit
from lab_assets.sources.moments import Moment, MomentError, known_zone, parse_moment
from lab_assets.sources.quantities import NumberError, parse_number

_TABLE: Final = "chamber_readings"
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
    """Positions of the meaningful columns by contract name (or ``date``, ``clock``, ``time``), and their units."""

    at: dict[str, int]
    units: dict[str, str | None]


class ChamberCsvReader:
    """Reader of chamber logs."""

    format: str = "chamber_csv"
    tables: tuple[str, ...] = (_TABLE,)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: a time column, a temperature column and no more than a log has."""
        del name
        header = peek_header(head)
        if header is None or len(header.names) < 2:
            return 0
        at = _columns(header).at
        if not ("temperature_c" in at and ("time" in at or "date" in at)):
            return 0
        return 92 if "humidity_pct" in at or "chamber" in header.directives else 75

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one log of one or more chambers.

        Raises:
            UnreadableFileError: ``missing_column``, ``unit_changed``, ``unit_missing``, ``truncated`` or a rule of the text itself.
        """
        table = read_table(data)
        columns = _columns(table.header)
        _check(table.header, columns)
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
                row["rescued"] = {name: value for index, name in others if (value := fields[index].strip())}
            except (NumberError, MomentError) as error:
                refuse_cut_row(line, table)
                raw = {name: value for name, value in zip(table.header.names, fields, strict=True) if not is_secret(name)}
                rejected.append(RejectedRow(table=_TABLE, source_row=line, rule=error.rule, reason=str(error), row=raw))
            else:
                rows.append({**row, "zone_known": row["zone_known"] or zone_known, "source_row": line})
        _check_fraction(rows, columns)
        return ReadResult(format=self.format, tables={_TABLE: rows}, rejected=rejected)


def _columns(header: Header) -> _Columns:
    """Find the columns by name, case and unit put aside."""
    at: dict[str, int] = {}
    units: dict[str, str | None] = {}
    for index, written in enumerate(header.names):
        plain, unit = split_unit(written)
        name = normalise(plain.replace("%", " ").replace("°", " "))
        base, _, suffix = name.rpartition("_")
        if unit is None and base and suffix in _SUFFIXES:
            name, unit = base, _SUFFIXES[suffix]
        elif unit is None and "%" in written:
            unit = "%"
        meaning = next((meaning for meaning, pattern in _PATTERNS if pattern.fullmatch(name)), None)
        if meaning is not None and meaning not in at:
            at[meaning] = index
            units[meaning] = unit
    if "date" in at and "time" in at:
        at.setdefault("clock", at.pop("time"))
        units.setdefault("clock", units.pop("time"))
    return _Columns(at=at, units=units)


def _check(header: Header, columns: _Columns) -> None:
    """Refuse a log without time, temperature or chamber, or in units that are not agreed."""
    if not ("time" in columns.at or "date" in columns.at) or "temperature_c" not in columns.at:
        raise UnreadableFileError("missing_column", f"a time and a temperature are needed, found {', '.join(header.names[:8])}", "header")
    if "chamber_id" not in columns.at and not header.directives.get("chamber"):
        raise UnreadableFileError("missing_column", "no chamber column and no '# chamber: NAME' line", "header")
    for column in ("temperature_c", "set_temperature_c", "humidity_pct", "set_humidity_pct"):
        if column not in columns.at:
            continue
        quantity = "temperature" if "temperature" in column else "humidity"
        unit = columns.units[column] or header.directives.get(f"{quantity} unit") or header.directives.get(f"{quantity}_unit")
        if unit is None and quantity == "temperature":
            raise UnreadableFileError(
                "unit_missing", f"column {header.names[columns.at[column]]!r} states no unit; write it as Temp (°C)", "header"
            )
        if unit is not None and unit.casefold() not in (_CELSIUS if quantity == "temperature" else _PERCENT):
            agreed = "°C" if quantity == "temperature" else "%"
            raise UnreadableFileError("unit_changed", f"{quantity} in {unit!r}, agreed is {agreed}; nothing is converted", "header")


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
    chamber = fields[at["chamber_id"]].strip() if "chamber_id" in at else table.header.directives["chamber"]
    if not chamber:
        raise NumberError("missing_value", "the chamber is empty")
    parts = [fields[at[name]].strip() for name in ("date", "clock", "time") if name in at]
    text = " ".join(part for part in parts if part)
    moment = _moment(text, table, zone, previous.get(chamber))
    row: Row = {"chamber_id": chamber, "read_at_text": text, "read_at_utc": moment.utc, "zone_known": moment.zone_known}
    for column in ("temperature_c", "humidity_pct", "set_temperature_c", "set_humidity_pct"):
        value = fields[at[column]].strip() if column in at else ""
        row[column] = parse_number(value, table.decimal) if value else None
    previous[chamber] = moment.utc
    return row


def _moment(text: str, table: DelimitedTable, zone: str, previous: datetime | None) -> Moment:
    """Read a time; in the hour that happens twice the order of the readings tells which one is meant."""
    moment = parse_moment(text, zone=zone, order=table.order)
    if moment.repeated and previous is not None and moment.utc <= previous:
        return parse_moment(text, zone=zone, order=table.order, later=True)
    return moment


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
