"""The rules of a column as data, each with the name it has in quarantine and in checks.

Belongs here: which rules there are, in which order, and their names. Does not belong here: checking them (the files beside this).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from lab_assets.contracts.columns import Column

RuleKind = Literal["missing_value", "minimum", "maximum", "finite", "allowed", "pattern"]
MISSING_VALUE: Final = "missing_value"
ORDER: Final = "order"
"""The rule that a row breaks whose columns of ``TableContract.ordered`` are crossed."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule that each value of a column keeps; a missing value breaks ``missing_value`` and no other.

    Attributes:
        kind: What is asked.
        bound: The smallest or largest allowed value of ``minimum`` and ``maximum``.
        words: The vocabulary of ``allowed``.
        regex: What the whole value matches, of ``pattern``.
    """

    kind: RuleKind
    bound: float = 0.0
    words: tuple[str, ...] = ()
    regex: str = ""

    @property
    def name(self) -> str:
        """Name in quarantine, with what is asked: ``minimum(0)``, ``allowed(a|b)``."""
        match self.kind:
            case "minimum" | "maximum":
                return f"{self.kind}({self.bound:g})"
            case "allowed":
                return f"allowed({'|'.join(self.words)})"
            case "pattern":
                return f"pattern({self.regex})"
            case _:
                return self.kind

    @property
    def label(self) -> str:
        """Name in the counts of a table's check: as ``name``, without the vocabulary or the expression."""
        return self.kind if self.kind in {"allowed", "pattern"} else self.name


@cache
def rules_of(column: Column) -> tuple[Rule, ...]:
    """Return the rules of a column, in the order they are checked and reported."""
    rules: list[Rule] = []
    if not column.nullable:
        rules.append(Rule(kind=MISSING_VALUE))
    if column.minimum is not None:
        rules.append(Rule(kind="minimum", bound=column.minimum))
    if column.maximum is not None:
        rules.append(Rule(kind="maximum", bound=column.maximum))
    if column.kind == "float64" and column.finite:
        rules.append(Rule(kind="finite"))
    if column.allowed:
        rules.append(Rule(kind="allowed", words=column.allowed))
    if column.pattern is not None:
        rules.append(Rule(kind="pattern", regex=column.pattern))
    return tuple(rules)
