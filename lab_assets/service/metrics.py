"""What the service counts, in Prometheus' text format.

Belongs here: names and meaning of metrics. Does not belong here: alarms on them.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """Metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.predictions = Counter("lab_predictions", "Predictions answered", ("kind",), registry=self.registry)
        self.refused = Counter("lab_requests_refused", "Requests answered with a problem", ("status",), registry=self.registry)
        self.seconds = Histogram("lab_scoring_seconds", "Time to score", ("kind",), buckets=_BUCKETS_S, registry=self.registry)
        self.pending = Gauge("lab_prediction_log_pending", "Predictions not yet in the Delta table", registry=self.registry)
        self.model_alarm = Gauge("lab_model_alarm", "1 while the approved model cannot be served", registry=self.registry)
        self.log_alarm = Gauge("lab_prediction_log_alarm", "1 while the prediction log cannot commit", registry=self.registry)
        self.record_alarm = Gauge("lab_record_alarm", "1 while actions cannot be recorded or signed", registry=self.registry)
        self.score_count = self.predictions.labels("features")
        self.score_seconds = self.seconds.labels("features")
        self.trace_count = self.predictions.labels("trace")
        self.trace_seconds = self.seconds.labels("trace")

    def text(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self.registry)
