"""A freezer's logger: its file, and how its columns are described."""

from __future__ import annotations

from lab_assets.sources.core.loggers import LoggerDescription
from lab_assets.sources.tables.logger_description import parse_description

FREEZER = """
name: frostguard
instrument: FrostGuard 2
match: {columns: [Datum, Sonde 1]}
header_starts_with: "Datum;"
separator: ";"
decimal: ","
zone: Europe/Berlin
time: {columns: [Datum, Uhrzeit]}
logger: {line: Seriennummer}
missing: ["---"]
columns:
  Sonde 1: {quantity: temperature_1, unit: degC}
  Sonde 2 (°C): {quantity: temperature_2, unit: degC}
"""
FILE = (
    "FrostGuard Export\nSeriennummer: FG-0042\nPasswort: hunter2\n\n"
    "Datum;Uhrzeit;Sonde 1 (°C);Sonde 2 (°C);Tür\n"
    "26.10.2025;01:30:00;-20,1;-19,8;zu\n"
    "26.10.2025;02:00:00;-20,0;---;zu\n"
    "26.10.2025;02:00:00;-20,2;;auf\n"
)


def described(text: str) -> LoggerDescription:
    return parse_description(text, "logger.yaml")
