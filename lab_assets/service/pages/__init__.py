"""The pages for people: sign-in, what needs me now, one prediction.

Belongs here: routes and templates. Does not belong here: what is shown (``service/views.py``), who may see it (``service/auth.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from lab_assets.service.api.predictions import SELECT_PREDICTIONS
from lab_assets.service.api.sessions import set_session_cookie
from lab_assets.service.auth import COOKIE, Identity, Open, Requires, read_form
from lab_assets.service.problems import ProblemError
from lab_assets.service.state import ServiceState, lab
from lab_assets.service.store import ON_REQUEST, NotFoundError, decision_row, find_end, find_record

STATIC: Final = Path(__file__).parent / "static"
router = APIRouter(include_in_schema=False)
_templates = Environment(loader=PackageLoader("lab_assets.service.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
_templates.globals["user"] = None
_SIGN_IN = Open("this is how people sign in")


@dataclass(frozen=True)
class SignedIn:
    """As ``Requires`` for pages: somebody unknown is sent to the sign-in page."""

    requires: Requires

    async def __call__(self, request: Request) -> Identity:
        """Return who asks."""
        try:
            return await self.requires(request)
        except ProblemError as error:
            if error.status != 401:
                raise
            raise ProblemError(303, "sign in first", headers={"Location": "/signin"}) from None


ANYBODY: Final = SignedIn(Requires())


def _page(name: str, who: Identity | None, *, status: int = 200, **content: Any) -> HTMLResponse:
    shown = {"user": who.user, "csrf_token": who.csrf_token} if who is not None else {"user": None, "csrf_token": ""}
    return HTMLResponse(_templates.get_template(name).render({"links": None, **shown, **content}), status_code=status)


def _links(request: Request, state: ServiceState) -> dict[str, str]:
    host = urlsplit(str(request.base_url)).hostname or state.settings.host
    host = f"[{host}]" if ":" in host else host
    return {"dagster": f"http://{host}:{state.settings.dagster_port}", "mlflow": f"http://{host}:{state.settings.mlflow_port}"}


@router.get("/")
async def first_page(request: Request, who: Annotated[Identity, Depends(ANYBODY)]) -> Response:
    """What needs me now: runs by risk, lots, exceptions."""
    state = lab(request)

    def work() -> Response:
        return _page("home.html", who, page=state.views.first_page(who.name), links=_links(request, state))

    return await state.lanes.pages.run(who.name, work)


@router.get("/live")
async def live(request: Request, who: Annotated[Identity, Depends(Requires())]) -> Response:
    """The changing part of the first page."""
    state = lab(request)
    return await state.lanes.pages.run(who.name, lambda: _page("live.html", who, page=state.views.first_page(who.name)))


@router.get("/predictions/{prediction_id}")
async def prediction_page(
    request: Request, prediction_id: str, who: Annotated[Identity, Depends(SignedIn(SELECT_PREDICTIONS))]
) -> Response:
    """One prediction: risk, path, drivers, what it rests on and values."""
    state = lab(request)

    def content() -> dict[str, Any]:
        record = find_record(state.settings, prediction_id, log=state.log)
        found = record.prediction
        shown = state.views.prediction(found, user=who.name)
        shown["risk_low"], shown["risk_high"] = (found.risk if end is None else end for end in (found.risk_low, found.risk_high))
        drivers, computed, missing = [], "", ""
        try:
            drivers, computed = state.views.drivers(record, user=who.name)
        except NotFoundError as error:
            missing = str(error)
        decision = None if record.outcome is None else state.views.decision(decision_row(record), user=who.name)
        return {
            "p": shown,
            "ended": find_end(state.settings, prediction_id),
            "drivers": drivers,
            "on_request": computed == ON_REQUEST,
            "no_drivers": missing,
            "decision": decision,
        }

    def work() -> Response:
        try:
            return _page("prediction.html", who, **content())
        except NotFoundError as error:
            return _page("message.html", who, status=404, heading="Not found", detail=str(error))

    return await state.lanes.pages.run(who.name, work)


@router.get("/signin", dependencies=[Depends(_SIGN_IN)])
async def sign_in_page() -> Response:
    """The sign-in form."""
    return _page("signin.html", None, problem="")


@router.post("/signin", dependencies=[Depends(_SIGN_IN)])
async def sign_in(request: Request) -> Response:
    """Check the form, begin a session, go to the first page."""
    form = await read_form(request)
    try:
        token, _ = await lab(request).access.sign_in(request, name=form.get("user", ""), password=form.get("password", ""))
    except ProblemError as error:
        page = _page("signin.html", None, status=error.status, problem=error.detail)
        if wait_s := error.headers.get("Retry-After"):
            page.headers["Retry-After"] = wait_s
        return page
    response = RedirectResponse("/", status_code=303)
    set_session_cookie(response, request, token)
    return response


@router.post("/signout")
async def sign_out(request: Request, who: Annotated[Identity, Depends(Requires())]) -> Response:
    """End the session."""
    await lab(request).access.sign_out(who, request)
    response = RedirectResponse("/signin", status_code=303)
    response.delete_cookie(COOKIE, path="/")
    return response
