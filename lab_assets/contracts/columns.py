"""One column of a contract, as plain data.

Belongs here: what a column says of its values. Does not belong here: tables (``core.py``), how rules are checked (``formats``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lab_assets.contracts.formats.types import KINDS, Kind

SENSITIVITY_TAGS: Final[frozenset[str]] = frozenset({"personal_name", "customer", "patient", "formulation"})


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its meaning, unit and the rules each value keeps.

    Attributes:
        name: Column name; carries its unit where it has a fixed one (``_min``, ``_utc``, ``_c``).
        kind: Logical type, one of ``formats.types.KINDS``.
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
        if self.kind not in KINDS:
            raise ValueError(f"column {self.name!r}: unknown kind {self.kind!r}")
        if unknown := set(self.tags) - SENSITIVITY_TAGS:
            raise ValueError(f"column {self.name!r}: unknown sensitivity tag(s) {sorted(unknown)}")
