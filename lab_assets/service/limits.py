"""What keeps the service standing under hostile input: body caps, rate limits, headers.

Belongs here: limits that know nothing of the laboratory. Does not belong here: who may do what (``auth.py``), how much is done at once
(``lanes.py``, ``gate.py``), connections (``connections.py``).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab_assets.service.problems import ProblemError

MAX_BODY_BYTES: Final = 1024 * 1024
KEPT_BODY_BYTES: Final = 64 * 1024
"""A body up to this size is received before its request begins."""
QUICK_BODY_BYTES: Final = 8 * 1024
"""A body up to this size is read on the event loop; no score that can be answered is larger."""
BODY_TIMEOUT_S: Final = 15.0
_CONTENT_TYPES: Final = ("application/json", "")


def is_small(request: Request) -> bool:
    """Return whether a body is said to be small enough to be here already, and to be read at once."""
    declared = request.headers.get("content-length", "")
    return declared.isdecimal() and int(declared) <= QUICK_BODY_BYTES


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
