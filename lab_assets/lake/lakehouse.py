"""The Delta tables of one laboratory, with what computes for them.

Belongs here: putting reader, writer and compute together. Does not belong here: any of them.
"""

from __future__ import annotations

from lab_assets.compute.placement import PlacedCompute
from lab_assets.compute.session import SessionKeeper
from lab_assets.lake.reader import NoSuchVersionError
from lab_assets.lake.writer import CommitLostError, LakeWriter, in_parallel
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger

__all__ = ["CommitLostError", "Lakehouse", "NoSuchVersionError", "in_parallel"]


class Lakehouse(LakeWriter):
    """The Delta tables of one laboratory."""

    def __init__(self, settings: Settings, keeper: SessionKeeper, ledger: Ledger) -> None:
        super().__init__(settings, ledger)
        self.keeper = keeper
        self.compute = PlacedCompute(keeper)
