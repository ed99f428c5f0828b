# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownParameterType=false, reportUnknownArgumentType=false
# (pyarrow has no types, pandera has them in part)
"""The vocabulary of contracts: what a table promises, as plain data.

Belongs here: the dataclass and its short ways to ``formats``, which compiles it. Does not belong here: any particular table (one
file per layer beside this one), reading or writing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from lab_assets.contracts.columns import SENSITIVITY_TAGS, Column
from lab_assets.contracts.formats.pandera_schema import pandera_schema
from lab_assets.contracts.formats.types import KINDS, Kind, arrow_type, polars_type, spark_type

if TYPE_CHECKING:
    import pandera.pandas as pandera
    import polars as pl
    import pyarrow as pa

__all__ = ["SENSITIVITY_TAGS", "SPARK_TYPES", "Column", "Kind", "Layer", "TableContract"]

Layer = Literal["bronze", "silver", "gold", "features", "ml", "governance"]

SPARK_TYPES: Final[dict[str, str]] = {kind: spark_type(kind) for kind in KINDS}


@dataclass(frozen=True, kw_only=True)
class TableContract:
    """One table: grain, key, owner and columns.

    Attributes:
        layer: Medallion or service layer; also the schema name in SQL.
        name: Table name.
        grain: What one row is.
        description: What the table is for, for people.
        owner: Team that answers for it, as ``team:<name>``.
        columns: In storage order.
        primary_key: Columns that together are unique; empty where rows may repeat.
        version: Raised with each change of the contract.
        ordered: Pairs of columns of which the first is not above the second, where a row states both.
        rejects: What a row that breaks a rule takes with it: only itself (``row``) or its whole file (``file``).
    """

    layer: Layer
    name: str
    grain: str
    description: str
    owner: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    version: int = 1
    ordered: tuple[tuple[str, str], ...] = ()
    rejects: Literal["file", "row"] = "file"
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False, hash=False, default_factory=dict[str, Column])

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if duplicates := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self.full_name}: duplicate column(s) {sorted(duplicates)}")
        if missing := set(self.primary_key) - set(names):
            raise ValueError(f"{self.full_name}: key column(s) {sorted(missing)} are not columns")
        if missing := {name for pair in self.ordered for name in pair} - set(names):
            raise ValueError(f"{self.full_name}: ordered column(s) {sorted(missing)} are not columns")
        self._by_name.update(zip(names, self.columns, strict=True))

    @property
    def full_name(self) -> str:
        """Name in SQL, ``layer.table``."""
        return f"{self.layer}.{self.name}"

    @property
    def key(self) -> tuple[str, str]:
        """Asset key parts, ``(layer, table)``."""
        return (self.layer, self.name)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Column names in storage order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return one column.

        Raises:
            KeyError: the table has no such column.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise KeyError(f"{self.full_name} has no column {name!r}") from None

    def tagged_columns(self) -> dict[str, tuple[str, ...]]:
        """Return the sensitivity tags of each tagged column."""
        return {column.name: column.tags for column in self.columns if column.tags}

    def spark_ddl(self) -> str:
        """Compile to a Spark DDL schema string, in storage order."""
        return ", ".join(f"`{column.name}` {spark_type(column.kind)}" for column in self.columns)

    def arrow_schema(self) -> pa.Schema:
        """Compile to an Arrow schema; timestamps are microseconds in UTC."""
        import pyarrow as pa

        return pa.schema([pa.field(column.name, arrow_type(column.kind)) for column in self.columns])

    def polars_schema(self) -> pl.Schema:
        """Compile to a polars schema; timestamps are microseconds in UTC."""
        import polars as pl

        return pl.Schema({column.name: polars_type(column.kind) for column in self.columns})

    def to_pandera(self) -> pandera.DataFrameSchema:
        """Compile to a strict pandera schema of this table's scalar rules.

        Uniqueness and rules across tables are not in it: they need the whole table.
        """
        return pandera_schema(self.full_name, self.columns)
