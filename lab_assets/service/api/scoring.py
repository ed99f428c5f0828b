"""``POST /v1/score``: feature values in, risk and suggested review path out.

Belongs here: the fast path. Does not belong here: validation (``service/requests.py``), scoring (``service/scorer.py``).
"""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from lab_assets.service.api import json_response
from lab_assets.service.auth import Identity, Requires
from lab_assets.service.json_body import body_schema
from lab_assets.service.limits import is_small, read_json_body
from lab_assets.service.requests import PostedScore, parse_score
from lab_assets.service.serving import MODEL_NAME
from lab_assets.service.state import lab

router = APIRouter(prefix="/v1", tags=["scoring"])
EXECUTE = Requires("EXECUTE", f"model:{MODEL_NAME}", whose="scores")


@router.post("/score", openapi_extra=body_schema(PostedScore))
async def score(request: Request, who: Annotated[Identity, Depends(EXECUTE)]) -> Response:
    """Score feature values; a feature that is not known is null or left out.

    Values that a quantity cannot have are refused. Values far outside of the model's training rows are answered with ``warnings`` and the
    verdict ``cannot_tell_yet``.
    """
    state = lab(request)
    began_s = time.perf_counter()
    if is_small(request):
        asked = parse_score(await read_json_body(request))
    else:
        async with state.lanes.uploads.place(who.name):
            body = await read_json_body(request)
        asked = await state.lanes.traces.run(who.name, lambda: parse_score(body))
    answer = state.scorer.score_features(asked, user=who.name)
    state.metrics.score_count.inc()
    state.metrics.score_seconds.observe(time.perf_counter() - began_s)
    return json_response(answer.to_json())
