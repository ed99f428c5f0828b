"""Station of ``ml.labels``: whether a sample injection turned out of specification, as known from each time on.

Belongs here: which results speak for an injection. Does not belong here: learning from labels.

A label is given when every reportable value of the injection is known. What becomes known later (a corrected value, a further limit, that
the run was none of a sample) adds a label beside the earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import LIMS_SEQUENCES
from lab_assets.contracts.ml import LABELS
from lab_assets.contracts.silver import INJECTIONS, RESULTS
from lab_assets.domain.in_force import RECENCY, Row
from lab_assets.domain.run_context import PLAN_COLUMNS, LimsRecords
from lab_assets.stations.station import Group, Input, Station, keys_of, of, touched_by

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader

_JUDGED: Final = ("pass", "fail")
_RUN: Final = ("injection_id", "injection_name", "injected_at_utc")
_PLAN: Final = (*PLAN_COLUMNS, *RECENCY)


def _of_plans(read: StationReader, changes: Changes) -> pl.DataFrame:
    names = changes.both["injection_name"].unique()
    return keys_of(read.keyed(INJECTIONS, ["injection_id"], injection_name=names), ("injection_id",))


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Label some injections."""
    import polars as pl

    runs = {row["injection_id"]: row for row in read.keyed(INJECTIONS, _RUN, injection_id=keys["injection_id"]).iter_rows(named=True)}
    dated = {identity: run for identity, run in runs.items() if run["injected_at_utc"] is not None}
    names = [run["injection_name"] for run in dated.values()]
    records = LimsRecords(read.keyed(LIMS_SEQUENCES, _PLAN, injection_name=names).iter_rows(named=True), (), ())
    results = read.keyed(RESULTS, _RESULT, injection_id=list(dated)).sort("injection_id", "result_id", "result_version")
    made: list[dict[str, Any]] = []
    for (identity,), versions in results.group_by(["injection_id"], maintain_order=True):
        run = dated[str(identity)]
        name = run["injection_name"]

        def is_of_sample(moment: datetime, name: str = name) -> bool:
            return records.context(name, known_by=moment).sample_role == "sample"

        labels = labels_of(versions.to_dicts(), is_of_sample, records.known_times(name))
        made += [{**label, "injection_id": identity, "injected_at_utc": run["injected_at_utc"]} for label in labels]
    return pl.DataFrame(made, schema=dict(pl.DataFrame(pl.from_arrow(LABELS.arrow_schema().empty_table())).schema))


def labels_of(versions: Sequence[Row], is_of_sample: Callable[[datetime], bool], planned: Iterable[datetime] = ()) -> list[dict[str, Any]]:
    """Return the labels of one injection, one for each time from which on another holds.

    Args:
        versions: Every version of its results, rows of ``silver.results``; those without a limit do not speak.
        is_of_sample: Whether it was known as one of a sample at a moment.
        planned: When entries of the worklist that name it became known.
    """
    known = [row for row in versions if row["known_time_utc"] is not None]
    if not known:
        return []
    times = {row["known_time_utc"] for row in known} | {row["withdrawn_at_utc"] for row in known} - {None}
    first = min(times)
    made: list[dict[str, Any]] = []
    for moment in sorted(times | {each for each in planned if each > first}):
        label = _label_at(known, moment) if is_of_sample(moment) else None
        if label is None and made:
            label = {**made[-1], "is_oos": None, "failing": []}
        if label is not None and (not made or any(made[-1][name] != value for name, value in label.items() if name != "known_time_utc")):
            made.append({**label, "known_time_utc": moment})
    return made


def _label_at(versions: Sequence[Row], moment: datetime) -> dict[str, Any] | None:
    """Return what the results known at a moment say; ``None`` where none of them is judged or nobody knows the lot."""
    of_result: dict[str, Row] = {}
    for row in versions:
        if row["known_time_utc"] <= moment and row["result_version"] >= of_result.get(row["result_id"], row)["result_version"]:
            of_result[row["result_id"]] = row
    holding = [row for row in of_result.values() if row["withdrawn_at_utc"] is None or row["withdrawn_at_utc"] > moment]
    judged = [row for row in holding if row["state"] in _JUDGED]
    if not judged or None in (judged[0]["lot_id"], judged[0]["method_id"]):
        return None
    failing = sorted(row["analyte"] for row in judged if row["state"] == "fail")
    return {"lot_id": judged[0]["lot_id"], "method_id": judged[0]["method_id"], "is_oos": bool(failing), "failing": failing}


_RESULT: Final = (
    *("injection_id", "result_id", "result_version", "lot_id", "method_id", "analyte", "state", "known_time_utc", "withdrawn_at_utc"),
)
_RUNS: Final = Input(table=INJECTIONS, columns=_RUN, touches=touched_by(injection_id="injection_id"))
_RESULTS: Final = Input(table=RESULTS, columns=_RESULT, touches=touched_by(injection_id="injection_id"))
_PLANS: Final = Input(table=LIMS_SEQUENCES, columns=_PLAN, touches=_of_plans)
LABELS_STATION: Final = Station(
    target=LABELS,
    inputs=(_RUNS, _RESULTS, _PLANS),
    make=_make,
    group=Group(columns=("injection_id",)),
    feeds={
        "injection_id": of(INJECTIONS, "injection_id"),
        "lot_id": of(RESULTS, "lot_id"),
        "method_id": of(RESULTS, "method_id"),
        "is_oos": of(RESULTS, "state", "lot_id", "method_id", "known_time_utc", "withdrawn_at_utc") + of(LIMS_SEQUENCES, "sample_role"),
        "failing": of(RESULTS, "state", "analyte", "lot_id", "method_id", "known_time_utc", "withdrawn_at_utc")
        + of(LIMS_SEQUENCES, "sample_role"),
        "injected_at_utc": of(INJECTIONS, "injected_at_utc"),
        "known_time_utc": of(RESULTS, "known_time_utc", "withdrawn_at_utc") + of(LIMS_SEQUENCES, "recorded_at_utc"),
    },
)
