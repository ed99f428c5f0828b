"""``features.injection_progress``: partial-trace features at each checkpoint of a run.

Belongs here: gathering what the feature functions need of an injection. Does not belong here: the functions
(``lab_assets.features``), histories (``feature_histories.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CHROMATOGRAMS, INSTRUMENT_STATUS
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.features import INJECTION_PROGRESS
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.features.definitions import FEATURE_SET_VERSION, names_of
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.changes import portions, put_of_injections
from lab_assets.stations.silver.methods import Windows, method_key, windows_in_force
from lab_assets.stations.silver.results import STANDARD_ROLES, specification_rows
from lab_assets.stations.traces import FEW_INJECTIONS, SIGNAL_PLACE, TRACE_PLACE, Place, chosen_traces, here, place_of, rows_of, trace_rows

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame

Row = Mapping[str, Any]

_STANDARD: Final = (
    *("analyte", "channel", "area", "height", "retention_time_min", "weight_mg", "nominal_weight_mg", "standard_purity_pct"),
    *("sample_role", "known_time_utc"),
)
_RUN: Final = (
    *("injection_id", "injection_name", "sequence_id", "method_id", "product", "source", "weight_mg", "nominal_weight_mg"),
    *("injected_at_utc", "run_time_min"),
)
_PLACE: Final = (*TRACE_PLACE[:-1], "trace")
_POINTS: Final = ("x", "y", "x_unit", "y_unit", "y_factor")


def update_injection_progress(lake: Lakehouse) -> int:
    """Compute the partial-trace features of the injections that wait, at every checkpoint.

    Injections without a time or a method cannot be placed in a history and get no row.

    Returns:
        Version of ``features.injection_progress`` afterwards.
    """
    station = INJECTION_PROGRESS.full_name
    for injection_ids in portions(lake.ledger.queued(station)):
        put_of_injections(lake, INJECTION_PROGRESS, _computed(lake, injection_ids), injection_ids)
        lake.ledger.dequeue(station, injection_ids)
    return lake.version(INJECTION_PROGRESS)


def _computed(lake: Lakehouse, injection_ids: Sequence[str]) -> pa.Table:
    """Return the rows of some injections; traces and pressures of more than a few meet in Spark's workers."""
    import polars as pl

    placed = pl.col("injection_id").is_in(injection_ids) & pl.col("injected_at_utc").is_not_null() & pl.col("method_id").is_not_null()
    runs = lake.polars(INJECTIONS, list(_RUN), where=placed)
    traces = chosen_traces(lake, runs["injection_id"].to_list()).sort("channel").unique("injection_id", keep="first")
    pressures = _pressures_of(lake, traces["injection_name"].unique().to_list())
    worker = _worker(lake, runs, traces, pressures)
    wanted = ((CHROMATOGRAMS, traces, TRACE_PLACE), (INSTRUMENT_STATUS, pressures, SIGNAL_PLACE))
    if len(injection_ids) <= FEW_INJECTIONS:
        points = [here(lake, table, chosen, _named(place)).with_columns(kind=pl.lit(table.name)) for table, chosen, place in wanted]
        return worker.arrow(pl.concat(points).to_arrow())

    def of_name(table: pa.Table) -> pa.Table:  # a bound method will not do: Spark counts its self as an argument
        return worker.arrow(table)

    first, second = (_points(lake, table, chosen, place) for table, chosen, place in wanted)
    frame = first.unionByName(second).groupBy("injection_name").applyInArrow(of_name, schema=INJECTION_PROGRESS.spark_ddl())
    return lake.keeper.guard(frame.toArrow)


def _named(place: Sequence[str]) -> dict[str, str]:
    """Return the columns that a worker is given, whichever table they come from; the last of a place is the trace's own name."""
    return {**{name: name for name in place[:-1]}, place[-1]: "trace", **{name: name for name in _POINTS}}


def _pressures_of(lake: Lakehouse, names: Sequence[str]) -> pl.DataFrame:
    """Return the pressure that counts for each injection name, the first by name of its signal in the newest file."""
    import polars as pl

    wanted = pl.col("injection_name").is_in(names) & pl.col("signal").str.to_lowercase().str.contains("pressure", literal=True)
    told = lake.polars(INSTRUMENT_STATUS, [*SIGNAL_PLACE, "ingest_batch", "source_row"], where=wanted)
    ordered = told.sort("signal", "ingest_batch", "source_sha256", "source_row", descending=[False, True, True, True])
    return ordered.unique("injection_name", keep="first", maintain_order=True)


def _points(lake: Lakehouse, table: TableContract, chosen: pl.DataFrame, place: Sequence[str]) -> DataFrame:
    from pyspark.sql import functions as sf

    named = [sf.col(column).alias(name) for column, name in _named(place).items()]
    return rows_of(lake, table, chosen).select(sf.lit(table.name).alias("kind"), *named)


def _worker(lake: Lakehouse, runs: pl.DataFrame, traces: pl.DataFrame, pressures: pl.DataFrame) -> ProgressWorker:
    """Return the function for the workers with what it knows of each run."""
    standards = _standards(lake, runs["sequence_id"].drop_nulls().unique().to_list())
    by_id = {run["injection_id"]: run for run in runs.iter_rows(named=True)}
    pressure = {row["injection_name"]: place_of(row, SIGNAL_PLACE) for row in pressures.iter_rows(named=True)}
    known = {
        place_of(row, TRACE_PLACE): KnownRun(
            run=(run := by_id[row["injection_id"]]),
            standards=standards.get(run["sequence_id"], ()),
            pressure=pressure.get(row["injection_name"]),
        )
        for row in traces.iter_rows(named=True)
    }
    return ProgressWorker(known, windows_in_force(lake), specification_rows(lake))


