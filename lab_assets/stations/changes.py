"""Writing only what differs.

Belongs here: comparing a computed frame with what a table holds. Does not belong here: computing it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from lab_assets.contracts.core import TableContract
from lab_assets.lake.lakehouse import Lakehouse

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

AT_ONCE: Final = 5000
"""Injections worked on between two commits: what Spark computed for them fits into this process."""


def portions(items: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield items ``AT_ONCE`` at a time, in order."""
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def upsert_changes(lake: Lakehouse, contract: TableContract, frame: pl.DataFrame) -> int:
    """Append rows with new keys; merge when rows with known keys have other values; do nothing when nothing differs.

    Rows are computed in this process; they are as many as the news touches, not as many as the table holds.

    Args:
        lake: Tables.
        contract: Table with a primary key, whose columns are scalars.
        frame: Rows with the contract's columns, one a key.

    Returns:
        Version of the table afterwards.
    """
    key = list(contract.primary_key)
    computed = frame.select(_typed(contract))
    standing = lake.polars(contract, list(contract.column_names)).select(_typed(contract))
    unchanged = standing.join(computed, on=list(contract.column_names), how="semi", nulls_equal=True)
    news = computed.join(unchanged.select(key), on=key, how="anti", nulls_equal=True)
    if news.height == 0:
        return lake.version(contract)
    known = news.join(standing.select(key), on=key, how="semi", nulls_equal=True)
    rows = news.to_arrow()
    return lake.append(contract, rows) if known.height == 0 else lake.merge(contract, rows)


def put_of_injections(lake: Lakehouse, contract: TableContract, rows: pa.Table, injection_ids: Sequence[str]) -> int:
    """Write what was computed for some injections; what they had before is replaced in the same commit.

    Args:
        lake: Tables.
        contract: Table with an ``injection_id``.
        rows: Its rows, of no other injections.
        injection_ids: The injections.

    Returns:
        Version of the table afterwards.
    """
    import polars as pl

    known = lake.polars(contract, ["injection_id"], where=pl.col("injection_id").is_in(injection_ids))
    return lake.append(contract, rows) if known.is_empty() else lake.merge(contract, rows, within=("injection_id", injection_ids))


def _typed(contract: TableContract) -> list[pl.Expr]:
    """Return the contract's columns in its types; numbers are rounded to nothing, times to microseconds."""
    import polars as pl

    return [pl.col(name).cast(dtype) for name, dtype in contract.polars_schema().items()]
