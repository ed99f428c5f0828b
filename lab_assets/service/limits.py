"""What keeps the service standing under load and hostile input: body caps, admission, rate limits.

Belongs here: limits that know nothing of the laboratory. Does not belong here: who may do what (``auth.py``).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab_assets.service.problems import ProblemError, problem_response

MAX_BODY_BYTES: Final = 1024 * 1024
BODY_TIMEOUT_S: Final = 15.0
MAX_IN_FLIGHT: Final = 128
_CONTENT_TYPES: Final = ("application/json", "")


async def read_json_body(request: Request, *, limit_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Read a JSON request body, at most ``limit_bytes``, before anything parses it.

    Raises:
        ProblemError: 413 too large, 408 too slow, 415 not JSON, 400 the client went away.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _CONTENT_TYPES:
        raise ProblemError(415, "send application/json")
    return await read_body(request, limit_bytes=limit_bytes)


async def read_body(request: Request, *, limit_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Read a request body of any type, at most ``limit_bytes``.

    Raises:
        ProblemError: 413 too large, 408 too slow, 400 the client went away.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise ProblemError(413, f"the body is larger than {limit_bytes} bytes", headers={"Connection": "close"})
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit_bytes:
                    raise ProblemError(413, f"the body is larger than {limit_bytes} bytes", headers={"Connection": "close"})
                chunks.append(chunk)
    except TimeoutError:
        raise ProblemError(408, f"the body did not arrive within {BODY_TIMEOUT_S:g} s", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise ProblemError(400, "the client went away") from None
    return b"".join(chunks)


class AdmissionMiddleware:
    """Refuse work beyond what can be answered soon, so that accepted requests keep their latency.

    Liveness stays reachable: ``/healthz`` and ``/metrics`` are never refused.
    """

    def __init__(self, app: ASGIApp, *, max_in_flight: int = MAX_IN_FLIGHT) -> None:
        self._app = app
        self._max = max_in_flight
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer 503 with ``Retry-After``."""
        if scope["type"] != "http" or scope["path"] in {"/healthz", "/metrics"}:
            await self._app(scope, receive, send)
            return
        if self._in_flight >= self._max:
            error = ProblemError(503, "more requests than can be answered at once; try again", headers={"Retry-After": "1"})
            await problem_response(error)(scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1


SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_PAGE_SOURCES: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
PAGE_POLICY: Final = (b"content-security-policy", _PAGE_SOURCES.encode())
_DOCS: Final = frozenset({"/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"})


class SecurityHeadersMiddleware:
    """Add the headers that keep browsers from guessing, framing, caching or running foreign code."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, with headers added to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        extra = list(SECURITY_HEADERS)
        if scope["path"].startswith("/static/"):
            extra[-1] = (b"cache-control", b"public, max-age=300")
        if scope["path"] not in _DOCS:  # the OpenAPI page brings its own scripts
            extra.append(PAGE_POLICY)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        await self._app(scope, receive, send_with_headers)


@dataclass
class _Bucket:
    tokens: float
    at_s: float


class RateLimiter:
    """Token buckets by key, in memory and bounded.

    One process's memory: with several replicas behind a proxy, the proxy's limiter replaces it.
    """

    def __init__(self, *, burst: int, per_minute: float, max_keys: int = 10_000) -> None:
        self._burst = burst
        self._per_s = per_minute / 60.0
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str, *, now_s: float) -> float:
        """Take one token.

        Returns:
            Seconds to wait before trying again; 0 when the token was granted.
        """
        bucket = self._buckets.pop(key, None) or _Bucket(float(self._burst), now_s)
        bucket.tokens = min(float(self._burst), bucket.tokens + max(0.0, now_s - bucket.at_s) * self._per_s)
        bucket.at_s = now_s
        self._buckets[key] = bucket
        while len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return 0.0
        return (1.0 - bucket.tokens) / self._per_s
