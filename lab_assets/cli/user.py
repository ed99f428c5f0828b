"""``lab user``: accounts.

Belongs here: arguments and printing. Does not belong here: what an account is.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lab_assets.cli._governance import (
    ORIGIN,
    ByOption,
    JsonOption,
    ReasonOption,
    actor_of,
    database,
    print_json,
    print_table,
    refusals,
)

app = typer.Typer(help="Accounts of people: one account is one person, disabled but never deleted.", no_args_is_help=True)

RoleOption = Annotated[list[str], typer.Option("--role", help="Role; may be given more than once.")]
StdinOption = Annotated[bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")]


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _manager(user: str | None) -> str:
    """Return the acting account, which manages the catalogue, or the shell."""
    from lab_assets.governance.grants import require_manage

    engine = database()
    actor = actor_of(engine, user)
    require_manage(engine, actor)
    return actor


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Sign-in name.")],
    *,
    role: RoleOption,
    display_name: Annotated[str, typer.Option(help="Printed name, as signatures show it.")] = "",
    password_stdin: StdinOption = False,
    reason: ReasonOption = "",
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an account."""
    from lab_assets.governance.users import create_user
    from lab_assets.state.database import writing

    with refusals():
        actor = _manager(by)
        password = _password(from_stdin=password_stdin)
        with writing(database()) as connection:
            user = create_user(
                connection,
                name=name,
                password=password,
                roles=tuple(role),
                actor=actor,
                display_name=display_name,
                reason=reason,
                origin=ORIGIN,
            )
        if as_json:
            print_json({"name": user.name, "roles": user.roles, "disabled": user.disabled})
        else:
            typer.echo(f"created {user.name} ({', '.join(user.roles)})")


@app.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """List accounts."""
    from lab_assets.governance.accounts import list_users

    with refusals(), database().connect() as connection:
        users = list_users(connection)
    if as_json:
        keys = ("name", "display_name", "roles", "disabled", "locked_until", "last_sign_in_at")
        print_json([{key: getattr(user, key) for key in keys} for user in users])
        return
    rows = [(u.name, u.display_name, ", ".join(u.roles), "disabled" if u.disabled else "enabled", u.last_sign_in_at) for u in users]
    print_table(("name", "printed name", "roles", "state", "last sign-in"), rows)


@app.command()
def disable(
    name: str,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")],
    enable: Annotated[bool, typer.Option("--enable", help="Open the account again instead.")] = False,
    by: ByOption = None,
) -> None:
    """Close an account at once; its sessions end. ``--enable`` opens it again."""
    from lab_assets.governance.users import set_disabled

    with refusals():
        set_disabled(database(), name, disabled=not enable, actor=_manager(by), reason=reason, origin=ORIGIN)
    typer.echo(f"{'enabled' if enable else 'disabled'} {name}")


@app.command()
def passwd(name: str, password_stdin: StdinOption = False, reason: ReasonOption = "", by: ByOption = None) -> None:
    """Set an account's password, unlock it and end its sessions."""
    from lab_assets.governance.users import set_password

    with refusals():
        actor = _manager(by)
        set_password(database(), name, password=_password(from_stdin=password_stdin), actor=actor, reason=reason, origin=ORIGIN)
    typer.echo(f"password of {name} set")


@app.command()
def roles(name: str, role: RoleOption, reason: Annotated[str, typer.Option("--reason", help="Why.")], by: ByOption = None) -> None:
    """Give an account exactly these roles."""
    from lab_assets.governance.users import set_roles

    with refusals():
        set_roles(database(), name, roles=tuple(role), actor=_manager(by), reason=reason, origin=ORIGIN)
    typer.echo(f"{name}: {', '.join(role)}")
