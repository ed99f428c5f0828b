"""What the machine, the account or the settings keep the product from doing, in words for people.

Belongs here: the kinds of such errors, recognising one by what it caused in Python, Rust, the JVM or SQLite, and what to do about it.
Does not belong here: where it is shown (``lab_assets.cli.main``, ``lab_assets.service.problems``, a run's failed step), looking for
trouble before it comes (``lab_assets.ops.doctor``).

A full disk is an ``OSError`` in Python, a panic in Rust, "disk I/O error" in SQLite and a Java exception in Spark. So the whole chain
of an error is looked at, and where it names no place, the laboratory's folders are tried.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import psutil

from lab_assets.disk import LEAST_FREE_FILES, existing, kept_folders, room_of, unwritable
from lab_assets.settings import Settings, setting_problems


class Kind(StrEnum):
    """What kept something from being done; the value is stable and stands in JSON answers."""

    DISK_FULL = "disk_full"
    NO_INODES = "no_inodes"
    QUOTA = "quota"
    FILE_SIZE = "file_size"
    READ_ONLY = "read_only"
    NO_RIGHT = "no_right"
    DISK_ERROR = "disk_error"
    NO_HANDLES = "no_handles"
    NO_PROCESSES = "no_processes"
    NO_MEMORY = "no_memory"
    PORT_TAKEN = "port_taken"
    WRONG_SETTING = "wrong_setting"
    UNREADABLE_FILE = "unreadable_file"
    UNREACHABLE = "unreachable"
    DATABASE_BUSY = "database_busy"
    OLDER_DATABASE = "older_database"
    NEWER_DATABASE = "newer_database"
    NEWER_TABLE = "newer_table"
    FOREIGN_COMMITS = "foreign_commits"
    OLDER_SERVER = "older_server"
    OTHER_HOME = "other_home"
    OTHER_KEY = "other_key"
    NOT_SHARED = "not_shared"


@dataclass(frozen=True, kw_only=True)
class _Words:
    what: str
    what_to_do: str


_AGAIN: Final = "nothing is lost, free space and run it again"
_WORDS: Final = {
    Kind.DISK_FULL: _Words(what=os.strerror(errno.ENOSPC), what_to_do=_AGAIN),
    Kind.NO_INODES: _Words(
        what=f"{os.strerror(errno.ENOSPC)}, there are no free inodes",
        what_to_do="nothing is lost, delete or move away many small files ('df -i' shows it) and run it again",
    ),
    Kind.QUOTA: _Words(what=os.strerror(errno.EDQUOT), what_to_do=_AGAIN),
    Kind.FILE_SIZE: _Words(
        what=os.strerror(errno.EFBIG), what_to_do="raise the limit on the size of a file ('ulimit -f') and run it again"
    ),
    Kind.READ_ONLY: _Words(what=os.strerror(errno.EROFS), what_to_do="mount it for writing, or set LAB_HOME to another folder"),
    Kind.NO_RIGHT: _Words(
        what=os.strerror(errno.EACCES),
        what_to_do="run it as the account that owns the laboratory, or give this account the right to read and write its files",
    ),
    Kind.DISK_ERROR: _Words(
        what="the disk answered with an error",
        what_to_do="look at the system's log for the disk or the network drive, then see 'lab doctor'",
    ),
    Kind.NO_HANDLES: _Words(
        what=os.strerror(errno.EMFILE), what_to_do="raise the limit, for example with 'ulimit -n 4096', and run it again"
    ),
    Kind.NO_PROCESSES: _Words(
        what="no further process or thread can be started",
        what_to_do="end others of this account, or raise the limit ('ulimit -u', or the container's), and run it again",
    ),
    Kind.NO_MEMORY: _Words(
        what="out of memory",
        what_to_do="end other programs, or give this one more memory ('ulimit -v', or the container's), and run it again",
    ),
    Kind.PORT_TAKEN: _Words(what="a port is in use", what_to_do="end what uses it, or set the port's variable to another"),
    Kind.WRONG_SETTING: _Words(
        what="a setting is wrong", what_to_do="correct it in the environment or in .env; 'lab doctor' shows all of them"
    ),
    Kind.UNREADABLE_FILE: _Words(
        what="a file of the laboratory cannot be read",
        what_to_do="'lab doctor' and 'lab scrub' say what is damaged; put it back from a backup",
    ),
    Kind.UNREACHABLE: _Words(
        what="a server does not answer", what_to_do="see that it runs and that its address is right; 'lab doctor' checks both"
    ),
    Kind.DATABASE_BUSY: _Words(
        what="another process holds the database for longer than half a minute",
        what_to_do="run it again; where it stays so, 'lab status' shows what runs",
    ),
    Kind.OLDER_DATABASE: _Words(
        what="the database is of an older version",
        what_to_do="'lab upgrade' keeps a copy of it and brings it to this version; so do 'lab up' and 'lab ingest'",
    ),
    Kind.NEWER_DATABASE: _Words(
        what="the database was written by a newer version",
        what_to_do="update the product, or put back the copy that was kept when it was upgraded; nothing was changed",
    ),
    Kind.NEWER_TABLE: _Words(
        what="a table was written in a newer protocol",
        what_to_do="the table is whole: update the product, or read it with the program that wrote it; do not restore it from a backup",
    ),
    Kind.FOREIGN_COMMITS: _Words(
        what="another program wrote to a table",
        what_to_do="'lab table history' shows which versions; 'lab table restore' takes them back, 'lab table rebuild' makes it anew",
    ),
    Kind.OLDER_SERVER: _Words(
        what="a server of an older version of the product still runs",
        what_to_do="'lab down' ends it, and 'lab up' starts one of this version",
    ),
    Kind.OTHER_HOME: _Words(
        what="the database belongs to another laboratory",
        what_to_do="give each LAB_HOME a database of its own (LAB_DB_URL): two laboratories on one would take each other's files",
    ),
    Kind.OTHER_KEY: _Words(
        what="the key of pseudonyms is not the laboratory's",
        what_to_do="put back run/mask.key from the backup of the keys, or copy it from the home that made it; with another one all pseudonyms change",
    ),
    Kind.NOT_SHARED: _Words(
        what="Spark's workers do not share a folder with this process",
        what_to_do="mount LAB_HOME (and the lake) on every host of LAB_SPARK_REMOTE under the same path; until then no file is taken there",
    ),
}


class EnvironmentFaultError(Exception):
    """The environment keeps something from being done: its message is what happened, where, how much, and what to do.

    Attributes:
        kind: What kind it is.
        what: What happened.
        where: Place: a path, a port, the name of a variable or table; may be empty.
        how_much: Numbers that belong to it; may be empty.
        what_to_do: What helps.
    """

    def __init__(self, kind: Kind, where: str = "", how_much: str = "", *, what: str = "", what_to_do: str = "") -> None:
        self.kind = kind
        self.what = what or _WORDS[kind].what
        self.where = where
        self.how_much = how_much
        self.what_to_do = what_to_do or _WORDS[kind].what_to_do
        place = " ".join(each for each in (where, how_much) if each)
        super().__init__(f"{self.what}{f': {place}' if place else ''}; {self.what_to_do}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.kind, self.where, self.how_much, self.what, self.what_to_do)

    @property
    def document(self) -> dict[str, str]:
        """Return it for machines."""
        named = {name: str(getattr(self, name)) for name in ("kind", "what", "where", "how_much", "what_to_do")}
        return {**named, "message": str(self)}

    @property
    def public(self) -> str:
        """Return it without a place, for those who may not know how the machine is laid out."""
        return f"{self.what}; {self.what_to_do}"


def _again(kind: Kind, where: str, how_much: str, what: str, what_to_do: str) -> EnvironmentFaultError:
    return EnvironmentFaultError(kind, where, how_much, what=what, what_to_do=what_to_do)


_BY_ERRNO: Final = {
    errno.ENOSPC: Kind.DISK_FULL,
    errno.EDQUOT: Kind.QUOTA,
    errno.EFBIG: Kind.FILE_SIZE,
    errno.EROFS: Kind.READ_ONLY,
    errno.EACCES: Kind.NO_RIGHT,
    errno.EPERM: Kind.NO_RIGHT,
    errno.EIO: Kind.DISK_ERROR,
    errno.ESTALE: Kind.DISK_ERROR,
    errno.EMFILE: Kind.NO_HANDLES,
    errno.ENFILE: Kind.NO_HANDLES,
    errno.ENOMEM: Kind.NO_MEMORY,
    errno.EAGAIN: Kind.NO_PROCESSES,
    errno.EADDRINUSE: Kind.PORT_TAKEN,
}
_SIGNS: Final = (
    ("database or disk is full", Kind.DISK_FULL),
    ("StorageFull", Kind.DISK_FULL),
    *((os.strerror(number), kind) for number, kind in _BY_ERRNO.items() if number not in {errno.EAGAIN, errno.EPERM, errno.EIO}),
    ("readonly database", Kind.READ_ONLY),
    ("unable to open database file", Kind.DISK_ERROR),
    ("disk I/O error", Kind.DISK_ERROR),
    ("database is locked", Kind.DATABASE_BUSY),
    ("java.lang.OutOfMemoryError", Kind.NO_MEMORY),
    ("bad_alloc", Kind.NO_MEMORY),
    ("can't start new thread", Kind.NO_PROCESSES),
    ("minimum reader version", Kind.NEWER_TABLE),
    ("Unsupported: Feature", Kind.NEWER_TABLE),
    ("Unsupported reader features", Kind.NEWER_TABLE),
    ("Unsupported table features", Kind.NEWER_TABLE),
    ("Can't locate revision", Kind.NEWER_DATABASE),
    ("Connection refused", Kind.UNREACHABLE),
    ("could not translate host name", Kind.UNREACHABLE),
    ("No space left", Kind.DISK_FULL),
)
"""How libraries report it; what they say is looked through in this order."""

_UNCLEAR: Final = frozenset({Kind.DISK_ERROR, Kind.READ_ONLY, Kind.DISK_FULL, Kind.NO_RIGHT})
"""Kinds whose signs SQLite gives for one another: what the folders answer decides."""
_PATH: Final = re.compile(r"""(?<![\w:/.])/(?:[^\s:'"#,;()]+)""")
_SPARE_HANDLES: Final = 6
"""Files that opening an SQLite database takes."""
_ROOMY_BYTES: Final = 2**30


def fault_of(error: BaseException, settings: Settings | None = None) -> EnvironmentFaultError | None:
    """Return what the environment did, as an error or what caused it shows; ``None`` where nothing shows it.

    Args:
        error: What was raised.
        settings: Whose folders are tried where the error names no place; ``None`` where they cannot be known.
    """
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, EnvironmentFaultError):
            return each
        if type(each).__module__.startswith("pydantic") and (problems := setting_problems(each)):
            return EnvironmentFaultError(Kind.WRONG_SETTING, "; ".join(problems))
    for each in chain:
        if (kind := _kind_of(each)) is not None:
            return _placed(kind, each, settings)
    return None


def fault_in_text(text: str, settings: Settings | None = None) -> EnvironmentFaultError | None:
    """Return what the environment did, as the text of an error shows that was raised in another process; see ``fault_of``."""
    if (found := _read_again(text.strip())) is not None:
        return found
    kind = _kind_in(text)
    return None if kind is None else _placed(kind, RuntimeError(text), settings)


@contextmanager
def naming_environment_faults(settings: Settings) -> Iterator[None]:
    """Turn whatever the environment causes in Spark, Delta, MLflow or SQLite into one line that says what to do.

    Raises:
        EnvironmentFaultError: the body failed because of it.
    """
    try:
        yield
    except EnvironmentFaultError:
        raise
    except Exception as error:
        fault = fault_of(error, settings)
        if fault is None:
            raise
        raise fault from error


def _read_again(text: str) -> EnvironmentFaultError | None:
    """Return the fault whose class and message are the text of an error."""
    name = f"{EnvironmentFaultError.__module__}.{EnvironmentFaultError.__qualname__}: "
    said = text.removeprefix(name)
    for kind, words in _WORDS.items() if said != text else ():
        if said.startswith((f"{words.what}: ", f"{words.what}; ")):
            rest = said.removeprefix(words.what).removeprefix(": ")
            place = rest.removesuffix(f"; {words.what_to_do}") if rest.endswith(words.what_to_do) else rest.rpartition("; ")[0]
            return EnvironmentFaultError(kind, place, what_to_do=rest.removeprefix(place).removeprefix("; "))
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what it holds and what caused it, each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        original = getattr(each, "orig", None)  # of SQLAlchemy
        context = None if each.__suppress_context__ else each.__context__
        waiting += [cause for cause in (original, each.__cause__, context, *inner) if isinstance(cause, BaseException)]


def _kind_of(error: BaseException) -> Kind | None:
    if isinstance(error, MemoryError):
        return Kind.NO_MEMORY
    if isinstance(error, OSError) and error.errno is not None:
        return None if hasattr(error, "characters_written") else _BY_ERRNO.get(error.errno)  # a full pipe is no lack of processes
    return _kind_in(str(error))


def _kind_in(text: str) -> Kind | None:
    return next((kind for sign, kind in _SIGNS if sign in text), None)


def _placed(kind: Kind, error: BaseException, settings: Settings | None) -> EnvironmentFaultError:
    """Say where it is and how much of what is left."""
    path = _path_of(error)
    if kind in _UNCLEAR and settings is not None:
        kind, path = _tried(kind, path, settings)
    if kind in {Kind.DISK_FULL, Kind.NO_INODES}:
        return _no_room(path, settings)
    if kind is Kind.NO_RIGHT:
        return EnvironmentFaultError(kind, *_owned(path))
    if kind is Kind.NO_HANDLES:
        return EnvironmentFaultError(
            kind, "this process", f"may hold {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} files open ('ulimit -n')"
        )
    if kind is Kind.NO_MEMORY:
        return EnvironmentFaultError(
            kind, "this process" if isinstance(error, MemoryError) else "a process of the laboratory", memory_words()
        )
    if kind is Kind.FILE_SIZE:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        how_much = "" if limit == resource.RLIM_INFINITY else f"may be no larger than {limit} bytes"
        return EnvironmentFaultError(kind, str(path or "a file of this process"), how_much)
    where = str(path) if path is not None else _first_line(error)
    return EnvironmentFaultError(kind, where)


def _tried(kind: Kind, path: Path | None, settings: Settings) -> tuple[Kind, Path | None]:
    """Ask the laboratory's folders what is the matter, where the error alone may mean one thing or another."""
    if kind is Kind.DISK_ERROR and _has_few_handles():
        return Kind.NO_HANDLES, path
    for folder, fault in unwritable(settings).items():
        found = _BY_ERRNO.get(fault.errno or 0)
        if found is not None:
            return (found, folder) if found is not kind or path is None else (kind, path)
    if kind in {Kind.DISK_ERROR, Kind.READ_ONLY}:
        database = settings.home / "lab.db"
        for each in (database, *(database.with_name(f"lab.db{end}") for end in ("-wal", "-shm"))):
            if os.path.lexists(each) and not os.access(each, os.R_OK | os.W_OK):
                return Kind.NO_RIGHT, each
    return kind, path


def _has_few_handles() -> bool:
    """Return whether this process holds about as many files open as it may; what it could not open it does not hold any more."""
    try:
        return len(os.listdir("/dev/fd")) + _SPARE_HANDLES > resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except OSError:
        return True


def _no_room(path: Path | None, settings: Settings | None) -> EnvironmentFaultError:
    """Name the disk that is full, and of what."""
    folders = [existing(path)] if path is not None else []
    if settings is not None:
        folders += [*kept_folders(settings), existing(Path(tempfile.gettempdir()))]
    rooms = [room_of(folder) for folder in folders]
    for room in rooms:
        if room.free_files is not None and room.free_files < min(LEAST_FREE_FILES, room.free_bytes // 4096):
            return EnvironmentFaultError(Kind.NO_INODES, f"the disk of {room.folder}", f"has {room.free_files} free inodes")
    least = min(rooms, key=lambda room: room.free_bytes, default=None)
    if least is None or least.free_bytes > _ROOMY_BYTES:
        return EnvironmentFaultError(Kind.DISK_FULL, "a disk that it writes to", "and that is not one of the laboratory's")
    return EnvironmentFaultError(Kind.DISK_FULL, f"the disk of {least.folder}", f"has {least.free_bytes // 1024} KiB free")


def _owned(path: Path | None) -> tuple[str, str]:
    """Say whose a path is that may not be read or written, and who asks."""
    if path is None:
        return "a file of the laboratory", f"(this runs as {_account(os.geteuid())})"
    try:
        owner = _account(existing(path).stat().st_uid)
    except OSError:
        return str(path), f"(this runs as {_account(os.geteuid())})"
    return str(path), f"(it belongs to {owner}, this runs as {_account(os.geteuid())})"


def _account(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"account {number}"


def memory_words() -> str:
    """Say how much memory there is for this process."""
    available = psutil.virtual_memory().available // 2**20
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    limited = "" if limit == resource.RLIM_INFINITY else f", its address space is limited to {limit // 2**20} MiB ('ulimit -v')"
    return f"(the machine has {available} MiB available{limited})"


def _path_of(error: BaseException) -> Path | None:
    """Return the path that an error names."""
    if isinstance(error, OSError) and isinstance(error.filename, str | bytes):
        return Path(os.fsdecode(error.filename))
    found = _PATH.search(str(error).partition("\n[SQL")[0])
    return Path(found[0].rstrip(".")) if found else None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
