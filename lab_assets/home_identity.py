"""Which laboratory a home is, where it stands, and what has been made in it.

Belongs here: ``home.json``, telling a copy from the original, telling a new home from one that has lost something. Does not belong
here: how what is lost comes back (``lab restore``), what each process keeps in its own state file.

A backup and a copy keep the ``home_id``: they are the same laboratory. What belongs to one place and one start of the machine, such
as process numbers and ports, is stamped with a ``Place`` and holds only there.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import psutil
from filelock import FileLock

from lab_assets.settings import Settings
from lab_assets.unfinished_restore import require_no_unfinished_restore

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_LOCK_WAIT_S: Final = 30.0


class LostError(RuntimeError):
    """Something that was made in this home is not there any more; the message names it and the way back."""


class Kept(StrEnum):
    """What a home keeps in one file each and cannot make a second time; the value is its path below the home."""

    DATABASE = "lab.db"
    MLFLOW = "mlflow/mlflow.db"
    MASK_KEY = "run/mask.key"
    AUDIT_ANCHOR = "run/audit_anchor.jsonl"
    INBOX_MARK = "inbox/.lab-inbox"

    @property
    def way_back(self) -> str:
        """What is in it and how it comes back, for people."""
        return _WAY_BACK[self]


_WAY_BACK: Final = {
    Kept.DATABASE: "the ledger, the accounts and the audit trail are in it: put it back from a backup with 'lab restore'",
    Kept.MLFLOW: "the registered models are in it: put it back from a backup with 'lab restore'",
    Kept.MASK_KEY: "pseudonyms follow from it, and with another one they all change: put it back from the backup of the keys",
    Kept.INBOX_MARK: "it says which inbox is this laboratory's: mount the folder again that was there, or 'lab ingest --accept-inbox'",
    Kept.AUDIT_ANCHOR: "the audit trail is held against it: put it back from a backup, or see 'lab audit examine'",
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """One home in one place during one start of one machine.

    Attributes:
        home_id: The laboratory; a copy has the same.
        path: Where the home stands, without links.
        boot_id: The start of the machine.
    """

    home_id: str
    path: str
    boot_id: str


@dataclass(frozen=True, kw_only=True)
class _Record:
    home_id: str
    made_at_utc: str
    kept: tuple[str, ...]


def record_path(settings: Settings) -> Path:
    """Return where a home says which one it is."""
    return settings.home / "home.json"


def place_of(settings: Settings) -> Place:
    """Return which home this is and where; a home without a record gets one.

    Raises:
        LostError: the record cannot be read.
        EnvironmentFaultError: it would be written in a home whose restore was not finished.
        OSError: the home cannot be written.
    """
    return Place(home_id=_record(settings).home_id, path=str(settings.home.resolve()), boot_id=boot_id())


def boot_id() -> str:
    """Return what tells one start of this machine from the next."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))


def is_new(settings: Settings) -> bool:
    """Return whether nothing has been kept in a home yet; looking changes nothing.

    A home is new as long as it has no record, none of what is kept, and neither originals nor tables.
    """
    if record_path(settings).exists() or any(_path(settings, each).exists() for each in Kept):
        return False
    return not any(_has_files(folder) for folder in (settings.raw, *_lake_folder(settings)))


def has_made(settings: Settings, what: Kept) -> bool:
    """Return whether something has ever been made in this home; looking changes nothing."""
    known = _read(settings)
    if known is not None:
        return what in known.kept
    return what in _found(settings)


def must_hold(settings: Settings, what: Kept) -> bool:
    """Return whether something was made here, by evidence beside the file itself: the record, or originals and tables for the database."""
    known = _read(settings)
    if known is not None:
        return what in known.kept
    return what is Kept.DATABASE and _holds_rows(settings)


def require_kept(settings: Settings, what: Kept, path: Path | None = None) -> None:
    """Refuse to go on, or to make a second one, where something that was made is gone.

    Args:
        settings: Whose home.
        what: What is about to be opened.
        path: Where it lies; default: its place below the home.

    Raises:
        LostError: it was made here and is gone or empty.
    """
    place = path or _path(settings, what)
    if has_made(settings, what) and not (place.exists() and place.stat().st_size):
        raise LostError(f"{place} is {'empty' if place.exists() else 'gone'}, though it was made here before; {_WAY_BACK[what]}")


def note_made(settings: Settings, what: Kept) -> None:
    """Record that something exists from now on."""
    known = _read(settings)
    if known is None or what not in known.kept:
        _record(settings, also=(what,))


def give_up(settings: Settings, what: Kept) -> None:
    """Let something that is lost be made a second time: for commands by which a person decides that."""
    _record(settings, without=(what,))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _record(settings: Settings, *, also: Iterable[str] = (), without: Iterable[str] = ()) -> _Record:
    """Return the record with what else was made or given up, writing it where it says something else."""
    known, added, given_up = _read(settings), tuple(also), set(without)
    if known is not None and set(added) <= set(known.kept) and not given_up & set(known.kept):
        return known
    require_no_unfinished_restore(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    with FileLock(record_path(settings).with_suffix(".lock"), timeout=_LOCK_WAIT_S):
        known = _read(settings) or _Record(
            home_id=uuid.uuid4().hex, made_at_utc=datetime.now(UTC).isoformat(timespec="seconds"), kept=_found(settings)
        )
        record = _Record(
            home_id=known.home_id,
            made_at_utc=known.made_at_utc,
            kept=tuple(sorted({*known.kept, *added} - given_up)),
        )
        draft = record_path(settings).with_suffix(".draft")
        content = asdict(record)
        with draft.open("w") as file:
            json.dump({**content, "check": _check(content)}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(record_path(settings))
    return record


def _read(settings: Settings) -> _Record | None:
    path = record_path(settings)
    try:
        content = json.loads(path.read_bytes().decode())
        stated = content.pop("check", None)  # records of the first version have none
        if stated not in {None, _check(content)}:
            raise ValueError("it was changed")  # noqa: TRY301 - one answer for all that is wrong with it
        return _Record(
            home_id=str(content["home_id"]),
            made_at_utc=str(content["made_at_utc"]),
            kept=tuple(content["kept"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LostError(f"{path} cannot be read as the record of a laboratory; put it back from a backup with 'lab restore'") from error


def _check(content: Mapping[str, object]) -> str:
    """Return what tells that no letter of a record was changed since it was written."""
    return _digest(json.dumps(content, sort_keys=True).encode())


def _found(settings: Settings) -> tuple[str, ...]:
    """Return what a home without a record has kept: what lies there, and the database where there are originals or tables."""
    found: set[str] = {each for each in Kept if _path(settings, each).exists()}
    if _holds_rows(settings):
        found.add(Kept.DATABASE)
    return tuple(sorted(found))


def _holds_rows(settings: Settings) -> bool:
    """Return whether originals or tables lie in a home whose database lies there too."""
    return settings.db_url is None and any(_has_files(folder) for folder in (settings.raw, *_lake_folder(settings)))


def _path(settings: Settings, what: Kept) -> Path:
    return settings.home / what.value


def _lake_folder(settings: Settings) -> tuple[Path, ...]:
    lake = settings.lake.removeprefix("file://")
    return () if "://" in lake else (Path(lake),)


def _has_files(folder: Path) -> bool:
    """Return whether a folder holds anything, empty folders apart; a folder that is not there holds nothing."""
    return any(names for _, _, names in os.walk(folder))
