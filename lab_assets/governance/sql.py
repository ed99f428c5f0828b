"""People's SQL: what of it is understood, and which tables it reads. Everything else is refused.

Belongs here: the allow-lists and the check of a parsed query. Does not belong here: masks (``masking.py``), files and execution
(``gateway.py``).

The user's text is never run. It is parsed; every node must be of a known kind, every function on the list, every table either
a contract's (``layer.table``) or a common table expression that the scope analysis resolves; and what runs is generated from
the tree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

MAX_CHARACTERS: Final = 20_000
MAX_TOKENS: Final = 4_000
MAX_DEPTH: Final = 60
DIALECT: Final = "duckdb"

_CLAUSES: Final = """
    Select Subquery Union Intersect Except With CTE From Join Lateral Table TableAlias Alias Aliases Identifier Column Columns Star Where
    Group Cube Rollup GroupingSets Having Qualify Order Ordered Limit Offset Distinct Window WindowSpec Values Tuple Unnest Filter
    WithinGroup IgnoreNulls RespectNulls All Any Exists
""".split()
_EXPRESSIONS: Final = """
    Literal Boolean Null Var Paren Neg Not And Or Xor Add Sub Mul Div IntDiv Mod Pow EQ NEQ GT GTE LT LTE NullSafeEQ NullSafeNEQ Is In
    Between Like ILike SimilarTo RegexpLike Glob DPipe BitwiseAnd BitwiseOr BitwiseXor Case If Cast TryCast DataType DataTypeParam
    Interval IntervalSpan Array Struct PropertyEQ Dot Bracket Slice Extract Escape JSONExtract JSONExtractScalar JSONPath JSONPathKey
    JSONPathRoot JSONPathSubscript
""".split()
_AGGREGATES: Final = """
    Count CountIf Sum Avg Min Max Median Mode Quantile ApproxQuantile PercentileCont PercentileDisc Stddev StddevPop StddevSamp Variance
    VariancePop Corr CovarPop CovarSamp Skewness Kurtosis AnyValue First Last ArgMax ArgMin ArrayAgg GroupConcat LogicalAnd LogicalOr
    ApproxDistinct Grouping RegrSlope RegrIntercept RegrR2 RegrCount
""".split()
_WINDOWS: Final = "RowNumber Rank DenseRank PercentRank CumeDist Ntile Lag Lead FirstValue LastValue NthValue".split()
_SCALARS: Final = """
    Abs Ceil Floor Round Sqrt Cbrt Exp Ln Log Sign Trunc IsNan IsInf Greatest Least Coalesce Nullif Lower Upper Trim Length Substring
    Left Right Concat ConcatWs Replace RegexpReplace RegexpExtract StrPosition StartsWith EndsWith Contains Reverse SplitPart Split
    StringToArray CurrentDate CurrentTimestamp TimestampTrunc DateTrunc DateDiff DateAdd DateSub TsOrDsAdd TsOrDsDiff Year Month Day
    Quarter Week Hour Minute Second DayOfWeek DayOfYear WeekOfYear LastDay TimeToStr StrToTime StrToDate TimeToUnix UnixToTime Date
    DateFromParts TimestampFromParts Explode ArrayContains ArraySize ArraySum ArrayMax ArrayMin ArrayDistinct SortArray ArraySort
    MapKeys MapValues StructExtract Map Radians Degrees Sin Cos Tan Atan Atan2 Levenshtein
""".split()
ALLOWED_NODES: Final = frozenset((*_CLAUSES, *_EXPRESSIONS, *_AGGREGATES, *_WINDOWS, *_SCALARS))
"""Class names of ``sqlglot.exp``."""

ALLOWED_FUNCTIONS: Final = frozenset(
    """
    now list_avg list_sum list_min list_max list_count list_median list_stddev_samp list_distinct list_unique list_sort list_position
    list_extract array_length cardinality element_at map_entries map_contains list_value isfinite fsum favg mad entropy
    date_part epoch_ms time_bucket monthname dayname prefix suffix regexp_full_match
    """.split()
)
"""Functions by name, where sqlglot has no class of its own."""

_TYPES: Final = frozenset(
    """
    BOOLEAN TINYINT SMALLINT INT BIGINT INT128 UTINYINT USMALLINT UINT UBIGINT FLOAT DOUBLE DECIMAL VARCHAR TEXT CHAR DATE TIME TIMESTAMP
    TIMESTAMPTZ INTERVAL LIST ARRAY MAP
    """.split()
)
_TABLE_PARTS: Final = frozenset({"this", "db", "catalog", "alias", "joins", "laterals"})
_BUILT_IN: Final = ("duckdb_", "sqlite_", "pragma_", "pg_", "information_schema", "lab_")
_HINT: Final = "allowed: one SELECT over tables named layer.table, with joins, grouping, windows and common functions"


class QueryRefusedError(ValueError):
    """The query is not run; the message says what is allowed."""


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
        """Return whether a column of this name can be in the query's answer or conditions."""
        if self.tree.find(exp.Columns) or any(not isinstance(star.parent, exp.Count) for star in self.tree.find_all(exp.Star)):
            return True
        return any(found.name.lower() == column for found in self.tree.find_all(exp.Identifier))


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
        if node.name.lower() not in ALLOWED_FUNCTIONS:
            raise QueryRefusedError(f"the function {node.name[:60]!r} is not on the list; {_HINT}")
        return
    if kind not in ALLOWED_NODES:
        name = node.sql_name() if isinstance(node, exp.Func) else kind
        raise QueryRefusedError(f"{name.lower()!r} is not allowed; {_HINT}")
    if isinstance(node, exp.DataType) and (not isinstance(node.this, exp.DataType.Type) or node.this.name not in _TYPES):
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
