"""``lab scrub``: are the kept originals and the tables' files still what they were?

Belongs here: printing and the exit code. Does not belong here: the comparison (``lab_assets.stations.governance.scrubbing``).
"""

from __future__ import annotations

from typing import Annotated

import typer

from lab_assets.cli._governance import JsonOption, database, print_json, print_table


def scrub(
    *,
    due: Annotated[
        bool, typer.Option("--due", help="Only the part of the files that is due today; all are seen in LAB_SCRUB_DAYS.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Hash originals and files of tables again, look at databases and models, and name what is missing or changed."""
    from dataclasses import asdict
    from datetime import UTC, datetime

    from lab_assets.settings import get_settings
    from lab_assets.state.ledger import Ledger
    from lab_assets.stations.governance.scrubbing import scrub_laboratory

    say = (lambda _line: None) if as_json else (lambda line: typer.echo(line, err=True))
    today = datetime.now(UTC).date() if due else None
    report = scrub_laboratory(get_settings(), Ledger(database()), today=today, say=say)
    if as_json:
        print_json(asdict(report))
    else:
        if report.findings:
            columns = ("problem", "kind", "object", "told_as")
            print_table(columns, ([getattr(finding, name) for name in columns] for finding in report.findings))
            typer.secho(
                "restore what is named from the last backup ('lab restore', see docs/recovery.md); nothing was changed", err=True, fg="red"
            )
        typer.echo(f"{report.files} file(s), {report.bytes / 1e6:.1f} MB hashed: {len(report.findings)} finding(s)")
    raise typer.Exit(1 if report.findings else 0)
