"""Station of ``features.instrument_history``: the state each injection leaves on its instrument.

Belongs here: which injections are touched, and gathering what the feature function needs. Does not belong here: the function
(``lab_assets.features.history_of_instruments``).

A changed run touches every later one of its instrument, and the last of its method before it: what was learned later is a state
of the method's last run, which is another once a run comes or goes. States are worked out from the last runs before them, as many as the
function keeps in mind, and not from the beginning: the cost of one more run does not grow with the history.

Where files do not state their instrument the worklist says it, and may say otherwise later. Such a run has left a state on each of its
instruments, on each as long as it was known to be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CALIBRATIONS, LIMS_SEQUENCES, PROCESSING_METHODS
from lab_assets.contracts.features import INJECTION_PROGRESS, INSTRUMENT_HISTORY
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.domain.certificates import CERTIFICATE_COLUMNS, Certificates
from lab_assets.domain.in_force import RECENCY, Row
from lab_assets.domain.processing_methods import METHOD_COLUMNS, WINDOW_COLUMNS, ProcessingMethods
from lab_assets.domain.run_context import PLAN_COLUMNS, LimsRecords
from lab_assets.features.definitions import FEATURE_SET_VERSION, columns_of
from lab_assets.features.history_of_instruments import INSTRUMENT_HISTORY_INPUT, instrument_history
from lab_assets.features.instrument_runs import FIRST_KEPT, KEEP
from lab_assets.features.reference import standard_response
from lab_assets.lake.among import among
from lab_assets.stations.relations import certificates_since, injections_of_windows, on_instruments, placed, since_certificates
from lab_assets.stations.station import Group, Input, Station, keys_of, of

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader


LOOKED_BACK: Final = (timedelta(days=500), timedelta(days=2000), None)
"""How far back the last runs before a new one are looked for, until there are enough of each method: seldom through the whole history."""

_RUN: Final = (
    *("injection_id", "injection_name", "source", "instrument_id", "method_id", "column_id", "injected_at_utc", "known_time_utc"),
    *("stated_sample_name", "stated_method_name", "stated_instrument_name", "processing_id", "instrument_changed_at_utc"),
)
_PLACED: Final = ("injection_id", "injection_name", "instrument_id", "injected_at_utc", "instrument_changed_at_utc")
_PEAK: Final = ("injection_id", "injection_name", "processing_id", "channel", "analyte", "area", "plates", "tailing", "retention_time_min")
_PROGRESS: Final = ("injection_id", "injection_name", "checkpoint_pct", "known_time_utc", "pressure_mean_bar", "pressure_ripple_pct")
_PLAN: Final = (*PLAN_COLUMNS, *RECENCY)
_METHOD: Final = tuple(dict.fromkeys((*METHOD_COLUMNS, *WINDOW_COLUMNS, *RECENCY)))
_MEASURED: Final = ("area", "plates", "tailing", "retention_time_min")


def _since(read: StationReader, runs: pl.DataFrame) -> pl.DataFrame:
    """Return every injection that was ever on the instruments of some runs from the first of these on."""
    import polars as pl

    since = runs.drop_nulls(["instrument_id", "injected_at_utc"]).group_by("instrument_id").agg(_since=pl.col("injected_at_utc").min())
    if since.is_empty():
        return read.empty(INJECTIONS, ("injection_id", "instrument_id"))
    start = since["_since"].min()
    where = on_instruments(since["instrument_id"]) & (pl.col("injected_at_utc") >= pl.lit(start))
    later = placed(read, read.rows(INJECTIONS, _PLACED, where=where))
    following = later.join(since, on="instrument_id").filter(pl.col("injected_at_utc") >= pl.col("_since"))
    return following.select("injection_id", "instrument_id")


def _last_before(read: StationReader, runs: pl.DataFrame) -> pl.DataFrame:
    """Return the standing injections that were their method's last one at some time from some runs on.

    These are the last one before that was known as of the method when the first of the runs began and has been ever since, and those after
    it, which became known later or were of another method, or on another instrument, for a time.

    Args:
        read: Reads the standing states.
        runs: ``instrument_id``, ``injected_at_utc`` and ``method_id`` of runs that came, went or changed their method.
    """
    import polars as pl

    of_method = ["instrument_id", "method_id"]
    since = runs.drop_nulls().group_by(of_method).agg(_since=pl.col("injected_at_utc").min())
    if since.is_empty():
        return read.empty(INSTRUMENT_HISTORY, ("injection_id", "instrument_id"))
    at, until = pl.col("event_time_utc"), pl.lit(since["_since"].max())
    asked = pl.all_horizontal(among(name, since[name]) for name in of_method)
    standing = read.rows(INSTRUMENT_HISTORY, [*of_method, "injection_id", "event_time_utc", "known_time_utc"], where=asked & (at < until))
    standing = standing.join(since, on=of_method).filter(at < pl.col("_since"))
    injections = standing.group_by(*of_method, "_since", "injection_id", "event_time_utc").agg(pl.col("known_time_utc").min())
    injections = injections.sort("event_time_utc", "injection_id")
    latest = injections.group_by(of_method).tail(KEEP)
    if latest.is_empty():
        return injections.select("injection_id", "instrument_id")
    nearby = among("instrument_id", since["instrument_id"]) & at.is_between(pl.lit(latest["event_time_utc"].min()), until)
    methods = read.rows(INSTRUMENT_HISTORY, ["injection_id", "method_id"], where=nearby).group_by("injection_id")
    moved = methods.agg(pl.col("method_id").n_unique()).filter(pl.col("method_id") > 1)["injection_id"]
    moved = pl.concat([moved, _moved_runs(read, latest["event_time_utc"].min(), until)])
    certain = latest.filter(pl.col("known_time_utc") < pl.col("_since"), ~pl.col("injection_id").is_in(moved.implode()))
    last = certain.group_by(of_method).agg(_last=at.max())
    found = injections.join(last, on=of_method, how="left").filter(pl.col("_last").is_null() | (at >= pl.col("_last")))
    return found.select("injection_id", "instrument_id").unique()


def _moved_runs(read: StationReader, start: Any, until: pl.Expr) -> pl.Series:
    """Return the injections between two times that were known to be on several instruments."""
    import polars as pl

    at = pl.col("injected_at_utc").is_between(pl.lit(start), until)
    return read.rows(INJECTIONS, ["injection_id"], where=at & pl.col("instrument_changed_at_utc").is_not_null())["injection_id"]


def _of_runs(read: StationReader, changes: Changes) -> pl.DataFrame:
    import polars as pl

    removed = placed(read, changes.removed.select("injection_id", "injection_name", "instrument_id", "instrument_changed_at_utc"))
    runs = placed(read, changes.both)
    named = [pl.col("instrument_id"), pl.col("injected_at_utc")]
    methods = pl.concat([runs.select(*named, method_id=name) for name in ("method_id", "stated_method_name")])
    return pl.concat([_since(read, runs.select(named)), keys_of(removed, ("injection_id", "instrument_id")), _last_before(read, methods)])


def _of_plans(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return what changed worklist entries reach: on the instruments that they name as well, also where no entry does any more."""
    import polars as pl

    planned = read.keyed(INJECTIONS, _PLACED, injection_name=changes.both["injection_name"].unique())
    named = changes.both.select("injection_name", "instrument_id").drop_nulls().unique()
    there = planned.drop("instrument_id").join(named, on="injection_name").select(planned.columns)
    runs = pl.concat([placed(read, planned), there]).unique(maintain_order=True)
    methods = changes.both.select("injection_name", "method_id").unique()
    asked = runs.join(methods, on="injection_name").select("instrument_id", "injected_at_utc", "method_id")
    since = _since(read, runs.select("instrument_id", "injected_at_utc"))
    return pl.concat([keys_of(runs, ("injection_id", "instrument_id")), since, _last_before(read, asked)])


