"""``lab explain`` and ``lab reproduce``: what a prediction rests on, and whether it comes out again.

Belongs here: the commands' options and their printing. Does not belong here: gathering (``lab_assets/service/evidence.py``), repeating
(``lab_assets/service/reproduction.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lab_assets.service.reproduction import Reproduction

PredictionId = Annotated[str, typer.Argument(help="Prediction, as the answer or the table ml.predictions names it.", show_default=False)]
AsUser = Annotated[str | None, typer.Option("--as", help="Account whose rights and masks apply; default: the owner of this machine.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def explain(prediction_id: PredictionId, *, as_user: AsUser = None, as_json: AsJson = False) -> None:
    """Show model, table versions, feature values, drivers, decision and raw file of one prediction."""
    from lab_assets.service.evidence import gather
    from lab_assets.service.local import NotAllowedError, command_reader, require
    from lab_assets.service.store import NotFoundError, find_record
    from lab_assets.service.table_cache import TableUnavailableError
    from lab_assets.settings import get_settings

    settings = get_settings()
    try:
        with command_reader(settings) as (models, views, policy):
            if as_user is not None:
                require(policy, as_user, "SELECT", "lab.ml.predictions")
            evidence = gather(settings, find_record(settings, prediction_id), models=models, views=views, user=as_user)
    except (NotAllowedError, NotFoundError, TableUnavailableError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if as_json:
        import orjson

        typer.echo(orjson.dumps(evidence, option=orjson.OPT_INDENT_2).decode())
    else:
        _print_explanation(evidence)


def reproduce(prediction_id: PredictionId, *, as_json: AsJson = False) -> None:
    """Repeat a prediction from the recorded table versions, trace and model bytes; exit code 0 when it comes out the same."""
    from lab_assets.service.local import command_reader
    from lab_assets.service.reproduction import ReproductionError
    from lab_assets.service.reproduction import reproduce as repeat
    from lab_assets.service.store import NotFoundError, find_prediction
    from lab_assets.service.table_cache import TableUnavailableError
    from lab_assets.settings import get_settings

    settings = get_settings()
    try:
        with command_reader(settings) as (models, _, _policy):
            result = repeat(settings, find_prediction(settings, prediction_id), models=models)
    except (ReproductionError, NotFoundError, TableUnavailableError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if as_json:
        import orjson

        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    else:
        _print_reproduction(result)
    raise typer.Exit(0 if result.reproduced else 1)


def _print_explanation(evidence: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from lab_assets.service.local import PATH_WORDS

    console, kept, decision = Console(), evidence["prediction"], evidence["decision"]
    none = "no review path recorded yet" if evidence["ended"] is None else "no review path is recorded"
    path = none if decision is None else PATH_WORDS[decision["path"]]
    console.print(f"[bold]risk {100 * kept['risk']:.1f} %[/bold], {evidence['verdict'].replace('_', ' ')}; {path}")
    if (end := evidence["ended"]) is not None:
        successor = f"; {end['superseded_by']} took its place" if end["superseded_by"] else ""
        words = f"it does not count any more, since {end['ended_at_utc']:%Y-%m-%d %H:%M} UTC: {end['ended_reason']}{successor}"
        console.print(f"  [yellow]{escape(words)}[/yellow]")
    for line in () if decision is None else (*(f"check: {check}" for check in decision["checks"]), *decision["reasons"]):
        console.print(f"  {escape(line)}")
    if decision is not None:
        console.print(f"  [dim]decided with the rules {escape(decision['policy_version'])}[/dim]")
    drivers = Table("#", "driver", "log-odds", title=f"What moved it (before calibration), {evidence['computed']}", title_justify="left")
    for driver in evidence["drivers"]:
        amount = "-" if driver["contribution"] is None else f"{driver['contribution']:+.3f}"
        drivers.add_row(str(driver["rank"]), escape(driver["words"]), amount)
    console.print(drivers)
    sources = Table("what", "which", title="What it rests on", title_justify="left")
    sources.add_row("model", f"{kept['model_name']} {kept['model_version']}, sha256 {kept['model_digest']}")
    sources.add_row("feature set", kept["feature_set_version"])
    sources.add_row("given", f"{kept['predicted_at_utc']} to {kept['requested_by']} ({kept['mode']})")
    for name, version in sorted((kept["table_versions"] or {}).items()):
        sources.add_row(escape(name), f"version {version}")
    for raw in evidence["raw_files"]:
        sources.add_row("raw file", escape(f"{raw['source'] or 'unknown source'} {raw['file_name'] or ''} {raw['raw']}"))
    console.print(sources)
    values = Table("feature", "value", title="Feature values", title_justify="left")
    for name, value in (kept["features"] or {}).items():
        values.add_row(name, "hidden" if value is None else f"{value:.6g}")
    console.print(values)


def _print_reproduction(result: Reproduction) -> None:
    from rich.console import Console

    console = Console()
    console.print(f"[bold]{'reproduced' if result.reproduced else 'NOT reproduced'}[/bold]: {result.prediction_id}")
    console.print(
        f"features from {result.features_from}: {'equal' if result.features_equal else 'differ in ' + ', '.join(result.differing)}"
    )
    console.print(f"risk {result.risk!r}, again {result.risk_again!r}, difference {result.difference:.3g}")
    if result.note:
        console.print(f"[dim]{result.note}[/dim]")
