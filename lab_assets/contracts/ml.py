"""Contracts of the ml layer: training sets, predictions and everything that proves them.

Belongs here: what a model was given and said. Does not belong here: features (``features.py``), MLflow's own records.
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.core import Column, TableContract

LABELS = TableContract(
    layer="ml",
    name="labels",
    grain="one sample injection whose reportable values are all known, as known from a time on",
    description="Whether any reportable value of the injection was out of specification.",
    owner="team:data-science",
    primary_key=("injection_id", "known_time_utc"),
    version=2,
    columns=(
        Column(name="injection_id", kind="string", meaning="injection", nullable=False),
        Column(name="lot_id", kind="string", meaning="lot", nullable=False),
        Column(name="method_id", kind="string", meaning="test method", nullable=False),
        Column(
            name="is_oos",
            kind="bool",
            meaning="any reportable value of this injection fails; empty from when on it has none any more, or was not of a sample",
        ),
        Column(name="failing", kind="array<string>", meaning="analytes that fail", nullable=False),
        Column(name="injected_at_utc", kind="timestamp_utc", meaning="start of the run", nullable=False),
        Column(name="known_time_utc", kind="timestamp_utc", meaning="when the outcome was known", nullable=False),
    ),
)

TRAINING_SETS = TableContract(
    layer="ml",
    name="training_sets",
    grain="one injection x checkpoint of one frozen training set",
    description="Exactly what a model was trained, calibrated and tested on.",
    owner="team:data-science",
    primary_key=("training_set_id", "injection_id", "checkpoint_pct"),
    columns=(
        Column(name="training_set_id", kind="string", meaning="digest of the rows and of the versions they came from", nullable=False),
        Column(name="injection_id", kind="string", meaning="injection", nullable=False),
        Column(name="lot_id", kind="string", meaning="lot; no lot is in two parts", nullable=False),
        Column(name="method_id", kind="string", meaning="test method", nullable=False),
        Column(name="instrument_id", kind="string", meaning="instrument"),
        Column(name="checkpoint_pct", kind="int64", meaning="share of the run seen", unit="%", nullable=False),
        Column(name="as_of_utc", kind="timestamp_utc", meaning="nothing later than this was used", nullable=False),
        Column(name="part", kind="string", meaning="use of the row", nullable=False, allowed=("train", "calibrate", "test")),
        Column(name="is_oos", kind="bool", meaning="outcome", nullable=False),
        Column(name="features", kind="map<string,float64>", meaning="feature values; an absent feature is absent", nullable=False),
        Column(name="feature_set_version", kind="string", meaning="version of the feature definitions", nullable=False),
        Column(name="table_versions", kind="map<string,int64>", meaning="version of every table read", nullable=False),
        Column(name="frozen_at_utc", kind="timestamp_utc", meaning="when it was frozen", nullable=False),
    ),
)

PREDICTIONS = TableContract(
    layer="ml",
    name="predictions",
    grain="one prediction",
    description="Every risk predicted: online, batch and stream together.",
    owner="team:data-science",
    primary_key=("prediction_id",),
    columns=(
        Column(name="prediction_id", kind="string", meaning="identity", nullable=False),
        Column(name="injection_id", kind="string", meaning="injection"),
        Column(name="lot_id", kind="string", meaning="lot"),
        Column(name="checkpoint_pct", kind="int64", meaning="share of the run seen", unit="%"),
        Column(
            name="risk",
            kind="float64",
            meaning="calibrated probability of an out-of-specification result",
            nullable=False,
            minimum=0,
            maximum=1,
        ),
        Column(name="risk_low", kind="float64", meaning="lower end of the interval", minimum=0, maximum=1),
        Column(name="risk_high", kind="float64", meaning="upper end of the interval", minimum=0, maximum=1),
        Column(name="raw_score", kind="float64", meaning="log-odds before calibration"),
        Column(name="model_name", kind="string", meaning="registered model", nullable=False),
        Column(name="model_version", kind="string", meaning="its version", nullable=False),
        Column(name="model_digest", kind="string", meaning="SHA-256 of the served bundle", nullable=False),
        Column(name="feature_set_version", kind="string", meaning="version of the feature definitions", nullable=False),
        Column(name="features", kind="map<string,float64>", meaning="feature values used", nullable=False),
        Column(name="table_versions", kind="map<string,int64>", meaning="version of every table the features came from", nullable=False),
        Column(name="predicted_at_utc", kind="timestamp_utc", meaning="when", nullable=False),
        Column(name="as_of_utc", kind="timestamp_utc", meaning="nothing later than this was used"),
        Column(name="mode", kind="string", meaning="how it was asked for", nullable=False, allowed=("online", "batch", "stream")),
        Column(name="requested_by", kind="string", meaning="who asked", nullable=False, tags=("personal_name",)),
        Column(name="superseded_by", kind="string", meaning="prediction that took its place"),
        Column(name="ended_at_utc", kind="timestamp_utc", meaning="when it stopped counting; empty while it counts"),
        Column(name="ended_reason", kind="string", meaning="why it stopped counting, in words"),
    ),
)

_ENDS: Final = ("superseded_by", "ended_at_utc", "ended_reason")
"""What becomes of a prediction later; the log holds what was answered."""

ONLINE_LOG = TableContract(
    layer="ml",
    name="online_log",
    grain="one prediction asked for over REST",
    description="The service's own log of predictions, written by the service alone and folded into ml.predictions.",
    owner="team:data-science",
    primary_key=("prediction_id",),
    columns=(
        *(column for column in PREDICTIONS.columns if column.name not in _ENDS),
        Column(
            name="verdict",
            kind="string",
            meaning="what the calibrated score allows to say; empty before decisions were recorded",
            allowed=("likely_pass", "likely_fail", "cannot_tell_yet"),
        ),
        Column(
            name="path",
            kind="string",
            meaning="suggested review path, as decided with the answer; empty before decisions were recorded",
            allowed=("fast_track", "standard", "mandatory_checks"),
        ),
        Column(name="checks", kind="array<string>", meaning="checks to do, named"),
        Column(name="reasons", kind="array<string>", meaning="why, in words and numbers, with warnings about the input"),
        Column(name="policy_version", kind="string", meaning="version of the decision rules"),
        Column(name="drivers", kind="string", meaning="what moved the risk, as JSON; empty where the decision did not need it"),
    ),
)

DECISIONS = TableContract(
    layer="ml",
    name="decisions",
    grain="one suggestion for one prediction",
    description="Review path, checks and advice that follow from a risk.",
    owner="team:quality",
    primary_key=("decision_id",),
    columns=(
        Column(name="decision_id", kind="string", meaning="identity", nullable=False),
        Column(name="prediction_id", kind="string", meaning="prediction it follows from", nullable=False),
        Column(name="injection_id", kind="string", meaning="injection"),
        Column(name="lot_id", kind="string", meaning="lot"),
        Column(
            name="path",
            kind="string",
            meaning="suggested review path",
            nullable=False,
            allowed=("fast_track", "standard", "mandatory_checks"),
        ),
        Column(name="checks", kind="array<string>", meaning="checks to do, named", nullable=False),
        Column(name="reasons", kind="array<string>", meaning="why, in words and numbers", nullable=False),
        Column(name="policy_version", kind="string", meaning="version of the decision rules", nullable=False),
        Column(name="decided_at_utc", kind="timestamp_utc", meaning="when", nullable=False),
        Column(
            name="verdict",
            kind="string",
            meaning="what the calibrated score allows to say; empty in decisions of before it was recorded",
            allowed=("likely_pass", "likely_fail", "cannot_tell_yet"),
        ),
        Column(name="superseded_by", kind="string", meaning="decision that took its place"),
        Column(name="ended_at_utc", kind="timestamp_utc", meaning="when it stopped counting; empty while it counts"),
        Column(name="ended_reason", kind="string", meaning="why it stopped counting, in words"),
    ),
)

EXPLANATIONS = TableContract(
    layer="ml",
    name="explanations",
    grain="one driver of one prediction",
    description="What moved a risk up or down, in log-odds of the uncalibrated score.",
    owner="team:data-science",
    primary_key=("prediction_id", "rank"),
    columns=(
        Column(name="prediction_id", kind="string", meaning="prediction", nullable=False),
        Column(name="rank", kind="int64", meaning="1: strongest", nullable=False, minimum=1),
        Column(name="feature", kind="string", meaning="feature", nullable=False),
        Column(name="value", kind="float64", meaning="its value; empty when missing"),
        Column(name="contribution", kind="float64", meaning="exact SHAP value, log-odds of the uncalibrated score", nullable=False),
        Column(name="words", kind="string", meaning="the driver in words", nullable=False),
    ),
)

EVALUATIONS = TableContract(
    layer="ml",
    name="evaluations",
    grain="one metric of one model version on one slice",
    description="How good each model was, beside base rate, baseline and the best attainable.",
    owner="team:data-science",
    columns=(
        Column(name="model_name", kind="string", meaning="registered model", nullable=False),
        Column(name="model_version", kind="string", meaning="its version; empty when the gate refused it"),
        Column(name="run_id", kind="string", meaning="MLflow run", nullable=False),
        Column(name="training_set_id", kind="string", meaning="frozen training set", nullable=False),
        Column(
            name="candidate",
            kind="string",
            meaning="model, logistic baseline, base rate",
            nullable=False,
            allowed=("model", "baseline", "base_rate"),
        ),
        Column(name="part", kind="string", meaning="rows judged", nullable=False, allowed=("calibrate", "test")),
        Column(name="slice", kind="string", meaning="all, or checkpoint=50 and so on", nullable=False),
        Column(name="metric", kind="string", meaning="metric", nullable=False),
        Column(name="value", kind="float64", meaning="its value", nullable=False),
        Column(name="rows", kind="int64", meaning="rows judged", nullable=False),
        Column(name="evaluated_at_utc", kind="timestamp_utc", meaning="when", nullable=False),
    ),
)

DRIFT = TableContract(
    layer="ml",
    name="drift",
    grain="one feature (or the risk) in one check",
    description="Distance of recent inputs and predictions from the training reference.",
    owner="team:data-science",
    primary_key=("check_id", "subject"),
    columns=(
        Column(name="check_id", kind="string", meaning="identity of the check", nullable=False),
        Column(name="subject", kind="string", meaning="feature name, or prediction:risk", nullable=False),
        Column(name="psi", kind="float64", meaning="population stability index"),
        Column(name="ks", kind="float64", meaning="Kolmogorov-Smirnov distance", minimum=0, maximum=1),
        Column(name="ks_p_value", kind="float64", meaning="asymptotic p-value", minimum=0, maximum=1),
        Column(name="psi_limit", kind="float64", meaning="limit from resampled reference windows of the same size"),
        Column(name="missing_share", kind="float64", meaning="share of missing values now", minimum=0, maximum=1),
        Column(name="missing_share_reference", kind="float64", meaning="share of missing values in the reference", minimum=0, maximum=1),
        Column(name="drifted", kind="bool", meaning="beyond the limit", nullable=False),
        Column(name="rows", kind="int64", meaning="recent rows", nullable=False),
        Column(name="reference_rows", kind="int64", meaning="reference rows", nullable=False),
        Column(name="model_version", kind="string", meaning="model whose reference it is", nullable=False),
        Column(name="window_start_utc", kind="timestamp_utc", meaning="start of the recent window"),
        Column(name="window_end_utc", kind="timestamp_utc", meaning="end of the recent window"),
        Column(name="checked_at_utc", kind="timestamp_utc", meaning="when", nullable=False),
    ),
)

ALERTS = TableContract(
    layer="ml",
    name="alerts",
    grain="one alert",
    description="What the watch over the models, and over the files of the laboratory, raised.",
    owner="team:data-science",
    primary_key=("alert_id",),
    columns=(
        Column(name="alert_id", kind="string", meaning="identity", nullable=False),
        Column(
            name="kind",
            kind="string",
            meaning="what it is",
            nullable=False,
            allowed=("drift", "prediction_drift", "performance", "alias_moved", "gate", "feature_set", "integrity"),
        ),
        Column(name="severity", kind="string", meaning="how urgent", nullable=False, allowed=("info", "warning", "critical")),
        Column(name="subject", kind="string", meaning="what it is about", nullable=False),
        Column(name="message", kind="string", meaning="in words and numbers", nullable=False),
        Column(name="raised_at_utc", kind="timestamp_utc", meaning="when", nullable=False),
    ),
)

TABLES: Final = (LABELS, TRAINING_SETS, ONLINE_LOG, PREDICTIONS, DECISIONS, EXPLANATIONS, EVALUATIONS, DRIFT, ALERTS)
