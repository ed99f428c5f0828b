"""``lab tag`` and ``lab mask``: which columns are sensitive, and how they are hidden.

Belongs here: arguments and printing. Does not belong here: masks themselves.
"""

from __future__ import annotations

from typing import Annotated

import typer

from lab_assets.cli._governance import ORIGIN, ByOption, JsonOption, ReasonOption, actor_of, database, print_json, print_table, refusals


def tag(
    column: Annotated[str | None, typer.Argument(help="layer.table.column; without it all tagged columns are listed.")] = None,
    name: Annotated[str | None, typer.Argument(help="personal_name, customer, patient or formulation.")] = None,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag off.")] = False,
    reason: ReasonOption = "",
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """List tagged columns, or put a sensitivity tag on a column; its mask holds from the next query on."""
    from lab_assets.governance.grants import Stewardship
    from lab_assets.governance.policy import PolicyStore

    with refusals():
        engine = database()
        if column is not None:
            if name is None:
                raise typer.BadParameter("name the tag as well")
            steward = Stewardship(engine, actor=actor_of(engine, by), origin=ORIGIN)
            steward.set_tag(column, name, present=not remove, reason=reason)
        tags = PolicyStore(engine).current().tags
        rows = [(table, field, sorted(marks)) for table, fields in tags.items() for field, marks in fields.items()]
        if as_json:
            print_json([{"table": table, "column": field, "tags": marks} for table, field, marks in rows])
        elif column is not None:
            typer.echo(f"{column}: {'without' if remove else 'carries'} {name}")
        else:
            print_table(("table", "column", "tags"), [(table, field, ", ".join(marks)) for table, field, marks in rows])


def mask(
    tag_name: Annotated[str | None, typer.Argument(metavar="TAG", help="Tag; without it all masks are listed.")] = None,
    method: Annotated[str | None, typer.Argument(help="How it is hidden; left out, all methods are listed.")] = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """List how each tag is hidden and who sees it in clear, or set a tag's mask."""
    from lab_assets.contracts.core import SENSITIVITY_TAGS
    from lab_assets.governance.grants import Stewardship, list_clearances
    from lab_assets.governance.mask_methods import MASK_METHODS
    from lab_assets.governance.policy import PolicyStore

    with refusals():
        engine = database()
        if tag_name is not None:
            if method is None:
                known = ", ".join(f"{name} ({one.words})" for name, one in MASK_METHODS.items())
                raise typer.BadParameter(f"name the method as well: {known}")
            Stewardship(engine, actor=actor_of(engine, by), origin=ORIGIN).set_mask(tag_name, method, reason=reason)
        policy = PolicyStore(engine).current()
        with engine.connect() as connection:
            cleared = list_clearances(connection)
        rows = [(name, policy.mask_method(name), cleared.get(name, [])) for name in sorted(SENSITIVITY_TAGS)]
        if as_json:
            print_json([{"tag": name, "method": how, "roles_in_clear": roles} for name, how, roles in rows])
        else:
            print_table(("tag", "mask", "seen in clear by"), [(name, how, ", ".join(roles)) for name, how, roles in rows])
