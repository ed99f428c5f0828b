"""The passphrase of a backup's keys: from a file, from the setting, or asked for.

Belongs here: where it comes from. Does not belong here: what is encrypted with it (``lab_assets.ops.backup.keys``).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="FILE", help="File whose first line is the passphrase of the keys; or set LAB_BACKUP_PASSPHRASE."
    ),
]
WithoutKeys = Annotated[bool, typer.Option("--without-keys", help="Leave the keys out: pseudonyms of people are others without them.")]


class PassphraseError(ValueError):
    """A passphrase was named that cannot be used."""


def stated_passphrase(file: Path | None) -> str | None:
    """Return the passphrase from a file or from the setting; ``None`` where neither states one.

    Raises:
        PassphraseError: the file cannot be read, or begins with an empty line.
    """
    from lab_assets.settings import get_settings

    if file is None:
        return get_settings().backup_passphrase or None
    try:
        first = file.read_text().split("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise PassphraseError(f"{file}: the passphrase cannot be read ({error})") from error
    if not first:
        raise PassphraseError(f"{file} begins with an empty line: write the passphrase there")
    return first


def asked_passphrase() -> str | None:
    """Ask for the passphrase where a person is at the terminal; ``None`` elsewhere."""
    if not sys.stdin.isatty():
        return None
    return str(typer.prompt("Passphrase of the keys in this backup", hide_input=True, err=True))
