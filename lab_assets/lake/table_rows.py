"""Rows of one version of a table, read after the files that may hold them were held against their digests.

Belongs here: which files a condition leaves, by the statistics in the log. Does not belong here: opening (``opening.py``), digests
(``file_digests.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from lab_assets.contracts.core import TableContract
from lab_assets.lake.changes import file_rows

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

_FEW: Final = 2
"""So many files are hashed sooner than their statistics are looked at."""

Check = Callable[[Sequence[str]], None]
"""Sees that data files are whole, or raises."""


class TableRows:
    """Rows of an open version of a table."""

    def __init__(self, contract: TableContract, table: DeltaTable, check: Check) -> None:
        self.contract = contract
        self.table = table
        self._check = check

    def whole(self) -> pl.LazyFrame:
        """Return all rows, to be read lazily; every file was looked at."""
        self._check(self._paths)
        return self._frame

    def where(self, condition: pl.Expr) -> pl.LazyFrame:
        """Return the rows that a condition holds for, to be read lazily; only files that may hold one are looked at and read."""
        paths = self._paths
        left = paths if len(paths) <= _FEW else self._left(condition)
        self._check(left)
        if len(left) == len(paths):
            return self._frame.filter(condition)
        if not left:
            return self._frame.clear()
        return file_rows(left, pl_schema(polars_schema(self.contract))).filter(condition)

    @cached_property
    def _paths(self) -> list[str]:
        return [uri.removeprefix("file://") for uri in self.table.file_uris()]

    @cached_property
    def _frame(self) -> pl.LazyFrame:
        return rows_in(self.contract, self.table)

    def _left(self, condition: pl.Expr) -> list[str]:
        """Return the files that may hold rows for which a condition holds; all of them where that cannot be seen."""
        import polars as pl

        skips = getattr(condition, "_skip_batch_predicate", None)  # polars' own rule for row groups, which it has no public name for
        rule = None if skips is None else skips(polars_schema(self.contract))
        if rule is None or "://" in (self._paths or [""])[0]:
            return self._paths
        may = self._statistics(condition.meta.root_names()).select(pl.col("file"), rule.fill_null(value=False).alias("skipped"))
        gone = set(may.filter("skipped")["file"])
        return [path for path in self._paths if path not in gone]

    def _statistics(self, columns: Sequence[str]) -> pl.DataFrame:
        """Return what the log states of each file, by the names that polars' rule uses; what it does not state is empty."""
        import polars as pl

        actions, kinds = self._actions, polars_schema(self.contract)
        wanted = [pl.col("file"), pl.col("num_records").cast(pl.UInt32).alias("len")]
        for name in dict.fromkeys(columns):
            kind = kinds[name]
            for stated, given in (("min", f"{name}_min"), ("max", f"{name}_max")):
                held = pl.col(f"{stated}.{name}").cast(kind) if f"{stated}.{name}" in actions.columns else pl.lit(None, kind)
                # the log may round times down to milliseconds
                held = held + timedelta(milliseconds=1) if stated == "max" and isinstance(kind, pl.Datetime) else held
                wanted.append(held.alias(given))
            nulls = f"null_count.{name}"
            wanted.append((pl.col(nulls).cast(pl.UInt32) if nulls in actions.columns else pl.lit(None, pl.UInt32)).alias(f"{name}_nc"))
        return actions.select(wanted)

    @cached_property
    def _actions(self) -> pl.DataFrame:
        import polars as pl
        import pyarrow as pa

        actions = pl.DataFrame(pl.from_arrow(pa.table(self.table.get_add_actions(flatten=True))))
        places = [place_of(self.table, path) for path in actions["path"]]
        return actions.with_columns(pl.Series("file", places, dtype=pl.String))


def rows_in(contract: TableContract, table: DeltaTable) -> pl.LazyFrame:
    """Return the rows of an open table, to be read lazily; columns that it was written without are empty."""
    import polars as pl

    rows = pl.scan_delta(table)
    written, schema = rows.collect_schema(), polars_schema(contract)
    if missing := [column.name for column in contract.columns if column.name not in written]:
        rows = rows.with_columns(pl.lit(None, schema[name]).alias(name) for name in missing)
    return rows


def place_of(table: DeltaTable, path: Any) -> str:
    """Return where a data file of a table lies."""
    return f"{str(table.table_uri).removeprefix('file://').rstrip('/')}/{unquote(path)}"


def pl_schema(kinds: dict[str, Any]) -> pl.Schema:
    """Return types by name as polars' schema."""
    import polars as pl

    return pl.Schema(kinds)


@cache
def polars_schema(contract: TableContract) -> dict[str, Any]:
    """Return the types of a contract's columns as polars has them."""
    import polars as pl

    return dict(pl.DataFrame(pl.from_arrow(contract.arrow_schema().empty_table())).schema)
