"""Station of ``ml.labels``: whether a sample injection turned out of specification, as known from each time on.

Belongs here: which results speak for an injection. Does not belong here: learning from labels.

A label is given when every reportable value of the injection is known. A corrected value adds a label beside the earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.ml import LABELS
from lab_assets.contracts.silver import INJECTIONS, RESULTS
from lab_assets.stations.station import Group, Input, Station, of, touched_by

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.stations.reading import StationReader

Row = Mapping[str, Any]
_JUDGED: Final = ("pass", "fail")


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Label some injections."""
    import polars as pl

    runs = read.keyed(INJECTIONS, injection_id=keys["injection_id"]).filter(pl.col("sample_role") == "sample")
    started = dict(runs.drop_nulls("injected_at_utc").select("injection_id", "injected_at_utc").iter_rows())
    results = read.keyed(RESULTS, injection_id=list(started)).sort("injection_id", "result_id", "result_version")
    made = [
        {**label, "injection_id": injection_id, "injected_at_utc": started[injection_id]}
        for (injection_id,), versions in results.group_by(["injection_id"], maintain_order=True)
        for label in labels_of(versions.to_dicts())
    ]
    return pl.DataFrame(made, schema=dict(pl.DataFrame(pl.from_arrow(LABELS.arrow_schema().empty_table())).schema))


def labels_of(versions: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the labels of one injection, one for each time from which on another holds.

    Args:
        versions: Every version of its results, rows of ``silver.results``; those without a limit do not speak.
    """
    counted = [row for row in versions if row["state"] in {*_JUDGED, "unjudged"}]
    if not counted or any(row["is_current"] and row["state"] not in _JUDGED for row in counted):
        return []
    of_result: dict[str, list[Row]] = {}
    for row in counted:
        if row["known_time_utc"] is not None and row["state"] in _JUDGED:
            of_result.setdefault(row["result_id"], []).append(row)
    if not of_result:
        return []
    first = max(rows[0]["known_time_utc"] for rows in of_result.values())
    times = sorted({row["known_time_utc"] for rows in of_result.values() for row in rows if row["known_time_utc"] >= first})
    made: list[dict[str, Any]] = []
    for moment in times:
        known = [[row for row in rows if row["known_time_utc"] <= moment][-1] for rows in of_result.values()]
        failing = sorted(row["analyte"] for row in known if row["state"] == "fail")
        label = {"lot_id": known[0]["lot_id"], "method_id": known[0]["method_id"], "is_oos": bool(failing), "failing": failing}
        if None in (label["lot_id"], label["method_id"]):
            continue
        if not made or any(made[-1][name] != value for name, value in label.items()):
            made.append({**label, "known_time_utc": moment})
    return made


_RUNS: Final = Input(
    table=INJECTIONS, columns=("injection_id", "sample_role", "injected_at_utc"), touches=touched_by(injection_id="injection_id")
)
_RESULTS: Final = Input(
    table=RESULTS,
    columns=("injection_id", "result_id", "result_version", "is_current", "lot_id", "method_id", "analyte", "state", "known_time_utc"),
    touches=touched_by(injection_id="injection_id"),
)
LABELS_STATION: Final = Station(
    target=LABELS,
    inputs=(_RUNS, _RESULTS),
    make=_make,
    group=Group(columns=("injection_id",)),
    feeds={
        "injection_id": of(INJECTIONS, "injection_id"),
        "lot_id": of(RESULTS, "lot_id"),
        "method_id": of(RESULTS, "method_id"),
        "is_oos": of(RESULTS, "state", "known_time_utc"),
        "failing": of(RESULTS, "state", "analyte"),
        "injected_at_utc": of(INJECTIONS, "injected_at_utc"),
        "known_time_utc": of(RESULTS, "known_time_utc"),
    },
)
