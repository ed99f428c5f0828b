"""``/v1/catalog``: which tables there are and what their columns mean.

Belongs here: the routes. Does not belong here: data; BROWSE shows what is promised, never values.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.core import TableContract
from lab_assets.service.api import json_response
from lab_assets.service.auth import Identity, Requires
from lab_assets.service.problems import ProblemError
from lab_assets.service.state import ServiceState, lab
from lab_assets.service.table_cache import open_table

router = APIRouter(prefix="/v1/catalog", tags=["catalog"])
BROWSE = Requires("BROWSE", "lab")


def _may(state: ServiceState, who: Identity, privilege: str, table: TableContract) -> bool:
    return state.access.decide_now(who.name, privilege, f"lab.{table.full_name}").allowed


def _summary(table: TableContract) -> dict[str, Any]:
    return {"table": table.full_name, "grain": table.grain, "description": table.description, "owner": table.owner}


@router.get("/tables")
async def tables(request: Request, who: Annotated[Identity, Depends(BROWSE)]) -> Response:
    """List the tables one may browse, in flow order."""
    state = lab(request)

    def work() -> Response:
        return json_response([_summary(table) for table in contracts().values() if _may(state, who, "BROWSE", table)])

    return await state.lanes.pages.run(who.name, work)


@router.get("/search")
async def search(
    request: Request, who: Annotated[Identity, Depends(BROWSE)], q: Annotated[str, Query(min_length=2, max_length=100)]
) -> Response:
    """Find tables and columns by name or meaning."""
    state = lab(request)
    return await state.lanes.pages.run(who.name, lambda: json_response(_hits(state, who, q.casefold())))


def _hits(state: ServiceState, who: Identity, wanted: str) -> list[dict[str, Any]]:
    hits: list[dict[str, Any]] = []
    for table in contracts().values():
        if not _may(state, who, "BROWSE", table):
            continue
        if wanted in f"{table.full_name} {table.grain} {table.description}".casefold():
            hits.append({"table": table.full_name, "column": None, "meaning": table.description})
        hits += [
            {"table": table.full_name, "column": column.name, "meaning": column.meaning}
            for column in table.columns
            if wanted in f"{column.name} {column.meaning}".casefold()
        ]
    return hits


@router.get("/tables/{name}")
async def show(request: Request, name: str, who: Annotated[Identity, Depends(BROWSE)]) -> Response:
    """Show one table: columns, meaning, units, tags, which of them the asker sees masked, and its current version."""
    state = lab(request)
    return await state.lanes.pages.run(who.name, lambda: json_response(_shown(state, who, name)))


def _shown(state: ServiceState, who: Identity, name: str) -> dict[str, Any]:
    table = contracts().get(name.removeprefix("lab."))
    if table is None or not _may(state, who, "BROWSE", table):
        raise ProblemError(404, "no such table, or you may not browse it")
    policy = state.policy.current()
    masked, tags = policy.masked_columns(who.name, table.full_name), policy.tags.get(table.full_name, {})
    opened = open_table(state.settings, table.full_name)
    columns = [
        {
            "name": column.name, "kind": column.kind, "meaning": column.meaning, "unit": column.unit, "nullable": column.nullable,
            "allowed": list(column.allowed), "tags": sorted(tags.get(column.name, ())), "masked_for_you": column.name in masked,
        }
        for column in table.columns
    ]  # fmt: skip
    may_read = _may(state, who, "SELECT", table)
    version = None if opened is None else opened.version()
    return _summary(table) | {"primary_key": list(table.primary_key), "version": version, "may_select": may_read, "columns": columns}
