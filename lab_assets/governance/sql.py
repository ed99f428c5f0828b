"""People's SQL: what of it is understood, and which tables it reads. Everything else is refused.

Belongs here: the check of a parsed query. Does not belong here: the allow-list itself
(``policies/sql.toml``), masks (``masking.py``), execution (``gateway.py``).

The user's text is never run. It is parsed; every node must be of a known kind, every function on the list, every table either
a contract's (``layer.table``) or a common table expression that the scope analysis resolves; and what runs is generated from
the tree.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from lab_assets.governance.query_plan import QueryRefusedError

MAX_CHARACTERS: Final = 20_000
MAX_TOKENS: Final = 4_000
MAX_DEPTH: Final = 60
DIALECT: Final = "duckdb"

_TABLE_PARTS: Final = frozenset({"this", "db", "catalog", "alias", "joins", "laterals"})
_BUILT_IN: Final = ("duckdb_", "sqlite_", "pragma_", "pg_", "information_schema", "lab_")
_HINT: Final = "allowed: one SELECT over tables named layer.table, with joins, grouping, windows and common functions"


@dataclass(frozen=True, kw_only=True)
class CheckedQuery:
    """A query of which every part is understood.

    Attributes:
        tree: The parsed query, owned by this object.
        tables: Tables it reads, ``layer.table``, sorted.
    """

    tree: exp.Query
    tables: tuple[str, ...]

    def mentions(self, column: str) -> bool:
        """Return whether a column of this name can be in the query's answer or conditions; in doubt, yes."""
        if self._takes_whole_rows():
            return True
        return any(found.name.lower() == column for found in self.tree.find_all(exp.Identifier))

    def _takes_whole_rows(self) -> bool:
        """Return whether columns are taken without being named: stars, patterns, rows as structs, renaming by position."""
        if self.tree.find(exp.Columns) or any(not isinstance(star.parent, exp.Count) for star in self.tree.find_all(exp.Star)):
            return True
        if any(alias.args.get("columns") for alias in self.tree.find_all(exp.TableAlias)):
            return True
        tables = {table.alias_or_name.lower() for table in self.tree.find_all(exp.Table)}
        return any(found.name.lower() in tables for found in self.tree.find_all(exp.Column))


@dataclass(frozen=True, kw_only=True)
class AllowList:
    """What SQL may be made of, from ``policies/sql.toml``.

    Attributes:
        nodes: Class names of ``sqlglot.exp``.
        functions: Functions by name, where sqlglot has no class of its own.
        types: Types a value may be cast to.
    """

    nodes: frozenset[str]
    functions: frozenset[str]
    types: frozenset[str]


@cache
def allow_list() -> AllowList:
    """Read the allow-list of the package, once per process."""
    text = (files("lab_assets.governance") / "policies" / "sql.toml").read_text("utf-8")
    data: dict[str, dict[str, str]] = tomllib.loads(text)
    return AllowList(
        nodes=frozenset(" ".join(data["nodes"].values()).split()),
        functions=frozenset(data["names"]["functions"].split()),
        types=frozenset(data["names"]["types"].split()),
    )


def check_query(sql: str, known_tables: Collection[str]) -> CheckedQuery:
    """Parse one query and check every part of it.

    Args:
        sql: The user's text, DuckDB dialect.
        known_tables: Tables that exist, ``layer.table`` in small letters.

    Raises:
        QueryRefusedError: it is too long or deep, not one SELECT, or holds a part, function or table that is not allowed.
    """
    try:
        tree = _parse(sql)
        for node in tree.walk():
            _check_node(node)
        real = {id(table): _real_name(table, known_tables) for table in tree.find_all(exp.Table) if table.args.get("db")}
        _check_scopes(tree)
    except RecursionError:
        raise QueryRefusedError(f"the query is nested too deeply; {_HINT}") from None
    return CheckedQuery(tree=tree, tables=tuple(sorted(set(real.values()))))


def table_nodes(tree: exp.Query) -> Iterator[exp.Table]:
    """Yield the nodes of real tables; names of common table expressions have one part and are left out."""
    return (table for table in list(tree.find_all(exp.Table)) if table.args.get("db"))


def table_name(table: exp.Table) -> str:
    """Return ``layer.table`` of a real table's node."""
    return f"{table.db}.{table.name}".lower()


