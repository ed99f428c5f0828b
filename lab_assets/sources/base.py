"""The vocabulary of readers, for formats below this folder and for those of other packages.

Belongs here: the names a reader needs. Does not belong here: their definitions (``core/read_result.py``, ``core/reader.py``), any format
(one file each in ``vendors/``, ``standards/``, ``media/`` or ``tables/``), the choice among all (``all_readers.py``).
"""

from lab_assets.sources.core.read_result import MEMBER_MARK, Member, ReadResult, RejectedRow, Row, SchemaEvent, UnreadableFileError
from lab_assets.sources.core.reader import ArchiveReader, ReadContext, Reader

__all__ = [
    "MEMBER_MARK",
    "ArchiveReader",
    "Member",
    "ReadContext",
    "ReadResult",
    "Reader",
    "RejectedRow",
    "Row",
    "SchemaEvent",
    "UnreadableFileError",
]
