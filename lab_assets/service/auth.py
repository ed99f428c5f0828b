"""Who asks, and whether they may: sessions, cookies, and the one dependency by which every route declares its privilege.

Belongs here: identity of a request, its check against policy, sign-in limits. Does not belong here: accounts, sessions and rules
themselves (``lab_assets.governance``).

A change of grants, roles or sessions takes effect within ``CACHE_S``. Systems send ``Authorization: Bearer``; browsers a cookie that
scripts cannot read, and with it each change must carry a token derived from the session, which other sites cannot know.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from anyio import to_thread
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request

from lab_assets.governance.accounts import User
from lab_assets.governance.policy import Decision, PolicyError, PolicyStore
from lab_assets.governance.sessions import Session, create_session, resolve_session, revoke_session
from lab_assets.governance.users import SignInError, verify_password
from lab_assets.service.limits import RateLimiter
from lab_assets.service.problems import ProblemError
from lab_assets.settings import Settings

COOKIE: Final = "lab_session"
CSRF_HEADER: Final = "x-csrf-token"
CSRF_FIELD: Final = "csrf_token"
CACHE_S: Final = 0.5
MAX_CACHED: Final = 10_000
MAX_SIGN_INS_AT_ONCE: Final = 8
SIGN_IN_THREADS: Final = 2
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


class Access:
    """Sessions, policy and sign-in of one application."""

    def __init__(self, settings: Settings, engine: Engine, policy: PolicyStore) -> None:
        self._idle_min = settings.session_idle_min
        self._engine = engine
        self._policy = policy
        self._sessions: dict[str, tuple[float, Session | None]] = {}
        self._decisions: dict[tuple[str, str, str], tuple[float, Decision]] = {}
        self._by_address = RateLimiter(burst=20, per_minute=30)
        self._by_name = RateLimiter(burst=10, per_minute=10)
        self._pool = ThreadPoolExecutor(SIGN_IN_THREADS, thread_name_prefix="sign-in")
        self._signing_in = 0

    def close(self) -> None:
        """End the sign-in threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def identify(self, request: Request) -> Identity | None:
        """Return who sends a request, ``None`` for nobody known.

        Raises:
            ProblemError: 403 a browser's change without its token.
        """
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if bearer:
            token, by_cookie = (bearer.strip() if scheme.lower() == "bearer" else ""), False
        else:
            token, by_cookie = request.cookies.get(COOKIE, ""), True
        if not token or len(token) > 200:
            return None
        session = await self._session(token)
        if session is None:
            return None
        identity = Identity(user=session.user, token=token, by_cookie=by_cookie)
        if by_cookie and request.method not in _SAFE_METHODS:
            await _check_csrf(request, identity)
        return identity

    async def _session(self, token: str) -> Session | None:
        kept = self._sessions.get(token)
        now_s = time.monotonic()
        if kept is not None and now_s - kept[0] < CACHE_S:
            return kept[1]
        session = await to_thread.run_sync(lambda: resolve_session(self._engine, token, idle_min=self._idle_min))
        if len(self._sessions) >= MAX_CACHED:
            self._sessions.clear()
        self._sessions[token] = (now_s, session)
        return session

    async def decide(self, user: User, privilege: str, securable: str) -> Decision:
        """Return whether policy lets a person do something, at most ``CACHE_S`` old."""
        key = (user.name, privilege, securable)
        kept = self._decisions.get(key)
        now_s = time.monotonic()
        if kept is not None and now_s - kept[0] < CACHE_S:
            return kept[1]
        decision = await to_thread.run_sync(self._decide, user.name, privilege, securable)
        if len(self._decisions) >= MAX_CACHED:
            self._decisions.clear()
        self._decisions[key] = (now_s, decision)
        return decision

    def _decide(self, user: str, privilege: str, securable: str) -> Decision:
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
            ProblemError: 401 refused, 429 too many tries, 503 too many at once.
        """
        address = client_address(request)
        now_s = time.monotonic()
        wait_s = max(self._by_address.take(address, now_s=now_s), self._by_name.take(name[:100], now_s=now_s))
        if wait_s > 0:
            raise ProblemError(429, "too many sign-in attempts; wait and try again", headers={"Retry-After": str(int(wait_s) + 1)})
        if self._signing_in >= MAX_SIGN_INS_AT_ONCE:
            raise ProblemError(503, "too many people sign in at once; try again", headers={"Retry-After": "1"})
        self._signing_in += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._sign_in, name, password, address)
        except SignInError as error:
            raise ProblemError(401, str(error), headers=_UNAUTHORISED) from None
        finally:
            self._signing_in -= 1

    def _sign_in(self, name: str, password: str, address: str) -> tuple[str, User]:
        user = verify_password(self._engine, name=name, password=password, origin=address)
        return create_session(self._engine, user, idle_min=self._idle_min, origin=address), user

    async def sign_out(self, identity: Identity, request: Request) -> None:
        """End a session now."""
        address = client_address(request)
        await to_thread.run_sync(lambda: revoke_session(self._engine, identity.token, origin=address))
        self._sessions.pop(identity.token, None)


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
    """

    privilege: str | None = None
    securable: str = "lab"

    async def __call__(self, request: Request) -> Identity:
        """Return who asks.

        Raises:
            ProblemError: 401 nobody known, 403 not allowed.
        """
        access: Access = request.app.state.lab.access
        identity = await access.identify(request)
        if identity is None:
            raise ProblemError(401, "sign in: POST /v1/login, then Authorization: Bearer <token>", headers=_UNAUTHORISED)
        if self.privilege is not None:
            decision = await access.decide(identity.user, self.privilege, self.securable)
            if not decision.allowed:
                raise ProblemError(403, f"{identity.name} may not {self.privilege} {self.securable}: {'; '.join(decision.reasons)}")
        return identity


@dataclass(frozen=True)
class Open:
    """Declares a route that needs nobody signed in; only health and sign-in use it."""

    reason: str

    async def __call__(self) -> None:
        """Let everybody pass."""