def _parse(sql: str) -> exp.Query:
    if len(sql) > MAX_CHARACTERS or "\x00" in sql:
        raise QueryRefusedError(f"a query has at most {MAX_CHARACTERS} characters")
    try:
        tokens = sqlglot.tokenize(sql, dialect=DIALECT)
        if len(tokens) > MAX_TOKENS or _depth(sql) > MAX_DEPTH:
            raise QueryRefusedError(f"a query has at most {MAX_TOKENS} words and {MAX_DEPTH} nested brackets")
        statements = [statement for statement in sqlglot.parse(sql, dialect=DIALECT) if statement is not None]
    except SqlglotError as error:
        first = str(error).splitlines()[0] if str(error) else "syntax error"
        raise QueryRefusedError(f"the query cannot be parsed ({first[:200]}); {_HINT}") from error
    if len(statements) != 1:
        raise QueryRefusedError(f"{len(statements)} statements; {_HINT}")
    if not isinstance(statements[0], exp.Select | exp.SetOperation | exp.Subquery):
        raise QueryRefusedError(f"{statements[0].key.upper()} is not allowed; {_HINT}")
    return statements[0]


def _depth(sql: str) -> int:
    """Return how deep brackets nest, quoted text included: an upper bound that needs no parsing."""
    depth = deepest = 0
    for letter in sql:
        if letter in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in ")]}":
            depth -= 1
    return deepest


def _check_node(node: exp.Expr) -> None:
    kind = type(node).__name__
    if isinstance(node, exp.Anonymous):
        if node.name.lower() not in allow_list().functions:
            raise QueryRefusedError(f"the function {node.name[:60]!r} is not on the list; {_HINT}")
        return
    if kind not in allow_list().nodes:
        name = node.sql_name() if isinstance(node, exp.Func) else kind
        raise QueryRefusedError(f"{name.lower()!r} is not allowed; {_HINT}")
    if isinstance(node, exp.DataType) and (not isinstance(node.this, exp.DataType.Type) or node.this.name not in allow_list().types):
        raise QueryRefusedError(f"the type {node.sql(DIALECT)[:60]!r} is not allowed; {_HINT}")
    if isinstance(node, exp.Table):
        _check_table(node)
    if isinstance(node, exp.CTE) and node.alias.lower().startswith(_BUILT_IN):
        raise QueryRefusedError(f"the name {node.alias[:60]!r} is reserved; choose another for the WITH part")
    if isinstance(node, exp.Select) and (node.args.get("into") or node.args.get("locks") or node.args.get("sample")):
        raise QueryRefusedError(f"INTO, FOR UPDATE and SAMPLE are not allowed; {_HINT}")


def _check_table(table: exp.Table) -> None:
    if not isinstance(table.this, exp.Identifier):
        raise QueryRefusedError(f"functions and files are not tables here; {_HINT}")
    if extra := {part for part, value in table.args.items() if value} - _TABLE_PARTS:
        raise QueryRefusedError(f"{', '.join(sorted(extra))} on a table is not allowed; {_HINT}")


def _real_name(table: exp.Table, known_tables: Collection[str]) -> str:
    name = table_name(table)
    if table.catalog.lower() not in {"", "lab"} or name not in known_tables:
        raise unknown_table(table.sql(DIALECT, comments=False).partition(" AS ")[0])
    return name


def unknown_table(name: str) -> QueryRefusedError:
    """Return the refusal of a table that does not exist, or that the person may not know of."""
    return QueryRefusedError(f"no table {name[:120]}; `lab catalog list` names the tables, written layer.table")


def _check_scopes(tree: exp.Query) -> None:
    """Refuse every table in a place the scope analysis does not reach, and one-part names that are not a WITH part."""
    resolved: set[int] = set()
    try:
        for scope in traverse_scope(tree):
            for table in scope.tables:
                if not table.args.get("db") and not isinstance(scope.sources.get(table.alias_or_name), Scope):
                    raise unknown_table(table.name)
                resolved.add(id(table))
    except SqlglotError as error:
        raise QueryRefusedError(f"the query's names cannot be resolved ({str(error)[:200]}); {_HINT}") from error
    for table in tree.find_all(exp.Table):
        if id(table) not in resolved:
            raise QueryRefusedError(f"a table stands where none is expected ({table.name[:60]}); {_HINT}")
