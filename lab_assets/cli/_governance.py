"""What the governance commands share: the database, the acting account, tables for people, JSON for machines.

Belongs here: arguments and printing common to ``user``, ``grant``, ``tag``, ``audit``, ``query``, ``catalog``. Does not belong
here: any command.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from sqlalchemy import Engine

ORIGIN: Final = "cli"
_BORDER: Final = 3
_WIDEST_PROSE: Final = 24
"""Sentences are readable in a column of so many characters."""

_FEWEST_COLUMNS_SHOWN_BY_ROW: Final = 4
_WIDEST_FOLDED: Final = 1.25
"""A table of more than so many widths of the screen is printed row by row."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")]


def _stated(reason: str) -> str:
    from lab_assets.state.audit_chain import stated_reason

    return stated_reason(reason)


RequiredReason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.", show_default=False, callback=_stated)]
ByOption = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="USER", help="Act as this account, with its rights. Without it the shell acts: who owns the machine's files."
    ),
]


@contextmanager
def refusals() -> Iterator[None]:
    """Turn refusals and bad input into a line on stderr and exit code 1; what the environment does is said by the root command.

    Raises:
        EnvironmentFaultError: the environment kept something from being done.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from lab_assets.environment_errors import naming_environment_faults
    from lab_assets.governance.gateway import QueryFailedError
    from lab_assets.governance.policy import PolicyError
    from lab_assets.lake.opening import DamagedTableError
    from lab_assets.settings import get_settings
    from lab_assets.state.audit_chain import AuditError

    try:
        with naming_environment_faults(get_settings()):
            yield
    except QueryFailedError as error:  # who has the machine may know in which way a table is damaged
        fail(str(error.__cause__ if isinstance(error.__cause__, DamagedTableError) else error))
    except (ValueError, PermissionError, AuditError, PolicyError, DamagedTableError, KeyError) as error:
        fail(str(error.args[0]) if error.args else str(error))
    except SQLAlchemyError as error:
        fail(f"the database refused: {str(error).splitlines()[0]}")


def fail(message: str) -> None:
    """Print a line to stderr and leave with exit code 1."""
    typer.secho(message, err=True, fg="red")
    raise typer.Exit(1)


def database() -> Engine:
    """Open the database of the laboratory that was made; a command that only needs one makes none."""
    from lab_assets.settings import get_settings
    from lab_assets.state.database import open_made

    return open_made(get_settings())


def actor_of(engine: Engine, user: str | None) -> str:
    """Return who acts: an enabled account, or the shell.

    Raises:
        ValueError: no such account, or it is disabled.
    """
    if user is None:
        return f"shell:{getpass.getuser()}"
    from lab_assets.governance.accounts import UserError, get_user

    with engine.connect() as connection:
        if get_user(connection, user).disabled:
            raise UserError(f"the account {user!r} is disabled")
    return user


def print_json(document: Any) -> None:
    """Print one JSON document; times as ISO 8601, NaN as null."""
    sys.stdout.write(json.dumps(_plain(document), ensure_ascii=False, indent=2) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """Print a table for people; nothing in a cell is taken for markup or control.

    A table much wider than the screen is printed row by row, one field a line: folded into narrow columns nobody can read it.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lab_assets.state.audit_chain import clean

    console = Console()
    names = [Text(clean(column, 200)) for column in columns]
    cells = [[Text("" if value is None else clean(str(_plain(value)), 400)) for value in row] for row in rows]
    table = Table(title=title or None, title_justify="left")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in cells:
        table.add_row(*row)
    needed = sum(_readable_width(column) + _BORDER for column in zip(names, *cells, strict=True))
    if len(names) >= _FEWEST_COLUMNS_SHOWN_BY_ROW and needed > _WIDEST_FOLDED * console.width:
        _print_by_row(console, names, cells, title)
    else:
        console.print(table)


def _readable_width(column: Sequence[Text]) -> int:
    """Return the width that a column needs: its longest word, or its longest text where that is no sentence."""
    longest_word = max((len(word) for cell in column for word in cell.plain.split()), default=0)
    return max(longest_word, min(max(cell.cell_len for cell in column), _WIDEST_PROSE))


def _print_by_row(console: Console, names: Sequence[Text], cells: Sequence[Sequence[Text]], title: str) -> None:
    from rich.table import Table

    if title:
        console.print(title, style="italic", markup=False)
    for number, row in enumerate(cells, start=1):
        console.rule(f"{number} of {len(cells)}", align="left", style="dim")
        fields = Table.grid(padding=(0, 2))
        fields.add_column(style="bold", no_wrap=True)
        fields.add_column(overflow="fold")
        for name, cell in zip(names, row, strict=True):
            fields.add_row(name, cell)
        console.print(fields)
