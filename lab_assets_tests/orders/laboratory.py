"""A laboratory of about 130 files that is taken in in any order and batching, and what its tables hold in the end.

Belongs here: making the files, taking them in, comparing contents. Does not belong here: verdicts (the tests).
"""

from __future__ import annotations

import csv
import io
import random
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from lab_assets.compute.session import SessionKeeper
from lab_assets.contracts.all_contracts import contract, contracts
from lab_assets.contracts.core import TableContract
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.modeling.bundle import ModelBundle
from lab_assets.settings import Settings
from lab_assets.simulation.run import simulate
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets.stations.all_stations import STATIONS
from lab_assets.stations.ml.predictions import Scoring, score_waiting
from lab_assets.stations.runner import update
from lab_assets_tests.service.laboratory import train

START = datetime(2025, 1, 6, tzinfo=UTC)
_STATE_NO_INSTRUMENT = re.compile(r"hplc_shimadzu/SEQ\d+-\d*[13579]_\d+\.txt$")
"""Traces of every second sequence do not say which instrument they are of: the worklist alone does."""
ONE_EACH = ("lots", "samples", "sequences", "results")
"""Exports that are cut into a file a lot, sample, worklist or result day, so that each may come at its own time."""


@dataclass(frozen=True)
class File:
    """One file of the laboratory: drop folder and name, and its bytes."""

    path: str
    data: bytes


@dataclass(frozen=True)
class Correction:
    """A file that corrects a record, and when the LIMS recorded it."""

    file: File
    recorded_at: datetime


@cache
def simulated(folder: Path, seed: int, lots: int) -> tuple[File, ...]:
    """Return the files of a simulated laboratory, the LIMS exports cut into small ones."""
    shutil.rmtree(folder, ignore_errors=True)
    simulate(folder, seed=seed, n_lots=lots, start=START, months=2)
    found: list[File] = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        kind = path.stem.split("_")[0]
        if name.startswith("lims/") and kind in ONE_EACH:
            found += _cut(name, path.read_text(), kind)
        elif _STATE_NO_INSTRUMENT.search(name):
            found.append(File(name, re.sub(rb"Instrument Name\t[^\r\n]*", b"Instrument Name\t", path.read_bytes())))
        else:
            found.append(File(name, path.read_bytes()))
    return tuple(found)


def _cut(name: str, text: str, kind: str) -> list[File]:
    """Cut an export by its first column (results by day)."""
    rows = list(csv.DictReader(io.StringIO(text)))
    key = {"results": lambda row: row["recorded_at_utc"][:10]}.get(kind, lambda row: next(iter(row.values())))
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [File(f"{name.removesuffix('.csv')}_{group}.csv", table_of(members)) for group, members in groups.items()]


