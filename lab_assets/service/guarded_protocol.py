"""uvicorn's HTTP protocol, in which a request takes a place only once it has arrived, and in which nobody may be slow for long.

uvicorn begins a request when its head is complete and has no time limit for heads, bodies or connections that say nothing. This keeps its
parser and its answers, and changes when a request begins (``gate.py``): with its body whole, or with more of it than is kept waiting.

Belongs here: phases of a connection, their times, and answers given before the application is reached. Does not belong here: which request
begins (``gate.py``), whom to close (``connections.py``). Relies on uvicorn's ``_start_asgi_task``, through which every request goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from enum import Enum, auto
from functools import lru_cache
from http.cookies import SimpleCookie
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from lab_assets.service.auth import COOKIE
from lab_assets.service.gate import HEALTH, Gate
from lab_assets.service.limits import BODY_TIMEOUT_S, KEPT_BODY_BYTES, PAGE_POLICY, QUICK_BODY_BYTES, SECURITY_HEADERS
from lab_assets.service.problems import problem_body

MOST_HEAD_BYTES: Final = 64 * 1024
MOST_UNREAD_BYTES: Final = 1024 * 1024
"""Received at most of a body that nobody reads, so that a client which still sends sees the answer."""
IDLE_S: Final = 15.0
HEAD_S: Final = 10.0
UNREAD_S: Final = 2.0
STALLED_S: Final = 30.0
"""A client that takes nothing of its answer for this long is closed."""


class Phase(Enum):
    """What a connection is at."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    BUSY = auto()
    UNREAD = auto()


