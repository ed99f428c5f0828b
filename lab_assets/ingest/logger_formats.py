"""The laboratory's own descriptions of loggers: YAML files in ``LAB_HOME/formats``.

Belongs here: finding them. Does not belong here: what they may say (``lab_assets.sources.tables.logger_description``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab_assets.sources.core.loggers import LoggerDescription


def load_loggers(folder: Path) -> tuple[tuple[LoggerDescription, ...], list[str]]:
    """Read all descriptions of a folder, by name.

    Args:
        folder: Such as ``data/formats``; it need not exist.

    Returns:
        The descriptions, and for each file that is none what is wrong with it: one bad description stops no other file.
    """
    paths = sorted((*folder.glob("*.yaml"), *folder.glob("*.yml")))
    if not paths:
        return (), []
    from lab_assets.sources.tables.logger_description import DescriptionError, parse_description

    described: list[LoggerDescription] = []
    problems: list[str] = []
    for path in paths:
        try:
            described.append(parse_description(path.read_text(encoding="utf-8"), path.stem))
        except (DescriptionError, OSError, UnicodeDecodeError) as error:
            problems.append(f"{path.name}: {error}")
    return tuple(described), problems
