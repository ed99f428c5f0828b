"""What a station reads: fixed versions of its declared inputs, and nothing else.

Belongs here: reading for a station and keeping what was read. Does not belong here: what is made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lab_assets.compute.protocol import FileRows
from lab_assets.contracts.core import TableContract
from lab_assets.lake.among import among
from lab_assets.lake.lakehouse import Lakehouse

if TYPE_CHECKING:
    import polars as pl


Reads = Literal["touched", "whole"]
"""How make and relations read a table: rows by key, or a small reference as a whole. What is new is read by the runner."""


class DeclaredInput(Protocol):
    """What a station says of one table that it reads (``station.Input``)."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read."""
        ...

    @property
    def reads(self) -> Reads:
        """How it is read."""
        ...


class InputRows(Protocol):
    """Rows of one version of an input (``lab_assets.lake.table_rows.TableRows``)."""

    def whole(self) -> pl.LazyFrame:
        """Return all of them."""
        ...

    def where(self, condition: pl.Expr) -> pl.LazyFrame:
        """Return those that a condition holds for."""
        ...


class Declaration(Protocol):
    """What a reader has to know of the station that it reads for (``station.Station``)."""

    @property
    def name(self) -> str:
        """Name of the station: that of its table."""
        ...

    @property
    def target(self) -> TableContract:
        """Contract of the table."""
        ...

    def input(self, name: str) -> DeclaredInput:
        """Return one input; ``KeyError`` where it is not declared."""
        ...


class UndeclaredReadError(LookupError):
    """A station read a table, a column or a whole table that it does not declare."""


@dataclass(frozen=True)
class Read:
    """One read of a station.

    Attributes:
        table: ``layer.table``.
        columns: Columns read, and those that the rows were chosen by.
        whole: Whether no condition limited the rows.
    """

    table: str
    columns: tuple[str, ...]
    whole: bool


class StationReader:
    """Reads the inputs of one station, all at the versions that were the latest when it began."""

    def __init__(self, lake: Lakehouse, declaration: Declaration, versions: Mapping[str, int]) -> None:
        self.lake = lake
        self.declaration = declaration
        self.versions = dict(versions)
        self.reads: list[Read] = []
        self._inputs: dict[str, InputRows] = {}

    def rows(self, table: TableContract, columns: Sequence[str] | None = None, *, where: pl.Expr | None = None) -> pl.DataFrame:
        """Read rows of an input, or of the target itself.

        Args:
            table: A declared input, or the target.
            columns: Columns to read; default: all declared ones.
            where: Rows to read; an input that is not declared as ``whole`` needs one.

        Raises:
            UndeclaredReadError: the declaration does not name it.
        """
        asked_of = () if where is None else where.meta.root_names()
        wanted = self._declared(table, columns, asked_of, whole=where is None)
        return self._read(table, wanted, where)

    def keyed(self, table: TableContract, columns: Sequence[str] | None = None, **keys: Iterable[Any]) -> pl.DataFrame:
        """Read the rows whose columns hold one of the given values; no values give no rows without a read.

        Raises:
            UndeclaredReadError: see ``rows``.
        """
        import polars as pl

        wanted = self._declared(table, columns, keys, whole=False)
        conditions: list[pl.Expr] = []
        for name, given in keys.items():
            values = given if isinstance(given, pl.Series) else pl.Series(list(given), dtype=self._type(table, name))
            values = values.drop_nulls().unique()
            if values.is_empty():
                return self.empty(table, wanted)
            conditions.append(among(name, values))
        where = pl.all_horizontal(conditions) if len(conditions) > 1 else conditions[0]
        return self._read(table, wanted, where)

    def files(self, table: TableContract, columns: Mapping[str, str], **keys: Iterable[Any]) -> FileRows:
        """Return where the rows lie whose columns hold one of the given values, for work that reads them itself.

        Args:
            table: A declared input.
            columns: Columns to read, each with the name that the work sees.
            keys: Values by column.

        Raises:
            UndeclaredReadError: see ``rows``.
        """
        self._declared(table, list(columns), keys, whole=False)
        where = {name: list(values) for name, values in keys.items()}
        files = self.lake.files(table, version=self.versions.get(table.full_name), where=where)
        return FileRows(files=files, schema=table.arrow_schema(), columns=columns, where=where, constants={"table": table.name})

    def _read(self, table: TableContract, columns: Sequence[str], where: pl.Expr | None) -> pl.DataFrame:
        """Read rows; an input is opened once, since its version is fixed, the target each time."""
        name = table.full_name
        if (rows := self._inputs.get(name)) is None:
            rows = self.lake.rows(table, version=self.versions.get(name))
            if name in self.versions:
                self._inputs[name] = rows
        return (rows.whole() if where is None else rows.where(where)).select(columns).collect()

    def empty(self, table: TableContract, columns: Sequence[str]) -> pl.DataFrame:
        """Return no rows, with the types of the table."""
        import polars as pl

        whole = pl.DataFrame(pl.from_arrow(table.arrow_schema().empty_table()))
        return whole.select(columns)

    def _type(self, table: TableContract, column: str) -> Any:
        return self.empty(table, [column]).schema[column]

    def _declared(self, table: TableContract, columns: Sequence[str] | None, asked_of: Iterable[str], *, whole: bool) -> list[str]:
        """Keep what is read, see that it is declared, and return the columns to read.

        Args:
            table: Input, or the target.
            columns: Columns to read; ``None`` for all.
            asked_of: Columns that the rows are chosen by: they are read as well.
            whole: Whether no condition limits the rows.
        """
        if table.full_name == self.declaration.name:
            wanted = list(columns or table.column_names)
            self.reads.append(Read(table.full_name, tuple(dict.fromkeys((*wanted, *asked_of))), whole))
            return wanted
        try:
            declared = self.declaration.input(table.full_name)
        except KeyError as error:
            raise UndeclaredReadError(str(error.args[0])) from None
        wanted = list(columns if columns is not None else declared.columns)
        used = tuple(dict.fromkeys((*wanted, *asked_of)))
        if missing := set(used) - set(declared.columns):
            raise UndeclaredReadError(f"{self.declaration.name} reads {table.full_name}.{sorted(missing)}, which it does not declare")
        if whole and declared.reads != "whole":
            raise UndeclaredReadError(f"{self.declaration.name} reads all of {table.full_name}, which it declares to read by key")
        self.reads.append(Read(table.full_name, used, whole))
        return wanted
