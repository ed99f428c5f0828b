"""Connections that are slow or say nothing take no place; scores, health and everything else pass the gate in their own ways."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
import uvicorn

from lab_assets.service import guarded_protocol
from lab_assets.service.connections import Connections
from lab_assets.service.gate import BURST, Gate
from lab_assets.service.guarded_protocol import MOST_UNREAD_BYTES, guarded
from lab_assets.service.latency_limit import LatencyLimit

HEAD = b"POST %s HTTP/1.1\r\nHost: lab\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"


class Application:
    """Answers at once, but holds what asks for it until it is let go; /refused answers without reading the body."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.seen: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            self.loop = asyncio.get_running_loop()
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] != "/refused":
            body = (await receive())["body"]
            self.seen.append(f"{scope['path']} {body.decode()[:20]}")
            if b"hold" in body:
                await self.free.wait()
        status = 401 if scope["path"] == "/refused" else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Served:
    """A real server on a real port, in a thread."""

    def __init__(self, stack: ExitStack, gate: Gate) -> None:
        self.app, self.gate, self._stack = Application(), gate, stack
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(self.app, http=guarded(gate), loop="uvloop", log_level="critical", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, args=([listener],), daemon=True)
        self._thread.start()
        stack.callback(self.stop)
        wait_for(lambda: self.server.started)

    def stop(self) -> None:
        self.let_go()
        self.server.should_exit = True
        self._thread.join(10)

    def let_go(self) -> None:
        assert self.app.loop is not None
        self.app.loop.call_soon_threadsafe(self.app.free.set)

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = self._stack.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=10))
        connection.sendall(sent)
        return connection


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def status(connection: socket.socket) -> int:
    """The status of one answer; 0 where the connection was closed without one."""
    received = b""
    while not received.endswith((b"ok", b"}")):
        if not (more := connection.recv(65536)):
            break
        received += more
    return int(received[9:12]) if received else 0


def head_of(connection: socket.socket) -> str:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    return received.decode().lower()


def request(path: str, body: bytes = b"", person: str = "none") -> bytes:
    return HEAD % (path.encode(), person.encode(), len(body)) + body


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


def scores_gate(places: int = 1, **options) -> Gate:
    gate = Gate(limit=LatencyLimit(least=places, most=places), **options)
    gate.person_of_token = {"ann": "ann", "bob": "bob"}.get
    return gate


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDLE_S", "HEAD_S", "BODY_TIMEOUT_S", "UNREAD_S"):
        monkeypatch.setattr(guarded_protocol, name, 0.2)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", 0),
        (b"POST /v1/login HTTP/1.1\r\nHost: l", 408),
        (b"POST /v1/login HTTP/1.1\r\nHost: lab\r\nContent-Length: 100\r\n\r\n{", 408),
    ],
    ids=["nothing", "half a head", "half a body"],
)
@pytest.mark.usefixtures("quick")
def test_who_is_slow_is_closed_and_began_nothing(stack: ExitStack, sent: bytes, answer: int) -> None:
    one = Served(stack, Gate())
    connection = one.connect(sent)
    assert status(connection) == answer
    assert connection.recv(1) == b""
    wait_for(lambda: len(one.gate.connections) == 0)
    assert one.app.seen == []


def test_scores_and_health_pass_hundreds_who_say_nothing_or_sign_in_slowly(stack: ExitStack) -> None:
    """With room for 200 connections: the oldest that hold no whole request make room."""
    one = Served(stack, Gate(connections=Connections(most=200, most_of_address=200)))
    for _ in range(140):
        one.connect(b"POST /v1/login HTTP/1.1\r\nHost: lab\r\nContent-Length: 500\r\n\r\n{")
    for _ in range(400):
        one.connect()
    assert status(one.connect(request("/v1/score"))) == 200
    assert status(one.connect(request("/healthz"))) == 200
    assert one.app.seen == ["/v1/score ", "/healthz "]
    assert one.gate.connections.closed_for_room >= 342


def test_health_is_answered_when_every_connection_is_busy(stack: ExitStack) -> None:
    one = Served(stack, Gate(connections=Connections(most=3, most_of_address=100, reserve=2)))
    for number in range(3):
        one.connect(request("/page", b"hold"))
        wait_for(lambda wanted=number + 1: len(one.app.seen) == wanted)
    head = head_of(one.connect(request("/page")))
    assert "503 service unavailable" in head
    assert "retry-after: 1" in head
    for path in ("/healthz", "/readyz", "/metrics"):
        assert status(one.connect(request(path))) == 200


