"""``lab simulate``: make the files of the demonstration laboratory.

Belongs here: the command's options, its progress and its summary. Does not belong here: the simulation itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lab_assets.simulation.run import SimulationSummary

_SCENARIO_HELP = (
    "A disturbance, repeatable: software_update, lims_update, ageing_column, failing_pump, chamber_excursion, bad_analyst_day, "
    "drifting_product; starts at 60 % of the period or at NAME@YYYY-MM-DD."
)


def simulate(
    *,
    out: Annotated[Path, typer.Option(help="Folder that gets the drop folders, such as data/inbox.", show_default=False)],
    lots: Annotated[int, typer.Option(min=1, help="Lots made in the period.")] = 150,
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same options give the same bytes.")] = 7,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day of the period, UTC.")] = datetime(2024, 7, 1, tzinfo=UTC),
    months: Annotated[int, typer.Option(min=1, max=60, help="Length of the period.")] = 14,
    scenario: Annotated[list[str] | None, typer.Option(help=_SCENARIO_HELP)] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Truth file (.parquet or .csv), outside of OUT; default: truth/truth.parquet beside OUT.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Simulate a laboratory and write its files as instruments and LIMS would: traces, exports, logs, certificates, images."""
    from rich.console import Console
    from rich.progress import Progress

    from lab_assets.simulation.run import simulate as run_simulation

    errors = Console(stderr=True)
    with Progress(console=errors, transient=True) as bar:
        task = bar.add_task("simulating", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        try:
            summary = run_simulation(
                out,
                seed=seed,
                n_lots=lots,
                start=start.replace(tzinfo=UTC),
                months=months,
                scenarios=scenario or [],
                truth_path=truth,
                progress=advance,
            )
        except (ValueError, OSError) as error:
            bar.stop()
            errors.print(f"[red]simulate:[/red] {error}", highlight=False)
            raise typer.Exit(1) from error
    if as_json:
        import orjson

        typer.echo(orjson.dumps(summary.as_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(summary)


def _print(summary: SimulationSummary) -> None:
    """Print the summary for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("drop folder", "format", "files", title=f"{summary.out_dir}: {summary.n_files} files, {summary.n_bytes / 1e6:.0f} MB")
    for source, kinds in sorted(summary.files.items()):
        for kind, count in sorted(kinds.items()):
            table.add_row(source, kind, str(count))
    console.print(table)
    roles = ", ".join(f"{count} {role}s" for role, count in sorted(summary.injections.items()))
    console.print(f"{summary.n_lots} lots, {summary.n_samples} samples, {summary.n_sequences} sequences; injections: {roles}")
    methods = ", ".join(f"{method} {rate:.1%}" for method, rate in summary.oos_by_method.items())
    console.print(f"out of specification: {summary.oos_rate:.1%} of sample injections ({methods})")
    for name, begin in summary.scenarios.items():
        console.print(f"scenario {name} from {begin}")
    console.print(f"truth (not for the pipeline): {summary.truth_path}")
