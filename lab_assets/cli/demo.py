"""``lab demo``: the whole loop on a simulated laboratory.

Belongs here: the command and its one-screen summary. Does not belong here: the steps (``lab_assets.ops.demo``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab_assets.cli._exit_codes import INTERRUPTED

if TYPE_CHECKING:
    from rich.console import Console

    from lab_assets.ops.demo import DemoReport
    from lab_assets.settings import Settings

_EXAMPLE_QUERY = "select state, count(*) from gold.lot_disposition group by state"
_ENOUGH = 150
"""Lots by which the demonstration's model passes the gate with the default seed."""
_METRICS = ("log_loss", "brier", "brier_skill", "auc", "ece")


def demo(
    *,
    lots: Annotated[int, typer.Option(min=30, help="Lots to simulate; with few of them the gate refuses the model.")] = _ENOUGH,
    seed: Annotated[int, typer.Option(help="Seed of the simulated laboratory.")] = 42,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Simulate a laboratory, ingest its files, train, approve, score, check drift; safe to run again.

    Where the gate refuses the model, nothing is promoted or scored, the tables stay as they are, and the exit code is 1. After Ctrl-C it
    is 130, and the same command goes on from there.
    """
    from dataclasses import asdict

    from rich.console import Console

    from lab_assets.ops.demo import Demo
    from lab_assets.settings import get_settings

    settings = get_settings()
    progress = Console(stderr=True)
    try:
        report = Demo(settings, lots=lots, seed=seed, say=lambda line: progress.print(f"[dim]{line}[/dim]")).run()
    except KeyboardInterrupt:
        typer.echo(f"interrupted: what was made in {settings.home} stays, and 'lab demo' again goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        import orjson

        typer.echo(orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2, default=str).decode())
    else:
        _print(Console(), report, settings)
    if report.refused:
        typer.secho(_refusal(report, settings, lots), err=True, fg="red")
        raise typer.Exit(1)


def _refusal(report: DemoReport, settings: Settings, lots: int) -> str:
    """Say why no model went into service, what stands all the same, and what to do."""
    return "\n".join(
        (
            "error: no model passed the gate; nothing was promoted and no run was scored",
            *(f"  {reason}" for reason in report.refused),
            f"The tables of {settings.home} are whole and can be used. A laboratory with this little evidence gets no model: repeat the",
            f"demonstration in a new folder (LAB_HOME), since this one keeps its files, with more lots ('lab demo --lots {max(_ENOUGH, 2 * lots)}')",
            "or another seed ('lab demo --seed ...').",
        )
    )


def _print(console: Console, report: DemoReport, settings: Settings) -> None:
    arrivals = ", ".join(f"{count} {state}" for state, count in sorted(report.arrivals.items()))
    console.print(f"\n[bold]Files in:[/bold] {arrivals}" + (f"; quarantined for: {_counted(report.reasons)}" if report.reasons else ""))
    console.print(f"[bold]Rows:[/bold] {_counted({name: count for name, count in report.rows.items() if count})}")
    if report.metrics:
        console.print(_metrics_table(report.metrics, report.serving))
    for decision in report.decisions:
        console.print(_decision(decision))
    if report.drift:
        console.print(f"[bold]Drift:[/bold] {report.drift['drifted']} of {report.drift['subjects']} subjects beyond their limits")
    if report.passwords:
        console.print("\n[bold]Demonstration users[/bold] (shown this once)")
        for name, word in report.passwords.items():  # a line each: names and words that a line break parts cannot be copied
            console.print(f"  {name:<10} {word}", markup=False, highlight=False)
    explained = (
        "" if report.refused else f"  lab explain {report.decisions[0]['prediction_id'] if report.decisions else 'PREDICTION_ID'} --as qa\n"
    )
    console.print(
        f"\n[bold]Next:[/bold] [cyan].venv/bin/lab up[/cyan] starts the services: pages http://{settings.host}:{settings.service_port}, "
        f"Dagster http://{settings.host}:{settings.dagster_port}, MLflow http://{settings.host}:{settings.mlflow_port}\n"
        f'  lab query "{_EXAMPLE_QUERY}" --as analyst\n'
        f"{explained}"
        "  lab audit verify"
    )
    console.print(
        f"[dim]{sum(report.seconds.values()):.0f} s: "
        + ", ".join(f"{name} {value:.0f}" for name, value in report.seconds.items())
        + "[/dim]"
    )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _metrics_table(metrics: dict[str, dict[str, float]], serving: str) -> Any:
    from rich.table import Table

    table = Table(title=f"{serving}, later lots it never saw", title_justify="left")
    table.add_column("metric")
    titles = {"model": "model", "baseline": "logistic baseline", "base_rate": "base rate", "attainable": "best attainable"}
    shown = [name for name in titles if name in metrics]
    for name in shown:
        table.add_column(titles[name], justify="right")
    for metric in _METRICS:
        table.add_row(metric, *(f"{metrics[name][metric]:.4f}" if metric in metrics[name] else "" for name in shown))
    return table


def _decision(row: dict[str, Any]) -> str:
    checks = f"; checks: {', '.join(row['checks'])}" if row["checks"] else ""
    drivers = "; ".join(row["drivers"])
    return (
        f"[bold]{row['path']}[/bold] lot {row['lot_id']} at {row['checkpoint_pct']} % of the run: "
        f"risk {row['risk']:.3f} ({row['risk_low']:.3f} to {row['risk_high']:.3f}){checks}\n  why: {drivers}  [dim]{row['prediction_id']}[/dim]"
    )