def _of_names(read: StationReader, names: Iterable[Any]) -> pl.DataFrame:
    return _since(read, placed(read, read.keyed(INJECTIONS, _PLACED, injection_name=list(names))))


def _of_named_rows(read: StationReader, changes: Changes) -> pl.DataFrame:
    return _of_names(read, changes.both["injection_name"].unique())


def _of_windows(read: StationReader, changes: Changes) -> pl.DataFrame:
    return _since(read, placed(read, injections_of_windows(read, list(_PLACED), changes.both)))


def _of_certificates(read: StationReader, changes: Changes) -> pl.DataFrame:
    return _since(read, since_certificates(read, changes.both).rename({"performed_at_utc": "injected_at_utc"}))


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Work out the states that some injections leave, each instrument from the last runs before them."""
    import polars as pl

    wanted = placed(read, read.keyed(INJECTIONS, _RUN, injection_id=keys["injection_id"]))
    wanted = wanted.join(keys, on=["injection_id", "instrument_id"], how="semi")
    wanted = wanted.drop_nulls(["instrument_id", "injected_at_utc", "known_time_utc"])
    if wanted.is_empty():
        return read.empty(INSTRUMENT_HISTORY, INSTRUMENT_HISTORY.column_names)
    runs = _with_earlier(read, wanted)
    made = instrument_history(pl.DataFrame(_versions(read, runs), schema=_schema()), of=frozenset(keys["injection_id"]))
    return made.join(keys, on=["injection_id", "instrument_id"], how="semi")


def _with_earlier(read: StationReader, wanted: pl.DataFrame) -> pl.DataFrame:
    """Return runs of the instruments from the first wanted one on, and those before it that their states depend on."""
    import polars as pl

    since = wanted.group_by("instrument_id").agg(_since=pl.col("injected_at_utc").min())
    first_of_all, last_of_all = since["_since"].min(), since["_since"].max()
    there, at = on_instruments(since["instrument_id"]), pl.col("injected_at_utc")

    def runs(where: pl.Expr) -> pl.DataFrame:
        found = placed(read, read.rows(INJECTIONS, _RUN, where=there & where).drop_nulls(["injected_at_utc", "known_time_utc"]))
        return found.join(since, on="instrument_id").sort("injected_at_utc", "injection_id")

    scopes = (["instrument_id"], ["instrument_id", "method_id"], ["instrument_id", "method_id", "column_id"])
    later = runs(at >= pl.lit(first_of_all)).filter(at >= pl.col("_since"))
    is_before = at < pl.col("_since")
    before = later.clear()
    without_column = later.filter(pl.col("column_id").is_null())
    asked = (later.select(scopes[0]), later.select(scopes[1]), without_column.select(scopes[2]))
    for looked_back in LOOKED_BACK:
        reached = pl.lit(value=True) if looked_back is None else at >= pl.lit(first_of_all) - looked_back
        # every run of the columns, and of the rest as many as are kept in mind
        before = runs((at < pl.lit(last_of_all)) & (reached | among("column_id", later["column_id"]))).filter(is_before)
        if all(_are_enough(before.filter(reached), scope.unique()) for scope in asked):
            break
    kept = [
        before.join(later.select(scope).unique(), on=scope, how="semi", nulls_equal=True).group_by(scope).tail(KEEP) for scope in scopes
    ]
    on_columns = before.join(
        later.select("instrument_id", "column_id").drop_nulls().unique(), on=["instrument_id", "column_id"], how="semi"
    )
    first = _first_on_columns(read, on_columns, later)
    chosen = pl.concat([later, *(frame.select(later.columns) for frame in (*kept, on_columns, first))])
    chosen = chosen.unique(["injection_id", "instrument_id"])
    needed = pl.concat([frame["injection_id"] for frame in (*kept, first, later)]).unique()
    return chosen.with_columns(_measured=pl.col("injection_id").is_in(needed.implode()))


def _are_enough(runs: pl.DataFrame, scopes: pl.DataFrame) -> bool:
    """Return whether there are as many runs of each instrument, or instrument and method, as are kept in mind."""
    import polars as pl

    of_them = runs.join(scopes, on=scopes.columns, how="semi", nulls_equal=True).group_by(scopes.columns).len()
    return of_them.filter(pl.col("len") >= KEEP).height == scopes.height


def _first_on_columns(read: StationReader, before: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """Return the first runs of a method on a column, with as many plates among them as its first state is made of."""
    import polars as pl

    scope = ["instrument_id", "method_id", "column_id"]
    pairs = later.select(scope).drop_nulls().unique()
    candidates = before.join(pairs, on=scope, how="semi").sort("known_time_utc", "injected_at_utc", "injection_id")
    numbered = candidates.with_columns(_number=pl.int_range(pl.len()).over(scope))
    step = 5 * FIRST_KEPT
    for place in range(0, candidates.height, step):
        found = numbered.filter(pl.col("_number") < place + step)
        named = read.keyed(PEAKS, ["injection_id", "plates"], injection_name=found["injection_name"]).drop_nulls("plates")
        with_plates = found.join(named.select("injection_id").unique(), on="injection_id", how="semi").group_by(scope).len()
        short = pairs.join(with_plates.filter(pl.col("len") >= FIRST_KEPT), on=scope, how="anti")
        if numbered.filter(pl.col("_number") >= place + step).join(short, on=scope, how="semi").is_empty():
            return found.drop("_number")
    return candidates


def _versions(read: StationReader, runs: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the input rows of the feature function: one a run and known time, with what its main peak and pressure were."""
    import polars as pl

    measured = runs.filter("_measured")
    records = LimsRecords(read.keyed(LIMS_SEQUENCES, _PLAN, injection_name=runs["injection_name"]).iter_rows(named=True), (), ())
    methods = ProcessingMethods(read.rows(PROCESSING_METHODS, _METHOD).iter_rows(named=True))
    certificates = certificates_since(read, runs.group_by("instrument_id").agg(since=pl.col("injected_at_utc").min()))
    peaks: dict[tuple[str, str, str], Row] = {}
    named = read.keyed(PEAKS, _PEAK, injection_name=measured["injection_name"]).drop_nulls("analyte").sort("channel")
    for row in named.iter_rows(named=True):
        peaks.setdefault((row["injection_id"], row["processing_id"], row["analyte"]), row)
    stated = read.keyed(INJECTION_PROGRESS, _PROGRESS, injection_name=measured["injection_name"])
    pressures = {
        row["injection_id"]: row
        for row in stated.sort("checkpoint_pct", "known_time_utc").unique("injection_id", keep="last").iter_rows(named=True)
    }
    facts = _Facts(records=records, methods=methods, certificates=certificates, peaks=peaks, pressures=pressures)
    made: list[dict[str, Any]] = []
    for run in runs.unique("injection_id", maintain_order=True).iter_rows(named=True):
        made += _by_instrument([_input_row(run, moment, facts) for moment in _known_times(run, facts)])
    return made


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What the states of runs are made of."""

    records: LimsRecords
    methods: ProcessingMethods
    certificates: Certificates
    peaks: Mapping[tuple[str, str, str], Row]
    pressures: Mapping[str, Row]


def _known_times(run: Row, facts: _Facts) -> list[datetime]:
    """Return the end of a run, and each later moment at which something about its state became known."""
    end = run["known_time_utc"]
    times = set(facts.records.plans.known_times(run["injection_name"]))
    for plan in facts.records.plans.versions(run["injection_name"]):
        times |= facts.methods.known_times(plan.row["method_id"], run["source"])
    times |= facts.methods.known_times(run["stated_method_name"], run["source"])
    for instrument_id in facts.records.instruments(run["injection_name"], stated=run["stated_instrument_name"]):
        times |= facts.certificates.known_times(instrument_id, at=run["injected_at_utc"], after=end)
    return [end, *sorted(moment for moment in times if moment > end)]


def _input_row(run: Row, moment: datetime, facts: _Facts) -> dict[str, Any]:
    """Return what was known of a run at a moment, as the feature function takes it."""
    context = facts.records.context(
        run["injection_name"], known_by=moment, method_id=run["stated_method_name"], instrument_id=run["stated_instrument_name"]
    )
    windows = facts.methods.windows(context.method_id, run["source"], at=run["injected_at_utc"], known_by=moment)
    peak = facts.peaks.get((run["injection_id"], windows.processing_id, windows.main_analyte), {})
    pressure = facts.pressures.get(run["injection_id"], {})
    certificate = facts.certificates.in_force(context.instrument_id, at=run["injected_at_utc"], known_by=moment)
    weighed = {"area": peak.get("area"), "weight_mg": context.weight_mg, "standard_purity_pct": context.standard_purity_pct}
    return {
        **{name: run[name] for name in ("injection_id", "injected_at_utc")},
        "known_time_utc": moment,
        "instrument_id": context.instrument_id,
        "method_id": context.method_id,
        "column_id": context.column_id,
        "sample_role": context.sample_role,
        **{name: peak.get(name) for name in _MEASURED[1:]},
        "standard_response": standard_response(weighed),
        **{name: pressure.get(name) for name in ("pressure_mean_bar", "pressure_ripple_pct")},
        "calibration_due_utc": None if certificate is None else certificate.valid_until_utc,
    }


def _by_instrument(versions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what was known of a run, one row where it differs from the one before, and one without a method where it left an instrument.

    Until a run is known to be on an instrument, and of a method, it has left no state there.
    """
    kept: list[dict[str, Any]] = []
    standing: dict[str, Any] | None = None
    for row in versions:
        is_placed = row["instrument_id"] is not None and row["method_id"] is not None
        if standing is not None and (not is_placed or row["instrument_id"] != standing["instrument_id"]):
            kept.append({**standing, "known_time_utc": row["known_time_utc"], "method_id": None})
            standing = None
        if is_placed and (standing is None or any(standing[name] != value for name, value in row.items() if name != "known_time_utc")):
            kept.append(row)
            standing = row
    return kept


