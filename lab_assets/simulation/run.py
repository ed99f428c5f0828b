"""One call that makes the files of the whole demonstration laboratory.

Belongs here: the order of the work, where each file goes, what is counted. Does not belong here: physics and layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lab_assets.simulation.bench_work import Injection
from lab_assets.simulation.chambers import ChamberHistory, simulate_chambers
from lab_assets.simulation.laboratory import Laboratory, SequenceRun
from lab_assets.simulation.lims_records import (
    CALIBRATION_COLUMNS,
    EXPORTS,
    STATIC,
    EventBook,
    calibration_records,
    columns_of,
    lot_records,
    processing_records,
    result_records,
    sample_records,
    sequence_records,
    specification_records,
)
from lab_assets.simulation.lots import Lot, Sample, complaint_samples, make_lots, release_sample, stability_samples
from lab_assets.simulation.rng import rng_for
from lab_assets.simulation.scenarios import Scenarios, add_months, month_starts, parse_scenarios
from lab_assets.simulation.truth import oracle_quality, truth_records, write_truth
from lab_assets.simulation.write_andi import write_andi, write_andi_pressure
from lab_assets.simulation.write_arw import write_arw, write_arw_pressure
from lab_assets.simulation.write_chromeleon import write_chromeleon, write_chromeleon_pressure
from lab_assets.simulation.write_labsolutions import write_labsolutions
from lab_assets.simulation.write_media import write_certificate, write_image
from lab_assets.simulation.write_tables import Record, write_chamber_log, write_csv

N_IMAGES = 20


@dataclass(frozen=True, kw_only=True)
class SimulationSummary:
    """What a simulation wrote.

    Attributes:
        out_dir: Folder of the drop folders.
        truth_path: The truth file, outside of the drop folders.
        files: Drop folder to format to number of files.
        n_files: All files.
        n_trace_files: Files with detector or pressure traces.
        n_bytes: Bytes of all files but the truth.
        n_lots: Lots made.
        n_samples: Samples, retests included.
        n_sequences: Sequences run.
        injections: Role to number of injections.
        oos_rate: Share of sample injections with a result out of specification.
        oos_by_method: The same by method.
        oracle: How well the oracle does, by checkpoint; no model can reach more.
        scenarios: Scenario to its start, ISO 8601.
    """

    out_dir: Path
    truth_path: Path
    files: dict[str, dict[str, int]]
    n_files: int
    n_trace_files: int
    n_bytes: int
    n_lots: int
    n_samples: int
    n_sequences: int
    injections: dict[str, int]
    oos_rate: float
    oos_by_method: dict[str, float]
    oracle: dict[str, dict[str, float]]
    scenarios: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON types; a number that is not defined becomes ``None``."""
        return _plain(asdict(self))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


class FileSink:
    """Writes files below the drop folders and counts them."""

    def __init__(self, out_dir: Path) -> None:
        self._out_dir = out_dir
        self.files: dict[str, dict[str, int]] = {}
        self.n_bytes = 0

    def write(self, source: str, name: str, data: bytes, *, kind: str) -> None:
        """Write one file.

        Args:
            source: Drop folder.
            name: Path below it.
            data: Content.
            kind: Format, for the count.
        """
        path = self._out_dir / source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        counts = self.files.setdefault(source, {})
        counts[kind] = counts.get(kind, 0) + 1
        self.n_bytes += len(data)


def injection_files(injection: Injection, scenarios: Scenarios) -> list[tuple[str, str, bytes]]:
    """Return the files of one injection as name, format and content, in the format of its data system.

    The Agilent system exports pressure for the first injection of each sequence only; Waters and Thermo for every injection,
    as a file of its own; Shimadzu within the file.

    Args:
        injection: The injection.
        scenarios: ``software_update`` changes LabSolutions files.
    """
    name = injection.planned.injection_name
    match injection.instrument.vendor:
        case "shimadzu":
            updated = scenarios.active("software_update", injection.planned.injected_at)
            return [(f"{name}.txt", "labsolutions_text", write_labsolutions(injection, updated=updated))]
        case "agilent":
            files = [(f"{name}.cdf", "andi_netcdf", write_andi(injection))]
            if injection.planned.position == 1:
                files.append((f"pressure/{name}.cdf", "andi_netcdf", write_andi_pressure(injection)))
            return files
        case "waters":
            return [
                (f"{name}.arw", "arw", write_arw(injection)),
                (f"pressure/{name}.arw", "arw", write_arw_pressure(injection)),
            ]
        case "thermo":
            return [
                (f"{name}.txt", "chromeleon_text", write_chromeleon(injection)),
                (f"pressure/{name}.txt", "chromeleon_text", write_chromeleon_pressure(injection)),
            ]


