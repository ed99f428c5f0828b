"""``lab scrub``: are the kept originals and the tables' files still what they were?

Belongs here: printing and the exit code. Does not belong here: the comparison (``lab_assets.ingest.scrub``).
"""

from __future__ import annotations

import typer

from lab_assets.cli._governance import JsonOption, database, print_json, print_table


def scrub(*, as_json: JsonOption = False) -> None:
    """Hash every original and every file of every table again, and name what is missing or changed."""
    from dataclasses import asdict

    from lab_assets.ingest.scrub import scrub as compare
    from lab_assets.settings import get_settings
    from lab_assets.state.ledger import Ledger

    say = (lambda _line: None) if as_json else (lambda line: typer.echo(line, err=True))
    report = compare(get_settings(), Ledger(database()), say=say)
    if as_json:
        print_json(asdict(report))
    else:
        if report.findings:
            columns = ("problem", "kind", "object", "told_as")
            print_table(columns, ([getattr(finding, name) for name in columns] for finding in report.findings))
            typer.secho("restore what is named from the last backup; nothing was changed", err=True, fg="red")
        typer.echo(f"{report.files} file(s), {report.bytes / 1e6:.1f} MB hashed: {len(report.findings)} finding(s)")
    raise typer.Exit(1 if report.findings else 0)
