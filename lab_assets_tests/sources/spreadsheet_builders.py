"""Workbooks made cell by cell."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import openpyxl

LOT_NAMES = ("lot_id", "product", "customer", "batch_size_kg", "recorded_at_utc")
LOT = ("L1", "P1", "Acme", 120.5, datetime(2025, 3, 4, 5, 6, 7))  # noqa: DTZ001 - a workbook has no zones
Rows = Sequence[Sequence[Any]]


def workbook(sheets: Mapping[str, Rows], change: Callable[[Any], None] | None = None) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    if change is not None:
        change(book)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()
