"""Readers that other packages bring: entry points of the group ``lab_assets.readers``.

Belongs here: finding them and leaving out what is no reader. Does not belong here: the product's own formats (``all_readers.py``).

Only packages that are installed beside this one are asked. A laboratory's folders are never looked at: they hold data, no code.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final, cast

from lab_assets.contracts.bronze import READER_TABLES
from lab_assets.sources.core.reader import Reader

GROUP: Final = "lab_assets.readers"
"""Name of the entry points' group."""

_FORMAT: Final = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What other packages bring.

    Attributes:
        readers: Readers that can be used, by the name of their entry point.
        problems: What was left out and why, for people.
    """

    readers: tuple[Reader, ...] = ()
    problems: tuple[str, ...] = ()


class NotAReaderError(ValueError):
    """An entry point that leads to something else than a usable reader."""


def find_readers(taken: Collection[str]) -> Installed:
    """Load the readers of all installed packages; one that cannot be used is left out and stops no other.

    Args:
        taken: Names of formats that are known already.
    """
    readers: dict[str, Reader] = {}
    problems: list[str] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        try:
            reader = _load(point, {*taken, *readers})
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a broken package must not cost the files of all others; panics are no Exception
            reason = str(error) if isinstance(error, NotAReaderError) else f"{type(error).__name__}: {error}"
            package = f" of package {point.dist.name}" if point.dist else ""
            problems.append(f"reader {point.name!r}{package} ({point.value}): {reason}")
        else:
            readers[reader.format] = reader
    return Installed(readers=tuple(readers.values()), problems=tuple(problems))


def _load(point: EntryPoint, taken: Collection[str]) -> Reader:
    """Return the reader an entry point names: a class without arguments, or an instance.

    Raises:
        NotAReaderError: it is no reader, its format is taken, or it fills a table that no contract describes.
    """
    loaded: object = point.load()
    reader = cast("type[object]", loaded)() if isinstance(loaded, type) else loaded
    if not isinstance(reader, Reader):
        raise NotAReaderError("it is no reader; one has format, tables, sniff and read")
    if not _FORMAT.fullmatch(reader.format):
        raise NotAReaderError(f"its format {reader.format!r} is not small letters, digits and _")
    if reader.format in taken:
        raise NotAReaderError(f"the format {reader.format!r} is known already")
    if unknown := set(reader.tables) - {contract.name for contract in READER_TABLES}:
        raise NotAReaderError(f"no contract describes {', '.join(sorted(unknown))}")
    return reader