def test_one_address_cannot_take_every_connection(stack: ExitStack) -> None:
    one = Served(stack, Gate(connections=Connections(most=100, most_of_address=2)))
    for number in range(2):
        one.connect(request("/page", b"hold"))
        wait_for(lambda wanted=number + 1: len(one.app.seen) == wanted)
    refused = one.connect()
    head = head_of(refused)
    assert "503" in head
    assert "retry-after: 1" in head
    assert len(one.gate.connections) == 2


def test_scores_begin_while_pages_wait_and_keep_to_their_limit(stack: ExitStack) -> None:
    one = Served(stack, scores_gate(places=2))
    for _ in range(30):
        one.connect(request("/page", b"hold"))
    held = [one.connect(request("/v1/score", b"hold")) for _ in range(2)]
    wait_for(lambda: one.gate.scores_running == 2)
    third = one.connect(request("/v1/score", b"third"))
    wait_for(lambda: one.gate.waiting["scores"] == 1)
    assert "/v1/score third" not in one.app.seen
    assert status(one.connect(request("/healthz"))) == 200
    one.let_go()
    assert [status(connection) for connection in (*held, third)] == [200, 200, 200]


def test_a_burst_waits_and_a_crowd_is_refused_with_a_time_to_come_back(stack: ExitStack) -> None:
    """One place, held: of Ann's scores a burst may wait; one more is refused, while Bob's waits, and comes second."""
    one = Served(stack, scores_gate())
    first = one.connect(request("/v1/score", b"hold"))
    wait_for(lambda: one.gate.scores_running == 1)
    burst = []
    for number in range(BURST):
        burst.append(one.connect(request("/v1/score", b"ann %d" % number, "ann")))
        wait_for(lambda wanted=number + 1: one.gate.waiting["scores"] >= wanted or one.gate.refused > 0)
    while one.gate._bursts.take("ann", now_s=one.gate._now_s()) == 0:
        pass  # what has come back of her burst meanwhile
    head = head_of(one.connect(request("/v1/score", b"too many", "ann")))
    assert "503" in head
    assert "retry-after: 1" in head
    bob = one.connect(request("/v1/score", b"bob", "bob"))
    wait_for(lambda: one.gate.waiting["scores"] == BURST + 1)
    one.let_go()
    assert {status(connection) for connection in (first, bob, *burst)} == {200}
    order = [line.removeprefix("/v1/score ") for line in one.app.seen]
    assert order[:3] == ["hold", "ann 0", "bob"]
    assert len(order) == BURST + 2


def test_a_large_body_of_nobody_is_not_taken_in(stack: ExitStack) -> None:
    """1 GB is announced; the answer comes at once, and the connection ends before more than a little of it was sent."""
    one = Served(stack, Gate())
    connection = one.connect(HEAD % (b"/refused", b"none", 1 << 30))
    sent, block = 0, b"x" * 65536
    with suppress(OSError):  # reset or broken pipe, as the system likes
        while sent < 1 << 30:
            connection.sendall(block)
            sent += len(block)
    assert sent < MOST_UNREAD_BYTES + (16 << 20), "what the system's own buffers hold is left"


def test_the_answer_to_a_large_body_is_seen_and_closes(stack: ExitStack) -> None:
    one = Served(stack, Gate())
    connection = one.connect(HEAD % (b"/refused", b"none", 200_000) + b"x" * 100_000)
    head = head_of(connection)
    assert "401 unauthorized" in head
    assert "connection: close" in head


def test_a_head_without_end_is_refused(stack: ExitStack) -> None:
    one = Served(stack, Gate())
    connection = one.connect(b"GET / HTTP/1.1\r\n")
    for _ in range(70):
        connection.sendall(b"x-padding: " + b"a" * 1000 + b"\r\n")
    assert status(connection) == 431


def test_requests_behind_one_another_are_answered_in_order(stack: ExitStack) -> None:
    """Two in one packet, and a body that comes in two parts and is waited for."""
    one = Served(stack, scores_gate())
    connection = one.connect(request("/v1/score", b"one") + request("/page", b"two") + request("/v1/score", b"three")[:-3])
    wait_for(lambda: len(one.app.seen) == 2)
    connection.sendall(b"ree")
    wait_for(lambda: len(one.app.seen) == 3)
    assert one.app.seen == ["/v1/score one", "/page two", "/v1/score three"]
    wait_for(lambda: one.gate.scores_running == 0)


def test_a_client_that_waits_to_be_told_sends_its_body(stack: ExitStack) -> None:
    one = Served(stack, Gate())
    head = (HEAD % (b"/page", b"none", 5)).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    connection = one.connect(head)
    assert head_of(connection).startswith("http/1.1 100 continue")
    connection.sendall(b"hello")
    assert status(connection) == 200
    assert one.app.seen == ["/page hello"]
