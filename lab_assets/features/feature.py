"""What is said of a feature.

Belongs here: the record. Does not belong here: any feature.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature.

    Attributes:
        name: Column name in its feature table and key in every feature map.
        table: Feature table that holds it, or ``context`` where it is derived when the row is assembled and stored nowhere else.
        meaning: What a value says, for people.
        unit: Unit, or ``None``.
        version: Raised when the computation changes.
        minimum: Smallest value the quantity can have; ``None``: no bound. Bounds judge values that others send, they change no computation.
        maximum: Largest value the quantity can have; ``None``: no bound.
        bound_reason: Why it cannot lie outside, for people; empty without bounds.
    """

    name: str
    table: str
    meaning: str
    unit: str | None = None
    version: int = 1
    minimum: float | None = None
    maximum: float | None = None
    bound_reason: str = ""

    @property
    def former_column(self) -> str:
        """Name of the column that keeps its values once it is a former computation, such as ``largest_point_v1``."""
        return f"{self.name}_v{self.version}"

    def allows(self, value: float) -> bool:
        """Return whether a finite value is one the quantity can have."""
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)
