"""Acceptance limits in force.

Belongs here: choosing limits by product, method and analyte. Does not belong here: judging by them (``oos.py``).

A limit is in force from its effective time on, and known from the time it was recorded; see ``in_force.py``. A version that states no
limit withdraws the test.

Product, method and analyte identify a limit. The number of its specification does not: one specification holds the limits of many tests,
and keeps its number through their versions. So a row of a limit for another product corrects nothing; a limit that was recorded for the
wrong product is withdrawn there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from lab_assets.domain.in_force import Facts, Row

LIMIT_COLUMNS: Final = ("product", "method_id", "analyte", "spec_low", "spec_high", "unit", "effective_from_utc", "recorded_at_utc")
"""Columns of ``bronze.specifications`` that this module reads, beside those of ``in_force.RECENCY``."""


class Specifications:
    """Every version of every limit."""

    def __init__(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        self._facts = Facts.of_rows(rows, ("product", "method_id", "analyte"), effective="effective_from_utc", known="recorded_at_utc")
        self._tests: dict[str, dict[tuple[str, str], None]] = {}
        for row in rows:
            self._tests.setdefault(row["product"], {})[(row["method_id"], row["analyte"])] = None

    def limit(
        self, product: str | None, method_id: str | None, analyte: str, *, at: datetime | None, known_by: datetime | None = None
    ) -> Row | None:
        """Return the limit in force at a moment; the latest one where the moment is unknown, ``None`` where there is none."""
        return self._facts.row((product or "", method_id or "", analyte), at=at, known_by=known_by)

    def limits_of_method(
        self, product: str | None, method_id: str, *, at: datetime | None, known_by: datetime | None = None
    ) -> dict[str, Row]:
        """Return the limits in force of one method by analyte, sorted by analyte."""
        found: dict[str, Row] = {}
        for method, analyte in sorted(self._tests.get(product or "", ())):
            if method == method_id and (row := self.limit(product, method, analyte, at=at, known_by=known_by)) is not None:
                found[analyte] = row
        return found

    def limits_of_lot(self, product: str | None, manufactured_at_utc: datetime | None) -> list[Row]:
        """Return the limits a lot is held to: of each method and analyte the version in force at manufacture.

        Where no limit of the product was in force yet (or the time of manufacture is unknown), the first version of each counts: a lot is
        never released against nothing.
        """
        tests = sorted(self._tests.get(product or "", ()))
        chosen = [] if manufactured_at_utc is None else [self.limit(product, *test, at=manufactured_at_utc) for test in tests]
        if not any(row is not None for row in chosen):
            chosen = [self._first(product, *test) for test in tests]
        return [row for row in chosen if row is not None and (row["spec_low"] is not None or row["spec_high"] is not None)]

    def _first(self, product: str | None, method_id: str, analyte: str) -> Row | None:
        key = (product or "", method_id, analyte)
        earliest = min((version.effective for version in self._facts.versions(key)), default=None)
        return None if earliest is None else self._facts.row(key, at=earliest)

    def known_times(self, product: str | None, method_id: str | None) -> set[datetime]:
        """Return when versions of the limits of one product and method became known."""
        times: set[datetime] = set()
        for method, analyte in self._tests.get(product or "", ()):
            if method == method_id:
                times |= self._facts.known_times((product or "", method, analyte))
        return times
