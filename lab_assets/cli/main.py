"""The ``lab`` command: what it is made of.

Belongs here: the list of commands, global options, what an error looks like. Does not belong here: any command.

Every command module keeps its heavy imports inside its functions, so this one starts at once. An error of the product's own
is a message for people: it is printed as one line on stderr with exit code 1, without a traceback.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lab_assets.cli import (
    audit,
    catalog,
    demo,
    drift,
    explain,
    grant,
    ingest,
    maintain,
    model,
    peaks,
    quarantine,
    query,
    read,
    reconcile,
    run,
    schema,
    score,
    scrub,
    simulate,
    stability,
    table,
    tag,
    up,
    user,
)
from lab_assets.cli import doctor as doctor_command

_EXPECTED_FROM = ("lab_assets.", "sqlalchemy.exc", "deltalake.")


class OneLine:
    """Turns an error that is meant for people into one line and exit code 1; others pass as they are."""

    def __init__(self, *, traceback: bool) -> None:
        self.traceback = traceback

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None) -> None:
        """Print the error.

        Raises:
            Exit: the error was printed.
        """
        if error is None or self.traceback:
            return
        message = plain_error(error)
        if message is not None:
            typer.secho(f"error: {message}", err=True, fg="red")
            raise typer.Exit(1) from error


def plain_error(error: BaseException) -> str | None:
    """Return what to say about an error; ``None`` for a defect, whose traceback is wanted."""
    module = type(error).__module__
    if module.startswith("pydantic") and hasattr(error, "errors"):
        return "; ".join(_setting_error(each) for each in error.errors())  # type: ignore[attr-defined]  # pydantic's ValidationError
    if isinstance(error, OSError) and not module.startswith("lab_assets."):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else None
    if not f"{module}.".startswith(_EXPECTED_FROM):
        return None
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return text.splitlines()[0] if module.startswith("sqlalchemy") else text


def _setting_error(each: dict[str, Any]) -> str:
    name = ".".join(str(part) for part in each["loc"])
    return f"setting {name if name.isupper() else f'LAB_{name.upper()}'}: {each['msg'].removeprefix('Value error, ')}"


class LabGroup(TyperGroup):
    """The root group, with one place for errors."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Run the command that was named."""
        with OneLine(traceback=bool(ctx.params.get("traceback"))):
            return super().invoke(ctx)


app = typer.Typer(
    name="lab",
    cls=LabGroup,
    help="A quality-control laboratory as a lakehouse: files in, governed tables, features, a model that QA approves.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"lab_assets {version('lab-assets')}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error comes from.")] = False,
) -> None:
    """Set what holds for every command."""
    del version, traceback  # read by _version and LabGroup
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a name no terminal can show is no error


_LAB, _DATA, _MODEL, _RIGHTS = "The laboratory", "Files and tables", "Model and decisions", "People and rights"

app.command("up", rich_help_panel=_LAB)(up.up)
app.command("down", rich_help_panel=_LAB)(up.down)
app.command("status", rich_help_panel=_LAB)(up.status)
app.command("doctor", rich_help_panel=_LAB)(doctor_command.doctor)
app.command("demo", rich_help_panel=_LAB)(demo.demo)
app.command("simulate", rich_help_panel=_LAB)(simulate.simulate)

app.command("read", rich_help_panel=_DATA)(read.read)
app.command("peaks", rich_help_panel=_DATA)(peaks.peaks)
app.add_typer(stability.app, name="stability", rich_help_panel=_DATA)
app.command("ingest", rich_help_panel=_DATA)(ingest.ingest)
app.command("query", rich_help_panel=_DATA)(query.query)
app.add_typer(catalog.app, name="catalog", rich_help_panel=_DATA)
app.add_typer(table.app, name="table", rich_help_panel=_DATA)
app.add_typer(run.app, name="run", rich_help_panel=_DATA)
app.command("maintain", rich_help_panel=_DATA)(maintain.maintain)
app.add_typer(quarantine.app, name="quarantine", rich_help_panel=_DATA)
app.add_typer(schema.app, name="schema", rich_help_panel=_DATA)
app.command("reconcile", rich_help_panel=_DATA)(reconcile.reconcile)
app.command("scrub", rich_help_panel=_DATA)(scrub.scrub)

app.command("score", rich_help_panel=_MODEL)(score.score)
app.command("explain", rich_help_panel=_MODEL)(explain.explain)
app.command("reproduce", rich_help_panel=_MODEL)(explain.reproduce)
app.add_typer(model.app, name="model", rich_help_panel=_MODEL)
app.command("drift", rich_help_panel=_MODEL)(drift.drift)

app.add_typer(user.app, name="user", rich_help_panel=_RIGHTS)
app.command("grant", rich_help_panel=_RIGHTS)(grant.grant)
app.command("revoke", rich_help_panel=_RIGHTS)(grant.revoke)
app.command("tag", rich_help_panel=_RIGHTS)(tag.tag)
app.command("mask", rich_help_panel=_RIGHTS)(tag.mask)
app.add_typer(audit.app, name="audit", rich_help_panel=_RIGHTS)
