"""What can be granted, owned, tagged: the catalog ``lab``, its schemas, tables and columns, and models.

Belongs here: names and what contains what. Does not belong here: who may do what (``policy.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from lab_assets.contracts.core import TableContract

CATALOG: Final = "lab"
Kind = Literal["Catalog", "Schema", "Table", "Column", "Model"]
PRIVILEGES: Final = ("BROWSE", "SELECT", "MODIFY", "MANAGE", "EXECUTE", "APPROVE", "TRAIN")

_MODEL: Final = re.compile(r"model:([A-Za-z0-9_][A-Za-z0-9_-]{0,99})")
_ON_DATA: Final = frozenset({"BROWSE", "MANAGE", "SELECT", "MODIFY"})
_ON_MODELS: Final = frozenset({"BROWSE", "MANAGE", "EXECUTE", "APPROVE", "TRAIN"})
_MEANINGFUL: Final[dict[Kind, frozenset[str]]] = {
    "Catalog": frozenset(PRIVILEGES),
    "Schema": _ON_DATA,
    "Table": _ON_DATA,
    "Column": _ON_DATA,
    "Model": _ON_MODELS,
}


class UnknownSecurableError(ValueError):
    """A name that means nothing here."""


@dataclass(frozen=True, kw_only=True)
class Securable:
    """One thing rights are held on.

    Attributes:
        kind: What it is.
        name: Full name: ``lab``, ``lab.silver``, ``lab.silver.lots``, ``lab.silver.lots.customer`` or ``model:oos_risk``.
    """

    kind: Kind
    name: str

    @property
    def ancestors(self) -> tuple[str, ...]:
        """Names of what contains it, outermost first, and its own."""
        if self.kind == "Model":
            return (CATALOG, self.name)
        parts = self.name.split(".")
        return tuple(".".join(parts[: count + 1]) for count in range(len(parts)))

    @property
    def table(self) -> str:
        """Contract name (``layer.table``) of a table or column."""
        return ".".join(self.name.split(".")[1:3])

    def takes(self, privilege: str) -> bool:
        """Return whether the privilege means anything here."""
        return privilege in _MEANINGFUL[self.kind]


def parse_securable(text: str, contracts: Mapping[str, TableContract]) -> Securable:
    """Return what a name means; the leading ``lab.`` may be left out.

    Args:
        text: As typed.
        contracts: All tables by ``layer.table``.

    Raises:
        UnknownSecurableError: no such schema, table or column, or a malformed model name.
    """
    if match := _MODEL.fullmatch(text):
        return Securable(kind="Model", name=f"model:{match.group(1)}")
    parts = text.lower().split(".")
    if parts[0] != CATALOG:
        parts = [CATALOG, *parts]
    name = ".".join(parts)
    if len(parts) == 1:
        return Securable(kind="Catalog", name=name)
    if len(parts) == 2 and any(contract.layer == parts[1] for contract in contracts.values()):
        return Securable(kind="Schema", name=name)
    contract = contracts.get(".".join(parts[1:3]))
    if contract is not None and len(parts) == 3:
        return Securable(kind="Table", name=name)
    if contract is not None and len(parts) == 4 and parts[3] in contract.column_names:
        return Securable(kind="Column", name=name)
    raise UnknownSecurableError(f"{text!r} is nothing here: name lab, a schema, schema.table, schema.table.column or model:NAME")
