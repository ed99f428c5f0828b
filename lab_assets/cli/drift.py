"""``lab drift``: the last drift check.

Belongs here: arguments, reading ``ml.drift``, printing. Does not belong here: the check itself (``lab_assets.modeling.drift``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lab_assets.cli._governance import refusals

if TYPE_CHECKING:
    from lab_assets.settings import Settings

WINDOWS: Final = 3
MIN_DRIFTED: Final = 2
"""Drift persists when the newest window and at least two of the last three drifted."""


def drift(*, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Show the last comparison of recent inputs and risks with the model's reference."""
    from lab_assets.settings import get_settings
    from lab_assets.state.database import require_laboratory

    with refusals():
        require_laboratory(get_settings())
        report = last_check(get_settings())
    if as_json:
        import orjson

        typer.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
        return
    _print(report)


def last_check(settings: Settings) -> dict[str, Any]:
    """Return the last check: ``check_id``, ``checked_at_utc``, ``model_version``, ``drifted`` and ``subjects``.

    ``subjects`` are the check's rows of ``ml.drift``, drifted ones first, each with ``persistent``: whether it drifted in
    this and in at least two of the last three checks of the same model version. Before any check ``check_id`` is ``None``.
    """
    from lab_assets.contracts.ml import DRIFT
    from lab_assets.lake.reader import standing_rows
    from lab_assets.modeling.drift import persistent

    rows = sorted(standing_rows(settings, DRIFT).to_dicts(), key=lambda row: row["checked_at_utc"])
    if not rows:
        return {"check_id": None, "checked_at_utc": None, "model_version": None, "drifted": 0, "subjects": []}
    last = rows[-1]
    same_model = [row for row in rows if row["model_version"] == last["model_version"]]
    subjects = [
        {
            **row,
            "persistent": persistent(
                [each["drifted"] for each in same_model if each["subject"] == row["subject"]], k=MIN_DRIFTED, n=WINDOWS
            ),
        }
        for row in same_model
        if row["check_id"] == last["check_id"]
    ]
    return {
        "check_id": last["check_id"],
        "checked_at_utc": last["checked_at_utc"],
        "model_version": last["model_version"],
        "drifted": sum(row["drifted"] for row in subjects),
        "subjects": sorted(subjects, key=lambda row: (not row["drifted"], -(row["psi"] or 0.0), row["subject"])),
    }


def _print(report: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if report["check_id"] is None:
        typer.echo("no drift check ran yet: start the job check_drift")
        return
    subjects = report["subjects"]
    title = f"{report['checked_at_utc']:%Y-%m-%d %H:%M} UTC, model version {report['model_version']}: {report['drifted']} of {len(subjects)} drifted"
    table = Table("subject", "PSI", "limit", "KS", "p", "missing", "before", "state", title=escape(title), box=SIMPLE_HEAD, pad_edge=False)
    for row in subjects:
        state = "persistent" if row["persistent"] else "drifted" if row["drifted"] else ""
        numbers = (row[name] for name in ("psi", "psi_limit", "ks", "ks_p_value", "missing_share", "missing_share_reference"))
        table.add_row(escape(row["subject"]), *("-" if value is None else f"{value:.3g}" for value in numbers), state)
    Console().print(table)