@dataclass
class _Progress:
    """Tells how far the run is, in days of the period."""

    report: Callable[[int, int], None] | None
    start: datetime
    total_days: int

    def at(self, moment: datetime) -> None:
        if self.report is not None:
            self.report(min((moment - self.start).days, self.total_days), self.total_days)


def simulate(
    out_dir: Path,
    *,
    seed: int,
    n_lots: int,
    start: datetime,
    months: int,
    scenarios: Sequence[str] = (),
    truth_path: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationSummary:
    """Simulate the laboratory and write its files; the same arguments give the same bytes.

    Args:
        out_dir: Folder of the drop folders; files of the same names are replaced.
        seed: Seed.
        n_lots: Lots made in the period, at least 1.
        start: Start of the period, tz-aware.
        months: Length of the period in calendar months, at least 1.
        scenarios: Names as in ``SCENARIOS``, each optionally with ``@YYYY-MM-DD``.
        truth_path: Truth file (.parquet or .csv), outside of ``out_dir``; default: ``truth/truth.parquet`` beside ``out_dir``.
        progress: Called with days done and days in all.

    Returns:
        What was written.

    Raises:
        ValueError: an argument is out of range, a scenario is unknown, or the truth would land in the drop folders.
    """
    if n_lots < 1 or months < 1 or start.tzinfo is None:
        raise ValueError("a simulation needs at least one lot, at least one month and a start with a time zone")
    truth = (truth_path or out_dir.parent / "truth" / "truth.parquet").resolve()
    if truth.is_relative_to(out_dir.resolve()):
        raise ValueError(f"the truth file {truth} would land in the drop folders, where the pipeline reads")
    end = add_months(start, months)
    played = parse_scenarios(scenarios, start=start, end=end)
    histories = simulate_chambers(seed=seed, start=start, end=end, scenarios=played)
    lots = make_lots(n_lots, seed=seed, start=start, end=end, scenarios=played)
    samples = [release_sample(lot) for lot in lots]
    samples += [pull for lot in lots if lot.on_stability for pull in stability_samples(lot, histories, end=end)]
    samples += complaint_samples(lots, seed=seed, end=end)
    laboratory = Laboratory(seed=seed, start=start, end=end, scenarios=played)
    sink = FileSink(out_dir)
    counted = _run(laboratory, lots, samples, sink=sink, progress=_Progress(progress, start, (end - start).days))
    _write_chambers(histories.values(), sink, start=start, end=end)
    _write_metrology(laboratory, sink)
    _write_images(lots, sink, seed=seed)
    write_truth(counted.truth, truth)
    return _summary(counted, sink, out_dir=out_dir, truth=truth, lots=lots, samples=[*samples, *laboratory.retests], played=played)


@dataclass(kw_only=True)
class _Counted:
    """What the run of the laboratory left behind besides files."""

    truth: list[Record]
    roles: dict[str, int]
    n_sequences: int = 0


def _run(laboratory: Laboratory, lots: Sequence[Lot], samples: Sequence[Sample], *, sink: FileSink, progress: _Progress) -> _Counted:
    """Run the laboratory, write trace files as they come, then the LIMS exports."""
    counted = _Counted(truth=[], roles={})
    book = EventBook(lots, samples, seed=laboratory.seed)
    sequences: list[Record] = []
    known_retests = 0
    for run in laboratory.run(samples):
        _write_run(run, sink, laboratory.scenarios)
        sequences += sequence_records(run)
        for retest in laboratory.retests[known_retests:]:
            book.add_sample(retest)
        known_retests = len(laboratory.retests)
        book.add_run(run, {retest.sample_name: retest for retest in laboratory.retests})
        counted.n_sequences += 1
        for injection in run.injections:
            counted.truth += truth_records(injection)
            role = injection.planned.role
            counted.roles[role] = counted.roles.get(role, 0) + 1
        progress.at(run.ended_at)
    every = [*samples, *laboratory.retests]
    tables = {
        "lots": lot_records(lots),
        "samples": sample_records(every, seed=laboratory.seed),
        "sequences": sequences,
        "results": result_records(every, seed=laboratory.seed),
        "events": book.records(),
    }
    _write_lims(tables, sink, laboratory)
    progress.at(laboratory.end)
    return counted


def _write_run(run: SequenceRun, sink: FileSink, scenarios: Scenarios) -> None:
    for injection in run.injections:
        for name, kind, data in injection_files(injection, scenarios):
            sink.write(injection.instrument.source, name, data, kind=kind)


def _monthly(records: Iterable[Record], key: str, *, start: datetime, end: datetime) -> list[tuple[datetime, list[Record]]]:
    """Cut records into calendar months; what lies before the period goes to the first, what lies after it is left out."""
    months = month_starts(start, end)
    cut: list[tuple[datetime, list[Record]]] = [(month, []) for month in months]
    for record in records:
        if record[key] < end:
            cut[max(sum(record[key] >= month for month in months) - 1, 0)][1].append(record)
    return [(month, rows) for month, rows in cut if rows]


def _write_lims(tables: Mapping[str, list[Record]], sink: FileSink, laboratory: Laboratory) -> None:
    """Write the monthly exports, in order of recording, and the files written once."""
    for name, contract in EXPORTS.items():
        records = sorted(tables[name], key=lambda record: record["recorded_at_utc"])
        for month, rows in _monthly(records, "recorded_at_utc", start=laboratory.start, end=laboratory.end):
            exported = (month + timedelta(days=32)).replace(day=1)
            changed = name == "results" and laboratory.scenarios.active("lims_update", exported)
            data = write_csv(rows, columns_of(contract), renamed={"value": "result_value"} if changed else None)
            sink.write("lims", f"{name}_{month:%Y-%m}.csv", data, kind="lims_csv")
    static = {"specifications": specification_records(start=laboratory.start), "processing_methods": processing_records()}
    for name, contract in STATIC.items():
        kind = "processing_table" if name == "processing_methods" else "lims_csv"
        sink.write("lims", f"{name}.csv", write_csv(static[name], columns_of(contract)), kind=kind)


def _write_chambers(histories: Iterable[ChamberHistory], sink: FileSink, *, start: datetime, end: datetime) -> None:
    months = month_starts(start, end)
    for history in histories:
        for since, until in zip(months, [*months[1:], end], strict=True):
            data = write_chamber_log(history, since=since, until=until)
            sink.write("chambers", f"{history.chamber.chamber_id}_{since:%Y-%m}.csv", data, kind="chamber_csv")


def _write_metrology(laboratory: Laboratory, sink: FileSink) -> None:
    systems = list(laboratory.systems.values())
    records = calibration_records(systems, seed=laboratory.seed, start=laboratory.start, end=laboratory.end)
    by_day: dict[datetime, list[Record]] = {}
    by_certificate: dict[str, list[Record]] = {}
    for record in records:
        by_day.setdefault(record["performed_at_utc"], []).append(record)
        by_certificate.setdefault(record["certificate_id"], []).append(record)
    for day, rows in by_day.items():
        sink.write("metrology", f"calibrations_{day:%Y-%m-%d}.csv", write_csv(rows, CALIBRATION_COLUMNS), kind="calibration_csv")
    for certificate, rows in by_certificate.items():
        sink.write("metrology", f"{certificate}.pdf", write_certificate(rows), kind="pdf_document")


def _write_images(lots: Sequence[Lot], sink: FileSink, *, seed: int) -> None:
    chosen = sorted({int(place) for place in np.linspace(0, len(lots) - 1, min(N_IMAGES, len(lots)))})
    for place in chosen:
        lot = lots[place]
        sink.write("microscopy", f"{lot.lot_id}.tif", write_image(lot, rng_for(seed, "image", lot.lot_id)), kind="tiff_image")


def _summary(
    counted: _Counted,
    sink: FileSink,
    *,
    out_dir: Path,
    truth: Path,
    lots: Sequence[Lot],
    samples: Sequence[Sample],
    played: Scenarios,
) -> SimulationSummary:
    once = [record for record in counted.truth if record["checkpoint_pct"] == 10]
    methods = sorted({record["method_id"] for record in once})
    traces = {"labsolutions_text", "andi_netcdf", "arw", "chromeleon_text"}
    return SimulationSummary(
        out_dir=out_dir,
        truth_path=truth,
        files=sink.files,
        n_files=sum(sum(kinds.values()) for kinds in sink.files.values()),
        n_trace_files=sum(count for kinds in sink.files.values() for kind, count in kinds.items() if kind in traces),
        n_bytes=sink.n_bytes,
        n_lots=len(lots),
        n_samples=len(samples),
        n_sequences=counted.n_sequences,
        injections=counted.roles,
        oos_rate=float(np.mean([record["is_oos"] for record in once])) if once else float("nan"),
        oos_by_method={
            method: float(np.mean([record["is_oos"] for record in once if record["method_id"] == method])) for method in methods
        },
        oracle=oracle_quality(counted.truth),
        scenarios={name: f"{begin:%Y-%m-%d}" for name, begin in played.starts.items()},
    )
