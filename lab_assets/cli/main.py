"""The ``lab`` command: what it is made of.

Belongs here: the list of commands, global options, what an error looks like. Does not belong here: any command.

Every command module keeps its heavy imports inside its functions, so this one starts at once. An error of the product's own
is a message for people: it is printed as one line on stderr with exit code 1, without a traceback. What the environment does (a full
disk, a wrong setting, ``lab_assets.environment_errors``) is one line with exit code 2, with ``--json`` a document on stdout as well.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from lab_assets.cli import (
    audit,
    backup,
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
    restore,
    run,
    schema,
    score,
    scrub,
    simulate,
    stability,
    table,
    tag,
    up,
    upgrade,
    user,
)
from lab_assets.cli import doctor as doctor_command
from lab_assets.cli._exit_codes import ENVIRONMENT
from lab_assets.cli._log_lines import logs_in_one_line

if TYPE_CHECKING:
    from lab_assets.fault_kinds import EnvironmentFaultError

_AS_JSON: Final = "lab.as_json"
_EXPECTED_FROM = ("lab_assets.", "sqlalchemy.exc", "deltalake.")


class OneLine:
    """Turns an error that is meant for people into one line and an exit code; others pass as they are."""

    def __init__(self, *, traceback: bool, as_json: bool = False) -> None:
        self.traceback = traceback
        self.as_json = as_json

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None) -> None:
        """Print the error.

        Raises:
            Exit: the error was printed.
        """
        if error is None or self.traceback or isinstance(error, typer.Exit | typer.Abort | KeyboardInterrupt | SystemExit | GeneratorExit):
            return
        if (fault := environment_fault(error)) is not None:
            raise self._told(fault) from error
        message = plain_error(error)
        if message is not None:
            typer.secho(f"error: {message}", err=True, fg="red")
            raise typer.Exit(1) from error

    def _told(self, fault: EnvironmentFaultError) -> typer.Exit:
        if self.as_json:
            import json

            typer.echo(json.dumps({"error": fault.document}, indent=2))
        typer.secho(f"error: {fault}", err=True, fg="red")
        return typer.Exit(ENVIRONMENT)


def environment_fault(error: BaseException) -> EnvironmentFaultError | None:
    """Return what the environment did, as an error shows; ``None`` for any other error."""
    from lab_assets.environment_errors import fault_of
    from lab_assets.settings import get_settings

    try:
        settings = get_settings()
    except ValueError:  # which is the fault itself, or stands behind it
        settings = None
    return fault_of(error, settings)


def plain_error(error: BaseException) -> str | None:
    """Return what to say about an error; ``None`` for a defect, whose traceback is wanted."""
    module = type(error).__module__
    if isinstance(error, OSError) and not module.startswith("lab_assets."):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else None
    if not f"{module}.".startswith(_EXPECTED_FROM):
        return None
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return text.splitlines()[0] if module.startswith("sqlalchemy") else text


def warn_of_misspelt_settings() -> None:
    """Name the variables that set nothing but are like one that would, once a command has read the settings."""
    if (settings := sys.modules.get("lab_assets.settings")) is None:
        return
    for name, right in settings.unknown_variables().items():
        if right:
            typer.secho(f"warning: {name} sets nothing; did you mean {right}?", err=True, fg="yellow")


class LabGroup(TyperGroup):
    """The root group, with one place for errors."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        """Read the arguments, and note whether a machine reads the answer."""
        ctx.meta[_AS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: typer.Context) -> Any:
        """Run the command that was named."""
        if not ctx.params.get("traceback"):
            logs_in_one_line()
        with OneLine(traceback=bool(ctx.params.get("traceback")), as_json=bool(ctx.meta.get(_AS_JSON))):
            try:
                return super().invoke(ctx)
            finally:
                warn_of_misspelt_settings()


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
app.command("upgrade", rich_help_panel=_LAB)(upgrade.upgrade)
app.add_typer(backup.app, name="backup", rich_help_panel=_LAB)
app.command("restore", rich_help_panel=_LAB)(restore.restore)
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
