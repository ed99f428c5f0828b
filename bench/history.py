"""Lakes with much history, from one simulated laboratory: its rows again and again, with earlier times and names of their own.

Belongs here: making such lakes. Does not belong here: measuring (``growth.py``).

Each repetition is the same laboratory one period earlier: its worklists, samples, lots, certificates, results, files and traces, and what
the stations made of them, have names and identities of their own, so that they are consistent with one another; instruments, products,
methods and chambers are shared, columns wear out. Tables whose rows rest on the whole history (instruments, gold) are made by their stations, some
repetitions at a time, in the order in which a laboratory would have brought them. Traces keep their first points only.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
from sqlalchemy import delete, insert

from lab_assets.compute.session import SessionKeeper
from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.bronze import (
    CHROMATOGRAMS,
    FILES,
    PROCESSING_METHODS,
    READER_TABLES,
    SPECIFICATIONS,
)
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.ml import DECISIONS, EXPLANATIONS, PREDICTIONS
from lab_assets.contracts.silver import INJECTIONS, INSTRUMENTS, RESULTS
from lab_assets.domain.injection_identity import PARTS, injection_id
from lab_assets.domain.result_versions import result_id
from lab_assets.ingest.inbox_mark import mark_inbox
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.maintenance import maintain
from lab_assets.registry.serving import verified_bundle
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.database import open_database, utc_text, writing
from lab_assets.state.ledger import Ledger
from lab_assets.state.ledger_tables import (
    ARRIVALS,
    CURRENT_PATHS,
    DATA_FILES,
    INGEST_BATCHES,
    LINEAGE_OUTBOX,
    QUARANTINE_EVENTS,
    STATION_ATTENTION,
    STATION_PROGRESS,
    STATION_QUEUE,
    TABLE_COMMITS,
)
from lab_assets.stations.all_stations import STATIONS
from lab_assets.stations.governance.lineage import update_lineage
from lab_assets.stations.ml import predictions
from lab_assets.stations.ml.training_sets import FEATURE_TABLES
from lab_assets.stations.quality import reconciliation, violations
from lab_assets.stations.runner import definition, update

PERIOD: Final = timedelta(weeks=62)
"""A little more than the months that the laboratory was simulated for."""
TOGETHER: Final = 5
"""Repetitions between two runs of the stations."""
_POINTS_KEPT: Final = 8
_ONCE: Final = (PROCESSING_METHODS, SPECIFICATIONS)
"""Reference data of the laboratory, not of its work."""
_MADE: Final = {INSTRUMENTS.full_name, *(name for name in contracts() if name.startswith("gold."))}
"""Tables that their stations make: the rows of one repetition follow from those before it."""
_RECORDS: Final = (PREDICTIONS, DECISIONS, EXPLANATIONS)
_NAMES: Final = {
    *("injection_name", "sequence_id", "lot_id", "certificate_id", "event_id", "result_id", "retest_of", "source_file", "file_name"),
    *("document_name", "image_name", "sample_name", "calibration_id", "stated_sample_name", "column_id"),
}
_DIGESTS: Final = {"source_sha256", "file_id", "document_id", "image_id"}
_RANDOM: Final = {"prediction_id": "pred_", "decision_id": "d-pred_"}
_ARRAYS: Final = ("x", "y")
_FORGOTTEN: Final = (
    *(QUARANTINE_EVENTS, ARRIVALS, INGEST_BATCHES, CURRENT_PATHS, DATA_FILES, TABLE_COMMITS),
    *(STATION_PROGRESS, STATION_ATTENTION, STATION_QUEUE, LINEAGE_OUTBOX),
)


def lakehouse(home: Path) -> Lakehouse:
    """Open a laboratory; Spark is started only if something asks for it."""
    settings = Settings(home=home, stable_s=0, context_grace_s=0, jars_dir=PROJECT_ROOT / ".jars")
    return Lakehouse(settings, SessionKeeper(settings), Ledger(open_database(settings)))


class History:
    """Writes the history of one laboratory into another home."""

    def __init__(self, base: Path, home: Path, *, repetitions: int, say: Callable[[str], None]) -> None:
        """Make the home, empty but for people, approvals and models.

        Args:
            base: Home of a demonstration.
            home: Where to write; must not exist.
            repetitions: How often the laboratory's work is repeated.
            say: Given progress.
        """
        shutil.copytree(base, home, ignore=shutil.ignore_patterns("lake", "inbox", "raw", "dagster", "run"))
        shutil.copytree(base / "run" / "models", home / "run" / "models")
        (home / "inbox").mkdir()
        mark_inbox(Settings(home=home), anew=True)
        self.base, self.lake, self.repetitions, self.say = lakehouse(base), lakehouse(home), repetitions, say
        with writing(self.lake.ledger.engine) as connection:
            for table in _FORGOTTEN:
                connection.execute(delete(table))
        self._held: dict[str, pl.DataFrame] = {}
        self._identities: dict[int, Mapping[str, str]] = {}
        self._batches = int(self._rows(FILES)["ingest_batch"].max() or 0)  # pyright: ignore[reportArgumentType]
        self._arrivals = int(self._rows(FILES)["arrival_id"].max() or 0)  # pyright: ignore[reportArgumentType]
        self._samples = set(self._rows(_table("lims_samples"))["sample_name"])

    def write(self) -> None:
        """Write everything, oldest first."""
        for table in _ONCE:
            self._append_all(table, range(1))
        for start in range(0, self.repetitions, TOGETHER):
            numbers = range(start, min(start + TOGETHER, self.repetitions))
            self._bring(numbers)
            self._make(numbers)
            self.say(f"{numbers.stop} of {self.repetitions} repetitions")
        self._settle()
        self.lake.keeper.close()
        self.lake.ledger.engine.dispose()

    def _bring(self, numbers: range) -> None:
        """Append what files brought, and record the files."""
        for table in READER_TABLES:
            if table not in _ONCE and self._rows(table).height:
                self._append_all(table, numbers)
        files = pl.concat([self._repeated(FILES, number) for number in numbers])
        once = pl.col("file_name").str.contains_any([f"{table.name}.csv" for table in _ONCE])
        files = files.filter(~once | (pl.col("ingest_batch") <= self._batches))
        self._append(FILES, files)
        self._record(files)

    def _make(self, numbers: range) -> None:
        """Run the stations over what was brought; what is computed from points is taken over."""
        ledger = self.lake.ledger
        for station in STATIONS:
            if station.name in _MADE:
                update(self.lake, station)
            else:
                self._append_all(station.target, numbers)
                versions = self.lake.versions([each.table for each in station.inputs])
                ledger.set_progress(station.name, versions | {"#definition": definition(station)})
        for table in _RECORDS:
            self._append_all(table, numbers)
        bundle = verified_bundle(self.lake.settings, ledger.engine)
        inputs = predictions.inputs_of_model(bundle)
        assert inputs is not None, "the model is of today's features"  # noqa: S101
        predictions.note_scored(self.lake, bundle, inputs, self.lake.versions((INJECTIONS, *FEATURE_TABLES)))
        update_lineage(self.lake, STATIONS)

    def _settle(self) -> None:
        """Put small files together, and look at everything once, as a laboratory does every night.

        Every table has a checkpoint, as after its first fifty commits, so that lakes of different sizes differ by what they hold.
        """
        for table in contracts().values():
            if self.lake.row_count(table):
                maintain(self.lake, table)
                self.lake.checkpoint(table)
            if broken := violations(self.lake, table):
                raise RuntimeError(f"{table.full_name}: {broken}")
        if differences := reconciliation(self.lake):
            raise RuntimeError(f"ledger and tables differ: {differences}")
        for station in STATIONS:
            update(self.lake, station)
        update_lineage(self.lake, STATIONS)

    def _rows(self, table: TableContract) -> pl.DataFrame:
        if table.full_name not in self._held:
            rows = self.base.polars(table)
            if table.full_name in {CHROMATOGRAMS.full_name, "bronze.instrument_status"}:
                rows = rows.with_columns(pl.col(name).list.head(_POINTS_KEPT) for name in _ARRAYS)
            order = next((name for name in ("ingest_batch", "predicted_at_utc", "known_time_utc") if name in rows.columns), None)
            self._held[table.full_name] = rows if order is None else rows.sort(order, maintain_order=True)
        return self._held[table.full_name]

    def _append_all(self, table: TableContract, numbers: range) -> None:
        self._append(table, pl.concat([self._repeated(table, number) for number in numbers]))

    def _append(self, table: TableContract, rows: pl.DataFrame) -> None:
        """Append rows as ingestion does those of bronze: with the number of their last batch."""
        if table.layer == "bronze":
            batch = int(rows["ingest_batch"].max() or 0)  # pyright: ignore[reportArgumentType]
            self.lake.append_once(table, rows.to_arrow(), app=f"ingest:{table.full_name}", version=batch)
        else:
            self.lake.append(table, rows.to_arrow())

    def _repeated(self, table: TableContract, number: int) -> pl.DataFrame:
        """Return the rows of one repetition, 0 being the oldest."""
        back = self.repetitions - 1 - number
        rows = _earlier(self._rows(table), back)
        if "ingest_batch" in rows.columns:
            rows = rows.with_columns(pl.col("ingest_batch") + number * self._batches)
        for name in {"arrival_id", "path_revision", "revises_revision"} & set(rows.columns):
            rows = rows.with_columns(pl.col(name) + number * self._arrivals)
        if not back:
            return rows
        return rows.with_columns(self._renamed(rows[name], number) for name in rows.columns if self._is_name(name))

    def _is_name(self, name: str) -> bool:
        return name in {*_NAMES, *_DIGESTS, *_RANDOM, "injection_id", "title", "text"}

    def _renamed(self, values: pl.Series, number: int) -> pl.Series:
        """Return names and identities as those of one repetition."""
        mark = f"A{number:03d}-"
        match values.name:
            case "injection_id":
                names = self._injections(number)
                return pl.Series(values.name, [names[value] if value else value for value in values], dtype=pl.String)
            case "title" | "text":
                return values.str.replace_all("CAL-", f"{mark}CAL-", literal=True)
            case "result_id":
                measured = self._results(number)
                return pl.Series(values.name, [measured.get(value) or mark + value for value in values], dtype=pl.String)
            case "sample_name" | "stated_sample_name" | "retest_of":
                return pl.Series(values.name, [mark + value if value in self._samples else value for value in values], dtype=pl.String)
            case name if name in _DIGESTS or name in _RANDOM:
                prefix = _RANDOM.get(name, "")
                digests = {value: _renamed_digest(value, number, prefix) for value in values.unique().drop_nulls()}
                return values.replace_strict(digests, return_dtype=pl.String, default=None)
            case _:
                return (
                    pl.select(pl.when(values.str.len_bytes() > 0).then(pl.lit(mark) + values).otherwise(values))
                    .to_series()
                    .alias(values.name)
                )

    def _injections(self, number: int) -> Mapping[str, str]:
        """Return the identities of the injections of one repetition by those of the laboratory."""
        if number not in self._identities:
            parts = self._rows(CHROMATOGRAMS).select(PARTS).unique().rows()
            renamed = [(source, instrument, f"A{number:03d}-{name}", at) for source, instrument, name, at in parts]
            self._identities[number] = {injection_id(*old): injection_id(*new) for old, new in zip(parts, renamed, strict=True)}
        return self._identities[number]

    def _results(self, number: int) -> Mapping[str, str]:
        """Return the identities of the measured results of one repetition by those of the laboratory."""
        names = self._injections(number)
        measured = self._rows(RESULTS).drop_nulls("injection_id").select("result_id", "injection_id", "analyte", "channel")
        return {known: result_id(names[run], analyte, channel or "") for known, run, analyte, channel in measured.iter_rows()}

    def _record(self, files: pl.DataFrame) -> None:
        """Write the ledger as ingestion would have."""
        now, ids = utc_text(), files["ingest_batch"].unique().sort()
        batches = [{"batch": each, "state": "committed", "opened_at": now, "committed_at": now, "table_versions": {}} for each in ids]
        arrivals: list[dict[str, Any]] = []
        paths: list[dict[str, Any]] = []
        for row in files.iter_rows(named=True):
            own = {name: row[name] for name in ("arrival_id", "source", "file_name", "file_id")}
            times = {"size": row["bytes"], "mtime_ns": 0, "ctime_ns": 0}
            counts = {name: _counts(row[name]) for name in ("rows_parsed", "rows_rejected")}
            said = {name: row[name] for name in ("format", "state", "rule", "reason", "place", "supersedes", "duplicate_of", "member_of")}
            arrivals.append({**own, **times, **counts, **said, "warnings": [], "batch": row["ingest_batch"], "arrived_at": now})
            paths.append(own | times)
        with writing(self.lake.ledger.engine) as connection:
            connection.execute(insert(INGEST_BATCHES), batches)
            connection.execute(insert(ARRIVALS), arrivals)
            connection.execute(insert(CURRENT_PATHS), paths)


def _table(name: str) -> TableContract:
    return next(table for table in READER_TABLES if table.name == name)


def _counts(entries: Any) -> dict[str, int]:
    pairs = entries.items() if isinstance(entries, dict) else ((entry["key"], entry["value"]) for entry in entries or ())
    return {name: count for name, count in pairs if count is not None}


def _renamed_digest(value: str, number: int, prefix: str) -> str:
    """Return another digest of the same form; what follows after a dash, such as a page, stays."""
    digest, *rest = value.removeprefix(prefix).split("-")
    return "-".join((prefix + hashlib.sha256(f"{digest}|{number}".encode()).hexdigest()[: len(digest)], *rest))


def _earlier(rows: pl.DataFrame, back: int) -> pl.DataFrame:
    """Return rows with every time some periods earlier."""
    times = [name for name, kind in rows.schema.items() if kind.is_temporal()]
    return rows.with_columns(pl.col(name) - back * PERIOD for name in times)
