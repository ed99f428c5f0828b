"""``POST /v1/runs/{injection_id}/trace``: the part of a run's trace that exists so far in, risk out.

Belongs here: the route. Does not belong here: features and scoring (``service/scoring.py``).
"""

from __future__ import annotations

import time
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from lab_assets.service.api import json_response
from lab_assets.service.api.scoring import EXECUTE
from lab_assets.service.auth import Identity
from lab_assets.service.limits import read_json_body
from lab_assets.service.requests import MAX_NAME_CHARS, MAX_TRACE_POINTS, parse_trace
from lab_assets.service.scorer import Answer
from lab_assets.service.state import lab

router = APIRouter(prefix="/v1", tags=["scoring"])
InjectionId = Annotated[str, Path(max_length=MAX_NAME_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$")]
_NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": MAX_TRACE_POINTS}
_TEXT = {"type": "string", "maxLength": MAX_NAME_CHARS}
_OPTIONAL = {"type": ["string", "null"], "maxLength": MAX_NAME_CHARS}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["injection_name", "method_id", "instrument_id", "x_min", "y", "y_unit"],
            "additionalProperties": False,
            "properties": {
                "injection_name": _TEXT, "method_id": _TEXT, "instrument_id": _TEXT,
                "sample_name": _OPTIONAL, "lot_id": _OPTIONAL, "channel": _OPTIONAL,
                "injected_at": {
                    "type": ["string", "null"], "format": "date-time",
                    "description": "start of the run with its offset; nothing known after the trace's last point is used. Default: the run goes on now",
                },
                "x_min": _NUMBERS, "y": _NUMBERS, "y_unit": _TEXT,
                "run_time_min": {"type": ["number", "null"], "exclusiveMinimum": 0},
                "pressure": {"type": ["object", "null"], "properties": {"x_min": _NUMBERS, "y": _NUMBERS, "unit": _TEXT}},
            },
        }}},
    }
}  # fmt: skip


@router.post("/runs/{injection_id}/trace", openapi_extra=_BODY)
async def trace(request: Request, injection_id: InjectionId, who: Annotated[Identity, Depends(EXECUTE)]) -> Response:
    """Score a run from what is seen of it; sample and lot are taken from the worklist where they are not told."""
    state = lab(request)
    body = await read_json_body(request)

    def work() -> Answer:
        return state.scorer.score_trace(injection_id, parse_trace(body), body=body, user=who.name)

    began_s = time.perf_counter()
    told = await to_thread.run_sync(work)
    state.metrics.trace_count.inc()
    state.metrics.trace_seconds.observe(time.perf_counter() - began_s)
    return json_response(told.to_json())
