"""``/v1/models`` and ``/v1/approvals``: versions, what was decided on them, and which one serves.

Belongs here: reading the approvals ledger. Does not belong here: deciding (``lab_assets.governance.approvals``), training records (MLflow).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from lab_assets.governance.approvals import Approvals
from lab_assets.service.api import json_response
from lab_assets.service.auth import Identity, Requires
from lab_assets.service.problems import ProblemError
from lab_assets.service.serving import MODEL_NAME, NoModelError
from lab_assets.service.state import lab
from lab_assets.service.views import Views

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

router = APIRouter(prefix="/v1", tags=["models"])
BROWSE_MODEL = Requires("BROWSE", f"model:{MODEL_NAME}")


def _known(name: str) -> str:
    if name != MODEL_NAME:
        raise ProblemError(404, f"no model of that name; there is {MODEL_NAME}")
    return name


def _rows(views: Views, found: Sequence[DataclassInstance], who: Identity) -> list[dict[str, Any]]:
    """Return rows of the ledger of approvals as somebody may see them."""
    return [views.ledger_row(asdict(one), user=who.name) for one in found]


@router.get("/models/{name}")
async def versions(request: Request, name: str, who: Annotated[Identity, Depends(BROWSE_MODEL)]) -> Response:
    """List the submitted versions with digest, metrics, data versions and decision."""
    state = lab(request)

    def work() -> Response:
        return json_response(_rows(state.views, Approvals(state.engine).submissions(_known(name)), who))

    return await state.lanes.pages.run(who.name, work)


@router.get("/models/{name}/serving")
async def serving(request: Request, name: str, who: Annotated[Identity, Depends(BROWSE_MODEL)]) -> Response:
    """Return what should serve, what serves here, and how it came to."""
    state = lab(request)

    def work() -> Response:
        rows = _rows(state.views, Approvals(state.engine).serving_history(_known(name)), who)
        try:
            loaded = {"version": state.watch.current.version, "digest": state.watch.current.bundle.digest}
        except NoModelError:
            loaded = None
        return json_response({"serving_here": loaded, "in_step": state.watch.alarm is None, "history": rows})

    return await state.lanes.pages.run(who.name, work)


@router.get("/approvals")
async def approvals(request: Request, who: Annotated[Identity, Depends(BROWSE_MODEL)], status: str | None = None) -> Response:
    """List submissions, all or those ``submitted``, ``approved`` or ``rejected``."""
    if status not in {None, "submitted", "approved", "rejected"}:
        raise ProblemError(422, "status is submitted, approved or rejected")
    state = lab(request)

    def work() -> Response:
        return json_response(_rows(state.views, Approvals(state.engine).submissions(MODEL_NAME, state=status), who))

    return await state.lanes.pages.run(who.name, work)
