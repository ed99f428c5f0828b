"""The one door for people's SQL: checked, masked for the person who asks, run locked in, and in the audit trail.

Belongs here: the order of the steps and what is answered when one refuses. Does not belong here: each step (``sql.py``,
``policy.py``, ``masking.py``, ``relations.py``, ``query_plan.py``), web routes, printing.

``run`` does all of it in this process. A service plans here, runs the plan in another process, and notes what became of it.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from lab_assets.contracts.all_contracts import contracts
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.governance.mask_methods import INNER_KEY, OUTER_KEY, MaskKey
from lab_assets.governance.masking import masked_select, rewrite
from lab_assets.governance.policy import PolicyEngine, PolicyError, PolicyStore
from lab_assets.governance.query_plan import GatewayLimits, QueryFailedError, QueryPlan, QueryRefusedError, QueryResult, QueryRunner
from lab_assets.governance.relations import OpenTable, open_for_query
from lab_assets.governance.sql import CheckedQuery, check_query, unknown_table
from lab_assets.lake.opening import DamagedTableError, ProtocolError
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import writing
from lab_assets.state.laboratory import digest_of_key, note_key, noted_key
from lab_assets.state.ledger import Ledger

_SQL_IN_AUDIT: Final = 4000


def _require_same_key(engine: Engine, key: MaskKey, path: Path) -> None:
    """Refuse a key of pseudonyms that is not the laboratory's: the same person would have another stand-in in each home or replica.

    Raises:
        EnvironmentFaultError: it is another one.
    """
    own = digest_of_key(key.inner)
    with engine.connect() as connection:
        known = noted_key(connection)
    if known is None:
        with writing(engine) as connection:
            known = note_key(connection, own)
    if known != own:
        raise EnvironmentFaultError(Kind.OTHER_KEY, str(path), f"(its digest begins with {own[:8]}, the laboratory's with {known[:8]})")


class QueryGateway:
    """Plans and runs people's SQL. Safe to share between threads."""

    def __init__(
        self, settings: Settings, engine: Engine, *, limits: GatewayLimits | None = None, policy: PolicyStore | None = None
    ) -> None:
        self._settings = settings
        self._limits = limits or GatewayLimits()
        self._policy = policy if policy is not None else PolicyStore(engine)
        self._log = AuditLog(engine)
        self._ledger = Ledger(engine)
        self._key = MaskKey.of(settings)
        _require_same_key(engine, self._key, settings.run / "mask.key")
        self._relations = {name: f"lab_{secrets.token_hex(12)}" for name in contracts()}
        self._runner = QueryRunner(self._limits)

    def run(self, sql: str, *, user: str, origin: str = "", request_id: str = "") -> QueryResult:
        """Run one query as a person, in this process.

        Args:
            sql: One SELECT over ``layer.table``, DuckDB dialect.
            user: Account it is run as.
            origin: Where from, for the audit trail.
            request_id: Id of the request, for the audit trail.

        Raises:
            QueryRefusedError: it is not run; the message says what is allowed.
            QueryFailedError: it was run and did not finish.
        """
        plan = self.plan(sql, user=user, origin=origin, request_id=request_id)
        try:
            return self._runner.run(plan)
        except (QueryRefusedError, QueryFailedError) as error:
            self.note_failure(plan, str(error))
            raise

    def plan(self, sql: str, *, user: str, origin: str = "", request_id: str = "") -> QueryPlan:
        """Check one query, rewrite it for a person, and enter it into the audit trail: it may be run now, as it stands.

        Args:
            sql: One SELECT over ``layer.table``, DuckDB dialect.
            user: Account it is run as.
            origin: Where from, for the audit trail.
            request_id: Id of the request, for the audit trail.

        Raises:
            QueryRefusedError: it may not be run; the message says what is allowed.
            QueryFailedError: a table is damaged; its cause, which is not for everybody, says in which way.
        """
        try:
            query, policy = self._authorize(sql, user)
            tables = [self._open(name) for name in query.tables]
        except QueryRefusedError as error:
            refused = {"sql": sql[:_SQL_IN_AUDIT], "why": str(error)}
            self._log.append(action="query.refused", target="query", new=refused, actor=user, origin=origin, request_id=request_id)
            raise
        masks = {name: policy.masked_columns(user, name) for name in query.tables}
        text = self._rewritten(query, masks, policy)
        keys = {INNER_KEY: self._key.inner, OUTER_KEY: self._key.outer}
        plan = QueryPlan(
            text=text,
            parameters={name: value for name, value in keys.items() if f"${name}" in text},
            tables=tuple(table.as_relation(self._relations[table.contract.full_name]) for table in tables),
            limits=self._limits,
            user=user,
            origin=origin,
            request_id=request_id,
            masked_columns={f"{name}.{one}": tag for name, columns in masks.items() for one, tag in columns.items() if query.mentions(one)},
        )
        self._note(plan, "query.run", {"sql": sql[:_SQL_IN_AUDIT], "tables": plan.table_versions, "masked": dict(plan.masked_columns)})
        return plan

    def note_failure(self, plan: QueryPlan, why: str) -> None:
        """Enter into the audit trail that a planned query did not finish."""
        self._note(plan, "query.failed", {"why": why})

    def _note(self, plan: QueryPlan, action: str, new: dict[str, object]) -> None:
        target = " ".join(plan.table_versions) or "query"
        self._log.append(action=action, target=target, new=new, actor=plan.user, origin=plan.origin, request_id=plan.request_id)

    def _rewritten(self, query: CheckedQuery, masks: dict[str, dict[str, str]], policy: PolicyEngine) -> str:
        """Return the SQL that runs: each table is what this person may see of it."""
        relations = {
            name: masked_select(
                contracts()[name],
                self._relations[name],
                masked=hidden,
                methods={tag: policy.mask_method(tag) for tag in hidden.values()},
            )
            for name, hidden in masks.items()
        }
        return rewrite(query, relations, row_limit=self._limits.rows + 1)

    def _authorize(self, sql: str, user: str) -> tuple[CheckedQuery, PolicyEngine]:
        """Check person, query and tables, in that order: who is unknown learns nothing about the query."""
        try:
            policy = self._policy.current()
        except PolicyError as error:
            raise QueryRefusedError("the policy cannot be loaded, so nothing is allowed; tell the administrator") from error
        account = policy.users.get(user)
        if account is None:
            raise QueryRefusedError(f"no user {user[:64]!r}: queries are run as an account of this laboratory (`lab user list`)")
        if account.disabled:
            raise QueryRefusedError(f"the account {user!r} is disabled")
        known = contracts()
        query = check_query(sql, known)
        for name in query.tables:
            if policy.decide(user, "SELECT", name).allowed:
                continue
            if not policy.decide(user, "BROWSE", name).allowed:
                raise unknown_table(name)
            owner = known[name].owner
            raise QueryRefusedError(f"{user} may not read {name}; it takes SELECT on it or its schema, and {owner} answers for it")
        return query, policy

    def _open(self, name: str) -> OpenTable:
        try:
            return open_for_query(self._settings, contracts()[name], self._ledger)
        except ProtocolError as error:
            raise QueryRefusedError(str(error)) from error
        except DamagedTableError as error:
            raise QueryFailedError(f"{name} is damaged and is not read until it is mended; tell the administrator") from error
