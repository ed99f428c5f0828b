"""Station of ``features.injection_progress``: partial-trace features at each checkpoint of a run.

Belongs here: which runs are touched, and gathering what the feature functions need of them. Does not belong here: the functions and the
facts (``lab_assets.features``), histories.

A row says what was known when the checkpoint was reached. A record made later (a corrected weight, a lot recorded late) adds a row beside
it with its own known time; the earlier row stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import (
    CHROMATOGRAMS,
    INSTRUMENT_STATUS,
    LIMS_LOTS,
    LIMS_SAMPLES,
    LIMS_SEQUENCES,
    PROCESSING_METHODS,
    SPECIFICATIONS,
)
from lab_assets.contracts.features import INJECTION_PROGRESS
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.domain.in_force import RECENCY, in_order
from lab_assets.domain.injection_identity import PARTS
from lab_assets.domain.processing_methods import METHOD_COLUMNS, WINDOW_COLUMNS
from lab_assets.domain.run_context import LOT_COLUMNS, PLAN_COLUMNS, SAMPLE_COLUMNS, STANDARD_ROLES
from lab_assets.domain.specifications import LIMIT_COLUMNS
from lab_assets.features.definitions import CHECKPOINTS_PCT, FEATURE_SET_VERSION, FORMER_FEATURES, columns_of
from lab_assets.features.expectation import MethodExpectation
from lab_assets.features.join import RUN_KEYS
from lab_assets.features.progress import checkpoint_time
from lab_assets.features.run_facts import STANDARD_PEAK_COLUMNS, STANDARDS_LOOKBACK, RunBook, RunIdentity
from lab_assets.stations.features.progress_worker import Known, KnownRun, ProgressWorker
from lab_assets.stations.gather import LONGEST_RUN, RUN_COLUMNS, gather, identity_of, without_own_standards
from lab_assets.stations.relations import (
    injections_of_methods,
    injections_of_samples,
    injections_of_windows,
    names_in_sequences,
    names_of_plans,
    on_instruments,
    placed,
    samples_of_lots,
)
from lab_assets.stations.station import Group, Input, Station, copied, keys_of, of
from lab_assets.stations.traces import (
    TRACE_COLUMNS,
    TRACE_NEWS,
    TRACE_PLACE,
    TRACE_POINTS,
    Place,
    chosen_traces,
    place_of,
    tasks_for,
)

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader


_KEY: Final = ("injection_id", "injection_name")
_RUN: Final = (
    *(*_KEY, "source", "instrument_id", "method_id", "product", "sample_role", "sequence_id", "injected_at_utc", "known_time_utc"),
    *("run_time_min", "stated_sample_name", "stated_method_name", "stated_instrument_name", "processing_id", "instrument_changed_at_utc"),
)
_REACH: Final = STANDARDS_LOOKBACK + LONGEST_RUN
"""A standard counts for runs that end this long after it at most."""
_SIGNAL_PLACE: Final = ("source_sha256", *PARTS, "signal")
_PEAK: Final = ("injection_id", "injection_name", "processing_id", *STANDARD_PEAK_COLUMNS)


# --- which runs are touched


def _of_traces(_read: StationReader, changes: Changes) -> pl.DataFrame:
    from lab_assets.domain.injection_identity import with_identity

    return keys_of(with_identity(changes.both), _KEY)


def _of_names(read: StationReader, names: Iterable[Any]) -> pl.DataFrame:
    return read.keyed(INJECTIONS, _KEY, injection_name=list(names))


def _of_signals(read: StationReader, changes: Changes) -> pl.DataFrame:
    return _of_names(read, changes.both["injection_name"])


def _of_runs(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return changed runs (also those that are gone), those of their sequences, and those that may be measured against a changed standard."""
    import polars as pl

    own = _of_names(read, names_in_sequences(read, changes.both["injection_name"]))
    return pl.concat([keys_of(changes.both, _KEY), own, _measured_against(read, changes.both, beside=own)])


