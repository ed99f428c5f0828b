"""Rules over the values of one column in plain Python: no engine is imported where every value surely keeps them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

from lab_assets.contracts.columns import Column
from lab_assets.contracts.formats.rules import Rule, rules_of
from lab_assets.contracts.formats.types import is_scalar

_NUMERIC: Final = frozenset({"minimum", "maximum", "finite"})


def surely_kept(column: Column, values: Sequence[Any]) -> bool:
    """Return whether values keep a column's rules beyond doubt; whatever is unusual, such as a number as text, is doubt.

    Args:
        column: The column.
        values: Its values, ``None`` or NaN for a missing one.
    """
    rules = rules_of(column)
    if not is_scalar(column.kind):
        return column.nullable or not any(value is None or isinstance(value, float) for value in values)
    present = [value for value in values if value is not None and value == value]  # noqa: PLR0124 - nan is not equal to itself
    if not column.nullable:
        if len(present) < len(values):
            return False
        rules = rules[1:]
    kinds = set(map(type, present))
    if column.kind == "float64" or any(rule.kind in _NUMERIC for rule in rules):
        return kinds <= {int, float} and all(rule.kind in _NUMERIC and _keeps_numbers(rule, present) for rule in rules)
    return not rules or (kinds <= {str} and all(_keeps_words(rule, set(present)) for rule in rules))


def _keeps_numbers(rule: Rule, numbers: list[Any]) -> bool:
    if not numbers:
        return True
    match rule.kind:
        case "minimum":
            return min(numbers) >= rule.bound
        case "maximum":
            return max(numbers) <= rule.bound
        case _:
            return all(map(math.isfinite, numbers))


def _keeps_words(rule: Rule, words: set[str]) -> bool:
    if rule.kind == "allowed":
        return words <= set(rule.words)
    return all(re.fullmatch(rule.regex, word) for word in words)
