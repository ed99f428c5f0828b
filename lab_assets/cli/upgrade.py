"""``lab upgrade``: bring the database of an older version to this one's.

Belongs here: options and printing. Does not belong here: how (``lab_assets.state.upgrade``).
"""

from __future__ import annotations

from typing import Annotated

import typer

from lab_assets.cli._governance import JsonOption, print_json


def upgrade(
    *,
    backed_up: Annotated[
        bool, typer.Option("--backed-up", help="The database on a server (LAB_DB_URL) has been backed up; this command cannot copy one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep a copy of an older database and bring it to this version; where it is of this version, nothing is done. Safe to repeat.

    'lab up' and 'lab ingest' do the same before they begin. Commands that only look leave an older database as it is.
    """
    from dataclasses import asdict

    from lab_assets.settings import get_settings
    from lab_assets.state.database import HEAD
    from lab_assets.state.upgrade import upgrade as bring_up_to_date

    done = bring_up_to_date(get_settings(), say=say_on_stderr, server_is_backed_up=backed_up)
    if as_json:
        print_json({"upgraded": done is not None, **(asdict(done) if done else {"before": None, "after": HEAD, "copy": ""})})
    elif done is None:
        typer.echo(f"nothing to do: the database is at revision {HEAD}, or is not made yet")


def say_on_stderr(line: str) -> None:
    """Tell of an upgrade beside what a command prints."""
    typer.echo(line, err=True)
