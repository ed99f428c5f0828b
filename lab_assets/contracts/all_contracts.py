"""All contracts by name.

Belongs here: look-up. Does not belong here: contracts themselves.
"""

from __future__ import annotations

from functools import cache

from lab_assets.contracts import bronze, features, gold, governance, ml, silver
from lab_assets.contracts.core import TableContract


@cache
def contracts() -> dict[str, TableContract]:
    """Return every contract by ``layer.table``, in flow order."""
    modules = (bronze, silver, gold, features, ml, governance)
    return {table.full_name: table for module in modules for table in module.TABLES}


def contract(name: str) -> TableContract:
    """Return one contract.

    Raises:
        KeyError: no contract of that name.
    """
    try:
        return contracts()[name]
    except KeyError:
        raise KeyError(
            f"no table {name!r}; a new one is named in TABLES of lab_assets/contracts/{name.partition('.')[0]}.py; known: {', '.join(contracts())}"
        ) from None
