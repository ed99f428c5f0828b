"""``/v1/audit``: the chained trail, for those who may read it.

Belongs here: the routes. Does not belong here: writing entries, verifying (``lab_assets.state.audit_chain``).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from lab_assets.service.api import json_response
from lab_assets.service.auth import Identity, Requires
from lab_assets.service.state import lab
from lab_assets.state.audit_chain import AuditLog

router = APIRouter(prefix="/v1/audit", tags=["audit"])
SELECT_AUDIT = Requires("SELECT", "lab.governance.audit")


@router.get("/entries")
async def entries(
    *,
    request: Request,
    who: Annotated[Identity, Depends(SELECT_AUDIT)],
    actor: str | None = None,
    action: str | None = None,
    target: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Return the newest entries, oldest first; columns the asker is not cleared for come masked."""
    state = lab(request)

    def work() -> Response:
        found = AuditLog(state.engine).entries(actor=actor, action=action, target=target, limit=limit)
        return json_response([state.views.masked("governance.audit", asdict(one), user=who.name) for one in found])

    return await state.lanes.pages.run(who.name, work)


@router.get("/verify")
async def verify(request: Request, who: Annotated[Identity, Depends(SELECT_AUDIT)]) -> Response:
    """Check the chain and its outside anchor; the first broken entry is named."""
    state = lab(request)
    return await state.lanes.pages.run(who.name, lambda: json_response(asdict(AuditLog(state.engine).verify())))
