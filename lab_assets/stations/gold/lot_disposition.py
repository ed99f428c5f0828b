"""``gold.lot_disposition``: pass, fail or open by lot.

Belongs here: which results, limits and events speak for a lot. Does not belong here: the judgement
(``lab_assets.domain.oos``), the judgement of single results (``silver.results``), what is in force (``lab_assets.domain.specifications``).

Only release samples and their retests speak for a lot. A failing result stands until its investigation is closed
(``lab_assets.domain.investigations``) and every retest of that test passes. A passing retest alone changes nothing. A void or not reportable result answers nothing; one that is still unjudged may yet fail, so it keeps its
test, and the lot, open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import SPECIFICATIONS
from lab_assets.contracts.gold import LOT_DISPOSITION
from lab_assets.contracts.silver import LOTS, PROCESS_EVENTS, RESULTS, SAMPLES
from lab_assets.domain.in_force import RECENCY, Row
from lab_assets.domain.investigations import Investigation
from lab_assets.domain.oos import TestResult, Verdict, lot_disposition
from lab_assets.domain.specifications import Specifications
from lab_assets.stations.gold.frames import rows_by, target_rows
from lab_assets.stations.gold.investigations import EVENT_COLUMNS, failing_results_of, investigations_of, is_failing
from lab_assets.stations.station import Group, Input, Station, keys_of, of, touched_by

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader

_VERDICTS: Final[dict[str, Verdict]] = {"pass": "pass", "fail": "fail"}
"""States of results that answer a test."""
_RESULT: Final = (
    *("result_id", "lot_id", "sample_name", "method_id", "analyte", "state", "is_current", "measured_at_utc", "known_time_utc"),
)
_LIMIT: Final = ("product", "method_id", "analyte", "spec_low", "spec_high", "effective_from_utc", "recorded_at_utc", *RECENCY)


def _lots_of_products(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the lots of the products whose specifications changed."""
    return read.keyed(LOTS, ["lot_id"], product=changes.both["product"])


