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
from lab_assets.cli._interrupts import saying_what_is_kept
from lab_assets.cli._passphrase import PassphraseFile, WithoutKeys, stated_passphrase

if TYPE_CHECKING:
    from lab_assets.ops.backup.backup_report import BackupReport
    from lab_assets.ops.backup.folder import BackupFolder
    from lab_assets.ops.backup.verifying import Verified

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

    Exit code 1: something is damaged in the laboratory or in the folder, and is named; the rest is backed up.

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
    before = _names(folder)
    with saying_what_is_kept(lambda: _kept(folder, before)):
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
    raise typer.Exit(0 if report.ok else 1)


def _names(folder: Path) -> list[str]:
    from lab_assets.ops.backup.folder import BackupFolder

    return BackupFolder(folder.expanduser().resolve()).names()


def _kept(folder: Path, before: list[str]) -> str:
    """Say what an interrupted backup leaves."""
    if made := [name for name in _names(folder) if name not in before]:
        return f"backup {made[-1]} was made all the same; 'lab backup verify {folder} --backup {made[-1]}' looks at it"
    return f"the earlier backups in {folder} are as they were, what was copied is kept, and 'lab backup {folder}' again takes it up"


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
    if report.mended:
        typer.echo(f"{report.mended} stored file(s) had been damaged in the folder and were stored anew")
    for place, problem in list(report.damaged.items())[:20]:
        typer.secho(f"damaged, not in the backup: {place}: {problem}", err=True, fg="red")
    if report.damaged:
        typer.secho(
            f"{len(report.damaged)} file(s) are damaged: 'lab scrub' names them, 'lab restore --only' brings them back", err=True, fg="red"
        )
    for place, problem in list(report.damaged_contents.items())[:20]:
        typer.secho(f"damaged in the folder, and the laboratory holds it no more: {place}: {problem}", err=True, fg="red")
    for problem in report.damaged_lists.values():
        typer.secho(problem, err=True, fg="red")
    if report.damaged_contents or report.damaged_lists:
        typer.secho("this backup is made; see 'A damaged backup' in docs/backup.md for the earlier ones", err=True, fg="red")


@app.command("list")
def list_backups(folder: Folder, *, as_json: JsonOption = False) -> None:
    """Show the backups in FOLDER, newest first; exit code 1 where the list of one is damaged, which is named."""
    from lab_assets.ops.backup.folder import BackupFolder

    found = BackupFolder(folder.expanduser().resolve())
    found.home_id()
    damaged = found.damaged_lists()
    rows = [
        {
            "backup": each.name,
            "made_at_utc": each.made_at_utc[:19],
            "files": len(each.files),
            "mb": round(each.bytes / 1e6, 1),
            "tables": len(each.tables),
            "keys": bool(each.keys_file),
            "damaged": len(each.damaged),
            "from": each.place,
        }
        for each in reversed(found.whole())
    ]
    if as_json:
        print_json([*rows, *({"backup": name, "problem": problem} for name, problem in damaged.items())])
    elif rows:
        print_table(list(rows[0]), (list(row.values()) for row in rows))
    elif not damaged:
        typer.echo("no finished backup yet")
    if not as_json:
        for problem in damaged.values():
            typer.secho(problem, err=True, fg="red")
    raise typer.Exit(1 if damaged else 0)


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
    with saying_what_is_kept(lambda: f"nothing was changed; 'lab backup verify {folder}' begins anew"):
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
        if result.findings:
            typer.secho(_what_helps(result, found), err=True, fg="red")
    raise typer.Exit(0 if result.ok else 1)


def _what_helps(result: Verified, found: BackupFolder) -> str:
    """Say how damaged contents come back."""
    noted = "" if result.is_noted else f", once {found.root} can be written and this command has noted them there"
    return f"the next 'lab backup {found.root}' stores anew what the laboratory still holds of it{noted}; see 'A damaged backup' in docs/backup.md"