class _Request:
    """One whole request, as the gate sees it."""

    def __init__(self, connection: GuardedProtocol, cycle: RequestResponseCycle, app: Any) -> None:
        self._connection, self._cycle, self._app = connection, cycle, app

    @property
    def path(self) -> str:
        return self._cycle.scope["path"]

    @property
    def is_small(self) -> bool:
        return not self._cycle.more_body and len(self._cycle.body) <= QUICK_BODY_BYTES

    @property
    def person(self) -> str:
        return self._connection.gate.person_of_token(_token(self._cycle.scope["headers"])) or self._connection.address

    @property
    def is_gone(self) -> bool:
        return self._cycle.disconnected

    def begin(self, done: Callable[[], None] | None = None) -> None:
        self._connection.begin(self._cycle, self._app, done)

    def hold(self) -> None:
        self._connection.flow.pause_reading()

    def refuse(self, status: int, detail: str, *, retry_after_s: int) -> None:
        self._connection.refuse(self._cycle, status, detail, retry_after_s=retry_after_s)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Made by ``guarded``, which sets the gate."""

    gate: Gate

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.address = "unknown"
        self.phase, self._since_s = Phase.IDLE, self.loop.time()
        self._kept: tuple[RequestResponseCycle, Any] | None = None
        self._done: Callable[[], None] | None = None
        self._head_bytes = self._unread_bytes = 0
        self._only_health = False

    # --- phases

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection in, or turn it away where there is no room."""
        super().connection_made(transport)
        self.gate.open(self.loop)
        self.address = self.client[0] if self.client else "unknown"
        place = self.gate.connections.opened(self)
        self._only_health = place == "reserved"
        if place == "refused":
            transport.write(self._answer(503, "no more connections can be held; try again", retry_after_s=1, close=True))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the connection go."""
        self._kept = None
        self.gate.connections.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, within what the phase allows."""
        if self.phase is Phase.UNREAD:
            self._unread_bytes += len(data)
            if self._unread_bytes > MOST_UNREAD_BYTES:
                self.transport.abort()
            return
        super().data_received(data)
        if self.phase is Phase.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._close_with(431, f"the head is larger than {MOST_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        if self.phase is Phase.IDLE:
            self._enter(Phase.HEAD)
            self._head_bytes = 0

    def _enter(self, phase: Phase) -> None:
        self.phase, self._since_s = phase, self.loop.time()

    def close_overdue(self, now_s: float) -> None:
        """Close the connection if its phase has lasted too long."""
        age_s = now_s - self._since_s
        if self.phase is Phase.BUSY:
            if not self.flow.write_paused:
                self._since_s = now_s  # working on a request may take what it takes
            elif age_s > STALLED_S:
                self.transport.abort()
        elif self.phase is Phase.HEAD and age_s > HEAD_S:
            self._close_with(408, f"the head did not arrive within {HEAD_S:g} s")
        elif self._kept is not None and age_s > BODY_TIMEOUT_S:
            self.refuse(self._kept[0], 408, f"the body did not arrive within {BODY_TIMEOUT_S:g} s")
        elif self.phase is Phase.IDLE and age_s > IDLE_S:
            self.transport.close()
        elif self.phase is Phase.UNREAD and age_s > UNREAD_S:
            self.transport.abort()

    def close_now(self) -> None:
        """Close the connection to make room for another."""
        self.transport.abort()

    def _close_with(self, status: int, detail: str) -> None:
        """Answer a request that did not arrive whole, and close."""
        if not self.transport.is_closing():
            self.transport.write(self._answer(status, detail, close=True))
            self.unread()

    # --- requests

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Keep a request whose body is on its way, unless there will be too much of it to keep."""
        if not cycle.more_body:  # it came behind another one on the same connection
            self._arrived(cycle, app)
            return
        length = _content_length(self.headers)
        if length is not None and length > KEPT_BODY_BYTES:
            self._arrived_in_part(cycle, app)
            return
        self._kept = (cycle, app)
        self._enter(Phase.BODY)
        if cycle.waiting_for_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False

    def on_body(self, body: bytes) -> None:
        """Keep a part of a body."""
        super().on_body(body)
        if self._kept is not None and len(self.cycle.body) > KEPT_BODY_BYTES:
            (cycle, app), self._kept = self._kept, None
            self._arrived_in_part(cycle, app)

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        if self._kept is not None:
            (cycle, app), self._kept = self._kept, None
            self._arrived(cycle, app)

    def _arrived_in_part(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Let a request with a large body begin: the application reads on, or refuses it by its account first."""
        self._arrived(cycle, _closing_unread(self, cycle, app))

    def _arrived(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._enter(Phase.BUSY)
        self.gate.connections.became_busy(self)
        if self._only_health and cycle.scope["path"] not in HEALTH:
            cycle.keep_alive = False
            self.refuse(cycle, 503, "no more connections can be held; try again", retry_after_s=1)
        else:
            self.gate.arrived(_Request(self, cycle, app))

    def begin(self, cycle: RequestResponseCycle, app: Any, done: Callable[[], None] | None) -> None:
        """Start a request's task, as uvicorn does."""
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        if done is not None:
            self._done = done
            task.add_done_callback(lambda _task: done())  # where nothing is answered, as when the client has left

    def on_response_complete(self) -> None:
        """The connection is free for its next request; its place is free before the client can see that."""
        if self._done is not None:
            done, self._done = self._done, None
            done()
        if self.phase is Phase.UNREAD:
            self.server_state.total_requests += 1
            return
        self._enter(Phase.IDLE)
        super().on_response_complete()
        if self.phase is Phase.IDLE:
            self.gate.connections.became_idle(self)

    # --- answers that do not come from the application

    def refuse(self, cycle: RequestResponseCycle, status: int, detail: str, *, retry_after_s: int | None = None) -> None:
        """Answer a request that was not begun."""
        if cycle.disconnected or self.transport.is_closing():
            return
        close = cycle.more_body or not cycle.keep_alive
        self.transport.write(self._answer(status, detail, retry_after_s=retry_after_s, close=close))
        cycle.response_started = cycle.response_complete = True
        if cycle.more_body:
            self.unread()
        elif close:
            self.transport.close()
        cycle.on_response()

    def unread(self) -> None:
        """Read a little of what the client still sends, and then close: closed at once, it might not see its answer."""
        self._kept = None
        self._enter(Phase.UNREAD)
        self.gate.connections.became_idle(self)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _answer(self, status: int, detail: str, *, retry_after_s: int | None = None, close: bool) -> bytes:
        changing = (name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers)
        return b"".join((STATUS_LINE[status], *changing, _fixed_part(status, detail, retry_after_s, close)))


@lru_cache(maxsize=64)
def _fixed_part(status: int, detail: str, retry_after_s: int | None, close: bool) -> bytes:
    """Return what of an answer is the same each time: refusing must cost next to nothing."""
    body = problem_body(status, detail)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        *SECURITY_HEADERS,
        PAGE_POLICY,
    ]
    if retry_after_s is not None:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    if close:
        headers.append((b"connection", b"close"))
    return b"".join((*(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n", body))


class _ClosingUnread:
    """The transport of an answer that is given while its request still arrives: it closes slowly."""

    def __init__(self, connection: GuardedProtocol) -> None:
        self._connection, self._transport = connection, connection.transport

    def close(self) -> None:
        self._connection.unread()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _closing_unread(connection: GuardedProtocol, cycle: RequestResponseCycle, app: Any) -> Any:
    """Return an application whose connection is closed when it answers before the body is there: the rest is not taken in."""

    async def run(scope: Any, receive: Any, send: Any) -> None:
        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start" and cycle.more_body:
                cycle.keep_alive = False
                cycle.transport = _ClosingUnread(connection)  # pyright: ignore[reportAttributeAccessIssue]  # what a cycle uses of it
            await send(message)

        await app(scope, receive, answer)

    return run


def _content_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    value = next((value for name, value in headers if name == b"content-length"), b"")
    return int(value) if value.isdigit() else None


def _token(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the session's token that a request carries, empty without one."""
    for name, value in headers:
        if name == b"authorization":
            return value.decode("latin-1").partition(" ")[2].strip()
    for name, value in headers:
        if name == b"cookie":
            found = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            return "" if found is None else found.value
    return ""


def guarded(gate: Gate) -> type[GuardedProtocol]:
    """Return the protocol of a server whose requests pass a gate."""
    return type("GuardedProtocol", (GuardedProtocol,), {"gate": gate})
