"""The application: routes, pages, limits and error answers put together.

Belongs here: assembly and the mapping of expected errors to HTTP. Does not belong here: any behaviour of a route.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from lab_assets.environment_errors import fault_of
from lab_assets.fault_kinds import EnvironmentFaultError
from lab_assets.governance.policy import PolicyError
from lab_assets.home_identity import LostError
from lab_assets.service import problems
from lab_assets.service.api import all_routers
from lab_assets.service.gate import Gate
from lab_assets.service.limits import SecurityHeadersMiddleware
from lab_assets.service.pages import STATIC
from lab_assets.service.pages import router as pages
from lab_assets.service.prediction_log import LogUnavailableError
from lab_assets.service.problems import ProblemError, environment_problem, problem_response
from lab_assets.service.scorer import Clock, FeatureSetMismatchError
from lab_assets.service.serving import NoModelError
from lab_assets.service.state import open_state
from lab_assets.service.store import NotFoundError
from lab_assets.service.table_cache import TableUnavailableError
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditError
from lab_assets.state.clock import utc_now
from lab_assets.state.database import DatabaseUnavailableError

_LOG: Final = logging.getLogger(__name__)
_ANSWERS: tuple[tuple[type[Exception], int, dict[str, str]], ...] = (
    (NotFoundError, 404, {}),
    (NoModelError, 503, {"Retry-After": "5"}),
    (FeatureSetMismatchError, 503, {"Retry-After": "60"}),
    (LogUnavailableError, 503, {"Retry-After": "1"}),
    (TableUnavailableError, 503, {"Retry-After": "5"}),
    (LostError, 503, {"Retry-After": "60"}),
    (DatabaseUnavailableError, 503, {"Retry-After": "30"}),
    (PolicyError, 503, {"Retry-After": "5"}),
    (AuditError, 503, {"Retry-After": "30"}),
)
"""Expected errors and how they are answered; anything else is a 500 without detail."""
_ENVIRONMENT: Final = (EnvironmentFaultError, OSError, MemoryError, SQLAlchemyError)
"""What a full disk, a lack of rights or the like is raised as; what is none of it stays a defect."""
_DATABASE_DETAIL: Final = "the laboratory's database takes nothing now; nothing was done"
"""Said instead of the error's own text, which contains the SQL statement."""


def create_app(settings: Settings, *, clock: Clock = utc_now, gate: Gate | None = None) -> FastAPI:
    """Build the application; engine, model, log and caches open when it starts and close when it ends.

    Args:
        settings: Where everything is.
        clock: The time of predictions.
        gate: What the server's requests pass; default: one that nothing passes, as where the application is called without a server.
    """
    gate = gate or Gate()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.lab = open_state(settings, clock=clock, gate=gate)
        app.state.lab.queries.make_ready()
        try:
            yield
        finally:
            app.state.lab.close()

    app = FastAPI(
        title="lab_assets", summary="Risk of out-of-specification results, and governed access to the laboratory's tables.",
        version="1", lifespan=lifespan, redoc_url=None,
    )  # fmt: skip
    problems.install(app)
    for kind, status, headers in _ANSWERS:
        app.add_exception_handler(kind, _answer(status, headers))
    for kind in _ENVIRONMENT:
        app.add_exception_handler(kind, _on_environment(settings))
    for router in (*all_routers(), pages):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(SecurityHeadersMiddleware)
    return app


def _on_environment(settings: Settings):
    async def handler(_request: Request, error: Exception) -> Response:
        fault = await to_thread.run_sync(fault_of, error, settings)
        if fault is not None:
            _LOG.error("%s", fault)
            return problem_response(environment_problem(fault))
        if isinstance(error, OperationalError):
            return problem_response(ProblemError(503, _DATABASE_DETAIL, headers={"Retry-After": "30"}))
        raise error

    return handler


def _answer(status: int, headers: dict[str, str], *, detail: str = ""):
    async def handler(_request: Request, error: Exception) -> Response:
        return problem_response(ProblemError(status, detail or str(error), headers=headers))

    return handler
