"""What one backup came to.

Belongs here: the report. Does not belong here: making it (``making.py``), printing (``lab_assets.cli.backup``).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class BackupReport:
    """What one backup came to.

    Attributes:
        name: Its name.
        folder: Where it is.
        made_at_utc: Moment of the ledger's state.
        files: Files in it.
        bytes: Bytes of them.
        new_files: Files whose contents were not kept before.
        new_bytes: Bytes of those.
        linked_files: Those of them that are another name of the original file.
        tables: Tables in it.
        keys: ``encrypted``, ``none`` (there are none) or ``left out``.
        passphrase: A passphrase that was made for the keys; shown this once.
        damaged: What is damaged in the laboratory itself and not in the backup, by place.
        mended: How many stored contents had been damaged in the folder and were stored anew.
        damaged_contents: Stored contents that are damaged and that the laboratory does not hold any more, by place in a backup.
        damaged_lists: Earlier backups whose list cannot be read, by name, with what to do.
        hashed_bytes: Bytes of earlier contents that were hashed again.
        waiting: Files in the inbox that were not taken in yet, which no backup holds.
        same_disk: Whether the backup lies on the disk of the laboratory.
        removed: Earlier backups that were removed, as asked for.
        seconds: Time of each part.
    """

    name: str = ""
    folder: str = ""
    made_at_utc: str = ""
    files: int = 0
    bytes: int = 0
    new_files: int = 0
    new_bytes: int = 0
    linked_files: int = 0
    tables: int = 0
    keys: str = "none"
    passphrase: str | None = None
    damaged: dict[str, str] = field(default_factory=dict[str, str])
    mended: int = 0
    damaged_contents: dict[str, str] = field(default_factory=dict[str, str])
    damaged_lists: dict[str, str] = field(default_factory=dict[str, str])
    hashed_bytes: int = 0
    waiting: int = 0
    same_disk: bool = False
    removed: list[str] = field(default_factory=list[str])
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def ok(self) -> bool:
        """Whether this backup and the earlier ones can be put back whole."""
        return not (self.damaged or self.damaged_contents or self.damaged_lists)
