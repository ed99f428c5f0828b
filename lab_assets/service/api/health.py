"""``/healthz``, ``/readyz`` and ``/metrics``.

Belongs here: whether the process lives and can do its work. Does not belong here: anything about the laboratory's data.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from lab_assets.service.api import json_response
from lab_assets.service.auth import Open
from lab_assets.service.serving import NoModelError
from lab_assets.service.state import lab

router = APIRouter(tags=["health"])
_OPEN = Depends(Open("probes and scrapers have no account; no laboratory data is shown"))


@router.get("/healthz", dependencies=[_OPEN])
async def healthz(request: Request) -> Response:
    """The process answers: 200 while it lives; ``degraded`` with the reasons while actions cannot be recorded or signed.

    A restart mends neither a full disk nor a clock, so what ends processes by their health must not restart it.
    """
    problems = lab(request).record_watch.health.problems
    return json_response({"status": "degraded", "problems": problems} if problems else {"status": "ok"})


@router.get("/readyz", dependencies=[_OPEN])
async def readyz(request: Request) -> Response:
    """A model serves, predictions and audit entries can be kept; 503 otherwise, with what is missing."""
    state = lab(request)
    problems: list[str] = []
    try:
        version = state.watch.current.version
    except NoModelError:
        version = None
        problems.append("no approved model serves")
    if state.watch.alarm is not None and version is not None:
        problems.append("the approved model cannot be loaded; an older one serves")
    if state.log.last_error is not None:
        problems.append("predictions cannot be committed to the Delta table")
    record = state.record_watch.health
    problems += record.problems
    ready = version is not None and state.log.last_error is None and not record.unwritable
    status = "ready" if ready else "not ready"
    answer = json_response({"status": status, "model_version": version, "problems": problems}, 200 if ready else 503)
    if not ready:
        answer.headers["Retry-After"] = "5"
    return answer


@router.get("/metrics", dependencies=[_OPEN])
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    state = lab(request)
    state.metrics.pending.set(state.log.pending)
    state.metrics.model_alarm.set(state.watch.alarm is not None)
    state.metrics.record_alarm.set(bool(state.record_watch.health.problems))
    state.metrics.note_load(state.gate, state.lanes)
    state.metrics.log_alarm.set(state.log.last_error is not None)
    return Response(state.metrics.text(), media_type="text/plain; version=0.0.4")
