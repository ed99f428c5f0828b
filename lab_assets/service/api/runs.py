"""``POST /v1/runs/{injection_id}/trace``: the part of a run's trace that exists so far in, risk out.

Belongs here: the route. Does not belong here: features and scoring (``service/scorer.py``).
"""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from lab_assets.service.api import json_response
from lab_assets.service.api.scoring import EXECUTE
from lab_assets.service.auth import Identity
from lab_assets.service.json_body import body_schema
from lab_assets.service.limits import read_json_body
from lab_assets.service.requests import MAX_NAME_CHARS, PostedTrace, parse_trace
from lab_assets.service.scorer import Answer
from lab_assets.service.state import lab

router = APIRouter(prefix="/v1", tags=["scoring"])
InjectionId = Annotated[str, Path(max_length=MAX_NAME_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$")]


@router.post("/runs/{injection_id}/trace", openapi_extra=body_schema(PostedTrace))
async def trace(request: Request, injection_id: InjectionId, who: Annotated[Identity, Depends(EXECUTE)]) -> Response:
    """Score a run from what is seen of it; sample and lot are taken from the worklist where they are not given.

    The signal is turned into the unit of the method's standards. What cannot be is refused: a method that no table knows, units that cannot
    be compared, times far beyond the run, a signal far below zero throughout. What hardly can be is answered with ``warnings`` and the
    verdict ``cannot_tell_yet``: a signal far beyond the standards or with many times their noise, one upside down or with gaps, an
    instrument, sample or lot that no table knows, and tables that wait to be made anew, as after a restore.
    """
    state = lab(request)
    async with state.lanes.uploads.place(who.name):
        body = await read_json_body(request)

    def work() -> Answer:
        return state.scorer.score_trace(injection_id, parse_trace(body), body=body, user=who.name)

    began_s = time.perf_counter()
    answer = await state.lanes.traces.run(who.name, work)
    state.metrics.trace_count.inc()
    state.metrics.trace_seconds.observe(time.perf_counter() - began_s)
    return json_response(answer.to_json())
