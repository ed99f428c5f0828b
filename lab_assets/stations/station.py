"""Stations as data: what a table is made from, how, and what is news to it.

Belongs here: the declaration. Does not belong here: running it (``runner.py``), any particular table.

A station makes the rows of *groups*: the peaks of an injection, the verdict of a lot, the days of a chamber. Its make function is given
groups and reads what belongs to them; what it makes replaces what these groups had. News of an input touches groups through the input's
relation. So the content of a table follows from the content of its inputs, in whichever order they came, and a rebuild is the same work
over all groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab_assets.contracts.core import TableContract
from lab_assets.lake.among import among

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import Reads, StationReader

Touches = Callable[["StationReader", "Changes"], "pl.DataFrame"]
"""From changed rows of an input to the groups of the target that they touch, as a frame of keys."""

Make = Callable[["StationReader", "pl.DataFrame"], "pl.DataFrame"]
"""From groups to all rows of these groups."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """What rows of a table are made together.

    Attributes:
        columns: Columns of the target that name the group.
        coalesce: Whether the first column that is filled names it (the frame of keys then has the one column ``key``).
        also: Columns that follow from the group, never empty, by which reads skip files that its name alone does not rule out.
    """

    columns: tuple[str, ...]
    coalesce: bool = False
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the frame of keys."""
        return ("key",) if self.coalesce else (*self.columns, *self.also)

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the groups of rows of the target, each once."""
        import polars as pl

        keys = rows.select(pl.coalesce(self.columns).alias("key")) if self.coalesce else rows.select(self.names)
        return keys.unique(maintain_order=True)

    def where(self, keys: pl.DataFrame) -> pl.Expr:
        """Return a condition that holds for every row of the groups (with several columns for others as well), by which files are skipped."""
        import polars as pl

        if self.coalesce:
            values = keys["key"]
            first, second = self.columns
            return among(first, values) | (pl.col(first).is_null() & among(second, values))
        conditions = [among(name, keys[name]) for name in self.names]
        return pl.all_horizontal(conditions) if len(conditions) > 1 else conditions[0]

    def predicate(self, keys: pl.DataFrame) -> str:
        """Return the condition that holds for exactly the rows of the groups, as SQL."""
        if self.coalesce:
            first, second = self.columns
            values = _values(keys["key"].to_list())
            return f"`{first}` IN ({values}) OR (`{first}` IS NULL AND `{second}` IN ({values}))"
        if len(self.columns) == 1:
            return f"`{self.columns[0]}` IN ({_values(keys[self.columns[0]].to_list())})"
        *outer, last = self.columns
        together = keys.group_by(outer, maintain_order=True).agg(last)
        parts = []
        for row in together.iter_rows(named=True):
            same = " AND ".join(f"`{name}` = {_literal(row[name])}" for name in outer)
            parts.append(f"({same} AND `{last}` IN ({_values(row[last])}))")
        return " OR ".join(parts)


def _values(values: Iterable[object]) -> str:
    return ", ".join(map(_literal, values))


def _literal(value: object) -> str:
    from datetime import date

    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    return str(value)


@dataclass(frozen=True, kw_only=True)
class Input:
    """One table that a station reads.

    Attributes:
        table: The table.
        columns: Columns that are read; a change of any other column is no news.
        news: Those of them by which a change is noticed and relations are found, where not all of them: arrays are long to compare.
        touches: Groups that changed rows touch; ``None`` where a change of this table alone touches nothing.
        reads: How make and relations read it.
    """

    table: TableContract
    columns: tuple[str, ...]
    news: tuple[str, ...] = ()
    touches: Touches | None = None
    reads: Reads = "touched"

    @property
    def name(self) -> str:
        """Name in SQL."""
        return self.table.full_name

    @property
    def noticed_by(self) -> tuple[str, ...]:
        """Columns by which a change is noticed."""
        return self.news or self.columns


@dataclass(frozen=True, kw_only=True)
class Station:
    """One table and how it is made.

    Attributes:
        target: Contract of the table.
        inputs: What it is made from.
        make: Makes the rows of groups.
        group: What rows are made together.
        feeds: Columns of the inputs, ``layer.table.column``, by the column of the target that is worked out of them. Names by which rows
            are only found are not among them: where they are other names everywhere, the column stays as it is.
        version: Raised when the same inputs give other rows: the table is then made anew.
        kinds: What makes it, for the asset graph.
        at_once: Groups made between two commits.
        within: Column and value that delimit what the station makes: rows with another value, such as those of an earlier feature set,
            stay beside untouched.
    """

    target: TableContract
    inputs: tuple[Input, ...]
    make: Make
    group: Group
    feeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])
    version: int = 1
    kinds: tuple[str, ...] = ("polars", "deltalake")
    at_once: int = 5000
    within: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        names = [each.name for each in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: an input is declared twice")
        if missing := set(self.group.columns) - set(self.target.column_names):
            raise ValueError(f"{self.name}: group column(s) {sorted(missing)} are not columns of the table")
        for each in self.inputs:
            if unknown := {*each.columns, *each.news} - set(each.table.column_names):
                raise ValueError(f"{self.name}: {each.name} has no column(s) {sorted(unknown)}")

    @property
    def name(self) -> str:
        """Name of the station: that of its table."""
        return self.target.full_name

    def input(self, name: str) -> Input:
        """Return one input.

        Raises:
            KeyError: it is not declared.
        """
        for each in self.inputs:
            if each.name == name:
                return each
        raise KeyError(f"{self.name} declares no input {name!r}")


def copied(target: TableContract, *inputs: Input) -> dict[str, tuple[str, ...]]:
    """Return the columns that a table takes over under the same name from its inputs, the first that has one counting."""
    found: dict[str, tuple[str, ...]] = {}
    for name in target.column_names:
        for each in inputs:
            if name in each.columns:
                found.setdefault(name, (f"{each.name}.{name}",))
    return found


def of(table: TableContract, *columns: str) -> tuple[str, ...]:
    """Return columns of a table as ``feeds`` names them.

    Raises:
        KeyError: the table has no such column.
    """
    for column in columns:
        table.column(column)
    return tuple(f"{table.full_name}.{column}" for column in columns)


def keys_of(rows: pl.DataFrame, columns: Sequence[str] | Mapping[str, str]) -> pl.DataFrame:
    """Return the distinct filled values of some columns as keys.

    Args:
        rows: Rows.
        columns: Columns, or the name of each key column by the column it is taken from.
    """
    renamed = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
    return rows.select(list(renamed)).drop_nulls().unique(maintain_order=True).rename(renamed)


def touched_by(**columns: str) -> Touches:
    """Return the relation of rows that name the groups they touch themselves: key column of the group = column of the input."""

    def touches(_read: StationReader, changes: Changes) -> pl.DataFrame:
        return keys_of(changes.both, {column: key for key, column in columns.items()})

    return touches
