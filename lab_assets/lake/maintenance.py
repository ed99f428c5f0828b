"""Keeping tables quick to read however many commits they have: small files put together, checkpoints, properties of old tables.

Belongs here: what a table needs, and doing it. Does not belong here: which layout a table has (``layout.py``), when it is done
(``lab_assets.orchestration``), taking replaced files away (``archiving.py``).

Nothing that is done changes a row: news, lineage and time travel take no notice of it. Files are put together in tiers, each sixteen
times the one below, once a tier has gathered some: so a row is written again once a tier, not each time, which bounds what earlier
versions keep on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lab_assets.contracts.core import TableContract
from lab_assets.lake.data_files import local_path, log_segment
from lab_assets.lake.layout import layout_of
from lab_assets.lake.opening import is_remote
from lab_assets.lake.reader import PROPERTIES
from lab_assets.lake.writer import LakeWriter

if TYPE_CHECKING:
    from deltalake import DeltaTable

_SMALLEST_TIER: Final = 256 * 1024
_TIER_FACTOR: Final = 16
_GATHERED: Final = 8
"""Files of a tier that are put together at once: fewer would be written again more often, more would be read by everyone."""
_LONGEST_TAIL: Final = 10
"""Commits after the last checkpoint that opening a table may read."""


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """What was done for one table.

    Attributes:
        table: ``layer.table``.
        version: Its version afterwards.
        files_before: Data files before.
        files_after: Data files afterwards.
        properties: Properties that were brought to the layout.
        checkpoint: Whether a checkpoint was written.
    """

    table: str
    version: int
    files_before: int
    files_after: int
    properties: tuple[str, ...]
    checkpoint: bool

    @property
    def done(self) -> bool:
        """Whether there was anything to do."""
        return self.files_before != self.files_after or bool(self.properties) or self.checkpoint


def maintain(lake: LakeWriter, contract: TableContract) -> Upkeep | None:
    """Put a table in order.

    Args:
        lake: Tables.
        contract: The table.

    Returns:
        What was done; ``None`` for a table that nothing was written to yet.

    Raises:
        DamagedTableError: its log does not hold what was committed.
    """
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(lake.uri(contract)) and lake.ledger.noted_version(contract.full_name) is None:
        return None
    layout = layout_of(contract)
    table = lake.open(contract)
    before = len(table.file_uris())
    held = table.metadata().configuration
    wanted = {name: value for name, value in (PROPERTIES | layout.properties()).items() if held.get(name) != value}
    if wanted:
        lake.set_properties(contract, wanted)
    for size in tiers(layout.file_bytes):
        _put_together(lake, contract, size)
    table = lake.open(contract)
    after = len(table.file_uris())
    # the last checkpoint still names the files that were put together, and opening would read all their names
    behind = after != before or _tail(table) > _LONGEST_TAIL
    if behind:
        lake.checkpoint(contract)
    return Upkeep(
        table=contract.full_name,
        version=table.version(),
        files_before=before,
        files_after=after,
        properties=tuple(sorted(wanted)),
        checkpoint=behind,
    )


def _put_together(lake: LakeWriter, contract: TableContract, size: int) -> None:
    """Put the files below a size together once there are some of them, and again while what came of them is as small."""
    gathered = _GATHERED
    table = lake.open(contract)
    while _smaller(table, size) >= gathered:
        before = table.version()
        if lake.compact(contract, target_bytes=size) == before:
            return
        gathered, table = 2, lake.open(contract)


def tiers(file_bytes: int) -> Sequence[int]:
    """Return the sizes up to which files are put together, the smallest first."""
    sizes = [file_bytes]
    while sizes[-1] // _TIER_FACTOR >= _SMALLEST_TIER:
        sizes.append(sizes[-1] // _TIER_FACTOR)
    return sizes[::-1]


def _smaller(table: DeltaTable, size: int) -> int:
    """Return the number of files below a size, from the log."""
    import pyarrow as pa

    actions = pa.table(table.get_add_actions(flatten=True))
    return sum(each < size for each in actions.column("size_bytes").to_pylist()) if actions.num_rows else 0


def _tail(table: DeltaTable) -> int:
    """Return the number of commits after the last checkpoint; object stores are left to the interval that writers keep."""
    if is_remote(table.table_uri):
        return 0
    segment = log_segment(local_path(table.table_uri))
    return segment.version - segment.checkpoint
