"""The service's parts opened for one command of the shell, without a server.

The owner of the machine can read and write the laboratory's files; a command without ``--as`` is theirs. With ``--as`` the
rights and masks of that account apply.

Belongs here: opening and closing for a command, and its rights. Does not belong here: printing (``lab_assets/cli``).
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lab_assets.governance.policy import PolicyEngine, PolicyStore
from lab_assets.service.prediction_log import PredictionLog
from lab_assets.service.run_rows import DeltaRows
from lab_assets.service.scorer import Scorer
from lab_assets.service.serving import ModelWatch
from lab_assets.service.store import Models
from lab_assets.service.table_cache import TableCache
from lab_assets.service.views import Views
from lab_assets.settings import Settings
from lab_assets.state.clock import utc_now
from lab_assets.state.database import open_made
from lab_assets.state.ledger import Ledger

PATH_WORDS: Final = {"fast_track": "fast-track review", "standard": "standard review", "mandatory_checks": "mandatory checks"}


class NotAllowedError(Exception):
    """The account does not exist, is disabled, or lacks the right."""


def require(policy: PolicyEngine, user: str | None, privilege: str, securable: str) -> str:
    """Return the name to record for who asks.

    Raises:
        NotAllowedError: the account named may not.
    """
    if user is None:
        return f"shell:{getpass.getuser()}"
    if user not in policy.users:
        raise NotAllowedError(f"no user {user!r}: see 'lab user list'")
    decision = policy.decide(user, privilege, securable)
    if not decision.allowed:
        raise NotAllowedError(f"{user} may not {privilege} {securable}: {'; '.join(decision.reasons)}")
    return user


@contextmanager
def command_scorer(settings: Settings) -> Iterator[tuple[Scorer, PolicyEngine]]:
    """Open what scoring needs; predictions are committed before the command ends, through a spool of their own.

    Raises:
        LogUnavailableError: another command scores right now, or the spool cannot be written.
    """
    engine = open_made(settings)
    log = PredictionLog(settings, name="shell")
    log.open(background=False)
    try:
        watch = ModelWatch(settings, engine)
        watch.refresh()
        scorer = Scorer(settings, models=watch, log=log, rows=lambda: DeltaRows(settings), clock=utc_now, ledger=Ledger(engine))
        yield scorer, PolicyStore(engine).current()
    finally:
        log.close()
        engine.dispose()


@contextmanager
def command_reader(settings: Settings) -> Iterator[tuple[Models, Views, PolicyEngine]]:
    """Open what looking at kept predictions needs."""
    engine = open_made(settings)
    try:
        policy, watch = PolicyStore(engine), ModelWatch(settings, engine)
        models = Models(settings, watch)
        log = PredictionLog(settings, name="shell")
        views = Views(settings, policy=policy, tables=TableCache(settings, ledger=Ledger(engine)), log=log, watch=watch, models=models)
        yield models, views, policy.current()
    finally:
        engine.dispose()
