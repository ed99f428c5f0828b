"""What the environment may keep the product from doing: the kinds, each with its words, and the error that carries them.

Belongs here: names and words. Does not belong here: recognising one (``lab_assets.environment_errors``).
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


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
    NO_LABORATORY = "no_laboratory"
    OTHER_HOME = "other_home"
    OTHER_KEY = "other_key"
    NOT_SHARED = "not_shared"
    UNFINISHED_RESTORE = "unfinished_restore"


@dataclass(frozen=True, kw_only=True)
class _Words:
    what: str
    what_to_do: str


_AGAIN: Final = "nothing is lost, free space and run it again"
WORDS: Final = {
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
    Kind.NO_LABORATORY: _Words(
        what="no laboratory",
        what_to_do="'lab demo', 'lab up' or 'lab ingest' makes one; where one should be, correct LAB_HOME or mount its disk; nothing was made",
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
    Kind.UNFINISHED_RESTORE: _Words(
        what="a restore into this place is not finished, and until it is this is no laboratory",
        what_to_do="nothing was changed, finish it with 'lab restore'",
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
        self.what = what or WORDS[kind].what
        self.where = where
        self.how_much = how_much
        self.what_to_do = what_to_do or WORDS[kind].what_to_do
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