def _schema() -> dict[str, Any]:
    import polars as pl

    utc = pl.Datetime("us", "UTC")
    kinds = {name: pl.Float64() for name in INSTRUMENT_HISTORY_INPUT}
    texts = dict.fromkeys(("injection_id", "instrument_id", "method_id", "column_id", "sample_role"), pl.String())
    return kinds | texts | dict.fromkeys(("injected_at_utc", "known_time_utc", "calibration_due_utc"), utc)


_RUNS: Final = Input(table=INJECTIONS, columns=_RUN, touches=_of_runs)
_PEAKS: Final = Input(table=PEAKS, columns=_PEAK, touches=_of_named_rows)
_PRESSURES: Final = Input(table=INJECTION_PROGRESS, columns=_PROGRESS, touches=_of_named_rows)
_PLANS: Final = Input(table=LIMS_SEQUENCES, columns=_PLAN, touches=_of_plans)
_CERTIFICATES: Final = Input(table=CALIBRATIONS, columns=CERTIFICATE_COLUMNS, touches=_of_certificates)
_METHODS: Final = Input(table=PROCESSING_METHODS, columns=_METHOD, reads="whole", touches=_of_windows)

_RUNS_OF: Final = of(INJECTIONS, "stated_instrument_name", "injected_at_utc", "known_time_utc") + of(
    LIMS_SEQUENCES, "instrument_id", "method_id", "recorded_at_utc"
)
_MAIN_PEAK: Final = of(PEAKS, "analyte", "channel", "processing_id") + of(PROCESSING_METHODS, *WINDOW_COLUMNS, "effective_from_utc")
_COLUMN_OF: Final = _RUNS_OF + of(LIMS_SEQUENCES, "column_id")
_STANDARDS_OF: Final = _RUNS_OF + of(PEAKS, "area") + _MAIN_PEAK + of(LIMS_SEQUENCES, "weight_mg", "standard_purity_pct", "sample_role")
_FEEDS_OF: Final[dict[str, tuple[str, ...]]] = {
    "ih_pressure_mean_bar": _RUNS_OF + of(INJECTION_PROGRESS, "pressure_mean_bar", "checkpoint_pct"),
    "ih_pressure_ripple_pct": _RUNS_OF + of(INJECTION_PROGRESS, "pressure_ripple_pct", "checkpoint_pct"),
    "ih_pressure_ripple_slope": _RUNS_OF + of(INJECTION_PROGRESS, "pressure_ripple_pct", "checkpoint_pct"),
    "ih_plates_ratio": _COLUMN_OF + of(PEAKS, "plates") + _MAIN_PEAK,
    "ih_tailing": _COLUMN_OF + of(PEAKS, "tailing") + _MAIN_PEAK,
    "ih_retention_drift_pct_per_day": _COLUMN_OF + of(PEAKS, "retention_time_min") + _MAIN_PEAK,
    "ih_standard_rsd_pct": _STANDARDS_OF,
    "ih_standard_drift_pct": _STANDARDS_OF,
    "ih_injections_on_column": _COLUMN_OF,
    "ih_days_to_calibration_due": of(INJECTIONS, "injected_at_utc")
    + of(CALIBRATIONS, "valid_until_utc", "performed_at_utc", "recorded_at_utc"),
}
_ANY_OF_THEM: Final = tuple(dict.fromkeys(source for sources in _FEEDS_OF.values() for source in sources))
"""What a feature of one file may look at: all that is known of the runs."""
INSTRUMENT_HISTORY_STATION: Final = Station(
    target=INSTRUMENT_HISTORY,
    within=("feature_set_version", FEATURE_SET_VERSION),
    version=3,
    inputs=(_RUNS, _PEAKS, _PRESSURES, _PLANS, _CERTIFICATES, _METHODS),
    make=_make,
    group=Group(columns=("injection_id", "instrument_id")),
    at_once=1_000_000,  # the states of an instrument follow from one another
    feeds={
        "instrument_id": of(INJECTIONS, "stated_instrument_name") + of(LIMS_SEQUENCES, "instrument_id", "recorded_at_utc"),
        "method_id": of(LIMS_SEQUENCES, "method_id", "recorded_at_utc") + of(INJECTIONS, "stated_method_name"),
        "injection_id": of(INJECTIONS, "injection_id"),
        "event_time_utc": of(INJECTIONS, "injected_at_utc"),
        "known_time_utc": _RUNS_OF + of(CALIBRATIONS, "recorded_at_utc"),
        "feature_set_version": (),
        **{name: _FEEDS_OF.get(name, _ANY_OF_THEM) for name in columns_of("instrument_history")},
    },
)
