"""``GET /v1/decisions/{decision_id}``: the review path suggested for one prediction.

Belongs here: the route. Does not belong here: the rules (``lab_assets.decisions``).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from lab_assets.service.api import json_response
from lab_assets.service.auth import Identity, Requires
from lab_assets.service.state import lab
from lab_assets.service.store import find_decision

router = APIRouter(prefix="/v1", tags=["predictions"])


@router.get("/decisions/{decision_id}")
async def decision(
    request: Request, decision_id: str, who: Annotated[Identity, Depends(Requires("SELECT", "lab.ml.decisions"))]
) -> Response:
    """Return a decision as it was made with its prediction; it is never worked out again."""
    state = lab(request)

    def work() -> Response:
        return json_response(state.views.decision(find_decision(state.settings, decision_id, log=state.log), user=who.name))

    return await state.lanes.pages.run(who.name, work)
