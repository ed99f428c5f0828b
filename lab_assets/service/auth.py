"""Who asks, and whether they may: sessions, cookies, and the one dependency by which every route declares its privilege.

Belongs here: identity of a request, its check against policy, sign-in limits. Does not belong here: accounts, sessions and rules
themselves (``lab_assets.governance``).

A change of grants, roles or sessions takes effect within ``CACHE_S``; what a score needs of them is looked up in a thread that serves
scores alone. Systems send ``Authorization: Bearer``; browsers a cookie that
scripts cannot read, and with it each change must carry a token derived from the session, which other sites cannot know.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection, Request

from lab_assets.governance.accounts import User
from lab_assets.governance.policy import Decision, PolicyError, PolicyStore
from lab_assets.governance.sessions import Session, create_session, resolve_session, revoke_session
from lab_assets.governance.users import SignInError, verify_password
from lab_assets.service.fresh import FreshCache
from lab_assets.service.lanes import Lane
from lab_assets.service.limits import RateLimiter
from lab_assets.service.problems import ProblemError
from lab_assets.settings import Settings

COOKIE: Final = "lab_session"
CSRF_HEADER: Final = "x-csrf-token"
CSRF_FIELD: Final = "csrf_token"
CACHE_S: Final = 0.5
MAX_CACHED: Final = 10_000
For = Literal["scores", "people"]
"""Whose requests a look-up is for; each has threads of its own."""
T = TypeVar("T")
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_UNAUTHORISED: Final = {"WWW-Authenticate": "Bearer"}
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A signed-in person and how they prove it.

    Attributes:
        user: The account.
        token: The session's token.
        by_cookie: Whether a browser sent it by itself.
    """

    user: User
    token: str
    by_cookie: bool

    @property
    def name(self) -> str:
        """Sign-in name."""
        return self.user.name

    @property
    def csrf_token(self) -> str:
        """What a browser's change must carry."""
        return csrf_token(self.token)


def csrf_token(token: str) -> str:
    """Return the token that forms of a session carry; it reveals nothing of the session's own."""
    return hashlib.sha256(f"csrf:{token}".encode()).hexdigest()


def client_address(request: Request) -> str:
    """Return where a request comes from, for limits and the audit trail."""
    return request.client.host if request.client else "unknown"


def token_of(request: HTTPConnection) -> tuple[str, bool]:
    """Return the session's token of a request, empty without one, and whether a browser sent it by itself."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if bearer:
        return (bearer.strip() if scheme.lower() == "bearer" else ""), False
    return request.cookies.get(COOKIE, ""), True


class Access:
    """Sessions, policy and sign-in of one application."""

    def __init__(self, settings: Settings, engine: Engine, policy: PolicyStore, *, sign_ins: Lane) -> None:
        self._idle_min = settings.session_idle_min
        self._engine = engine
        self._policy = policy
        self._sessions: FreshCache[str, Session | None] = FreshCache(fresh_s=CACHE_S, most=MAX_CACHED)
        self._decisions: FreshCache[tuple[str, str, str], Decision] = FreshCache(fresh_s=CACHE_S, most=MAX_CACHED)
        self._by_address = RateLimiter(burst=20, per_minute=30)
        self._by_name = RateLimiter(burst=10, per_minute=10)
        self._sign_ins = sign_ins
        self._threads: dict[For, ThreadPoolExecutor] = {
            "scores": ThreadPoolExecutor(1, thread_name_prefix="access-of-scores"),
            "people": ThreadPoolExecutor(2, thread_name_prefix="access"),
        }

    def close(self) -> None:
        """End the threads."""
        for pool in self._threads.values():
            pool.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, whose: For, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads[whose], work)

    def person_of(self, token: str) -> str | None:
        """Return whose session a token was when it was last looked up, to share places by; it grants nothing."""
        session = self._sessions.last(token)
        return None if session is None else session.user.name

    async def identify(self, request: Request, *, whose: For = "people") -> Identity | None:
        """Return who sends a request, ``None`` for nobody known.

        Raises:
            ProblemError: 403 a browser's change without its token.
        """
        token, by_cookie = token_of(request)
        if not token or len(token) > 200:
            return None
        session = await self._session(token, whose)
        if session is None:
            return None
        identity = Identity(user=session.user, token=token, by_cookie=by_cookie)
        if by_cookie and request.method not in _SAFE_METHODS:
            await _check_csrf(request, identity)
        return identity

    async def _session(self, token: str, whose: For) -> Session | None:
        return await self._sessions.get(
            token, lambda: self._in_thread(whose, lambda: resolve_session(self._engine, token, idle_min=self._idle_min))
        )

    async def decide(self, user: User, privilege: str, securable: str, *, whose: For = "people") -> Decision:
        """Return whether policy lets a person do something, at most ``CACHE_S`` old."""
        return await self._decisions.get(
            (user.name, privilege, securable), lambda: self._in_thread(whose, lambda: self.decide_now(user.name, privilege, securable))
        )

    def decide_now(self, user: str, privilege: str, securable: str) -> Decision:
        """Ask the policy, in the caller's thread; what cannot be decided is denied."""
        try:
            return self._policy.current().decide(user, privilege, securable)
        except (PolicyError, SQLAlchemyError) as error:
            _LOG.error("policy cannot be used, everything is denied: %s", error)
            return Decision(allowed=False, reasons=("policy-error",))

    async def sign_in(self, request: Request, *, name: str, password: str) -> tuple[str, User]:
        """Check a password and begin a session.

        Returns:
            Token and account.

        Raises:
            ProblemError: 401 refused, 429 too many tries, or too many of this address wait, 503 too many at once.
        """
        address = client_address(request)
        now_s = time.monotonic()
        wait_s = max(self._by_address.take(address, now_s=now_s), self._by_name.take(name[:100], now_s=now_s))
        if wait_s > 0:
            raise ProblemError(429, "too many sign-in attempts; wait and try again", headers={"Retry-After": str(int(wait_s) + 1)})
        try:
            return await self._sign_ins.run(address, lambda: self._sign_in(name, password, address))
        except SignInError as error:
            raise ProblemError(401, str(error), headers=_UNAUTHORISED) from None

    def _sign_in(self, name: str, password: str, address: str) -> tuple[str, User]:
        user = verify_password(self._engine, name=name, password=password, origin=address)
        return create_session(self._engine, user, idle_min=self._idle_min, origin=address), user

    async def sign_out(self, identity: Identity, request: Request) -> None:
        """End a session now."""
        address = client_address(request)
        await self._in_thread("people", lambda: revoke_session(self._engine, identity.token, origin=address))
        self._sessions.drop(identity.token)


