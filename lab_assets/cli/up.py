"""``lab up``, ``lab down``, ``lab status``: the laboratory's processes.

Belongs here: options, printing, waiting for Ctrl-C. Does not belong here: starting and ending (``lab_assets.ops.processes``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lab_assets.ops.supervision.plan import UpState
    from lab_assets.settings import Settings

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def up(
    *,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay until Ctrl-C, then end everything.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start Spark, MLflow, Dagster and the service, wait until each answers, and show where they are. Safe to repeat."""
    from lab_assets.ops.processes import alone
    from lab_assets.ops.setting_checks import require_sound
    from lab_assets.ops.startup import bring_up, require_writable
    from lab_assets.settings import get_settings

    settings = get_settings()
    require_writable(settings)
    require_sound(settings)
    with ending_by_interrupt(), alone(settings, say=_say):
        state = bring_up(settings, say=_say)
    if as_json:
        _print_json({"home": str(settings.home), "processes": _rows(state)})
    else:
        _print_addresses(_rows(state), str(settings.home))
    if foreground:
        _stay(settings)


def down(*, as_json: JsonOption = False) -> None:
    """End everything that ``lab up`` started, with all descendants, and the Spark server. Safe to repeat."""
    from lab_assets.ops.processes import alone, stop
    from lab_assets.settings import get_settings

    settings = get_settings()
    with alone(settings, say=_say):
        ended = stop(settings, say=_say)
    if as_json:
        _print_json({"home": str(settings.home), "ended": ended})
    else:
        typer.echo(f"ended: {', '.join(ended)}" if ended else "nothing was running")


def status(*, as_json: JsonOption = False) -> None:
    """Show each process and how it is, runs under way, files waiting, the last ingestion and the model that serves."""
    from lab_assets.ops.status import lab_status
    from lab_assets.settings import get_settings

    laboratory = lab_status(get_settings()).model_dump(mode="json")
    if as_json:
        _print_json(laboratory)
    else:
        _print_status(laboratory)


def _say(line: str) -> None:
    typer.echo(line, err=True)


@contextmanager
def ending_by_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt as Ctrl-C does, once: what was begun is ended, and a second one does not cut that short."""
    import signal
    from types import FrameType

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupted) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _rows(state: UpState) -> list[dict[str, Any]]:
    from lab_assets.ops.processes import as_json

    return as_json(state)


def _stay(settings: Settings) -> None:
    """Stay until interrupted, and see to it that somebody watches; then end all."""
    import contextlib
    import os
    import signal
    import time

    from lab_assets.ops.processes import alone, ensure_watched, stop

    typer.echo("Ctrl-C ends everything", err=True)
    with ending_by_interrupt(), contextlib.suppress(KeyboardInterrupt):
        while True:
            ensure_watched(settings)
            time.sleep(1.0)
            if os.getpid() == 1:  # the first process of a container is the parent of every orphan
                _reap()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with alone(settings):
        stop(settings, say=_say)


def _reap() -> None:
    """Take note of ended children, which stay as zombies until somebody does."""
    import contextlib
    import os

    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _print_json(document: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _print_addresses(rows: list[dict[str, Any]], home: str) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("Process", "Id", "Address")
    for row in rows:
        table.add_row(row["name"], str(row["pid"]), row["address"] or "-")
    console.print(f"The laboratory in {home} is up", markup=False, highlight=False, soft_wrap=True)
    console.print(table)


def _print_status(laboratory: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    title = f"The laboratory in {laboratory['home']} is {'up' if laboratory['up'] else 'not up'}"
    rows = laboratory["components"]
    table = Table("Process", "State", "Id", "Address", "Memory", "Up for")
    table.columns[0].no_wrap = True
    table.columns[3].no_wrap = True  # an address is there to be opened
    table.columns[3].min_width = max(len(row["address"] or "-") for row in rows)
    colors = {"running": "green", "stopped": "dim", "starting": "yellow", "hung": "yellow", "died": "red"}
    for row in rows:
        memory = "-" if row["memory_mib"] is None else f"{row['memory_mib']:.0f} MiB"
        state = "[red]failing[/]" if row["failing"] else f"[{colors[row['state']]}]{row['state']}[/]"
        shown = (row["name"], state, str(row["pid"] or "-"), row["address"] or "-", memory, _duration(row["uptime_s"]))
        table.add_row(*shown)
    console.print(title, markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    for line in _facts(laboratory):
        console.print(escape(line), highlight=False, soft_wrap=True)


def _facts(laboratory: dict[str, Any]) -> list[str]:
    inbox, batch, serving = laboratory["inbox"], laboratory["last_batch"], laboratory["serving"]
    unseen = any("inbox" in problem or "database" in problem for problem in laboratory["problems"])
    nowhere = "cannot be looked at" if unseen else "no laboratory here yet"
    lines = [f"inbox: {nowhere}" if inbox is None else f"inbox: {inbox['ready']} ready, {inbox['growing']} still growing"]
    if batch is not None:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(batch["states"].items()))
        lines.append(f"last ingestion: batch {batch['batch']}, {batch['state']} at {batch['committed_at'] or batch['opened_at']}: {counts}")
    lines.append(
        f"model: {serving['model_name']} version {serving['version']} since {serving['since_utc']}" if serving else "model: none serves"
    )
    lines += [
        f"{each['name']}: started again {_times(each['restarts'])}; last: {each['last_end']}"
        for each in laboratory["components"]
        if each["restarts"]
    ]
    runs = laboratory["runs"]
    lines += [f"run {run['run_id'][:8]} of {run['job']}: {run['status'].lower()}, {_duration(run['age_s'])} old" for run in runs]
    if storage := laboratory["storage"]:
        lines.append(_storage(storage))
    if waiting := laboratory["to_make_anew"]:
        listed = ", ".join(f"{name} ({reason})" for name, reason in waiting.items())
        lines.append(f"to be made anew by the next run, or now by 'lab ingest': {listed}")
    return [*lines, *(f"problem: {problem}" for problem in laboratory["problems"])]


def _storage(storage: dict[str, Any]) -> str:
    """Say how large the home is, how it grows, and how long the disk lasts."""
    from lab_assets.upkeep.storage import in_words

    parts = ", ".join(f"{name} {in_words(size)}" for name, size in storage["parts_bytes"].items() if size >= 2**20)
    grows = storage["growth_bytes_day"]
    growth = "growth not known yet" if grows is None else f"{in_words(grows)} more a day"
    days = storage["days_until_full"]
    lasts = "" if days is None else f", full in {days:.0f} day(s)"
    return f"disk: {in_words(storage['total_bytes'])} ({parts or 'nearly empty'}); {growth}; {in_words(storage['free_bytes'])} free{lasts}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
