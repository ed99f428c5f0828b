# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# (pyarrow has no types, pandera and pandas have them in part)
"""The vocabulary of contracts: what a column and a table promise, as plain data.

Belongs here: the dataclasses and their compilation to a Spark DDL string, an Arrow schema and a pandera schema.
Does not belong here: any particular table (one file per layer beside this one), reading or writing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import pandera.pandas as pandera
    import pyarrow as pa

Kind = Literal[
    "string",
    "int64",
    "float64",
    "bool",
    "timestamp_utc",
    "date",
    "binary",
    "array<float64>",
    "array<string>",
    "map<string,string>",
    "map<string,float64>",
    "map<string,int64>",
]
Layer = Literal["bronze", "silver", "gold", "features", "ml", "governance"]

SPARK_TYPES: Final[dict[str, str]] = {
    "string": "STRING",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp_utc": "TIMESTAMP",
    "date": "DATE",
    "binary": "BINARY",
    "array<float64>": "ARRAY<DOUBLE>",
    "array<string>": "ARRAY<STRING>",
    "map<string,string>": "MAP<STRING,STRING>",
    "map<string,float64>": "MAP<STRING,DOUBLE>",
    "map<string,int64>": "MAP<STRING,BIGINT>",
}

SENSITIVITY_TAGS: Final[frozenset[str]] = frozenset({"personal_name", "customer", "patient", "formulation"})


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its meaning, unit and the rules each value keeps.

    Attributes:
        name: Column name; carries its unit where it has a fixed one (``_min``, ``_utc``, ``_c``).
        kind: Logical type, a key of ``SPARK_TYPES``.
        meaning: What a value says, for people.
        unit: Unit of measurement, or ``None`` for a dimensionless or textual column.
        nullable: Whether a value may be missing.
        minimum: Smallest allowed value (inclusive), numbers only.
        maximum: Largest allowed value (inclusive), numbers only.
        finite: Whether NaN and infinities are refused, floats only.
        allowed: The closed vocabulary, strings only.
        pattern: Regular expression the whole value matches, strings only.
        tags: Sensitivity tags; masks follow them everywhere.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str | None = None
    nullable: bool = True
    minimum: float | None = None
    maximum: float | None = None
    finite: bool = True
    allowed: tuple[str, ...] = ()
    pattern: str | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in SPARK_TYPES:
            raise ValueError(f"column {self.name!r}: unknown kind {self.kind!r}")
        if unknown := set(self.tags) - SENSITIVITY_TAGS:
            raise ValueError(f"column {self.name!r}: unknown sensitivity tag(s) {sorted(unknown)}")


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
    rejects: Literal["file", "row"] = "file"
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False, hash=False, default_factory=dict[str, Column])

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if duplicates := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self.full_name}: duplicate column(s) {sorted(duplicates)}")
        if missing := set(self.primary_key) - set(names):
            raise ValueError(f"{self.full_name}: key column(s) {sorted(missing)} are not columns")
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
        return ", ".join(f"`{column.name}` {SPARK_TYPES[column.kind]}" for column in self.columns)

    def arrow_schema(self) -> pa.Schema:
        """Compile to an Arrow schema; timestamps are microseconds in UTC."""
        import pyarrow as pa

        types: dict[str, Any] = {
            "string": pa.string(),
            "int64": pa.int64(),
            "float64": pa.float64(),
            "bool": pa.bool_(),
            "timestamp_utc": pa.timestamp("us", tz="UTC"),
            "date": pa.date32(),
            "binary": pa.binary(),
            "array<float64>": pa.list_(pa.float64()),
            "array<string>": pa.list_(pa.string()),
            "map<string,string>": pa.map_(pa.string(), pa.string()),
            "map<string,float64>": pa.map_(pa.string(), pa.float64()),
            "map<string,int64>": pa.map_(pa.string(), pa.int64()),
        }
        return pa.schema([pa.field(column.name, types[column.kind]) for column in self.columns])

    def to_pandera(self) -> pandera.DataFrameSchema:
        """Compile to a strict pandera schema of this table's scalar rules.

        Uniqueness and rules across tables are not in it: they need the whole table and run as SQL.
        """
        import pandera.pandas as pandera  # late: importing pandera imports pyspark where it is installed

        return pandera.DataFrameSchema(
            {column.name: pandera.Column(None, checks=_checks(column), nullable=column.nullable) for column in self.columns},
            strict=True,
            name=self.full_name,
        )


def _checks(column: Column) -> list[Any]:
    """Compile one column's rules to pandera checks, each named after the rule it enforces."""
    import numpy as np
    import pandera.pandas as pandera

    checks: list[Any] = []
    if column.minimum is not None:
        checks.append(pandera.Check.ge(column.minimum, error=f"minimum({column.minimum:g})"))
    if column.maximum is not None:
        checks.append(pandera.Check.le(column.maximum, error=f"maximum({column.maximum:g})"))
    if column.kind == "float64" and column.finite:
        checks.append(pandera.Check(lambda values: np.isfinite(values.astype(float)), name="finite"))
    if column.allowed:
        checks.append(pandera.Check.isin(list(column.allowed), error=f"allowed({'|'.join(column.allowed)})"))
    if column.pattern is not None:
        checks.append(pandera.Check.str_matches(f"^(?:{column.pattern})$", error=f"pattern({column.pattern})"))
    return checks
