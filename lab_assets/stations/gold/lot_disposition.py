"""``gold.lot_disposition``: pass, fail or open by lot.

Belongs here: which results, limits and events speak for a lot. Does not belong here: the judgement
(``lab_assets.domain.oos``), the judgement of single results (``silver.results``).

Only release samples and their retests speak for a lot. A failing result stands until its investigation is closed: the LIMS
shows as many ``oos_closed`` as ``oos_opened`` events for the sample, and every retest of that test passes. A passing retest
alone changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lab_assets.contracts.bronze import SPECIFICATIONS
from lab_assets.contracts.gold import LOT_DISPOSITION
from lab_assets.contracts.silver import LOTS, PROCESS_EVENTS, RESULTS, SAMPLES
from lab_assets.domain.oos import TestResult, lot_disposition
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.silver.reference import gathered, replace_on_news

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Row = Mapping[str, Any]


def update_lot_disposition(lake: Lakehouse) -> int:
    """Judge every lot of ``silver.lots`` anew when results, samples, events or specifications have moved.

    Returns:
        Version of the table afterwards.
    """
    inputs = (LOTS, SAMPLES, RESULTS, PROCESS_EVENTS, SPECIFICATIONS)
    return replace_on_news(lake, LOT_DISPOSITION, inputs, lambda: _disposition(lake).toArrow())


def _disposition(lake: Lakehouse) -> DataFrame:
    from pyspark.sql import functions as sf

    lots = gathered(
        ["lot_id"],
        {
            "lots": lake.read(LOTS).select("lot_id", "product", "manufactured_at_utc"),
            "samples": lake.read(SAMPLES).select("lot_id", "sample_name", "sample_type", "retest_of"),
            "results": lake.read(RESULTS)
            .where("state <> 'no_spec'")
            .select("lot_id", "result_id", "sample_name", "method_id", "analyte", "state", "measured_at_utc", "known_time_utc"),
            "events": lake.read(PROCESS_EVENTS)
            .where("event in ('oos_opened', 'oos_closed')")
            .select("lot_id", "event_id", "sample_name", "event"),
        },
    )
    limits = gathered(
        ["product"],
        {
            "limits": lake.read(SPECIFICATIONS).select(
                *("product", "method_id", "analyte", "spec_low", "spec_high", "effective_from_utc", "recorded_at_utc", "ingest_batch"),
            )
        },
    )
    known = lots.where(sf.size("lots") > 0).withColumn("product", sf.col("lots")[0]["product"])
    return known.join(sf.broadcast(limits), on="product", how="left").mapInArrow(judge_lots, schema=LOT_DISPOSITION.spark_ddl())


def judge_lots(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Judge the lots of each batch; the function given to ``mapInArrow``."""
    import pyarrow as pa

    for batch in batches:
        yield pa.RecordBatch.from_pylist([lot_row(lot) for lot in batch.to_pylist()], schema=LOT_DISPOSITION.arrow_schema())


def lot_row(lot: Row) -> dict[str, Any]:
    """Return one row of ``gold.lot_disposition``.

    Args:
        lot: ``lot_id``, ``product`` and the lists ``lots``, ``samples``, ``results``, ``events`` and ``limits``.
    """
    released = release_samples(lot["samples"])
    results = [row for row in lot["results"] if row["sample_name"] in released]
    limits = limits_in_force(lot["limits"] or (), lot["lots"][0]["manufactured_at_utc"])
    invalidated = _invalidated(results, lot["samples"], lot["events"])
    judged = [
        TestResult(
            result_id=row["result_id"],
            test=_test(row),
            verdict=row["state"],
            is_invalidated=(row["sample_name"], _test(row)) in invalidated,
        )
        for row in results
    ]
    verdict = lot_disposition(judged, required_tests=sorted({_test(limit) for limit in limits}))
    standing = [
        (told.verdict, moment)
        for row, told in zip(results, judged, strict=True)
        if not told.is_invalidated and (moment := row["known_time_utc"] or row["measured_at_utc"]) is not None
    ]
    return {
        "lot_id": lot["lot_id"],
        "product": lot["product"],
        "state": verdict.state,
        "failing_tests": list(verdict.failing_tests),
        "missing_tests": list(verdict.open_tests),
        "results": len(results),
        "decided_at_utc": _decided_at(verdict.state, standing),
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


def limits_in_force(limits: Sequence[Row], manufactured_at_utc: datetime | None) -> list[Row]:
    """Return the limits that a lot is held to: of each method and analyte the version in force at manufacture.

    Of a version recorded twice the later record counts. A version without any limit withdraws the test. Where no limit of the
    product was in force yet (or the time of manufacture is unknown), the first version of each counts: a lot is never
    released against nothing.

    Args:
        limits: Every version of every limit of the lot's product.
        manufactured_at_utc: End of manufacture.
    """
    in_force = [row for row in limits if manufactured_at_utc is not None and row["effective_from_utc"] <= manufactured_at_utc]
    ordered = sorted(in_force or limits, key=lambda row: (row["effective_from_utc"], row["recorded_at_utc"], row["ingest_batch"]))
    chosen: dict[str, Row] = {}
    for row in ordered:
        before = chosen.get(_test(row))
        if in_force or before is None or before["effective_from_utc"] == row["effective_from_utc"]:
            chosen[_test(row)] = row
    return [row for row in chosen.values() if row["spec_low"] is not None or row["spec_high"] is not None]


def _invalidated(results: Sequence[Row], samples: Sequence[Row], events: Sequence[Row]) -> set[tuple[str, str]]:
    """Return the sample and test of failing results whose investigation was closed in favour of passing retests."""
    original = {row["sample_name"]: row["retest_of"] for row in samples}
    retests: dict[tuple[str, str], set[str]] = {}
    for row in results:
        if (first := original.get(row["sample_name"])) is not None:
            retests.setdefault((first, _test(row)), set()).add(row["state"])
    failing = {(row["sample_name"], _test(row)) for row in results if row["state"] == "fail"}
    return {(sample, test) for sample, test in failing if retests.get((sample, test)) == {"pass"} and _is_closed(sample, events)}


def _is_closed(sample_name: str, events: Sequence[Row]) -> bool:
    """Return whether every investigation of a sample was closed, and there was one."""
    told = [row["event"] for row in events if row["sample_name"] == sample_name]
    return told.count("oos_closed") >= max(1, told.count("oos_opened"))


def _decided_at(state: str, standing: Sequence[tuple[str | None, datetime]]) -> datetime | None:
    """Return when the state was settled: by the first standing failure, or by the last result of a passing lot."""
    if state == "fail":
        return min((moment for verdict, moment in standing if verdict == "fail"), default=None)
    return max((moment for _, moment in standing), default=None) if state == "pass" else None


def _test(row: Row) -> str:
    return f"{row['method_id']}/{row['analyte']}"
