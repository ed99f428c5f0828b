"""``lab backup``: making backups, looking at them, verifying them.

Belongs here: arguments and printing. Does not belong here: what a backup is (``lab_assets.ops.backup``).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from lab_assets.cli._governance import ByOption, JsonOption, actor_of, print_json, print_table
from lab_assets.cli._passphrase import PassphraseFile, WithoutKeys, stated_passphrase

if TYPE_CHECKING:
    from lab_assets.ops.backup.making import BackupReport

_MAKE = "make"


class MakesByDefault(TyperGroup):
    """A group in which a folder stands for the command that makes a backup there."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer's context is click's
        """Put the command in where none is named."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [_MAKE, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=MakesByDefault,
    help="Back the laboratory up while it runs: 'lab backup FOLDER'. Only what is new since the last backup is stored.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of backups; best on another disk.", show_default=False)]
Names = Annotated[list[str] | None, typer.Option("--backup", metavar="NAME", help="This backup; may be repeated. Default: all.")]


@app.command(_MAKE)
def make(
    folder: Folder,
    *,
    passphrase_file: PassphraseFile = None,
    without_keys: WithoutKeys = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy originals also where, on the same disk, another name of the file would do.")
    ] = False,
    keep: Annotated[int | None, typer.Option(min=1, help="Remove all but so many backups afterwards; default: none is removed.")] = None,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back the laboratory up into FOLDER (the word 'make' may be left out): a new or empty one, or that of earlier backups.

    Keys are encrypted with a passphrase. At a terminal, where none is stated and the folder has none yet, one is made and shown this once.
    """
    from dataclasses import asdict

    from lab_assets.governance.grants import require_manage
    from lab_assets.ops.backup.making import KeysChoice, make_backup
    from lab_assets.settings import get_settings
    from lab_assets.state.database import open_made

    settings = get_settings()
    engine = open_made(settings)
    if by is not None:
        require_manage(engine, by)
    report = make_backup(
        settings,
        engine,
        folder,
        by=actor_of(engine, by),
        keys=KeysChoice(passphrase=stated_passphrase(passphrase_file), leave_out=without_keys, may_make=sys.stdout.isatty()),
        copy_all=copy,
        keep=keep,
        say=(lambda _line: None) if as_json else lambda line: typer.echo(line, err=True),
    )
    if as_json:
        print_json(asdict(report))
    else:
        _print(report)
    raise typer.Exit(1 if report.damaged else 0)


def _print(report: BackupReport) -> None:
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in report.seconds.items())
    typer.echo(f"backup {report.name} in {report.folder} ({seconds})")
    linked = f", {report.linked_files} of them another name of the original file" if report.linked_files else ""
    typer.echo(
        f"{report.files} file(s), {report.bytes / 1e6:.1f} MB, {report.tables} table(s); "
        f"new: {report.new_files} file(s), {report.new_bytes / 1e6:.1f} MB{linked}"
    )
    typer.echo(f"keys: {report.keys}")
    if report.passphrase is not None:
        typer.secho(f"passphrase of the keys, shown this once: {report.passphrase}", bold=True)
        typer.echo("write it down and keep it apart from the backup: without it pseudonyms cannot be made as before")
    if report.waiting:
        typer.echo(f"{report.waiting} file(s) wait in the inbox and are in no backup until they are taken in")
    if report.removed:
        typer.echo(f"removed: {', '.join(report.removed)}")
    if report.same_disk:
        typer.secho("warning: the backup lies on the disk of the laboratory and is lost with it", err=True, fg="yellow")
    for place, problem in list(report.damaged.items())[:20]:
        typer.secho(f"damaged, not in the backup: {place}: {problem}", err=True, fg="red")
    if report.damaged:
        typer.secho(
            f"{len(report.damaged)} file(s) are damaged: 'lab scrub' names them, 'lab restore --only' brings them back", err=True, fg="red"
        )


@app.command("list")
def list_backups(folder: Folder, *, as_json: JsonOption = False) -> None:
    """Show the backups in FOLDER, newest first."""
    from lab_assets.ops.backup.folder import BackupFolder

    found = BackupFolder(folder.expanduser().resolve())
    found.home_id()
    rows = []
    for name in reversed(found.names()):
        each = found.snapshot(name)
        rows.append(
            {
                "backup": name,
                "made_at_utc": each.made_at_utc[:19],
                "files": len(each.files),
                "mb": round(each.bytes / 1e6, 1),
                "tables": len(each.tables),
                "keys": bool(each.keys_file),
                "damaged": len(each.damaged),
                "from": each.place,
            }
        )
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), (list(row.values()) for row in rows))
    else:
        typer.echo("no finished backup yet")


@app.command()
def verify(folder: Folder, *, names: Names = None, as_json: JsonOption = False) -> None:
    """Hash every file of the backups in FOLDER again, and name what is missing or changed; exit code 0 when all can be put back."""
    from dataclasses import asdict

    from lab_assets.ops.backup.folder import BackupError, BackupFolder
    from lab_assets.ops.backup.verifying import verify as hash_again

    found = BackupFolder(folder.expanduser().resolve())
    found.home_id()
    wanted = names or found.names()
    if not wanted:
        raise BackupError(f"{found.root} holds no finished backup")
    result = hash_again(found, wanted, say=(lambda _line: None) if as_json else lambda line: typer.echo(line, err=True))
    if as_json:
        print_json({"ok": result.ok, **asdict(result)})
    else:
        if result.findings:
            print_table(("place", "problem"), list(result.findings.items())[:50], title="not what was stored")
        for place, problem in list(result.damaged.items())[:20]:
            typer.secho(f"was damaged when it was backed up: {place}: {problem}", err=True, fg="red")
        typer.echo(
            f"{len(result.backups)} backup(s), {result.files} file(s), {result.bytes / 1e6:.1f} MB hashed: {len(result.findings)} finding(s)"
        )
    raise typer.Exit(0 if result.ok else 1)
