"""Injections recognised in files: their identity, and which of several traces of one channel counts.

Belongs here: identity. Does not belong here: context, what is computed from traces.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from lab_assets.domain.in_force import in_order

if TYPE_CHECKING:
    import polars as pl

PARTS: Final = ("source", "instrument_name", "injection_name", "injected_at_text")
"""Columns of ``bronze.chromatograms`` that identify an injection."""


def injection_id(source: str | None, instrument_name: str | None, injection_name: str | None, injected_at_text: str | None) -> str:
    """Return the identity of an injection.

    Sixteen hex digits of the SHA-256 of source, instrument, name and time text: the same export read twice is the same
    injection, the same name on another instrument or day is not.
    """
    parts = (source, instrument_name, injection_name, injected_at_text)
    return "inj_" + hashlib.sha256("|".join(part or "" for part in parts).encode()).hexdigest()[:16]


def with_identity(traces: pl.DataFrame) -> pl.DataFrame:
    """Add ``injection_id`` to rows with the columns of ``PARTS``."""
    import polars as pl

    return traces.with_columns(
        pl.Series("injection_id", [injection_id(*parts) for parts in traces.select(PARTS).iter_rows()], dtype=pl.String)
    )


def newest_of_channels(traces: pl.DataFrame) -> pl.DataFrame:
    """Add ``injection_id`` and keep, of each injection and channel, one row: that of the last file by ``in_force.RECENCY``.

    Args:
        traces: Rows of ``bronze.chromatograms`` with the columns of ``PARTS`` and of ``in_force.RECENCY``, and ``channel``.
    """
    return in_order(with_identity(traces)).unique(["injection_id", "channel"], keep="last", maintain_order=True)
