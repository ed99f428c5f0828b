"""``POST /v1/query``: SQL of a signed-in person, through the one gateway.

Belongs here: the route. Does not belong here: what may be asked and masks (``lab_assets.governance.gateway``).
"""

from __future__ import annotations

from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from msgspec import Struct

from lab_assets.governance.gateway import QueryFailedError, QueryRefusedError, QueryResult
from lab_assets.service.api import json_response
from lab_assets.service.auth import Identity, Requires, client_address
from lab_assets.service.json_body import body_schema, read_body
from lab_assets.service.limits import read_json_body
from lab_assets.service.problems import ProblemError
from lab_assets.service.state import lab

router = APIRouter(prefix="/v1", tags=["query"])
MAX_SQL_BYTES = 64 * 1024
_AT_ONCE = CapacityLimiter(4)


class PostedQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/query``."""

    sql: str


@router.post("/query", openapi_extra=body_schema(PostedQuery))
async def query(request: Request, who: Annotated[Identity, Depends(Requires("BROWSE", "lab"))]) -> Response:
    """Run one SELECT over ``layer.table`` names; each table needs SELECT, tagged columns come masked."""
    state = lab(request)
    body = await read_json_body(request, limit_bytes=MAX_SQL_BYTES)
    sql = read_body(body, PostedQuery, refused='send {"sql": "SELECT ..."} and nothing else', words=_words).sql
    origin = client_address(request)
    try:
        result = await to_thread.run_sync(lambda: state.gateway.run(sql, user=who.name, origin=origin), limiter=_AT_ONCE)
    except QueryRefusedError as error:
        raise ProblemError(403, str(error)) from None
    except QueryFailedError as error:
        raise ProblemError(422, str(error)) from None
    return json_response(await to_thread.run_sync(_result, result))


def _words(path: str, _value: object) -> str | None:
    return "needs text" if path == "sql" else None


def _result(result: QueryResult) -> dict[str, object]:
    return {
        "columns": [{"name": name, "type": kind} for name, kind in zip(result.columns, result.types, strict=True)],
        "rows": result.rows,
        "masked_columns": result.masked_columns,
        "tables": result.tables,
        "table_versions": result.table_versions,
        "truncated": result.truncated,
    }
