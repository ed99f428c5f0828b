"""``lab restore``: a backup put back, whole or in part, and lost tables made anew from the originals.

Belongs here: arguments and printing. Does not belong here: doing it (``lab_assets.ops.backup``, ``lab_assets.ops.lake_from_raw``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab_assets.cli._governance import ByOption, JsonOption, actor_of, print_json
from lab_assets.cli._interrupts import saying_what_is_kept
from lab_assets.cli._passphrase import PassphraseFile, WithoutKeys, asked_passphrase, stated_passphrase

if TYPE_CHECKING:
    from lab_assets.ops.backup.parts import PartRestored
    from lab_assets.ops.backup.restore_report import Chosen, RestoreReport
    from lab_assets.ops.lake_from_raw import LakeRebuilt
    from lab_assets.settings import Settings


class RestoreError(ValueError):
    """What was asked for cannot be done in this way or now."""


def restore(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Folder that 'lab backup' wrote to.", show_default=False)
    ] = None,
    *,
    home: Annotated[Path | None, typer.Option("--home", metavar="PATH", help="Where the laboratory is made; default: LAB_HOME.")] = None,
    backup: Annotated[str | None, typer.Option("--backup", metavar="NAME", help="Which backup; default: the newest.")] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only", metavar="PLACE", help="Bring back only this into a laboratory that is there, such as lake/gold/suitability."
        ),
    ] = None,
    lake_from_raw: Annotated[
        bool, typer.Option("--lake-from-raw", help="Without a backup: make tables that are lost anew from the kept originals.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Lay aside what is in the place, instead of refusing.")] = False,
    passphrase_file: PassphraseFile = None,
    without_keys: WithoutKeys = False,
    without_damaged: Annotated[
        bool, typer.Option("--without-damaged", help="Leave out files that are damaged in the backup, and name them, instead of refusing.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the laboratory of a backup in an empty place, verified and held against itself; another path and machine will do.

    Exit code 0: everything is as it was. 1: something is not, and is named. After Ctrl-C it is 130, and the same command goes on; until
    it has finished, no other command takes the place for a laboratory.
    """
    from lab_assets.ops.backup.restore_report import Chosen
    from lab_assets.settings import get_settings

    if lake_from_raw:
        if folder is not None or only is not None or home is not None:
            raise RestoreError(
                "--lake-from-raw works on the laboratory of LAB_HOME and needs no backup: give neither FOLDER, --home nor --only"
            )
        _lake_from_raw(get_settings(), reason=reason, by=by, as_json=as_json)
        return
    if folder is None:
        raise RestoreError("name the folder of the backup; to make lost tables anew without one, give --lake-from-raw")
    settings = get_settings()
    if home is not None:
        settings = settings.model_copy(
            update={"home": home.expanduser().resolve(), "lake_uri": None, "db_url": None, "mlflow_tracking_uri": None}
        )
    _require_down(settings)
    chosen = Chosen(folder=folder, name=backup, passphrase=stated_passphrase(passphrase_file), without_keys=without_keys)
    if only is not None:
        _part(settings, chosen, only, reason=reason, by=by, as_json=as_json)
    else:
        _whole(settings, chosen, replace=replace, without_damaged=without_damaged, as_json=as_json)


def _require_down(settings: Settings) -> None:
    from lab_assets.ops.processes import read_state

    state = read_state(settings)
    running = [each.name for each in state.processes if each.process()] if state else []
    if running:
        raise RestoreError(f"the laboratory in {settings.home} is running ({', '.join(running)}): end it with 'lab down' first")


def _with_passphrase(chosen: Chosen) -> Chosen:
    """Return the choice with a passphrase that a person was asked for, where one is needed and there is a person."""
    from dataclasses import replace as changed

    from lab_assets.ops.backup.folder import BackupFolder

    if chosen.passphrase is not None or chosen.without_keys:
        return chosen
    found = BackupFolder(chosen.folder.expanduser().resolve())
    found.home_id()
    snapshot = found.snapshot(chosen.name or found.newest_name())
    return changed(chosen, passphrase=asked_passphrase()) if snapshot.keys_file else chosen


def _whole(settings: Settings, chosen: Chosen, *, replace: bool, without_damaged: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from lab_assets.ops.backup.going_on import choice_that_goes_on
    from lab_assets.ops.backup.restoring import restore as restore_home

    say = (lambda _line: None) if as_json else lambda line: typer.echo(line, err=True)
    goes_on = choice_that_goes_on(settings, chosen)
    if goes_on != chosen:
        say(f"going on with the restore of backup {goes_on.name}, which was interrupted here")
    chosen = _with_passphrase(goes_on)
    with saying_what_is_kept(lambda: _kept(settings)):
        report = restore_home(settings, chosen, by=_shell(), replace=replace, without_damaged=without_damaged, say=say)
    if as_json:
        print_json(asdict(report))
    else:
        _print_whole(report)
    raise typer.Exit(1 if report.problems else 0)


def _kept(settings: Settings) -> str:
    """Say what an interrupted restore leaves."""
    from lab_assets.unfinished_restore import command_to_finish, unfinished_restore

    mark = unfinished_restore(settings)
    if mark is None:
        return f"nothing of the backup was written to {settings.home}"
    return f"what was written stays, and {settings.home} is no laboratory until '{command_to_finish(settings, mark)}' has finished it"


def _shell() -> str:
    import getpass

    return f"shell:{getpass.getuser()}"


def _print_whole(report: RestoreReport) -> None:
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in report.seconds.items())
    typer.echo(f"backup {report.backup} is a laboratory in {report.home} ({seconds})")
    typer.echo(f"{report.files} file(s), {report.bytes / 1e6:.1f} MB, {report.tables} table(s), each with the digest of the backup")
    typer.echo(f"keys: {report.keys}; audit trail: {report.audit}")
    for line in report.reconciled:
        typer.echo(line)
    if report.ended_runs:
        typer.echo(f"{report.ended_runs} run(s) that were under way at the backup are ended; the next run takes up their work")
    if report.aside:
        typer.echo(f"what was in the place lies in {report.aside}")
    for name, value in report.settings.items():
        words = f"was {value!r} in the backed-up laboratory" if value else "had its default in the backed-up laboratory"
        typer.secho(f"warning: {name} {words}: files are read otherwise as long as it is another one here", err=True, fg="yellow")
    for problem in report.problems:
        typer.secho(problem, err=True, fg="red")
    typer.echo(f"next: LAB_HOME={report.home} lab doctor, then lab up")


