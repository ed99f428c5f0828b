"""``lab stability``: shelf life from a plain table of stability results.

Belongs here: the command's options, reading the CSV, its table and its JSON. Does not belong here: the statistics
(``lab_assets/domain/stability.py``).
"""

from __future__ import annotations

import csv
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lab_assets.domain.stability import StabilityFit

app = typer.Typer(no_args_is_help=True, help="Stability studies.")


@app.callback()
def stability() -> None:
    """Stability studies."""


@app.command()
def fit(
    csv_file: Annotated[Path, typer.Argument(metavar="CSV", help="Table with a header, one observation a line.", show_default=False)],
    *,
    batch: Annotated[str, typer.Option(help="Column of the batch.", show_default=False)],
    time: Annotated[str, typer.Option(help="Column of the time; its unit is that of the shelf life.", show_default=False)],
    value: Annotated[str, typer.Option(help="Column of the measured value.", show_default=False)],
    lower: Annotated[float | None, typer.Option(help="Lower acceptance criterion.", show_default=False)] = None,
    upper: Annotated[
        float | None, typer.Option(help="Upper acceptance criterion; with --lower the bound is two-sided.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Estimate a shelf life after ICH Q1E: pool the batches as far as the data allow, then see where the 95 % bound meets the limit."""
    if lower is None and upper is None:
        raise typer.BadParameter("give --lower, --upper or both")
    from lab_assets.domain.stability import fit_shelf_life

    try:
        batches, times, values = read_observations(csv_file, batch=batch, time=time, value=value)
        result = fit_shelf_life(batches, times, values, lower=lower, upper=upper)
    except OSError as error:
        typer.echo(f"{csv_file}: {error.strerror or type(error).__name__}", err=True)
        raise typer.Exit(1) from None
    except ValueError as error:
        typer.echo(f"{csv_file}: {error}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        import orjson

        typer.echo(orjson.dumps(asdict(result), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(result, time)


def read_observations(path: Path, *, batch: str, time: str, value: str) -> tuple[list[str], list[float], list[float]]:
    """Read three columns of a CSV file; the delimiter (comma, semicolon or tab) is taken from the header. Blank lines are skipped.

    Raises:
        OSError: the file cannot be read.
        ValueError: not UTF-8, a column is missing, or a cell is not a number (the line is named).
    """
    text = path.read_text(encoding="utf-8-sig")
    lines = text.splitlines()
    header = lines[0] if lines else ""
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    if missing := [name for name in (batch, time, value) if name not in (reader.fieldnames or [])]:
        raise ValueError(f"no column {', '.join(missing)}; there are {', '.join(reader.fieldnames or ['none'])}")
    batches: list[str] = []
    times: list[float] = []
    values: list[float] = []
    for row in reader:
        if not (row[batch] or "").strip():
            raise ValueError(f"line {reader.line_num}: no {batch}")
        batches.append(row[batch].strip())
        times.append(_number(row[time], column=time, line=reader.line_num))
        values.append(_number(row[value], column=value, line=reader.line_num))
    return batches, times, values


def _number(text: str | None, *, column: str, line: int) -> float:
    try:
        number = float((text or "").strip())
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise ValueError(f"line {line}: {column} is not a number: {text!r}")
    return number


def _print(result: StabilityFit, time: str) -> None:
    """Show the evaluation to people."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    meaning = {"cics": "common line", "dics": "common slope, different intercepts", "dids": "each batch alone"}
    table = Table("Batch", "n", "Intercept", "Slope", "Shelf life", "Limit met", title=f"ICH Q1E: {result.model}, {meaning[result.model]}")
    for name, line in result.per_batch.items():
        life = "-" if line.shelf_life is None else f"{line.shelf_life:.3f}"
        table.add_row(escape(name), str(line.n), f"{line.intercept:.5g}", f"{line.slope:.5g}", life, line.limit or "-")
    console = Console()
    console.print(table)
    if result.p_slopes is not None and result.p_intercepts is not None:
        console.print(f"equal slopes p = {result.p_slopes:.4f}, equal intercepts p = {result.p_intercepts:.4f}")
    life = "none" if result.shelf_life is None else f"{result.shelf_life_rounded} ({result.shelf_life:.4f} unrounded)"
    console.print(escape(f"shelf life [{time}]: {life}"))
    for warning in result.warnings:
        console.print(escape(f"warning: {warning}"))
