"""``lab peaks``: integrate chromatogram files, no lake needed.

Belongs here: the command's options, its table and its JSON. Does not belong here: file formats (``lab_assets/sources/``), integration
(``lab_assets/domain/``).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lab_assets.domain.chromatography import DetectionSettings, Peak
    from lab_assets.sources.base import ReadResult, Row


def peaks(
    files: Annotated[list[Path], typer.Argument(help="Chromatogram files; folders are not searched.", show_default=False)],
    *,
    min_signal_to_noise: Annotated[float, typer.Option(min=0, help="Smallest signal-to-noise ratio of a peak.")] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Integrate the traces of FILES and measure their peaks. A file that cannot be read is named on stderr and makes the exit code 1."""
    from lab_assets.domain.chromatography import DetectionSettings

    settings = DetectionSettings(min_signal_to_noise=min_signal_to_noise)
    reports: list[dict[str, Any]] = []
    problems: list[str] = []
    for path in files:
        found, wrong = integrate_file(path, settings)
        reports += found
        problems += wrong
    if as_json:
        import orjson

        typer.echo(orjson.dumps(reports, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(reports)
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(1 if problems else 0)


def integrate_file(path: Path, settings: DetectionSettings) -> tuple[list[dict[str, Any]], list[str]]:
    """Integrate every trace of one file.

    Args:
        path: The file.
        settings: What counts as a peak.

    Returns:
        One object a trace (``file``, ``injection_name``, ``channel``, ``peaks``), and what went wrong, for people.
    """
    from lab_assets.cli._files import bytes_of
    from lab_assets.settings import get_settings
    from lab_assets.sources.all_readers import Refused, read_or_refuse
    from lab_assets.sources.base import ReadContext

    context = ReadContext(file_name=path.name, zone=get_settings().zone)
    outcome = read_or_refuse(partial(bytes_of, path), context, partial(_integrate, str(path), settings))
    return ([], [f"{path}: {outcome.error}"]) if isinstance(outcome, Refused) else outcome


def _integrate(shown: str, settings: DetectionSettings, result: ReadResult) -> tuple[list[dict[str, Any]], list[str]]:
    """Integrate every trace that a file brought."""
    traces = result.tables.get("chromatograms", [])
    if not traces:
        return [], [f"{shown}: no chromatogram in it ({result.format})"]
    reports: list[dict[str, Any]] = []
    problems: list[str] = []
    for trace in traces:
        key = {"injection_name": trace["injection_name"], "channel": trace["channel"]}
        vendor = [row for row in result.tables.get("vendor_peaks", []) if all(row[name] == value for name, value in key.items())]
        try:
            rows = integrate_trace(trace, vendor, settings)
        except ValueError as error:
            problems.append(f"{shown}: {key['injection_name']} / {key['channel']}: {error}")
        else:
            reports.append({"file": shown, **key, "peaks": rows})
    return reports, problems


def integrate_trace(trace: Row, vendor_peaks: list[Row], settings: DetectionSettings) -> list[dict[str, Any]]:
    """Integrate one trace and put the data system's own values beside.

    Args:
        trace: Row of bronze.chromatograms.
        vendor_peaks: Rows of bronze.vendor_peaks of the same injection and channel.
        settings: What counts as a peak.

    Returns:
        Rows with the columns of silver.peaks.

    Raises:
        ValueError: the time unit is unknown or the trace is not usable.
    """
    import numpy as np

    from lab_assets.domain.chromatography import detect_peaks, match_vendor_peaks
    from lab_assets.domain.units import area_unit, normalise_signal_unit, to_minutes

    time_unit = trace.get("x_unit") or "min"
    factor = trace.get("y_factor")
    x_min = to_minutes(np.asarray(trace["x"], dtype=np.float64), time_unit)
    found = detect_peaks(x_min, np.asarray(trace["y"], dtype=np.float64) * (1.0 if factor is None else factor), settings)
    times = [
        None if row.get("retention_time") is None else to_minutes(float(row["retention_time"]), row.get("retention_unit") or time_unit)
        for row in vendor_peaks
    ]
    matches = match_vendor_peaks(found, times)
    units = {"area_unit": area_unit(trace.get("y_unit")), "height_unit": normalise_signal_unit(trace.get("y_unit"))}
    return [_row(peak, None if match is None else vendor_peaks[match], units) for peak, match in zip(found, matches, strict=True)]


def _row(peak: Peak, vendor: Row | None, units: dict[str, str | None]) -> dict[str, Any]:
    """Return one peak with the columns of silver.peaks; the analyte is a processing method's to name."""
    return {
        "peak_no": peak.peak_no,
        "analyte": None,
        "retention_time_min": peak.retention_time_min,
        "start_min": peak.start_min,
        "end_min": peak.end_min,
        "area": peak.area,
        "area_unit": units["area_unit"],
        "height": peak.height,
        "height_unit": units["height_unit"],
        "width_half_min": peak.width_half_min,
        "plates": peak.plates,
        "tailing": peak.tailing,
        "resolution": peak.resolution,
        "signal_to_noise": peak.signal_to_noise,
        **{
            f"vendor_{name}": vendor.get(column) if vendor is not None else None
            for name, column in (
                ("peak_name", "peak_name"),
                ("area", "area"),
                ("area_unit", "area_unit"),
                ("plates", "plates"),
                ("tailing", "tailing"),
                ("resolution", "resolution"),
            )
        },
    }


def _print(reports: list[dict[str, Any]]) -> None:
    """Show the peaks to people."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    columns = ("retention_time_min", "area", "height", "plates", "tailing", "resolution", "signal_to_noise", "vendor_area")
    for report in reports:
        units = report["peaks"][0] if report["peaks"] else {"area_unit": "", "height_unit": ""}
        title = f"{report['file']}: {report['injection_name']} / {report['channel']}: area in {units['area_unit']}"
        table = Table(
            "No", "tR min", "Area", "Height", "N", "Tailing", "Rs", "S/N", "Vendor area", title=escape(title) if report["peaks"] else None
        )
        for peak in report["peaks"]:
            table.add_row(str(peak["peak_no"]), *("-" if peak[name] is None else f"{peak[name]:.5g}" for name in columns))
        if report["peaks"]:
            console.print(table)
        else:
            console.print(escape(f"{report['file']}: {report['injection_name']} / {report['channel']}: no peaks"))
