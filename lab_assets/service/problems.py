"""Errors that clients see, as ``application/problem+json`` (RFC 9457).

Belongs here: the error type, its rendering and the handlers of an application. Does not belong here: deciding what is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from lab_assets.fault_kinds import EnvironmentFaultError


@dataclass(frozen=True)
class FieldProblem:
    """One field that breaks a rule.

    Attributes:
        field: Path of the field, such as ``features.noise``.
        problem: What is wrong, in words; never repeats the value.
    """

    field: str
    problem: str


@dataclass
class ProblemError(Exception):
    """A request that is answered with a problem document.

    Attributes:
        status: HTTP status.
        detail: What is wrong and what would be right, in words.
        errors: Fields concerned.
        headers: Extra response headers.
    """

    status: int
    detail: str
    errors: tuple[FieldProblem, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.detail


def environment_problem(fault: EnvironmentFaultError) -> ProblemError:
    """Return the answer for what the environment does: what happened and what to do, without places, which are for the log."""
    detail = f"{fault.public}; nothing was done"
    return ProblemError(503, detail, headers={"Retry-After": "30"})


def problem_body(status: int, detail: str, errors: tuple[FieldProblem, ...] = ()) -> bytes:
    """Render a problem document."""
    document: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if errors:
        document["errors"] = [{"field": one.field, "problem": one.problem} for one in errors]
    return orjson.dumps(document)


def problem_response(error: ProblemError) -> Response:
    """Turn an error into its response; what may be tried again says when."""
    headers = {"Retry-After": "1", **error.headers} if error.status in {429, 503} else error.headers
    return Response(
        problem_body(error.status, error.detail, error.errors),
        status_code=error.status,
        media_type="application/problem+json",
        headers=headers,
    )


def install(app: FastAPI) -> None:
    """Make an application answer every expected error as a problem document."""

    async def on_problem(_request: Request, error: Exception) -> Response:
        return problem_response(cast("ProblemError", error))

    async def on_http(_request: Request, error: Exception) -> Response:
        known = cast("HTTPException", error)
        return problem_response(ProblemError(known.status_code, str(known.detail), headers=dict(known.headers or {})))

    async def on_invalid(_request: Request, error: Exception) -> Response:
        known = cast("RequestValidationError", error)
        fields = tuple(FieldProblem(".".join(str(part) for part in one["loc"]), one["msg"]) for one in known.errors())
        return problem_response(ProblemError(422, "the request is not valid", fields))

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
