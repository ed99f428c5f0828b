# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# (pandera and pandas have types in part)
"""Rules as a pandera schema, which names each failing row; asked where the quick check has doubts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lab_assets.contracts.columns import Column
from lab_assets.contracts.formats.rules import MISSING_VALUE, Rule, rules_of

if TYPE_CHECKING:
    import pandera.pandas as pandera


def pandera_schema(name: str, columns: Iterable[Column]) -> pandera.DataFrameSchema:
    """Compile the rules of a table's columns to a strict pandera schema.

    Uniqueness and rules across tables are not in it: they need the whole table.
    """
    import pandera.pandas as pandera  # late: importing pandera imports pyspark where it is installed

    return pandera.DataFrameSchema(
        {
            column.name: pandera.Column(
                None,
                checks=[_check(rule) for rule in rules_of(column) if rule.kind != MISSING_VALUE],
                nullable=column.nullable,
            )
            for column in columns
        },
        strict=True,
        name=name,
    )


def _check(rule: Rule) -> Any:
    """Return the pandera check of one rule, named after it."""
    import numpy as np
    import pandera.pandas as pandera

    match rule.kind:
        case "minimum":
            return pandera.Check.ge(rule.bound, error=rule.name)
        case "maximum":
            return pandera.Check.le(rule.bound, error=rule.name)
        case "finite":
            return pandera.Check(lambda values: np.isfinite(values.astype(float)), name=rule.name)
        case "allowed":
            return pandera.Check.isin(list(rule.words), error=rule.name)
        case "pattern":
            return pandera.Check.str_matches(rf"^(?:{rule.regex})\Z", error=rule.name)
        case "missing_value":
            raise ValueError("pandera checks missing values by the column's 'nullable'")
