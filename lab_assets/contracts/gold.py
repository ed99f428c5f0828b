"""Contracts of the gold layer: what a QC lead asks for.

Belongs here: verdicts over lots, methods and time. Does not belong here: single measurements (silver), models (ml).
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.core import Column, TableContract

LOT_DISPOSITION = TableContract(
    layer="gold",
    name="lot_disposition",
    grain="one lot",
    description="Pass, fail or open by lot, with the failing tests.",
    owner="team:quality",
    primary_key=("lot_id",),
    columns=(
        Column(name="lot_id", kind="string", meaning="lot", nullable=False),
        Column(name="product", kind="string", meaning="product"),
        Column(
            name="state",
            kind="string",
            meaning="pass: every specified test has a result and none fails; fail: a result fails; open: tests are missing",
            nullable=False,
            allowed=("pass", "fail", "open"),
        ),
        Column(name="failing_tests", kind="array<string>", meaning="method/analyte of each failing result", nullable=False),
        Column(name="missing_tests", kind="array<string>", meaning="specified method/analyte without result", nullable=False),
        Column(name="results", kind="int64", meaning="release results considered", nullable=False, minimum=0),
        Column(name="decided_at_utc", kind="timestamp_utc", meaning="time of the result that settled the state; empty while open"),
    ),
)

METHOD_TRENDS = TableContract(
    layer="gold",
    name="method_trends",
    grain="one control chart point",
    description="Reportable values by method and analyte with frozen limits and rule hits.",
    owner="team:quality",
    primary_key=("result_id",),
    columns=(
        Column(name="result_id", kind="string", meaning="result plotted", nullable=False),
        Column(name="product", kind="string", meaning="product"),
        Column(name="method_id", kind="string", meaning="test method", nullable=False),
        Column(name="analyte", kind="string", meaning="analyte", nullable=False),
        Column(name="point_no", kind="int64", meaning="order on the chart, from 1", nullable=False, minimum=1),
        Column(name="lot_id", kind="string", meaning="lot of the value"),
        Column(name="measured_at_utc", kind="timestamp_utc", meaning="when measured"),
        Column(
            name="plotted_at_utc", kind="timestamp_utc", meaning="time that orders the chart: when measured, else when known; empty: last"
        ),
        Column(name="value", kind="float64", meaning="reportable value", nullable=False),
        Column(name="unit", kind="string", meaning="unit", nullable=False),
        Column(name="centre", kind="float64", meaning="mean of the frozen baseline period"),
        Column(name="lower_limit", kind="float64", meaning="centre - 3 sigma of the baseline"),
        Column(name="upper_limit", kind="float64", meaning="centre + 3 sigma of the baseline"),
        Column(name="in_baseline", kind="bool", meaning="whether the point belongs to the baseline period", nullable=False),
        Column(name="rules", kind="array<string>", meaning="Nelson rules that the point completes", nullable=False),
    ),
)

TIME_TO_RELEASE = TableContract(
    layer="gold",
    name="time_to_release",
    grain="one lot x step",
    description="How long each step from manufacture to release took.",
    owner="team:lims",
    primary_key=("lot_id", "step_no"),
    columns=(
        Column(name="lot_id", kind="string", meaning="lot", nullable=False),
        Column(name="product", kind="string", meaning="product"),
        Column(name="step_no", kind="int64", meaning="order of the step, from 1", nullable=False, minimum=1),
        Column(name="step", kind="string", meaning="from and to event, such as received->prepared", nullable=False),
        Column(name="started_at_utc", kind="timestamp_utc", meaning="start", nullable=False),
        Column(name="ended_at_utc", kind="timestamp_utc", meaning="end", nullable=False),
        Column(name="duration_h", kind="float64", meaning="duration", unit="h", nullable=False, minimum=0),
    ),
)

EXCEPTIONS = TableContract(
    layer="gold",
    name="exceptions",
    grain="one thing that needs a person",
    description="Out-of-specification results, chart rules, suitability and calibration lapses, storage excursions.",
    owner="team:quality",
    primary_key=("exception_id",),
    columns=(
        Column(name="exception_id", kind="string", meaning="identity, from kind and subject", nullable=False),
        Column(
            name="kind",
            kind="string",
            meaning="what it is",
            nullable=False,
            allowed=("oos", "chart_rule", "suitability", "calibration", "storage_excursion", "no_context"),
        ),
        Column(name="severity", kind="string", meaning="how urgent", nullable=False, allowed=("info", "warning", "critical")),
        Column(name="subject", kind="string", meaning="lot, injection, instrument or chamber concerned", nullable=False),
        Column(name="lot_id", kind="string", meaning="lot, where one is concerned"),
        Column(name="evidence", kind="string", meaning="what was seen, in words and numbers", nullable=False),
        Column(name="owner_role", kind="string", meaning="role that answers for it", nullable=False),
        Column(name="raised_at_utc", kind="timestamp_utc", meaning="time of what was seen"),
    ),
)

SUITABILITY = TableContract(
    layer="gold",
    name="suitability",
    grain="one sequence x analyte",
    description="System suitability of each sequence from its standards (USP <621>).",
    owner="team:chromatography",
    primary_key=("sequence_id", "analyte"),
    columns=(
        Column(name="sequence_id", kind="string", meaning="worklist", nullable=False),
        Column(name="method_id", kind="string", meaning="test method"),
        Column(name="instrument_id", kind="string", meaning="instrument"),
        Column(name="analyte", kind="string", meaning="analyte of the standard", nullable=False),
        Column(name="injections", kind="int64", meaning="standard injections", nullable=False, minimum=1),
        Column(name="area_rsd_pct", kind="float64", meaning="relative standard deviation of the areas", unit="%", minimum=0),
        Column(name="tailing_max", kind="float64", meaning="largest symmetry factor"),
        Column(name="plates_min", kind="float64", meaning="smallest plate number"),
        Column(name="passed", kind="bool", meaning="whether every criterion is met", nullable=False),
        Column(name="failures", kind="array<string>", meaning="criteria not met", nullable=False),
        Column(name="started_at_utc", kind="timestamp_utc", meaning="first standard"),
    ),
)

TABLES: Final = (LOT_DISPOSITION, METHOD_TRENDS, SUITABILITY, TIME_TO_RELEASE, EXCEPTIONS)
