"""``lab grant`` and ``lab revoke``: rights.

Belongs here: arguments and printing. Does not belong here: what a right means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab_assets.cli._governance import ORIGIN, ByOption, JsonOption, ReasonOption, actor_of, database, print_json, print_table, refusals

if TYPE_CHECKING:
    from lab_assets.governance.grants import Stewardship

WordsArgument = Annotated[list[str] | None, typer.Argument(metavar="PRIVILEGE ON SECURABLE TO PRINCIPAL", help="ON, TO may be left out.")]
RevokeArgument = Annotated[list[str], typer.Argument(metavar="PRIVILEGE ON SECURABLE FROM PRINCIPAL", help="ON, FROM may be left out.")]
_JOINERS: Final = frozenset({"on", "to", "from"})


def _three(words: list[str]) -> tuple[str, str, str]:
    """Return privilege, securable and principal of a sentence."""
    parts = [word for word in words if word.lower() not in _JOINERS]
    if len(parts) != 3:
        raise typer.BadParameter(
            "name a privilege (BROWSE, SELECT, MODIFY, MANAGE, EXECUTE, APPROVE, TRAIN), a securable (lab, schema, schema.table, "
            "model:NAME) and a principal (role:NAME, user:NAME)"
        )
    return parts[0], parts[1], parts[2]


def _steward(by: str | None) -> Stewardship:
    from lab_assets.governance.grants import Stewardship

    engine = database()
    return Stewardship(engine, actor=actor_of(engine, by), origin=ORIGIN)


def grant(
    words: WordsArgument = None,
    *,
    reason: ReasonOption = "",
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a right, such as ``lab grant SELECT ON silver.lots TO role:viewer``; without arguments list all rights."""
    with refusals():
        if not words:
            _print_grants(as_json=as_json)
            return
        privilege, securable, principal = _three(words)
        new = _steward(by).grant(privilege, securable, principal, reason=reason)
        answer = {"privilege": privilege.upper(), "securable": securable, "principal": principal, "changed": new}
        _report(answer, f"{principal} {'now holds' if new else 'held already:'} {privilege.upper()} on {securable}", as_json=as_json)


def revoke(
    words: RevokeArgument,
    *,
    reason: ReasonOption = "",
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a right back where it was given, such as ``lab revoke SELECT ON silver.lots FROM role:viewer``."""
    with refusals():
        privilege, securable, principal = _three(words)
        if not _steward(by).revoke(privilege, securable, principal, reason=reason):
            raise ValueError(f"{principal} holds no {privilege.upper()} on {securable} itself; revoke what is inherited where it was given")
        answer = {"privilege": privilege.upper(), "securable": securable, "principal": principal, "changed": True}
        _report(answer, f"{principal} no longer holds {privilege.upper()} on {securable}", as_json=as_json)


def _print_grants(*, as_json: bool) -> None:
    from lab_assets.governance.grants import list_grants

    with database().connect() as connection:
        grants = list_grants(connection)
    columns = ("securable", "principal", "privilege", "granted_by", "granted_at")
    rows = [[getattr(item, column) for column in columns] for item in grants]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


def _report(answer: dict[str, object], line: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        typer.echo(line)
