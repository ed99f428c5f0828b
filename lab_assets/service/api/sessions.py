"""``POST /v1/login``, ``POST /v1/logout``, ``GET /v1/me``.

Belongs here: sign-in of systems and people. Does not belong here: the sign-in page (``pages``).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from msgspec import Meta, Struct

from lab_assets.governance.accounts import User
from lab_assets.service.api import json_response
from lab_assets.service.auth import COOKIE, Identity, Open, Requires, csrf_token
from lab_assets.service.json_body import body_schema, read_body
from lab_assets.service.limits import read_json_body
from lab_assets.service.state import lab

router = APIRouter(prefix="/v1", tags=["sessions"])
MAX_LOGIN_BYTES = 4096


class PostedSignIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/login``."""

    user: str
    password: Annotated[str, Meta(extra_json_schema={"format": "password"})]


def set_session_cookie(response: Response, request: Request, token: str) -> None:
    """Give a browser its session: unreadable to scripts, not sent from other sites, only over TLS where there is TLS."""
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/")


def _person(user: User) -> dict[str, object]:
    return {"user": user.name, "display_name": user.display_name, "roles": list(user.roles), "last_sign_in_at_utc": user.last_sign_in_at}


@router.post("/login", dependencies=[Depends(Open("this is how one signs in"))], openapi_extra=body_schema(PostedSignIn))
async def login(request: Request) -> Response:
    """Sign in; the answer holds a bearer token, and the same as a cookie."""
    body = await read_json_body(request, limit_bytes=MAX_LOGIN_BYTES)
    posted = read_body(body, PostedSignIn, refused="send user and password", words=lambda _path, _value: "needs text")
    token, user = await lab(request).access.sign_in(request, name=posted.user, password=posted.password)
    response = json_response({"token": token, "csrf_token": csrf_token(token), **_person(user)})
    set_session_cookie(response, request, token)
    return response


@router.post("/logout", status_code=204)
async def logout(request: Request, who: Annotated[Identity, Depends(Requires())]) -> Response:
    """End the session now."""
    await lab(request).access.sign_out(who, request)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/")
    return response


@router.get("/me")
async def me(who: Annotated[Identity, Depends(Requires())]) -> Response:
    """Who is signed in."""
    return json_response(_person(who.user) | {"csrf_token": who.csrf_token})