def _part(settings: Settings, chosen: Chosen, only: str, *, reason: str, by: str | None, as_json: bool) -> None:
    from dataclasses import asdict

    from sqlalchemy.exc import SQLAlchemyError

    from lab_assets.ops.backup.parts import restore_part
    from lab_assets.state.audit_chain import AuditError, AuditLog
    from lab_assets.state.database import open_database

    if only.endswith(".key"):
        chosen = _with_passphrase(chosen)
    with saying_what_is_kept(
        lambda: f"what was brought back stays; 'lab restore {chosen.folder} --only {only}' again brings back the rest"
    ):
        done = restore_part(settings, chosen, only)
    if done.restored:
        new = {"backup": done.backup, "files": len(done.restored), "first": done.restored[:20], "aside": done.aside[:20]}
        try:
            engine = open_database(settings)
            AuditLog(engine).append(
                actor=actor_of(engine, by), action="home.restore_part", target=only, new=new, reason=reason or "asked for", origin="restore"
            )
        except (SQLAlchemyError, AuditError) as error:
            typer.secho(f"warning: this could not be written to the audit trail: {error}", err=True, fg="yellow")
    if as_json:
        print_json(asdict(done))
    else:
        _print_part(done)


def _print_part(done: PartRestored) -> None:
    typer.echo(f"{len(done.restored)} file(s) brought back from backup {done.backup}; {done.kept} were as they should be")
    for path in done.restored[:20]:
        typer.echo(f"  {path}")
    if done.aside:
        typer.echo(f"{len(done.aside)} file(s) that stood there lie aside, the first in {done.aside[0]}")
    typer.echo("next: 'lab doctor' and 'lab scrub' say whether all is whole; 'lab reconcile' holds ledger and tables against each other")


def _lake_from_raw(settings: Settings, *, reason: str, by: str | None, as_json: bool) -> None:
    import time
    from dataclasses import asdict

    from lab_assets.cli._lake import new_run_id, open_lake
    from lab_assets.governance.grants import require_manage
    from lab_assets.ops.lake_from_raw import rebuild_lake
    from lab_assets.state.database import is_made, open_database

    if not is_made(settings):
        raise RestoreError(
            f"there is no ledger in {settings.home}, and without it nobody knows what the originals are: restore it from a backup"
        )
    _require_down(settings)
    engine = open_database(settings)
    if by is not None:
        require_manage(engine, by)
    begun = time.monotonic()
    say = (lambda _line: None) if as_json else lambda line: typer.echo(f"{time.monotonic() - begun:6.1f} s  {line}", err=True)
    kept = "the tables that were made stay, and 'lab restore --lake-from-raw' again makes those that are still lost"
    with saying_what_is_kept(lambda: kept), open_lake(engine) as lake:
        done = rebuild_lake(lake, by=actor_of(engine, by), reason=reason or "tables were lost", run_id=new_run_id("restore"), say=say)
    if as_json:
        print_json({**asdict(done), "seconds": round(time.monotonic() - begun, 1)})
    else:
        _print_rebuilt(done, time.monotonic() - begun)
    raise typer.Exit(0 if done.is_whole else 1)


def _print_rebuilt(done: LakeRebuilt, seconds: float) -> None:
    if not done.did_anything:
        typer.echo("every table is there; nothing was made anew")
        return
    from lab_assets.stations.former_rows import LOST_WITH_A_TABLE

    read = done.replayed
    typer.echo(
        f"{len(done.bronze)} bronze table(s) from {read.files} original(s) in {read.batches} batch(es), {len(done.made)} made from them"
    )
    typer.echo(f"{done.scored} prediction(s) made anew; {seconds:.1f} s in all")
    for name in done.former_lost:
        typer.secho(f"{name}: {LOST_WITH_A_TABLE}", err=True, fg="yellow")
    for name, version in done.records_lost.items():
        if version > 0:
            typer.secho(
                f"{name}: its records up to version {version} are gone and made once only; a backup may hold them", err=True, fg="yellow"
            )
    for name, version in done.records_kept.items():
        typer.echo(f"{name}: kept as it was put back, before version {version}")
    for line in read.differing:
        typer.secho(f"read otherwise than then: {line}", err=True, fg="red")
    if not done.is_whole:
        typer.secho(
            f"{read.differing_files} file(s) are read otherwise than the ledger recorded: their readers, descriptions or settings have changed",
            err=True,
            fg="red",
        )
    if done.aside:
        typer.echo(f"what was left of damaged tables lies in {', '.join(done.aside)}")
