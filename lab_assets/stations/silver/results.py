"""``silver.results``: reportable values against their specification.

Belongs here: which injections are calculated together and from what. Does not belong here: the calculation
(``lab_assets.domain.calibration``) and the judgement (``lab_assets.domain.oos``).

Injections of one sequence share their standards, so a sequence is calculated whole: a closing standard that arrives later
changes the values of the samples before it, and the rows are merged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import LIMS_RESULTS, LIMS_SAMPLES, SPECIFICATIONS
from lab_assets.contracts.silver import INJECTIONS, LOTS, PEAKS, RESULTS, SAMPLES
from lab_assets.lake.commits import conformed
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.silver.methods import Windows, method_key, windows_in_force

if TYPE_CHECKING:
    import pyarrow as pa

STATION: Final = "silver.results"
STANDARD_ROLES: Final = ("standard", "suitability")
_INJECTION: Final = (
    *("injection_id", "sequence_id", "sample_name", "sample_role", "lot_id", "product", "method_id", "replicate", "source"),
    *("weight_mg", "nominal_weight_mg", "standard_purity_pct", "injected_at_utc", "known_time_utc", "run_time_min"),
)

Row = Mapping[str, Any]


def update_results(lake: Lakehouse) -> int:
    """Calculate the sequences of the injections that wait, and take new LIMS entries and specifications in.

    Returns:
        Version of ``silver.results`` afterwards.
    """
    import pyarrow as pa

    injection_ids = lake.ledger.queued(STATION)
    progress = lake.ledger.progress(STATION)
    inputs = (LIMS_RESULTS, SPECIFICATIONS, LIMS_SAMPLES)
    versions = {table.full_name: lake.version(table) for table in inputs}
    spec_news = progress.get(SPECIFICATIONS.full_name) != versions[SPECIFICATIONS.full_name]
    made: list[pa.Table] = []
    recalculated: list[str] = []
    if injection_ids or spec_news:
        recalculated = _in_their_sequences(lake, None if spec_news else injection_ids)
        made.append(_calculated(lake, recalculated))
    if any(progress.get(name) != version for name, version in versions.items()):
        made.append(_entered(lake))
    version = lake.version(RESULTS)
    if made:
        rows = pa.concat_tables(conformed(RESULTS, table) for table in made)
        if lake.row_count(RESULTS) == 0:
            version = lake.append(RESULTS, rows)
        else:
            version = lake.merge(RESULTS, rows, within=("injection_id", recalculated))
    lake.ledger.set_progress(STATION, versions)
    lake.ledger.dequeue(STATION, injection_ids)
    return version


def _in_their_sequences(lake: Lakehouse, injection_ids: Sequence[str] | None) -> list[str]:
    """Return the injections of every sequence that holds one of the given ones; all injections for ``None``."""
    import polars as pl

    injections = lake.polars(INJECTIONS, ["injection_id", "sequence_id"])
    if injection_ids is None:
        return injections["injection_id"].to_list()
    wanted = injections.filter(pl.col("injection_id").is_in(injection_ids))
    together = pl.col("injection_id").is_in(wanted["injection_id"].implode()) | pl.col("sequence_id").is_in(
        wanted["sequence_id"].drop_nulls().unique().implode()
    )
    return injections.filter(together)["injection_id"].to_list()


def _calculated(lake: Lakehouse, injection_ids: Sequence[str]) -> pa.Table:
    """Return the results of whole sequences.

    A result is made from a few numbers, so it is made in this process: a hundred thousand take seconds, and for the one injection
    that just ended Spark's own work would be all there is.
    """
    import polars as pl

    of_them = pl.col("injection_id").is_in(injection_ids)
    injections = lake.polars(INJECTIONS, list(_INJECTION), where=of_them)
    peaks = lake.polars(PEAKS, ["injection_id", "channel", "analyte", "area", "area_unit"], where=of_them & pl.col("analyte").is_not_null())
    retests = lake.polars(SAMPLES, ["sample_name", "retest_of"])
    rows = injections.join(peaks, on="injection_id", how="left").join(retests, on="sample_name", how="left")
    calculator = Calculator(windows_in_force(lake), specification_rows(lake))
    together = rows.group_by(pl.coalesce("sequence_id", "injection_id").alias("calculation"), maintain_order=True)
    return lake.local_rows(RESULTS, [result for _, group in together for result in calculator.calculate(group.to_dicts())])


def specification_rows(lake: Lakehouse) -> list[dict[str, Any]]:
    """Return every version of every limit, as plain rows."""
    columns = ["product", "method_id", "analyte", "spec_low", "spec_high", "unit", "effective_from_utc", "recorded_at_utc"]
    return lake.polars(SPECIFICATIONS, columns).to_dicts()


class Calculator:
    """From areas to judged results, one sequence at a time."""

    def __init__(self, windows: Windows, specifications: Sequence[Row]) -> None:
        self.windows = windows
        self.specifications = Specifications(specifications)

    def calculate(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Calculate the reportable values of one sequence, or of one injection that has none.

        Args:
            rows: One row an injection x named peak (an injection without named peaks has one row without analyte).

        Returns:
            Rows of ``silver.results`` for every injection that is neither blank nor standard.
        """
        # sums depend on their order in the last digit: the same rows give the same bits, in whichever order they are read
        rows = sorted(rows, key=lambda row: (row["injection_id"], row["channel"] or "", row["analyte"] or ""))
        by_injection: dict[str, list[Row]] = {}
        for row in rows:
            by_injection.setdefault(row["injection_id"], []).append(row)
        standards = [row for row in rows if row["sample_role"] in STANDARD_ROLES]
        made: list[dict[str, Any]] = []
        for peaks in by_injection.values():
            first = peaks[0]
            if first["sample_role"] in {"blank", *STANDARD_ROLES}:
                continue
            for window in self.windows.get(method_key(first["method_id"], first["source"]), ()):
                made += [self._result(first, window, *value) for value in _values(first, peaks, window, standards)]
        return made

    def _result(self, injection: Row, window: Row, channel: str | None, value: float, known: datetime | None) -> dict[str, Any]:
        limit = self.specifications.of(injection["product"], injection["method_id"], window["analyte"], injection["injected_at_utc"])
        low, high = (limit["spec_low"], limit["spec_high"]) if limit else (None, None)
        unit = (limit["unit"] if limit else None) or window["result_unit"] or ""
        return {
            "result_id": result_id(injection["injection_id"], window["analyte"], channel or ""),
            **{name: injection[name] for name in ("injection_id", "sample_name", "lot_id", "method_id", "replicate", "retest_of")},
            "analyte": window["analyte"],
            "channel": channel,
            "value": value,
            "unit": unit,
            "spec_low": low,
            "spec_high": high,
            "state": state_of(value, low, high),
            "measured_at_utc": injection["injected_at_utc"],
            "known_time_utc": known,
        }


