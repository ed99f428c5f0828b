"""``lab doctor``: whether the product can run on this machine.

Belongs here: printing and the exit code. Does not belong here: the checks (``lab_assets.ops.doctor``).
"""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Check Java, JARs, ports, disk, clock, rights, database and lake, and say how to mend what fails."""
    from dataclasses import asdict

    from lab_assets.ops.doctor import Check, examine
    from lab_assets.settings import get_settings, setting_problems

    try:
        checks, wrong = examine(get_settings()), False
    except ValueError as error:  # pydantic's: nothing can be looked at by settings that contradict themselves
        if not (problems := setting_problems(error)):
            raise
        mend = "correct it in the environment or in .env; until then nothing starts"
        checks, wrong = [Check(name="settings", state="failed", found=each, mend=mend) for each in problems], True
    healthy = all(check.state != "failed" for check in checks)
    if as_json:
        import orjson

        document = {"ok": healthy, "checks": [asdict(check) for check in checks]}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        colors = {"ok": "green", "warning": "yellow", "failed": "red"}
        table = Table("Check", "State", "Found", "How to mend it")
        for check in checks:
            table.add_row(check.name, f"[{colors[check.state]}]{check.state}[/]", escape(check.found), escape(check.mend))
        Console().print(table)
    raise typer.Exit(2 if wrong else 0 if healthy else 1)
