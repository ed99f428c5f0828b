"""``lab score``: the risk of one run, or of feature values in a file.

Belongs here: the command's options and its printing. Does not belong here: scoring (``lab_assets/service/scorer.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lab_assets.service.scorer import Answer
    from lab_assets.settings import Settings


def score(
    *,
    injection: Annotated[str | None, typer.Option(help="Id or name of an injection that is in the tables.")] = None,
    checkpoint: Annotated[int, typer.Option(min=1, max=100, help="Share of the run seen, in percent.")] = 50,
    file: Annotated[Path | None, typer.Option(help="JSON with checkpoint_pct and features, as for POST /v1/score.")] = None,
    as_user: Annotated[str | None, typer.Option("--as", help="Account it is asked as; default: the owner of this machine.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the risk that a run turns out of specification, and the review path suggested. Both are kept."""
    from lab_assets.settings import get_settings

    if (injection is None) == (file is None):
        typer.echo("give either --injection or --file", err=True)
        raise typer.Exit(2)
    answer = _score(get_settings(), injection, checkpoint=checkpoint, file=file, user=as_user)
    if as_json:
        import orjson

        typer.echo(orjson.dumps(answer.to_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(answer)


def _score(settings: Settings, injection: str | None, *, checkpoint: int, file: Path | None, user: str | None) -> Answer:
    """Score through the service's own core; exits with 1 and a reason where that is not possible."""
    from lab_assets.service.local import NotAllowedError, command_scorer, require
    from lab_assets.service.prediction_log import LogUnavailableError
    from lab_assets.service.problems import ProblemError
    from lab_assets.service.requests import parse_score
    from lab_assets.service.scorer import FeatureSetMismatchError
    from lab_assets.service.serving import NoModelError
    from lab_assets.service.stored_features import ReadBackError
    from lab_assets.service.table_cache import TableUnavailableError

    try:
        with command_scorer(settings) as (scorer, policy):
            who = require(policy, user, "EXECUTE", "model:oos_risk")
            if injection is not None:
                return scorer.score_injection(injection, checkpoint_pct=checkpoint, user=who)
            request = parse_score(file.read_bytes() if file is not None else b"")
            return scorer.score_features(request, user=who)
    except (
        ReadBackError, LogUnavailableError, ProblemError, FeatureSetMismatchError, NoModelError, NotAllowedError, TableUnavailableError, OSError,
    ) as error:  # fmt: skip
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _print(answer: Answer) -> None:
    from rich.console import Console
    from rich.markup import escape

    from lab_assets.service.local import PATH_WORDS

    kept, outcome, console = answer.prediction, answer.outcome, Console()
    low, high = (kept.risk if end is None else end for end in (kept.risk_low, kept.risk_high))
    console.print(
        f"[bold]risk {100 * kept.risk:.1f} %[/bold] (interval {100 * low:.1f} to {100 * high:.1f} %), "
        f"{(outcome.verdict or '').replace('_', ' ')}"
    )
    console.print(f"suggested path: [bold]{PATH_WORDS[outcome.path]}[/bold]")
    for check in outcome.checks:
        console.print(f"  check: {escape(check)}")
    for reason in outcome.reasons:
        console.print(f"  [yellow]warning: {escape(reason)}[/yellow]" if reason in answer.warnings else f"  [dim]{escape(reason)}[/dim]")
    console.print(f"model {kept.model_name} {kept.model_version} ({kept.model_digest[:12]}); prediction [bold]{kept.prediction_id}[/bold]")
