"""``GET /v1/predictions/{prediction_id}``: one kept prediction with everything it rests on.

Belongs here: the route. Does not belong here: look-up (``service/store.py``), masks (``service/views.py``).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from lab_assets.service.api import json_response
from lab_assets.service.auth import Identity, Requires
from lab_assets.service.state import lab
from lab_assets.service.store import find_end, find_record

router = APIRouter(prefix="/v1", tags=["predictions"])
SELECT_PREDICTIONS = Requires("SELECT", "lab.ml.predictions")


@router.get("/predictions/{prediction_id}")
async def prediction(
    *,
    request: Request,
    prediction_id: str,
    who: Annotated[Identity, Depends(SELECT_PREDICTIONS)],
    explain: Annotated[bool, Query(description="add what moved the risk")] = False,
) -> Response:
    """Return a prediction: risk, model, table versions, feature values, and the drivers when asked for.

    ``ended`` says when and why it ended and what took its place; it is null where the prediction counts. ``computed`` says whether the drivers were kept with the prediction or computed on request from its features and exact model.
    """
    state = lab(request)

    def work() -> Response:
        record = find_record(state.settings, prediction_id, log=state.log)
        shown = state.views.prediction(record.prediction, user=who.name)
        end = find_end(state.settings, prediction_id)
        shown["ended"] = None if end is None else state.views.masked("ml.predictions", end, user=who.name)
        if explain:
            shown["drivers"], shown["computed"] = state.views.drivers(record, user=who.name)
        return json_response(shown)

    return await state.lanes.pages.run(who.name, work)
