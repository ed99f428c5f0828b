"""Reportable values of whole sequences, and their versions as facts became known.

Belongs here: which injections are calculated together, from what, and when a value counts as known. Does not belong here: the calculation
itself (``calibration.py``), the judgement (``oos.py``), reading rows.

Injections of one sequence share their standards. A value against standards is reportable when every standard that the worklist plans has
been run: until then it is shown as ``unjudged``, without a time at which it was known. What is recorded or run later (a corrected weight,
a lot that the LIMS records late) makes a further version with its own known time; earlier versions stay as they were.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lab_assets.domain.calibration import apply_line, area_percent, external_standard_pct, mean_response_factor
from lab_assets.domain.in_force import ALWAYS, Row
from lab_assets.domain.processing_methods import ProcessingMethods, WindowSet
from lab_assets.domain.result_versions import KnownResults, result_id, state_of, versions
from lab_assets.domain.run_context import STANDARD_ROLES, LimsRecords, RunContext
from lab_assets.domain.specifications import Specifications

UNJUDGED: Final = "unjudged"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """One injection as its files state it, with its named peaks.

    Attributes:
        injection_id: Identity.
        injection_name: Name by which a worklist plans it.
        source: Drop folder.
        injected_at_utc: Start.
        known_time_utc: End of the run, when its trace was known; ``None`` without a start.
        stated_sample_name: Sample that the file states.
        stated_method_name: Method that it states.
        peaks: ``channel``, ``analyte``, ``area`` of its named peaks by ``processing_id``, ordered by channel and analyte.
    """

    injection_id: str
    injection_name: str
    source: str
    injected_at_utc: datetime | None
    known_time_utc: datetime | None
    stated_sample_name: str | None
    stated_method_name: str | None
    peaks: Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class _Response:
    """What an analyte is quantified against: the standards of a sequence in one channel, as they were at one stage.

    Attributes:
        channel: Their channel; also that of an analyte that was not detected.
        factor: Their mean response factor.
        weight_mg: Nominal weight behind them, else the weight of the first.
    """

    channel: str
    factor: float
    weight_mg: float


_Stage = tuple[str, int | None]
"""A sequence, and how often something about its standards had become known; ``None``: everything known."""


class SequenceResults:
    """From areas to judged results of the runs of some sequences."""

    def __init__(
        self, runs: Iterable[MeasuredRun], records: LimsRecords, methods: ProcessingMethods, specifications: Specifications
    ) -> None:
        """Prepare.

        Args:
            runs: Every run of the sequences concerned.
            records: Worklist entries, samples and lots of these runs, every version.
            methods: Processing methods.
            specifications: Limits.
        """
        # sums depend on their order in the last digit: the same runs give the same bits, in whichever order they are read
        self._runs = sorted(runs, key=lambda run: run.injection_id)
        self._records = records
        self._methods = methods
        self._specifications = specifications
        self._contexts: dict[tuple[str, datetime | None], RunContext] = {}
        self._changes: dict[str, list[datetime]] = {}
        self._standards: dict[_Stage, list[dict[str, Any]]] = {}
        self._responses: dict[tuple[_Stage, str, str | None], _Response | None] = {}
        self._complete: dict[_Stage, bool] = {}
        self._times: dict[str, set[datetime]] = {}
        self._by_name: dict[str, list[MeasuredRun]] = {}
        for run in self._runs:
            self._by_name.setdefault(run.injection_name, []).append(run)
        self._planned: dict[str, set[str]] = {}
        for name in records.plans.keys():  # noqa: SIM118 - not a dict
            for version in records.plans.versions(name):
                self._planned.setdefault(version.row["sequence_id"], set()).add(version.row["injection_name"])
        self._in_sequence: dict[str, list[MeasuredRun]] = {}

    def rows(self, wanted: Iterable[str]) -> list[dict[str, Any]]:
        """Return every version of the results of some runs, as rows of ``silver.results``."""
        asked = set(wanted)
        return [row for run in self._runs if run.injection_id in asked for row in self._versions(run)]

    def _versions(self, run: MeasuredRun) -> list[dict[str, Any]]:
        final = self._known(run, None)
        known: list[tuple[datetime | None, KnownResults]] = []
        if run.known_time_utc is not None:
            known += [(moment, found) for moment in self._moments(run) if (found := self._known(run, moment)).complete]
        if not known or not final.complete:
            known.append((None, final))
        return versions(known, lambda moment: self._reason(run, moment))

    def _moments(self, run: MeasuredRun) -> list[datetime]:
        """Return every moment from the end of a run on at which something about its results may have become known, in order."""
        end = run.known_time_utc
        assert end is not None  # noqa: S101 - the caller has seen to it
        times = {end, *self._record_times(run)}
        for sequence in {version.row["sequence_id"] for version in self._records.plans.versions(run.injection_name)}:
            times |= self._standard_times(sequence)
        return sorted(moment for moment in times if moment >= end)

    def _standard_times(self, sequence_id: str) -> set[datetime]:
        """Return when something about the standards of a sequence became known: their worklist entries, their runs and their methods."""
        if sequence_id not in self._times:
            times: set[datetime] = set()
            for name in self._planned.get(sequence_id, ()):
                plans = self._records.plans.versions(name)
                if any(version.row["sample_role"] in STANDARD_ROLES for version in plans):
                    times |= self._records.plans.known_times(name)
                    for run in self._by_name.get(name, ()):
                        times |= {run.known_time_utc} if run.known_time_utc is not None else set()
                        for method_id in {version.row["method_id"] or run.stated_method_name for version in plans}:
                            times |= self._methods.known_times(method_id, run.source)
            self._times[sequence_id] = times
        return self._times[sequence_id]

    def _stage(self, sequence_id: str, moment: datetime | None) -> _Stage:
        """Return what all moments have in common between which nothing about the standards of a sequence became known."""
        if moment is None:
            return sequence_id, None
        if sequence_id not in self._changes:
            self._changes[sequence_id] = sorted(self._standard_times(sequence_id))
        return sequence_id, bisect_right(self._changes[sequence_id], moment)

    def _record_times(self, run: MeasuredRun) -> set[datetime]:
        """Return when records, methods and limits of a run became known, in whichever version of its context they stand."""
        times = self._records.known_times(run.injection_name, sample_name=run.stated_sample_name)
        contexts = [self._context(run, moment) for moment in (*times, None)]
        for context in contexts:
            times |= self._methods.known_times(context.method_id, run.source)
            times |= self._specifications.known_times(context.product, context.method_id)
        return times - {ALWAYS}

    def _reason(self, run: MeasuredRun, moment: datetime) -> str:
        """Say what became known at a moment that may have changed the results of a run."""
        records, context = self._records, self._context(run, moment)
        found: list[str] = []
        if moment in records.plans.known_times(run.injection_name):
            found.append("worklist entry recorded")
        if context.sample_name is not None and moment in records.samples.known_times(context.sample_name):
            found.append("sample recorded")
        if context.lot_id is not None and moment in records.lots.known_times(context.lot_id):
            found.append("lot recorded")
        if moment in self._methods.known_times(context.method_id, run.source):
            found.append("processing method recorded")
        if moment in self._specifications.known_times(context.product, context.method_id):
            found.append("specification recorded")
        return f"{' and '.join(found) or 'standards of the sequence changed'} at {moment:%Y-%m-%d %H:%M:%S} UTC"

    def _context(self, run: MeasuredRun, moment: datetime | None) -> RunContext:
        key = (run.injection_id, moment)
        if key not in self._contexts:
            self._contexts[key] = self._records.context(
                run.injection_name, known_by=moment, sample_name=run.stated_sample_name, method_id=run.stated_method_name
            )
        return self._contexts[key]

    def _known(self, run: MeasuredRun, moment: datetime | None) -> KnownResults:
        """Return what is reportable of a run at a moment (``None``: with everything known)."""
        context = self._context(run, moment)
        if context.sample_role == "blank" or context.sample_role in STANDARD_ROLES:
            return KnownResults({}, complete=True)
        windows = self._windows(run, context, moment)
        complete = not any(window["calibration"] == "external_standard" for window in windows.rows) or self._is_complete(context, moment)
        rows = [
            self._row(run, context, window, moment, channel=channel, value=value, complete=complete)
            for window in windows.rows
            for channel, value in self._values(run.peaks.get(windows.processing_id, ()), context, window, moment)
        ]
        return KnownResults({row["result_id"]: row for row in rows}, complete=complete)

    def _windows(self, run: MeasuredRun, context: RunContext, moment: datetime | None) -> WindowSet:
        return self._methods.windows(context.method_id, run.source, at=run.injected_at_utc, known_by=moment)

    def _is_complete(self, context: RunContext, moment: datetime | None) -> bool:
        """Return whether every standard that the worklist plans has been run by a moment."""
        if context.sequence_id is None:
            return True
        key = self._stage(context.sequence_id, moment)
        if key not in self._complete:
            self._complete[key] = all(
                any(self._is_run(other, moment) for other in self._by_name.get(name, ()))
                for name in self._planned.get(context.sequence_id, ())
                if self._is_standard(self._records.plans.row(name, known_by=moment), context.sequence_id)
            )
        return self._complete[key]

    @staticmethod
    def _is_run(run: MeasuredRun, moment: datetime | None) -> bool:
        return moment is None or (run.known_time_utc is not None and run.known_time_utc <= moment)

    @staticmethod
    def _is_standard(plan: Row | None, sequence_id: str | None) -> bool:
        return plan is not None and plan["sequence_id"] == sequence_id and plan["sample_role"] in STANDARD_ROLES

    def _standard_peaks(self, context: RunContext, moment: datetime | None) -> list[dict[str, Any]]:
        """Return the named peaks of the standards of a sequence that were run by a moment, with their weighings."""
        if context.sequence_id is None:
            return []
        key = self._stage(context.sequence_id, moment)
        if key not in self._standards:
            self._standards[key] = [
                {
                    **peak,
                    "weight_mg": plan["weight_mg"],
                    "nominal_weight_mg": plan["nominal_weight_mg"],
                    "purity_pct": plan["standard_purity_pct"],
                }
                for other in self._runs_of(context.sequence_id)
                if self._is_run(other, moment)
                and self._is_standard(plan := self._records.plans.row(other.injection_name, known_by=moment), context.sequence_id)
                for peak in other.peaks.get(self._windows(other, self._context(other, moment), moment).processing_id, ())
            ]
        return self._standards[key]

    def _runs_of(self, sequence_id: str) -> list[MeasuredRun]:
        """Return the runs that any version of the worklist plans in a sequence, always in the same order."""
        if sequence_id not in self._in_sequence:
            named = [run for name in self._planned.get(sequence_id, ()) for run in self._by_name.get(name, ())]
            self._in_sequence[sequence_id] = sorted(named, key=lambda run: run.injection_id)
        return self._in_sequence[sequence_id]

    def _row(
        self,
        run: MeasuredRun,
        context: RunContext,
        window: Row,
        moment: datetime | None,
        *,
        channel: str | None,
        value: float,
        complete: bool,
    ) -> dict[str, Any]:
        limit = self._specifications.limit(context.product, context.method_id, window["analyte"], at=run.injected_at_utc, known_by=moment)
        low, high = (limit["spec_low"], limit["spec_high"]) if limit else (None, None)
        return {
            "result_id": result_id(run.injection_id, window["analyte"], channel or ""),
            "injection_id": run.injection_id,
            **{name: getattr(context, name) for name in ("sample_name", "lot_id", "method_id", "replicate", "retest_of")},
            "analyte": window["analyte"],
            "channel": channel,
            "value": value,
            "unit": (limit["unit"] if limit else None) or window["result_unit"] or "",
            "spec_low": low,
            "spec_high": high,
            "state": state_of(value, low, high) if complete else UNJUDGED,
            "measured_at_utc": run.injected_at_utc,
        }

    def _values(
        self, peaks: Sequence[Row], context: RunContext, window: Row, moment: datetime | None
    ) -> Iterable[tuple[str | None, float]]:
        """Return (channel, value) of one analyte of one run from its named peaks; none while its standards are missing."""
        own = [peak for peak in peaks if peak["analyte"] == window["analyte"] and window["channel"] in {None, "", peak["channel"]}]
        if window["calibration"] == "line":
            return [
                (peak["channel"], apply_line(peak["area"], slope=window["slope"], intercept=window["intercept"] or 0.0)) for peak in own
            ]
        if window["calibration"] == "area_percent":
            shares = area_percent([peak["area"] for peak in peaks]) if peaks else []
            by_peak = dict(zip(map(id, peaks), shares, strict=True))
            return [(peak["channel"], by_peak[id(peak)]) for peak in own]
        if window["calibration"] == "external_standard":
            return self._against_standards(context, own, window, moment)
        return []

    def _against_standards(
        self, context: RunContext, own: Sequence[Row], window: Row, moment: datetime | None
    ) -> list[tuple[str | None, float]]:
        """Calculate by external standard; an analyte without a peak was not detected and counts as zero."""
        if not context.weight_mg or not context.nominal_weight_mg:
            return []
        response = self._response(context, window["reference_analyte"] or window["analyte"], own[0]["channel"] if own else None, moment)
        if response is None:
            return []
        value = external_standard_pct(
            own[0]["area"] if own else 0.0,
            response.factor,
            sample_weight_mg=context.weight_mg,
            relative_response=window["relative_response"] or 1.0,
            volume_ratio=context.nominal_weight_mg / response.weight_mg,
        )
        return [(response.channel, value)]

    def _response(self, context: RunContext, analyte: str, channel: str | None, moment: datetime | None) -> _Response | None:
        """Return what an analyte is quantified against in a channel, ``None`` for the first one; none while the standards are missing."""
        if context.sequence_id is None:
            return None
        key = (self._stage(context.sequence_id, moment), analyte, channel)
        if key not in self._responses:
            self._responses[key] = _response(self._standard_peaks(context, moment), analyte, channel)
        return self._responses[key]


def _response(standards: Sequence[Row], analyte: str, channel: str | None) -> _Response | None:
    """Return what an analyte is quantified against: its standards in a channel, those in any where that has none."""
    usable = [row for row in standards if row["analyte"] == analyte and row["weight_mg"] and row["area"] and row["area"] > 0]
    if not usable:
        return None
    chosen = channel if channel is not None else min(row["channel"] for row in usable)
    used = [row for row in usable if row["channel"] == chosen] or usable
    factor = mean_response_factor(
        [row["area"] for row in used], [row["weight_mg"] for row in used], purity_pct=[row["purity_pct"] or 100.0 for row in used]
    )
    return _Response(chosen, factor.mean, used[0]["nominal_weight_mg"] or used[0]["weight_mg"])
