"""Everything the service holds while it runs, opened and closed together.

Belongs here: assembly. Does not belong here: behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from sqlalchemy import Engine
from starlette.requests import Request

from lab_assets.governance.gateway import QueryGateway
from lab_assets.governance.policy import PolicyStore
from lab_assets.governance.query_plan import GatewayLimits
from lab_assets.service.auth import Access
from lab_assets.service.gate import Gate
from lab_assets.service.lanes import Lanes
from lab_assets.service.metrics import Metrics
from lab_assets.service.prediction_log import PredictionLog
from lab_assets.service.queries import Queries
from lab_assets.service.record_watch import RecordWatch
from lab_assets.service.run_rows import CachedRows
from lab_assets.service.scorer import Clock, Scorer
from lab_assets.service.serving import ModelWatch
from lab_assets.service.store import Models
from lab_assets.service.table_cache import TableCache
from lab_assets.service.views import Views
from lab_assets.settings import Settings
from lab_assets.state.clock import utc_now
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger

QUERY_LIMITS: Final = GatewayLimits(answer_bytes=16 * 1024 * 1024, memory="192MB", threads=1, snapshots=4)
"""What one query may take of the service; larger ones run from the shell."""


@dataclass(frozen=True, kw_only=True)
class ServiceState:
    """The parts of one running service."""

    settings: Settings
    engine: Engine
    policy: PolicyStore
    access: Access
    gate: Gate
    lanes: Lanes
    queries: Queries
    tables: TableCache
    log: PredictionLog
    watch: ModelWatch
    record_watch: RecordWatch
    models: Models
    scorer: Scorer
    views: Views
    metrics: Metrics

    def close(self) -> None:
        """Commit what waits and let go of everything."""
        self.watch.stop()
        self.record_watch.stop()
        self.log.close()
        self.access.close()
        self.lanes.close()
        self.engine.dispose()


def open_state(settings: Settings, *, clock: Clock = utc_now, spool: str = "service", gate: Gate | None = None) -> ServiceState:
    """Open every part; what an earlier process left in the spool is committed first.

    Raises:
        LogUnavailableError: another service runs on this ``LAB_HOME``, or the spool cannot be written.
    """
    engine = open_database(settings)
    policy = PolicyStore(engine)
    ledger = Ledger(engine)
    tables = TableCache(settings, ledger=ledger)
    log = PredictionLog(settings, name=spool)
    log.open()
    watch = ModelWatch(settings, engine)
    watch.start()
    record_watch = RecordWatch(settings, engine)
    record_watch.start()
    models = Models(settings, watch)
    lanes, gate = Lanes.open(), gate or Gate()
    access = Access(settings, engine, policy, sign_ins=lanes.sign_in)
    gate.person_of_token = access.person_of
    return ServiceState(
        settings=settings,
        engine=engine,
        policy=policy,
        access=access,
        gate=gate,
        lanes=lanes,
        queries=Queries(QueryGateway(settings, engine, limits=QUERY_LIMITS, policy=policy), QUERY_LIMITS, lanes.sql),
        tables=tables,
        log=log,
        watch=watch,
        record_watch=record_watch,
        models=models,
        scorer=Scorer(settings, models=watch, log=log, rows=lambda: CachedRows.of(tables), clock=clock, ledger=ledger),
        views=Views(settings, policy=policy, tables=tables, log=log, watch=watch, models=models),
        metrics=Metrics(),
    )


def lab(request: Request) -> ServiceState:
    """Return the state of the application a request came to."""
    return cast("ServiceState", request.app.state.lab)