def table_of(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return rows as a CSV export."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def copies(files: Sequence[File], seed: int, count: int) -> list[File]:
    """Return some of the files again under other names, as people copy them: shorter and longer, in folders that sort before and behind."""
    rng = random.Random(seed)
    found: list[File] = []
    for number, file in enumerate(rng.sample(list(files), count)):
        source, _, name = file.path.partition("/")
        suffix = name.rpartition(".")[2]
        found.append(File(f"{source}/" + rng.choice([f"0 copies/{name}", f"zz copies/{name}", f"{number}.{suffix}"]), file.data))
    return found


def corrected_in_place(files: Sequence[File], seed: int, count: int) -> list[File]:
    """Return LIMS exports with a value changed, under the names they had and with the times they stated: what a person does by hand."""
    rng = random.Random(seed)
    found: list[File] = []
    for kind, column in (("results", "value"), ("sequences", "weight_mg"), ("samples", "lot_id"), ("lots", "product")):
        exports = [file for file in files if file.path.startswith(f"lims/{kind}_")]
        values = sorted({row[column] for row in rows_of(files, kind) if row[column]})
        for file in rng.sample(exports, min(count, len(exports))):
            rows = rows_of([file], kind)
            row = rng.choice([row for row in rows if row[column]])
            row[column] = rng.choice([value for value in values if value != row[column]] or [f"{row[column]} B"])
            found.append(File(file.path, table_of(rows)))
    return found


def rows_of(files: Iterable[File], kind: str) -> list[dict[str, str]]:
    """Return the rows of the exports of one kind."""
    found = [file for file in files if file.path.startswith((f"lims/{kind}_", f"lims/{kind}."))]
    return [row for file in found for row in csv.DictReader(io.StringIO(file.data.decode()))]


def corrections(files: Sequence[File], seed: int, count: int) -> list[Correction]:
    """Return files that correct worklists, samples, lots, results, limits, windows and certificates, each recorded after everything else, in order of time."""
    rng = random.Random(seed)
    plans = [row for row in rows_of(files, "sequences") if row["weight_mg"]]
    samples, lots, results = (rows_of(files, kind) for kind in ("samples", "lots", "results"))
    limits, windows = rows_of(files, "specifications"), rows_of(files, "processing_methods")
    kinds = ["certificate", "windows", *_CORRECTED]
    rng.shuffle(kinds)  # each kind in turn: none is left out
    made: list[Correction] = []
    for number in range(count):
        at = START + timedelta(days=120, hours=number)
        stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        kind = kinds[number % len(kinds)]
        if kind == "certificate":
            corrected = [_certificate(rng)]
        elif kind == "windows":
            corrected = _windows(rng, windows)
        else:
            of_worklists = dict.fromkeys(_OF_WORKLISTS, plans)
            records = {**of_worklists, "sample": samples, "sampling": samples, "lot": lots, "result": results, "limit": limits}
            corrected = [_CORRECTED[kind](rng, records[kind])]
        folder = "metrology" if kind == "certificate" else "lims"
        rows = [{**row, "recorded_at_utc": stamp} for row in corrected]
        made.append(Correction(File(f"{folder}/correction_{number:03d}_{kind}.csv", table_of(rows)), at))
    return made


def _role(rng: random.Random, plans: list[dict[str, str]]) -> dict[str, str]:
    plan = rng.choice(plans)
    return {**plan, "sample_role": rng.choice([role for role in ("sample", "standard", "blank") if role != plan["sample_role"]])}


def _of_another(column: str) -> Callable[[random.Random, list[dict[str, str]]], dict[str, str]]:
    """Correct a worklist entry to what another one has in a column."""

    def corrected(rng: random.Random, plans: list[dict[str, str]]) -> dict[str, str]:
        plan = rng.choice(plans)
        return {**plan, column: rng.choice(sorted({other[column] for other in plans} - {plan[column]}))}

    return corrected


def _instrument(rng: random.Random, plans: list[dict[str, str]]) -> dict[str, str]:
    """Put a run on another instrument whose file does not say on which it was."""
    plan = rng.choice([row for row in plans if _STATE_NO_INSTRUMENT.search(f"hplc_shimadzu/{row['injection_name']}.txt")])
    return {**plan, "instrument_id": rng.choice(sorted({"LC-01", "LC-02", "LC-03"} - {plan["instrument_id"]}))}


def _windows(rng: random.Random, windows: list[dict[str, str]]) -> list[dict[str, str]]:
    """State the windows of a method anew, one of them moved."""
    method = rng.choice(windows)["method_name"]
    own = [row for row in windows if row["method_name"] == method]
    moved = rng.choice(own)
    shift = rng.uniform(-0.05, 0.05)
    return [
        {**row, **{name: f"{float(row[name]) + shift:.3f}" for name in ("window_start", "window_end")}} if row is moved else row
        for row in own
    ]


def _weight(rng: random.Random, plans: list[dict[str, str]]) -> dict[str, str]:
    plan = rng.choice(plans)
    return {**plan, "weight_mg": f"{float(plan['weight_mg']) * rng.uniform(0.9, 1.1):.3f}"}


def _purity(rng: random.Random, plans: list[dict[str, str]]) -> dict[str, str]:
    plan = rng.choice([row for row in plans if row["sample_role"] == "standard"])
    return {**plan, "standard_purity_pct": f"{rng.uniform(97, 100):.1f}"}


def _sample(rng: random.Random, samples: list[dict[str, str]]) -> dict[str, str]:
    sample = rng.choice(samples)
    other = rng.choice(samples)
    return {**sample, "lot_id": other["lot_id"]} if rng.random() < 0.4 else {**sample, "analyst": "N. Corrected"}


def _sampling(rng: random.Random, samples: list[dict[str, str]]) -> dict[str, str]:
    """Date a sampling back, or forth."""
    sample = rng.choice([row for row in samples if row["sampled_at_utc"]])
    at = datetime.fromisoformat(sample["sampled_at_utc"]) + timedelta(days=rng.choice([-9, -3, 2]))
    return {**sample, "sampled_at_utc": at.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _lot(rng: random.Random, lots: list[dict[str, str]]) -> dict[str, str]:
    lot = rng.choice(lots)
    return {**lot, "product": rng.choice(["NEBRILAT-10", "ORSAMIN-50", lot["product"]]), "batch_size_kg": f"{rng.uniform(100, 500):.1f}"}


def _result(rng: random.Random, results: list[dict[str, str]]) -> dict[str, str]:
    """Correct a value, or the sample that it was entered for."""
    result, other = rng.choice(results), rng.choice(results)
    if rng.random() < 0.4:
        return {**result, "sample_name": other["sample_name"]}
    return {**result, "value": f"{float(result['value']) * rng.uniform(0.5, 3):.2f}"}


def _limit(rng: random.Random, limits: list[dict[str, str]]) -> dict[str, str]:
    limit = rng.choice(limits)
    names = [name for name in ("spec_low", "spec_high") if limit[name]]
    name = rng.choice(names)
    return {**limit, name: f"{float(limit[name]) * rng.uniform(0.95, 1.05):.2f}"}


def _certificate(rng: random.Random) -> dict[str, str]:
    """Return a certificate, or another record of one that may be there already."""
    performed, number = START + timedelta(days=rng.uniform(-20, 60)), rng.randint(1, 3)
    return {
        "certificate_id": f"CAL-X-{number:03d}",
        "instrument_id": f"LC-{rng.choice([number, number, number % 3 + 1]):02d}",
        "parameter": "flow",
        "deviation": "0.4",
        "tolerance": "1.0",
        "unit": "%",
        "outcome": rng.choice(["pass", "pass", "fail"]),
        "performed_at_utc": performed.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "valid_until_utc": (performed + timedelta(days=rng.choice([30, 365]))).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "performed_by": "M. Calibrator",
    }


_OF_WORKLISTS = {
    "weight": _weight,
    "purity": _purity,
    "role": _role,
    **{name: _of_another(name) for name in ("sample_name", "method_id", "sequence_id", "replicate", "column_id")},
    "instrument": _instrument,
}
_CORRECTED = {**_OF_WORKLISTS, "sample": _sample, "sampling": _sampling, "lot": _lot, "result": _result, "limit": _limit}


class Home:
    """One laboratory in a folder of its own, taken in without Spark."""

    def __init__(self, folder: Path, bundle: ModelBundle | None = None, *, grace_s: float = 900.0) -> None:
        self.settings = Settings(home=folder, stable_s=0, context_grace_s=grace_s, spark_remote="sc://127.0.0.1:9/;token=none")
        self.settings.inbox.mkdir(parents=True)
        self.lake = Lakehouse(self.settings, SessionKeeper(self.settings), Ledger(open_database(self.settings)))
        self.bundle = bundle
        self.batches = 0

    def take(self, files: Iterable[File]) -> None:
        """Drop files together, ingest them, and run every station."""
        for file in files:
            target = self.settings.inbox / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
        Ingestor(self.lake).run()
        self.stations()

    def stations(self, *, rebuild: bool = False) -> None:
        """Run every station, and score."""
        for station in STATIONS:
            update(self.lake, station, rebuild=rebuild)
        if self.bundle is not None:
            self.batches += 1
            now = datetime.now(UTC)
            score_waiting(self.lake, self.bundle, Scoring(model_version="1", mode="stream", requested_by="test", predicted_at_utc=now))


@cache
def model() -> ModelBundle:
    """Return a small model."""
    return train(1)


_VOLATILE = {
    "ingest_batch", "path_revision", "revises_revision", "ingested_at_utc", "arrival_id", "arrived_at_utc", "modified_at_utc", "event_id", "table_versions", "predicted_at_utc",
    "decided_at_utc", "ended_at_utc", "at_utc",
}  # fmt: skip
"""Columns that say when and in which company something arrived or was computed, not what it is."""
_KEPT = {
    ("silver.process_events", "event_id"),
    ("silver.process_events", "at_utc"),
    ("gold.lot_disposition", "decided_at_utc"),
    ("bronze.lims_events", "event_id"),
    ("bronze.lims_events", "at_utc"),
}
_RECORDS = {"ml.predictions", "ml.decisions", "ml.explanations"}


def contents(lake: Lakehouse, *, without: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    """Return what every table holds, as sorted texts of its rows without some columns; of predictions and decisions what counts now."""
    current = set(lake.polars(contract("ml.predictions"), ["prediction_id"], where=pl.col("ended_at_utc").is_null())["prediction_id"])
    held: dict[str, list[str]] = {}
    for name, table in contracts().items():
        if name.startswith("governance.") or lake.versions_as_they_are([name])[name] < 0:
            continue
        rows = lake.polars(table)
        if name in _RECORDS:
            rows = rows.filter(pl.col("prediction_id").is_in(sorted(current)))
        held[name] = _texts(table, rows, without)
    return held


def _texts(table: TableContract, rows: pl.DataFrame, without: frozenset[str]) -> list[str]:
    volatile = _VOLATILE | without
    columns = [name for name in table.column_names if name not in volatile or (table.full_name, name) in _KEPT]
    return sorted(repr(row) for row in rows.select(columns).iter_rows())


def differences(one: dict[str, list[str]], other: dict[str, list[str]]) -> dict[str, tuple[int, int, str]]:
    """Return, by table, how many rows only one and only the other has, and one of them."""
    found: dict[str, tuple[int, int, str]] = {}
    for name in sorted(one.keys() | other.keys()):
        first, second = set(one.get(name, ())), set(other.get(name, ()))
        if first != second or len(one.get(name, ())) != len(other.get(name, ())):
            only = sorted(first - second)[:2] + sorted(second - first)[:2]
            found[name] = (len(first - second), len(second - first), "\n   ".join(only))
    return found


def batches(files: Sequence[File], rng: random.Random, count: int) -> list[list[File]]:
    """Return the files in a random order, cut into batches at random places.

    Limits and processing methods touch everything when they come: in every other order they come first, so that they do not hide a relation
    that is missing.
    """
    order = list(files)
    rng.shuffle(order)
    if rng.random() < 0.5:
        order.sort(key=lambda file: file.path not in STATIC)
    places = sorted(rng.sample(range(1, len(order)), min(count, len(order)) - 1))
    return [order[start:end] for start, end in zip([0, *places], [*places, len(order)], strict=True)]


STATIC = frozenset({"lims/specifications.csv", "lims/processing_methods.csv"})