async def _check_csrf(request: Request, identity: Identity) -> None:
    """Refuse a browser's change that another site could have sent.

    Raises:
        ProblemError: 403.
    """
    given = request.headers.get(CSRF_HEADER, "")
    if not given and request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = await read_form(request)
        given = form.get(CSRF_FIELD, "")
    if not hmac.compare_digest(given.encode(), identity.csrf_token.encode()):
        raise ProblemError(403, f"a change with a cookie needs the {CSRF_HEADER} header or the form's {CSRF_FIELD} field")


async def read_form(request: Request) -> dict[str, str]:
    """Read a small url-encoded form once; later calls return the same fields.

    Raises:
        ProblemError: 413, 408 or 400, as ``limits.read_body``; 403 the form was sent by another site.
    """
    from urllib.parse import parse_qsl

    from lab_assets.service.limits import read_body

    kept: dict[str, str] | None = getattr(request.state, "form_fields", None)
    if kept is None:
        origin = request.headers.get("origin")
        if origin and origin != "null" and urlsplit(origin).netloc != request.headers.get("host"):
            raise ProblemError(403, "the form was sent by another site")
        body = await read_body(request, limit_bytes=16 * 1024)
        try:
            kept = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=20))
        except ValueError:
            raise ProblemError(400, "the form cannot be read") from None
        request.state.form_fields = kept
    return kept


@dataclass(frozen=True)
class Requires:
    """The one way a route declares what it needs; the application's test fails on any route without it.

    Attributes:
        privilege: Privilege, or ``None`` where any signed-in person may.
        securable: What the privilege is needed on.
        whose: Whose threads look it up.
    """

    privilege: str | None = None
    securable: str = "lab"
    whose: For = "people"

    async def __call__(self, request: Request) -> Identity:
        """Return who asks.

        Raises:
            ProblemError: 401 nobody known, 403 not allowed.
        """
        access: Access = request.app.state.lab.access
        identity = await access.identify(request, whose=self.whose)
        if identity is None:
            raise ProblemError(401, "sign in: POST /v1/login, then Authorization: Bearer <token>", headers=_UNAUTHORISED)
        if self.privilege is not None:
            decision = await access.decide(identity.user, self.privilege, self.securable, whose=self.whose)
            if not decision.allowed:
                raise ProblemError(403, f"{identity.name} may not {self.privilege} {self.securable}: {'; '.join(decision.reasons)}")
        return identity


@dataclass(frozen=True)
class Open:
    """Declares a route that needs nobody signed in; only health and sign-in use it."""

    reason: str

    async def __call__(self) -> None:
        """Let everybody pass."""