def result_id(*parts: str) -> str:
    """Return the identity of a result from what it is a result of."""
    return "res_" + hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def state_of(value: float, low: float | None, high: float | None) -> str:
    """Return ``pass``, ``fail``, or ``no_spec`` where no limit applies."""
    from lab_assets.domain.oos import judge

    return "no_spec" if low is None and high is None else judge(value, low, high)


def _values(first: Row, peaks: Sequence[Row], window: Row, standards: Sequence[Row]) -> Iterable[tuple[str | None, float, datetime | None]]:
    """Return (channel, value, time known) of one analyte of one injection; none while its standards are missing."""
    from lab_assets.domain.calibration import apply_line, area_percent

    own = [peak for peak in peaks if peak["analyte"] == window["analyte"] and window["channel"] in {None, "", peak["channel"]}]
    known = first["known_time_utc"]
    if window["calibration"] == "line":
        return [
            (peak["channel"], apply_line(peak["area"], slope=window["slope"], intercept=window["intercept"] or 0.0), known) for peak in own
        ]
    if window["calibration"] == "area_percent":
        named = [peak for peak in peaks if peak["analyte"] is not None]
        shares = dict(zip(map(id, named), area_percent([peak["area"] for peak in named]), strict=True)) if named else {}
        return [(peak["channel"], shares[id(peak)], known) for peak in own]
    if window["calibration"] == "external_standard":
        return _against_standards(first, own, window, standards)
    return []


