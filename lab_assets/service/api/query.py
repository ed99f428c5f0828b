"""``POST /v1/query``: SQL of a signed-in person, through the one gateway.

Belongs here: the route. Does not belong here: what may be asked and masks (``lab_assets.governance.gateway``), processes and waiting
(``service/queries.py``).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from msgspec import Struct

from lab_assets.governance.query_plan import QueryFailedError, QueryRefusedError
from lab_assets.service.auth import Identity, Requires, client_address
from lab_assets.service.json_body import body_schema, read_body
from lab_assets.service.limits import read_json_body
from lab_assets.service.problems import ProblemError
from lab_assets.service.queries import AskerGoneError
from lab_assets.service.state import lab

router = APIRouter(prefix="/v1", tags=["query"])
MAX_SQL_BYTES = 64 * 1024


class PostedQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/query``."""

    sql: str


@router.post("/query", openapi_extra=body_schema(PostedQuery))
async def query(request: Request, who: Annotated[Identity, Depends(Requires("BROWSE", "lab"))]) -> Response:
    """Run one SELECT over ``layer.table`` names; each table needs SELECT, tagged columns come masked.

    A query is ended when the client leaves. Beyond what can be run or may wait the answer is 429 or 503 with ``Retry-After``.
    """
    state = lab(request)
    body = await read_json_body(request, limit_bytes=MAX_SQL_BYTES)
    sql = read_body(body, PostedQuery, refused='send {"sql": "SELECT ..."} and nothing else', words=_words).sql
    try:
        text = await state.queries.run(sql, user=who.name, origin=client_address(request), gone=lambda: _gone(request))
    except QueryRefusedError as error:
        raise ProblemError(403, str(error)) from None
    except QueryFailedError as error:
        raise ProblemError(422, str(error)) from None
    except AskerGoneError:
        raise ProblemError(400, "the client went away") from None
    return Response(text, media_type="application/json")


async def _gone(request: Request) -> None:
    """Return when the client has left; its body was read whole before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _words(path: str, _value: object) -> str | None:
    return "needs text" if path == "sql" else None
