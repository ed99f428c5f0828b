"""``lab read``: what would be ingested from files, without ingesting them.

Belongs here: the command's options, its table and its JSON. Does not belong here: any file format (``lab_assets/sources/``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

if TYPE_CHECKING:
    from lab_assets.sources.base import ReadContext, ReadResult, Row

OnFault = Callable[[str, BaseException], None]
"""Called with a file, and what its reader raised that is a fault of the reader."""

_MAX_DEPTH: Final = 2
"""Archives inside of archives beyond this are not looked into, as in ingestion."""


def read(
    call: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(help="Files to look at, or instrument folders (.D, .raw); other folders are not searched.", show_default=False),
    ],
    *,
    source: Annotated[str, typer.Option(help="Drop folder the files would arrive in; decides the assumed zone.")] = "inbox",
    zone: Annotated[str | None, typer.Option(help="IANA zone assumed for times without one; default: the settings'.")] = None,
    dates: Annotated[
        Literal["dmy", "mdy"] | None,
        typer.Option(help="Order of day and month in dates that leave it open; default: the settings'."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    rows: Annotated[bool, typer.Option("--rows", help="With --json: every row of every table as well.")] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Where a reader has a fault: print the whole traceback on stderr.")
    ] = False,
) -> None:
    """Show what would be ingested from FILES: format, injections, channels, peaks, rejects. Nothing is written."""
    from lab_assets.ingest.logger_formats import load_loggers
    from lab_assets.settings import get_settings
    from lab_assets.sources.all_readers import installed
    from lab_assets.sources.base import ReadContext

    settings = get_settings()
    loggers, problems = load_loggers(settings.formats)
    left_out = [f"description left out: {problem}" for problem in problems]
    for line in (*left_out, *(f"left out: {problem}" for problem in installed().problems)):
        typer.secho(line, err=True, fg="yellow")
    strict = source in settings.strict_sources
    assumed = zone or settings.zone_of(source)
    order = dates or settings.date_order_of(source)
    context = partial(ReadContext, source=source, zone=assumed, date_order=order, strict=strict, loggers=loggers)
    on_fault = _print_traceback if traceback or call.find_root().params.get("traceback") else None
    reports = [describe_file(path, context(file_name=path.name), rows=rows, on_fault=on_fault) for path in files]
    if as_json:
        typer.echo(to_json(reports))
    else:
        _print(reports)
    raise typer.Exit(1 if any(report["state"] == "rejected" for report in reports) else 0)


def to_json(reports: list[dict[str, Any]]) -> str:
    """Return descriptions of files as one JSON document; bytes, such as a thumbnail, are given as length and SHA-256."""
    import numpy as np
    import orjson

    def default(value: object) -> object:
        if isinstance(value, bytes):
            return {"bytes": len(value), "sha256": sha256(value).hexdigest()}
        if isinstance(value, np.ndarray):  # one that is not contiguous
            return value.tolist()
        raise TypeError(f"{type(value).__name__} has no JSON")

    return orjson.dumps(reports, default, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z).decode()


def _print_traceback(shown: str, error: BaseException) -> None:
    from traceback import format_exception

    typer.echo(f"{shown}:\n{''.join(format_exception(error))}", err=True, nl=False)


def describe_file(path: Path, context: ReadContext, *, rows: bool = False, on_fault: OnFault | None = None) -> dict[str, Any]:
    """Read one file and describe what it would bring; a reader's fault costs this file alone, as in ingestion.

    Args:
        path: The file, or the folder of an instrument.
        context: Where it would arrive, and what its source agreed on.
        rows: Whether to show every row as well.
        on_fault: Called where the reader has a fault, for whoever mends it.

    Returns:
        ``file``, ``format``, ``state`` (ok, rejected), ``reason``, ``warnings``, ``injections``, ``tables`` (rows by table),
        ``rejected`` (rows left out), ``schema_events`` and, of an archive, ``members``: one such object for each file in it.
        Where asked for, ``rows``: the rows by table, as they are before the engine adds where they came from.
    """
    from lab_assets.cli._files import bytes_of

    shown = str(path).encode("utf-8", "replace").decode()
    return _describe(shown, partial(bytes_of, path), context, rows=rows, on_fault=on_fault)


def _describe(
    shown: str, load: Callable[[], bytes], context: ReadContext, depth: int = 0, *, rows: bool, on_fault: OnFault | None
) -> dict[str, Any]:
    """Describe a file, and the files inside of it."""
    from lab_assets.sources.all_readers import Refused, read_or_refuse
    from lab_assets.sources.base import MEMBER_MARK

    outcome = read_or_refuse(load, context, lambda result: (_described(shown, result, rows=rows), result.members))
    if isinstance(outcome, Refused):
        if on_fault and outcome.fault:
            on_fault(shown, outcome.fault)
        return _report(shown, format_name=outcome.format, reason=str(outcome.error))
    report, members = outcome
    if report["state"] == "ok" and depth < _MAX_DEPTH:
        for member in members:
            name = f"{MEMBER_MARK}{member.name}"
            inner = replace(context, file_name=f"{context.file_name}{name}")
            load_member = partial(bytes, member.data)
            report["members"].append(_describe(f"{shown}{name}", load_member, inner, depth + 1, rows=rows, on_fault=on_fault))
    return report


def _described(shown: str, result: ReadResult, *, rows: bool) -> dict[str, Any]:
    """Describe what a reader returned, the files inside of it left out."""
    if not any(result.tables.values()) and not result.members:
        first = result.rejected[0] if result.rejected else None
        reason = f"{first.rule}: {first.reason} (line {first.source_row}); no row is left" if first else "empty: no rows"
        return _report(shown, format_name=result.format, reason=reason, result=result)
    report = _report(shown, format_name=result.format, reason=None, result=result)
    if rows:
        report["rows"] = result.tables
        to_json([report])  # a value that has no JSON is seen here, where it costs no other file
    return report


def _report(shown: str, *, format_name: str | None, reason: str | None, result: ReadResult | None = None) -> dict[str, Any]:
    rejected = result.rejected if result else []
    return {
        "file": shown,
        "format": format_name,
        "state": "ok" if reason is None else "rejected",
        "reason": reason,
        "warnings": list(result.warnings) if result else [],
        "injections": _injections(result.tables) if result and reason is None else [],
        "tables": {name: len(rows) for name, rows in result.tables.items()} if result else {},
        "rejected": [
            {"table": row.table, "source_row": row.source_row, "rule": row.rule, "column": row.column, "reason": row.reason}
            for row in rejected
        ],
        "schema_events": [asdict(event) for event in result.events] if result else [],
        "members": [],
    }


def _injections(tables: Mapping[str, list[Row]]) -> list[dict[str, Any]]:
    """Gather channels and vendor peaks by injection, in the order of the file."""
    injections: dict[str, dict[str, Any]] = {}
    for row in tables.get("chromatograms", []):
        name = row["injection_name"]
        fields = ("injection_name", "sample_name", "injected_at_text", "zone_known")
        entry = injections.setdefault(name, {**{field: row.get(field) for field in fields}, "channels": [], "vendor_peaks": []})
        entry["channels"].append(_channel(row))
    for row in tables.get("vendor_peaks", []):
        if row["injection_name"] in injections:
            peak = {name: value for name, value in row.items() if name != "source_row"}
            injections[row["injection_name"]]["vendor_peaks"].append(peak)
    return list(injections.values())


def _channel(row: Row) -> dict[str, Any]:
    """Describe a trace; its extremes are in ``y_unit``, so the stated multiplier is applied."""
    import numpy as np

    x, y = (np.asarray(row[name], dtype=np.float64) for name in ("x", "y"))
    factor = 1.0 if row.get("y_factor") is None else row["y_factor"]
    ends = sorted((float(y.min() * factor), float(y.max() * factor)))
    return {
        "channel": row["channel"],
        "n_points": row["n_points"],
        "x_first": float(x[0]),
        "x_last": float(x[-1]),
        "x_unit": row.get("x_unit"),
        "y_min": ends[0],
        "y_max": ends[1],
        "y_unit": row.get("y_unit"),
    }


def _flat(reports: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for report in reports:
        yield report
        yield from _flat(report["members"])


def _print(reports: list[dict[str, Any]]) -> None:
    """Show the reports to people."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table("File", "Format", "State", "What would be ingested")
    for report in _flat(reports):
        tables = [f"{count} {'row' if count == 1 else 'rows'} of {name}" for name, count in report["tables"].items()]
        lines = [report["reason"]] if report["reason"] else tables
        for injection in report["injections"]:
            lines += [_line(injection["injection_name"], channel) for channel in injection["channels"]]
        lines += [f"warning: {warning}" for warning in report["warnings"]]
        lines += [f"left out, line {row['source_row']}: {row['rule']}: {row['reason']}" for row in report["rejected"][:20]]
        lines += [_drift_line(event) for event in report["schema_events"]]
        color = "green" if report["state"] == "ok" else "red"
        body = "\n".join(escape(line) for line in lines)
        table.add_row(escape(report["file"]), report["format"] or "-", f"[{color}]{report['state']}[/]", body)
    console.print(table)


def _line(injection: str, channel: dict[str, Any]) -> str:
    ends = f"{channel['x_first']:g} to {channel['x_last']:g} {channel['x_unit']}"
    return f"{injection} / {channel['channel']}: {channel['n_points']} points, {ends}, up to {channel['y_max']:g} {channel['y_unit']}"


def _drift_line(event: dict[str, Any]) -> str:
    meant = f", perhaps {event['proposed']}" if event["proposed"] else ""
    return f"{event['kind'].replace('_', ' ')}: {event['column']}{meant} ({event['table']})"
