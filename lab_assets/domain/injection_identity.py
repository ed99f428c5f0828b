"""Injections recognised in bronze: their identity, and which of several rows of one trace counts.

Belongs here: identity. Does not belong here: context (``injections.py``), what is computed from traces.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import polars as pl

PARTS: Final = ("source", "instrument_name", "injection_name", "injected_at_text")
"""Columns of ``bronze.chromatograms`` that tell an injection from every other."""


def injection_id(source: str | None, instrument_name: str | None, injection_name: str | None, injected_at_text: str | None) -> str:
    """Return the identity of an injection.

    Sixteen hex digits of the SHA-256 of source, instrument, name and time text: the same export read twice is the same
    injection, the same name on another instrument or day is not.
    """
    parts = (source, instrument_name, injection_name, injected_at_text)
    return "inj_" + hashlib.sha256("|".join(part or "" for part in parts).encode()).hexdigest()[:16]


def newest_of_channels(traces: pl.DataFrame) -> pl.DataFrame:
    """Add ``injection_id`` and keep, of each injection and channel, the row of the newest file.

    Args:
        traces: Rows of ``bronze.chromatograms`` with the columns of ``PARTS``, ``channel``, ``ingest_batch``, ``source_sha256`` and
            ``source_row``.
    """
    import polars as pl

    identities = pl.Series("injection_id", [injection_id(*parts) for parts in traces.select(PARTS).iter_rows()], dtype=pl.String)
    ordered = traces.with_columns(identities).sort("ingest_batch", "source_sha256", "source_row")
    return ordered.unique(["injection_id", "channel"], keep="last", maintain_order=True)