def _lots_of_events(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the lots of the failing results that changed investigations are about."""
    return keys_of(failing_results_of(read, ["lot_id"], changes.both), ["lot_id"])


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Judge lots; a lot that has no record gets no row."""
    import polars as pl

    lots = read.keyed(LOTS, lot_id=keys["lot_id"])
    samples = rows_by(read.keyed(SAMPLES, lot_id=lots["lot_id"]), "lot_id")
    results = read.keyed(RESULTS, _RESULT, lot_id=lots["lot_id"]).filter(pl.col("is_current"), pl.col("state") != "no_spec")
    investigations = investigations_of(read, results.filter(is_failing())["sample_name"])
    specifications = Specifications(read.keyed(SPECIFICATIONS, _LIMIT, product=lots["product"]).iter_rows(named=True))
    results_of = rows_by(results, "lot_id")
    made = [
        lot_row(
            {
                **lot,
                "samples": samples.get(lot["lot_id"], ()),
                "results": results_of.get(lot["lot_id"], ()),
                "investigations": investigations,
                "limits": specifications.limits_of_lot(lot["product"], lot["manufactured_at_utc"]),
            }
        )
        for lot in lots.iter_rows(named=True)
    ]
    return target_rows(read, made)


def lot_row(lot: Row) -> dict[str, Any]:
    """Return one row of ``gold.lot_disposition``.

    Args:
        lot: ``lot_id``, ``product``, the lists ``samples`` and ``results`` (current ones, any state but ``no_spec``), the
            ``investigations`` by sample, and the ``limits`` that the lot is held to.
    """
    released = release_samples(lot["samples"])
    results = [row for row in lot["results"] if row["sample_name"] in released]
    invalidated = _invalidated(results, lot["samples"], lot["investigations"])
    judged = [
        TestResult(
            result_id=row["result_id"],
            test=_test(row),
            verdict=_VERDICTS.get(row["state"]),
            is_invalidated=(row["sample_name"], _test(row)) in invalidated,
        )
        for row in results
    ]
    verdict = lot_disposition(judged, required_tests=sorted({_test(limit) for limit in lot["limits"]}))
    missing = {*verdict.open_tests, *(_test(row) for row in results if row["state"] == "unjudged")}
    state = "open" if missing and verdict.state == "pass" else verdict.state
    standing = [
        (one.verdict, moment)
        for row, one in zip(results, judged, strict=True)
        if one.verdict and not one.is_invalidated and (moment := row["known_time_utc"] or row["measured_at_utc"]) is not None
    ]
    return {
        "lot_id": lot["lot_id"],
        "product": lot["product"],
        "state": state,
        "failing_tests": list(verdict.failing_tests),
        "missing_tests": sorted(missing),
        "results": len(results),
        "decided_at_utc": _decided_at(state, standing),
    }


def release_samples(samples: Sequence[Row]) -> frozenset[str]:
    """Return the names of a lot's release samples and of the retests that go back to one, however often retested."""
    by_name = {row["sample_name"]: row for row in samples}

    def root(row: Row) -> Row:
        seen: set[str] = set()
        while row["sample_type"] == "retest" and row["retest_of"] in by_name and row["sample_name"] not in seen:
            seen.add(row["sample_name"])
            row = by_name[row["retest_of"]]
        return row

    return frozenset(name for name, row in by_name.items() if root(row)["sample_type"] == "release")


def _invalidated(
    results: Sequence[Row], samples: Sequence[Row], investigations: Mapping[str | None, Investigation]
) -> set[tuple[str, str]]:
    """Return the sample and test of failing results whose investigation was closed in favour of passing retests."""
    original = {row["sample_name"]: row["retest_of"] for row in samples}
    retests: dict[tuple[str, str], set[str]] = {}
    for row in results:
        if (first := original.get(row["sample_name"])) is not None and row["state"] not in ("void", "not_reportable"):
            retests.setdefault((first, _test(row)), set()).add(row["state"])
    failing = {(row["sample_name"], _test(row)) for row in results if row["state"] == "fail"}
    return {
        (sample, test) for sample, test in failing if retests.get((sample, test)) == {"pass"} and investigations.get(sample) == "closed"
    }


def _decided_at(state: str, standing: Sequence[tuple[str, datetime]]) -> datetime | None:
    """Return when the state was settled: by the first standing failure, or by the last result of a passing lot."""
    if state == "fail":
        return min((moment for verdict, moment in standing if verdict == "fail"), default=None)
    return max((moment for _, moment in standing), default=None) if state == "pass" else None


def _test(row: Row) -> str:
    return f"{row['method_id']}/{row['analyte']}"


_RELEASED: Final = of(SAMPLES, "lot_id", "sample_name", "sample_type", "retest_of")
_REQUIRED: Final = (
    *of(LOTS, "product", "manufactured_at_utc"),
    *of(SPECIFICATIONS, "product", "method_id", "analyte", "spec_low", "spec_high", "effective_from_utc", "recorded_at_utc"),
)
_JUDGED: Final = of(RESULTS, "lot_id", "sample_name", "method_id", "analyte", "state", "is_current")
_INVESTIGATED: Final = of(PROCESS_EVENTS, "sample_name", "event")
LOT_DISPOSITION_STATION: Final = Station(
    target=LOT_DISPOSITION,
    inputs=(
        Input(table=LOTS, columns=("lot_id", "product", "manufactured_at_utc"), touches=touched_by(lot_id="lot_id")),
        Input(table=SAMPLES, columns=("lot_id", "sample_name", "sample_type", "retest_of"), touches=touched_by(lot_id="lot_id")),
        Input(table=RESULTS, columns=_RESULT, touches=touched_by(lot_id="lot_id")),
        Input(table=PROCESS_EVENTS, columns=EVENT_COLUMNS, touches=_lots_of_events),
        Input(table=SPECIFICATIONS, columns=_LIMIT, touches=_lots_of_products),
    ),
    make=_make,
    group=Group(columns=("lot_id",)),
    version=2,
    feeds={
        "lot_id": of(LOTS, "lot_id"),
        "product": of(LOTS, "product"),
        "state": _REQUIRED + _RELEASED + _JUDGED + _INVESTIGATED,
        "failing_tests": _RELEASED + _JUDGED + _INVESTIGATED,
        "missing_tests": _REQUIRED + _RELEASED + _JUDGED + _INVESTIGATED,
        "results": _RELEASED + of(RESULTS, "result_id", "lot_id", "sample_name", "state", "is_current"),
        "decided_at_utc": _REQUIRED + _RELEASED + _JUDGED + _INVESTIGATED + of(RESULTS, "known_time_utc", "measured_at_utc"),
    },
)