def _standards(lake: Lakehouse, sequence_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the named peaks of the standards of some sequences, always in the same order: means depend on it in the last digit."""
    import polars as pl

    of_standards = pl.col("sequence_id").is_in(sequence_ids) & pl.col("sample_role").is_in(STANDARD_ROLES)
    columns = ["weight_mg", "nominal_weight_mg", "standard_purity_pct", "sample_role", "known_time_utc"]
    injections = lake.polars(INJECTIONS, ["injection_id", "sequence_id", *columns], where=of_standards)
    named = pl.col("injection_id").is_in(injections["injection_id"].implode()) & pl.col("analyte").is_not_null()
    peaks = lake.polars(PEAKS, ["injection_id", "analyte", "channel", "area", "height", "retention_time_min"], where=named)
    rows = injections.join(peaks, on="injection_id").sort(_STANDARD)
    return {sequence: group.select(_STANDARD).to_dicts() for (sequence,), group in rows.group_by(["sequence_id"], maintain_order=True)}


@dataclass(frozen=True, kw_only=True)
class KnownRun:
    """What is known of a run beside its trace.

    Attributes:
        run: Its injection, the columns of ``_RUN``.
        standards: Named peaks of the standards of its sequence.
        pressure: Place of its pressure, if there is one.
    """

    run: Row
    standards: Sequence[Row]
    pressure: Place | None


class ProgressWorker:
    """Partial-trace features of whole traces, in Spark's workers or here."""

    def __init__(self, known: Mapping[Place, KnownRun], windows: Windows, specifications: Sequence[Row]) -> None:
        self.known = known
        self.windows = windows
        self.specifications = list(specifications)

    def arrow(self, table: pa.Table) -> pa.Table:
        """Compute runs; the function given to ``applyInArrow``, which calls it for each injection name.

        Args:
            table: Traces and pressures, all those of a name together.
        """
        import pyarrow as pa

        kinds: dict[str, dict[Place, Row]] = {CHROMATOGRAMS.name: {}, INSTRUMENT_STATUS.name: {}}
        for row in trace_rows(table.combine_chunks()):
            kinds[row["kind"]][place_of(row, _PLACE)] = row
        made: list[dict[str, Any]] = []
        for place, trace in kinds[CHROMATOGRAMS.name].items():
            if (known := self.known.get(place)) is not None:
                pressure = None if known.pressure is None else kinds[INSTRUMENT_STATUS.name].get(known.pressure)
                made += self.rows(known, trace, pressure)
        return pa.Table.from_pylist(made, schema=INJECTION_PROGRESS.arrow_schema())

    def rows(self, known: KnownRun, trace: Row, pressure: Row | None) -> list[dict[str, Any]]:
        """Return the rows of one injection, one a checkpoint."""
        from lab_assets.domain.units import to_minutes
        from lab_assets.features.progress import checkpoint_features
        from lab_assets.features.reference import expectation_from_rows
        from lab_assets.features.vector import storable

        run = known.run
        started: datetime = run["injected_at_utc"]
        x_min = to_minutes(trace["x"], trace["x_unit"] or "min")
        run_time_min = run["run_time_min"] or float(x_min[-1])
        expectation = expectation_from_rows(
            self.windows.get(method_key(run["method_id"], run["source"]), ()),
            self.specifications,
            known.standards,
            method_id=run["method_id"],
            run_time_min=run_time_min,
            product=run["product"],
            channel=trace["trace"],
            weight_mg=run["weight_mg"],
            nominal_weight_mg=run["nominal_weight_mg"],
            as_of_utc=started,
        )
        found = checkpoint_features(
            x_min,
            trace["y"] * (trace["y_factor"] or 1.0),
            run_time_min=run_time_min,
            expectation=expectation,
            pressure=_pressure(pressure),
        )
        names = names_of("injection_progress")
        return [
            {
                "injection_id": run["injection_id"],
                "injection_name": run["injection_name"],
                "checkpoint_pct": int(features["checkpoint_pct"]),
                "event_time_utc": (at := checkpoint_time(started, run_time_min, features["checkpoint_pct"])),
                "known_time_utc": at,
                "feature_set_version": FEATURE_SET_VERSION,
                **storable({name: features[name] for name in names}),
            }
            for features in found
        ]


def checkpoint_time(started: datetime, run_time_min: float, checkpoint_pct: float) -> datetime:
    """Return when a share of the run has passed; an instrument tells its trace as it runs."""
    return started + timedelta(minutes=run_time_min * checkpoint_pct / 100)


def _pressure(signal: Row | None) -> Any:
    from lab_assets.domain.units import to_minutes
    from lab_assets.features.trace import pressure_trace

    if signal is None or len(signal["x"]) < 2:
        return None
    x_min = to_minutes(signal["x"], signal["x_unit"] or "min")
    return pressure_trace(x_min, signal["y"] * (signal["y_factor"] or 1.0), unit=signal["y_unit"])
