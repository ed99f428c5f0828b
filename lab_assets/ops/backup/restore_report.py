"""What putting a backup back is asked for and comes to.

Belongs here: the choice of a backup, the report. Does not belong here: putting back (``restoring.py``), printing (``lab_assets.cli.restore``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lab_assets.ops.backup import keys as sealed
from lab_assets.ops.backup.folder import BackupError, BackupFolder, Snapshot


@dataclass(kw_only=True)
class RestoreReport:
    """What putting a backup back came to.

    Attributes:
        backup: Its name.
        home: Where the laboratory is now.
        made_at_utc: Moment of the backup.
        files: Files written.
        bytes: Bytes of them.
        tables: Tables in it.
        keys: ``restored``, ``none`` (the backup has none) or ``left out``.
        aside: Where what was in the place before lies now; empty where it was empty.
        reconciled: What was set right in ledger and tables.
        ended_runs: Runs that were under way when the backup was made, and are ended here.
        audit: What the check of the audit trail says.
        problems: What is not as it should be.
        settings: Settings of the backed-up laboratory that this one reads files by and does not have.
        seconds: Time of each part.
    """

    backup: str
    home: str
    made_at_utc: str
    files: int = 0
    bytes: int = 0
    tables: int = 0
    keys: str = "none"
    aside: str = ""
    reconciled: list[str] = field(default_factory=list[str])
    ended_runs: int = 0
    audit: str = ""
    problems: list[str] = field(default_factory=list[str])
    settings: dict[str, str] = field(default_factory=dict[str, str])
    seconds: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which backup is put back, and with what.

    Attributes:
        folder: Folder of backups.
        name: Name of one; ``None``: the newest.
        passphrase: Of its keys.
        without_keys: Leave the keys out.
    """

    folder: Path
    name: str | None = None
    passphrase: str | None = None
    without_keys: bool = False

    def open(self) -> tuple[BackupFolder, Snapshot, dict[str, bytes]]:
        """Return the folder, the backup and its keys; nothing has been written when something of it is missing.

        Raises:
            BackupError: there is no such backup, or its keys need another passphrase.
        """
        folder = BackupFolder(self.folder.expanduser().resolve())
        home_id = folder.home_id()
        snapshot = folder.snapshot(self.name or folder.newest_name())
        if not snapshot.keys_file or self.without_keys:
            return folder, snapshot, {}
        if self.passphrase is None:
            raise BackupError(
                "the keys of this backup are encrypted: give the passphrase with --passphrase-file or LAB_BACKUP_PASSPHRASE, or leave the "
                "keys out with --without-keys (pseudonyms of people are others from then on)"
            )
        return folder, snapshot, sealed.decrypt(folder, snapshot.keys_file, self.passphrase, home_id=home_id)