def _of_peaks(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the runs that changed peaks are standards for."""
    import polars as pl

    named = changes.both.drop_nulls("analyte")["injection_name"].unique()
    standards = read.keyed(INJECTIONS, _RUN, injection_name=_ever_standards(read, named))
    own = _of_names(read, names_in_sequences(read, standards["injection_name"]))
    return pl.concat([own, _measured_against(read, standards, beside=own)])


def _of_plans(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the runs of the sequences of changed worklist entries, and those measured against their standards."""
    import polars as pl

    own = _of_names(read, names_of_plans(read, changes.both))
    planned = read.keyed(INJECTIONS, _RUN, injection_name=changes.both["injection_name"])
    return pl.concat([own, _measured_against(read, planned, beside=own, also=changes.both)])


def _ever_standards(read: StationReader, names: pl.Series, also: pl.DataFrame | None = None) -> pl.Series:
    """Return the injections among some that any worklist ever planned as standards.

    Args:
        read: Reads the worklists.
        names: Injections.
        also: Entries that stood in a worklist and may be gone.
    """
    import polars as pl

    columns = ["injection_name", "sample_role"]
    plans = read.keyed(LIMS_SEQUENCES, columns, injection_name=names)
    if also is not None:
        plans = pl.concat([plans, also.select(columns)])
    return plans.filter(pl.col("sample_role").is_in(list(STANDARD_ROLES)))["injection_name"].unique()


def _measured_against(read: StationReader, runs: pl.DataFrame, *, beside: pl.DataFrame, also: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return the runs that may be measured against the standards among some, since their own sequence had none yet.

    Args:
        read: Reads the runs and their worklists.
        runs: Runs, standards among them.
        beside: Runs that are touched anyway.
        also: Worklist entries of theirs that may be gone.
    """
    import polars as pl

    known = placed(read, runs)
    if also is not None:  # also where no entry puts them any more
        there = also.select("injection_name", "instrument_id").unique()
        known = pl.concat([known, runs.drop("instrument_id").join(there, on="injection_name").select(known.columns)])
    known = known.drop_nulls(["instrument_id", "injected_at_utc"])
    known = known.filter(pl.col("injection_name").is_in(_ever_standards(read, known["injection_name"], also).implode()))
    if known.is_empty():
        return read.empty(INJECTIONS, _KEY)
    since = known.group_by("instrument_id").agg(
        pl.col("injected_at_utc").min().alias("since"), pl.col("known_time_utc").fill_null(pl.col("injected_at_utc")).max().alias("until")
    )
    # one that began before a standard was over may have seen it end
    later = read.rows(
        INJECTIONS,
        list(dict.fromkeys((*_RUN, *RUN_COLUMNS))),
        where=on_instruments(since["instrument_id"])
        & pl.col("known_time_utc").is_between(pl.lit(known["injected_at_utc"].min()), pl.lit(since["until"].max()) + _REACH),
    )
    reached = pl.col("known_time_utc").is_between(pl.col("since"), pl.col("until") + _REACH)
    later = placed(read, later).join(since, on="instrument_id").filter(reached).join(beside, on="injection_id", how="anti")
    later = later.unique("injection_id", maintain_order=True)
    alone = without_own_standards(read, [identity_of(row) for row in later.iter_rows(named=True)])
    return later.filter(pl.col("injection_id").is_in(alone)).select(_KEY)


def _of_samples(read: StationReader, changes: Changes) -> pl.DataFrame:
    return injections_of_samples(read, list(_KEY), changes.both["sample_name"])


def _of_lots(read: StationReader, changes: Changes) -> pl.DataFrame:
    return injections_of_samples(read, list(_KEY), samples_of_lots(read, changes.both["lot_id"]))


def _of_limits(read: StationReader, changes: Changes) -> pl.DataFrame:
    return injections_of_methods(read, list(_KEY), changes.both.select("method_id"))


def _of_windows(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the runs by changed methods, and those of their sequences: standards may be by another method than what they are for."""
    concerned = injections_of_windows(read, ["injection_name"], changes.both)
    return _of_names(read, names_in_sequences(read, concerned["injection_name"]))


# --- what is made of them


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Compute the partial-trace features of some runs; a run without a time cannot be placed in a history and gets no row."""
    import polars as pl

    runs = read.keyed(INJECTIONS, _RUN, injection_name=keys["injection_name"]).join(keys, on="injection_id", how="semi")
    runs = runs.drop_nulls("injected_at_utc")
    traces = chosen_traces(read, runs).sort("channel").unique("injection_id", keep="first", maintain_order=True)
    if traces.is_empty():
        return read.empty(INJECTION_PROGRESS, INJECTION_PROGRESS.column_names)
    pressures = _pressures_of(read, traces["injection_name"])
    worker = ProgressWorker(_known(read, runs, traces, pressures))
    rows = [
        _rows_of(read, CHROMATOGRAMS, traces, TRACE_PLACE),
        *([_rows_of(read, INSTRUMENT_STATUS, pressures, _SIGNAL_PLACE)] if pressures.height else []),
    ]
    made = read.lake.compute.map_files(
        worker, rows, INJECTION_PROGRESS.arrow_schema(), tasks=tasks_for(traces.height), group_by="injection_name"
    )
    return pl.DataFrame(pl.from_arrow(made))


def _rows_of(read: StationReader, table: Any, chosen: pl.DataFrame, place: Sequence[str]) -> Any:
    """Return where chosen rows lie; the last column of a place is the trace's own name."""
    columns = {**{name: name for name in place[:-1]}, place[-1]: "trace", **{name: name for name in TRACE_POINTS}}
    return read.files(table, columns, injection_name=chosen["injection_name"].unique(), source_sha256=chosen["source_sha256"].unique())


def _pressures_of(read: StationReader, names: pl.Series) -> pl.DataFrame:
    """Return the pressure that counts for each injection name of each source: the first by name of its signal, of the last file."""
    import polars as pl

    stated = read.keyed(INSTRUMENT_STATUS, list(dict.fromkeys((*_SIGNAL_PLACE, *RECENCY))), injection_name=names)
    stated = stated.filter(pl.col("signal").str.to_lowercase().str.contains("pressure", literal=True))
    last_signal_first = in_order(stated).sort("signal", descending=True, maintain_order=True)
    return last_signal_first.unique(["source", "injection_name"], keep="last", maintain_order=True)


def _places_of_pressures(pressures: pl.DataFrame) -> Mapping[tuple[str, str], Place]:
    """Return where the pressure of each (source, injection name) lies; under no source where only one has any.

    Data systems number their runs alike, so a pressure of the run's own source comes first. One of another source counts where nobody
    else has any: pumps that log into a folder of their own.
    """
    found: dict[tuple[str, str], Place] = {}
    for row in pressures.iter_rows(named=True):
        found[row["source"], row["injection_name"]] = place_of(row, _SIGNAL_PLACE)
    alone = pressures.unique("injection_name", keep="none")
    return found | {("", row["injection_name"]): place_of(row, _SIGNAL_PLACE) for row in alone.iter_rows(named=True)}


def _known(read: StationReader, runs: pl.DataFrame, traces: pl.DataFrame, pressures: pl.DataFrame) -> dict[Place, KnownRun]:
    """Return what is known of each run beside its trace."""
    book = gather(read, [identity_of(row) for row in runs.iter_rows(named=True)])
    pressure = _places_of_pressures(pressures)
    by_id = {row["injection_id"]: row for row in runs.iter_rows(named=True)}
    known: dict[Place, KnownRun] = {}
    for row in traces.iter_rows(named=True):
        run = by_id[row["injection_id"]]
        known[place_of(row, TRACE_PLACE)] = KnownRun(
            injection_id=run["injection_id"],
            injection_name=run["injection_name"],
            started_at_utc=run["injected_at_utc"],
            run_time_min=run["run_time_min"],
            expectations=_expectations(book, identity_of(run), run["injected_at_utc"], run["run_time_min"], row["channel"]),
            pressure=pressure.get((run["source"], run["injection_name"])) or pressure.get(("", run["injection_name"])),
        )
    return known


def _expectations(
    book: RunBook, run: RunIdentity, started: datetime, run_time_min: float | None, channel: str
) -> dict[int, tuple[Known, ...]]:
    """Return, by checkpoint, what the run was expected to show and from when on; none while its method was not known."""
    if run_time_min is None:
        return {}
    found: dict[int, tuple[Known, ...]] = {}
    cached: dict[tuple[int, int], tuple[MethodExpectation | None, tuple[str | None, ...]]] = {}
    moments = {checkpoint: checkpoint_time(started, run_time_min, checkpoint) for checkpoint in CHECKPOINTS_PCT}
    changes = book.times(run, first=min(moments.values()), last=max(moments.values()))
    for checkpoint, reached in moments.items():
        known: list[Known] = []
        for moment in (reached, *changes.known_after(reached)):
            stage = changes.stage(seen_by=reached, known_by=moment)
            if stage not in cached:
                facts = book.facts(run, seen_by=reached, known_by=moment)
                keys = tuple(getattr(facts.context, name) for name in RUN_KEYS)
                cached[stage] = facts.expectation(run_time_min=run_time_min, channel=channel), keys
            expected, keys = cached[stage]
            if expected is not None and (not known or known[-1][1:] != (expected, keys)):
                known.append(Known(moment, expected, keys))
        found[checkpoint] = tuple(known)
    return found


_RUNS: Final = Input(table=INJECTIONS, columns=_RUN, touches=_of_runs)
_TRACES: Final = Input(table=CHROMATOGRAMS, columns=TRACE_COLUMNS, news=TRACE_NEWS, touches=_of_traces)
_SIGNALS: Final = Input(
    table=INSTRUMENT_STATUS,
    columns=tuple(dict.fromkeys((*_SIGNAL_PLACE, *RECENCY, *TRACE_POINTS))),
    news=tuple(dict.fromkeys((*_SIGNAL_PLACE, "ingest_batch"))),
    touches=_of_signals,
)
_STANDARD_PEAKS: Final = Input(table=PEAKS, columns=_PEAK, touches=_of_peaks)
_PLANS: Final = Input(table=LIMS_SEQUENCES, columns=(*PLAN_COLUMNS, *RECENCY), touches=_of_plans)
_SAMPLES: Final = Input(table=LIMS_SAMPLES, columns=(*SAMPLE_COLUMNS, *RECENCY), touches=_of_samples)
_LOTS: Final = Input(table=LIMS_LOTS, columns=(*LOT_COLUMNS, *RECENCY), touches=_of_lots)
_LIMITS: Final = Input(table=SPECIFICATIONS, columns=(*LIMIT_COLUMNS, *RECENCY), touches=_of_limits)
_METHODS: Final = Input(
    table=PROCESSING_METHODS,
    columns=tuple(dict.fromkeys((*METHOD_COLUMNS, *WINDOW_COLUMNS, *RECENCY))),
    reads="whole",
    touches=_of_windows,
)

_TRACE_OF: Final = of(CHROMATOGRAMS, "x", "y", "x_unit", "y_factor") + of(INJECTIONS, "run_time_min")
_STANDARDS_OF: Final = (
    of(PEAKS, "area", "height", "retention_time_min", "analyte", "channel", "processing_id")
    + of(
        LIMS_SEQUENCES,
        "weight_mg",
        "nominal_weight_mg",
        "standard_purity_pct",
        "sample_role",
        "sequence_id",
        "method_id",
        "recorded_at_utc",
    )
    + of(INJECTIONS, "injected_at_utc", "known_time_utc")
)
_WINDOWS_OF: Final = of(PROCESSING_METHODS, *WINDOW_COLUMNS, "effective_from_utc", "recorded_at_utc")
_LIMITS_OF: Final = (
    of(SPECIFICATIONS, "spec_low", "spec_high", "product", "method_id", "analyte", "effective_from_utc", "recorded_at_utc")
    + of(LIMS_LOTS, "product")
    + of(LIMS_SAMPLES, "lot_id")
)
_PRESSURE_OF: Final = of(INSTRUMENT_STATUS, "x", "y", "x_unit", "y_unit", "y_factor", "signal")
_WINDOWED: Final = ("retention_shift_pct", "early_impurity_pct", "main_area_share", "main_height_share", "main_value_pct")


def _feeds() -> dict[str, tuple[str, ...]]:
    feeds = {**copied(INJECTION_PROGRESS, _RUNS)}
    feeds["checkpoint_pct"] = of(INJECTIONS, "run_time_min")
    feeds["event_time_utc"] = of(INJECTIONS, "injected_at_utc", "run_time_min")
    feeds["known_time_utc"] = feeds["event_time_utc"] + tuple(
        source
        for table in (LIMS_SEQUENCES, LIMS_SAMPLES, LIMS_LOTS, SPECIFICATIONS, PROCESSING_METHODS)
        for source in of(table, "recorded_at_utc")
    )
    feeds["feature_set_version"] = ()
    feeds["sample_name"] = of(LIMS_SEQUENCES, "sample_name") + of(INJECTIONS, "stated_sample_name")
    feeds["lot_id"] = of(LIMS_SAMPLES, "lot_id") + feeds["sample_name"]
    feeds["method_id"] = of(LIMS_SEQUENCES, "method_id", "recorded_at_utc") + of(INJECTIONS, "stated_method_name")
    feeds["instrument_id"] = of(LIMS_SEQUENCES, "instrument_id", "recorded_at_utc") + of(INJECTIONS, "stated_instrument_name")
    for name in columns_of("injection_progress"):
        if name in FORMER_FEATURES:
            feeds[name] = tuple(dict.fromkeys(_TRACE_OF + _WINDOWS_OF + _STANDARDS_OF + _LIMITS_OF + _PRESSURE_OF))
        elif name.startswith("pressure"):
            feeds[name] = _PRESSURE_OF + of(INJECTIONS, "run_time_min")
        elif name == "worst_margin_so_far":
            feeds[name] = _TRACE_OF + _WINDOWS_OF + _STANDARDS_OF + _LIMITS_OF
        else:
            feeds[name] = _TRACE_OF + _WINDOWS_OF + (_STANDARDS_OF if name in _WINDOWED or "_pct" in name else ())
    return feeds


INJECTION_PROGRESS_STATION: Final = Station(
    target=INJECTION_PROGRESS,
    within=("feature_set_version", FEATURE_SET_VERSION),
    inputs=(_RUNS, _TRACES, _SIGNALS, _STANDARD_PEAKS, _PLANS, _SAMPLES, _LOTS, _LIMITS, _METHODS),
    make=_make,
    group=Group(columns=("injection_id",), also=("injection_name",)),
    kinds=("spark", "polars", "deltalake"),
    feeds=_feeds(),
)
