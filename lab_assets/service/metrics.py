"""What the service counts, in Prometheus' text format.

Belongs here: names and meaning of metrics. Does not belong here: alarms on them.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lab_assets.service.gate import Gate
from lab_assets.service.lanes import Lanes

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
        self.working = Gauge("lab_working", "Requests worked on now", ("kind",), registry=self.registry)
        self.waiting = Gauge("lab_waiting", "Requests that wait for a place", ("kind",), registry=self.registry)
        self.places = Gauge(
            "lab_places", "Requests that may be worked on at once; of scores, after their latency", ("kind",), registry=self.registry
        )
        self.turned_away = Gauge(
            "lab_turned_away", "Requests refused for want of a place, since the start", ("kind",), registry=self.registry
        )
        self.connections = Gauge("lab_connections", "Open connections", ("state",), registry=self.registry)
        self.score_count = self.predictions.labels("features")
        self.score_seconds = self.seconds.labels("features")
        self.trace_count = self.predictions.labels("trace")
        self.trace_seconds = self.seconds.labels("trace")

    def note_load(self, gate: Gate, lanes: Lanes) -> None:
        """Take over how much is worked on, waits and was refused."""
        kinds = {name: (lane.running, lane.waiting, lane.places, lane.refused) for name, lane in lanes.all().items()}
        kinds["scores"] = (gate.scores_running, gate.waiting["scores"], gate.limit.now, gate.refused)
        for kind, values in kinds.items():
            for gauge, value in zip((self.working, self.waiting, self.places, self.turned_away), values, strict=True):
                gauge.labels(kind).set(value)
        self.connections.labels("idle").set(gate.connections.idle)
        self.connections.labels("busy").set(len(gate.connections) - gate.connections.idle)

    def text(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self.registry)
