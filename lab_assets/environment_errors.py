"""What the machine, the account or the settings keep the product from doing, in words for people.

Belongs here: recognising such an error by what it caused in Python, Rust, the JVM or SQLite, and saying where it is and how much is left.
Does not belong here: the kinds and their words (``lab_assets.fault_kinds``), where it is shown (``lab_assets.cli.main``, ``lab_assets.service.problems``, a run's failed step), looking for
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
from pathlib import Path
from typing import Final

import psutil

from lab_assets.disk import LEAST_FREE_FILES, existing, kept_folders, room_of, unwritable
from lab_assets.fault_kinds import WORDS, EnvironmentFaultError, Kind
from lab_assets.settings import Settings, setting_problems

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
    ("failed to map segment from shared object", Kind.NO_MEMORY),
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
    for kind, words in WORDS.items() if said != text else ():
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
        return len(list(Path("/dev/fd").iterdir())) + _SPARE_HANDLES > resource.getrlimit(resource.RLIMIT_NOFILE)[0]
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