def _against_standards(
    first: Row, own: Sequence[Row], window: Row, standards: Sequence[Row]
) -> list[tuple[str | None, float, datetime | None]]:
    """Calculate by external standard; an analyte without a peak was not detected and counts as zero."""
    from lab_assets.domain.calibration import external_standard_pct, mean_response_factor

    reference = window["reference_analyte"] or window["analyte"]
    usable = [row for row in standards if row["analyte"] == reference and row["weight_mg"] and row["area"] and row["area"] > 0]
    if not usable or not first["weight_mg"] or not first["nominal_weight_mg"]:
        return []
    channels = {row["channel"] for row in usable}
    channel = own[0]["channel"] if own else min(channels)
    used = [row for row in usable if row["channel"] == channel] or usable
    factor = mean_response_factor(
        [row["area"] for row in used], [row["weight_mg"] for row in used], purity_pct=[row["standard_purity_pct"] or 100.0 for row in used]
    )
    ratio = first["nominal_weight_mg"] / (used[0]["nominal_weight_mg"] or used[0]["weight_mg"])
    value = external_standard_pct(
        own[0]["area"] if own else 0.0,
        factor.mean,
        sample_weight_mg=first["weight_mg"],
        relative_response=window["relative_response"] or 1.0,
        volume_ratio=ratio,
    )
    times = [row["known_time_utc"] for row in (first, *used) if row["known_time_utc"] is not None]
    return [(channel, value, max(times) if times else None)]


class Specifications:
    """Limits by product, method and analyte, each valid from a time on."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._by_key: dict[tuple[str, str, str], list[Row]] = {}
        for row in sorted(rows, key=lambda row: (row["effective_from_utc"], row["recorded_at_utc"])):
            self._by_key.setdefault((row["product"], row["method_id"], row["analyte"]), []).append(row)

    def of(self, product: str | None, method_id: str | None, analyte: str, at: datetime | None) -> Row | None:
        """Return the limit in force at a time; the latest one where the time is unknown, ``None`` where there is none."""
        found = self._by_key.get((product or "", method_id or "", analyte), [])
        valid = [row for row in found if at is None or _utc(row["effective_from_utc"]) <= _utc(at)]
        return valid[-1] if valid else None


def _utc(moment: datetime) -> datetime:
    from datetime import UTC

    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _entered(lake: Lakehouse) -> pa.Table:
    """Return the results entered in the LIMS (latest version each), judged."""
    entries = lake.polars(LIMS_RESULTS).sort("recorded_at_utc", "ingest_batch", "source_row").unique("result_id", keep="last")
    lots = dict(lake.polars(LOTS, ["lot_id", "product"]).iter_rows())
    samples = {row["sample_name"]: row for row in lake.polars(SAMPLES, ["sample_name", "lot_id", "retest_of"]).to_dicts()}
    limits = Specifications(specification_rows(lake))
    made: list[dict[str, Any]] = []
    for row in entries.sort("result_id").to_dicts():
        sample = samples.get(row["sample_name"], {})
        limit = limits.of(lots.get(sample.get("lot_id")), row["method_id"], row["analyte"], row["measured_at_utc"])
        if limit is not None and limit["unit"] != row["unit"]:
            limit = None  # a limit in another unit judges nothing; the result shows as no_spec
        low, high = (limit["spec_low"], limit["spec_high"]) if limit else (None, None)
        made.append(
            {
                "result_id": row["result_id"],
                "sample_name": row["sample_name"],
                "lot_id": sample.get("lot_id"),
                "retest_of": sample.get("retest_of"),
                **{name: row[name] for name in ("method_id", "analyte", "value", "unit", "replicate", "measured_at_utc")},
                "spec_low": low,
                "spec_high": high,
                "state": state_of(row["value"], low, high),
                "known_time_utc": row["recorded_at_utc"],
            }
        )
    return lake.local_rows(RESULTS, made)
