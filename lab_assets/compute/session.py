"""Spark Connect sessions: open, keep, replace when the server was restarted.

Belongs here: the client's side of Spark. Does not belong here: Delta (``lake/writer.py``), the server (``spark_server.py``).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lab_assets.compute.spark_server import SESSION_PARAMETER, lease, remote_url
from lab_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = TypeVar("T")

_GONE: Final = (
    "NO_ACTIVE_SESSION",
    "INVALID_HANDLE",
    "SESSION_CLOSED",
    "SESSION_NOT_FOUND",
    "Connection refused",
    "Socket closed",
    "UNAVAILABLE",
    "OPERATION_NOT_FOUND",
    # said by a server that is shutting down
    "stopped SparkContext",
    "SparkContext was shut down",
    "SparkContext has been shutdown",
)


class SparkGoneError(RuntimeError):
    """The Spark server went away in the middle of an operation; repeating the operation is safe."""


def open_session(url: str) -> SparkSession:
    """Return a Spark Connect session of this process's own; a session that the URL names lives on when this one is closed.

    ``getOrCreate`` would hand out whatever session this process opened last, be it another server's, and ending it here
    would end it there: so the process's default is forgotten first.

    Args:
        url: ``sc://host:port/;token=...``.
    """
    from dagster_pyspark import LazyPySparkResource

    _forget_default()
    session: SparkSession = LazyPySparkResource(spark_config={"spark.remote": url}).spark_session
    session.release_session_on_close = f";{SESSION_PARAMETER}=" not in url  # pyright: ignore[reportAttributeAccessIssue]
    _bound_retries(session)
    return session


def _bound_retries(session: Any) -> None:
    """Give up on a dead server after about 20 s instead of 10 minutes: the caller opens a new session."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    session.client.set_retry_policies([DefaultPolicy(max_retries=8, initial_backoff=50, max_backoff=5000, backoff_multiplier=3.0)])


class SessionKeeper:
    """One session for one process, opened late, replaced when the server was restarted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: SparkSession | None = None
        self._lease: AbstractContextManager[None] | None = None
        self._lock = threading.RLock()
        self._early: threading.Thread | None = None

    @property
    def session(self) -> SparkSession:
        """The session; the embedded server is started when none answers."""
        with self._lock:
            if self._session is None:
                if self._lease is None and not self._settings.spark_remote:
                    self._lease = lease(self._settings)
                    self._lease.__enter__()
                self._session = open_session(remote_url(self._settings))
            return self._session

    @property
    def is_opening(self) -> bool:
        """Whether the session is being opened in the background: a server that has to be started takes seconds."""
        return self._early is not None and self._early.is_alive()

    def open_early(self) -> None:
        """Begin opening the session in the background; what goes wrong there is raised where the session is asked for."""

        def attempt() -> None:
            with contextlib.suppress(Exception):
                _ = self.session

        if self._session is None and not self.is_opening:
            self._early = threading.Thread(target=attempt, name="open_early", daemon=True)
            self._early.start()

    def forget(self) -> None:
        """Drop a session whose server went away, so that the next use opens another."""
        with self._lock:
            if self._session is not None:
                _drop(self._session)
            self._session = None

    def guard(self, work: Callable[[], T]) -> T:
        """Run work, turning the loss of the server into ``SparkGoneError``.

        Raises:
            SparkGoneError: the server went away; the session is dropped and the work may be repeated.
        """
        try:
            return work()
        except Exception as error:
            if not is_gone(error):
                raise
            self.forget()
            raise SparkGoneError("the Spark server went away; a new session will repeat the work") from error

    def close(self) -> None:
        """End the session and give the lease back."""
        with self._lock:
            if self._session is not None:
                _drop(self._session)
                self._session = None
            if self._lease is not None:
                self._lease.__exit__(None, None, None)
                self._lease = None


def _drop(session: Any) -> None:
    """Stop a session without waiting for a server that may be gone."""
    import grpc
    from pyspark.errors import PySparkException

    session.client.set_retry_policies([])
    try:
        session.stop()
    except (PySparkException, grpc.RpcError):
        _forget_default()


def _forget_default() -> None:
    """Make no session the process's default; there is no public way to say so."""
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    with ConnectSession._lock:  # noqa: SLF001
        ConnectSession._default_session = None  # noqa: SLF001
        ConnectSession._active_session.session = None  # noqa: SLF001


def is_gone(error: BaseException) -> bool:
    """Return whether an error, or what caused it, says that the server or its session is gone."""
    seen: BaseException | None = error
    while seen is not None:
        module = type(seen).__module__
        if module.startswith(("pyspark", "grpc")) and any(sign in str(seen) for sign in _GONE):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
