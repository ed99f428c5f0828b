"""Approval of model versions, and which approved version serves.

Belongs here: submit, approve, reject, promote, roll back, in that order and by the right people. Does not belong here: MLflow
(its aliases and tags are a mirror, never evidence), electronic signatures, loading models.

An approval binds what was judged: the digest of the served bundle, the metrics and the versions of the data. The approver
names the digest of that evidence, so a submission that is not the one they saw is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping, Select, select
from sqlalchemy.exc import IntegrityError

from lab_assets.failpoints import failpoint
from lab_assets.governance.clock_guard import ClockBehindError, step_back
from lab_assets.governance.policy import PolicyStore
from lab_assets.state.audit_chain import AuditLog, ReasonError, canonical_json, stated_reason
from lab_assets.state.clock import as_text, utc_now
from lab_assets.state.database import writing
from lab_assets.state.governance_tables import APPROVALS, SERVING_HISTORY

SERVICE_PREFIX: Final = "service:"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class ApprovalError(ValueError):
    """The step is not possible as things stand, such as a second decision or a promotion without approval."""


class ConflictError(ApprovalError):
    """Somebody else was first: it is decided, submitted or in service already."""


class NotAllowedError(PermissionError):
    """The person may not take this step; the refusal is in the audit trail."""


@dataclass(frozen=True, kw_only=True)
class Approval:
    """One submission of one model version, decided or not.

    Attributes:
        approval_id: Number of the submission.
        model_name: Registered model.
        model_version: Its version.
        digest: SHA-256 of the bundle that would serve.
        metrics: Metrics as submitted.
        data_versions: Version of every table the model was made from.
        evidence_digest: SHA-256 over all of these: what an approver names.
        trained_by: Who trained it: an account or ``service:<name>``.
        submitted_by: Who submitted it.
        submitted_at: When, ISO 8601 text in UTC.
        submit_reason: Why.
        state: ``submitted``, ``approved`` or ``rejected``.
        decided_by: Who decided.
        decided_at: When, ISO 8601 text in UTC.
        decision_reason: Why.
    """

    approval_id: int
    model_name: str
    model_version: str
    digest: str
    metrics: dict[str, Any]
    data_versions: dict[str, Any]
    evidence_digest: str
    trained_by: str
    submitted_by: str
    submitted_at: str
    submit_reason: str
    state: str
    decided_by: str | None
    decided_at: str | None
    decision_reason: str | None


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Which version should serve from a moment on.

    Attributes:
        seq: Number of the change.
        model_name: Registered model.
        model_version: Version that should serve.
        digest: SHA-256 its bundle must have.
        action: ``promote`` or ``rollback``.
        approval_id: Approval it rests on.
        decided_by: Who changed it.
        at_utc: Since when, ISO 8601 text in UTC.
        reason: Why.
    """

    seq: int
    model_name: str
    model_version: str
    digest: str
    action: str
    approval_id: int
    decided_by: str
    at_utc: str
    reason: str


def evidence_digest(
    model_name: str, model_version: str, *, digest: str, metrics: Mapping[str, Any], data_versions: Mapping[str, Any]
) -> str:
    """Return the SHA-256 over everything an approval binds."""
    content = {
        "data_versions": dict(data_versions),
        "digest": digest,
        "metrics": dict(metrics),
        "name": model_name,
        "version": model_version,
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


class Approvals:
    """The steps, each decided by the policy, each one transaction with its audit entry."""

    def __init__(self, engine: Engine, policy: PolicyStore | None = None) -> None:
        self._engine = engine
        self._policy = policy if policy is not None else PolicyStore(engine)
        self._log = AuditLog(engine)

    def submit(
        self,
        model_name: str,
        model_version: str,
        *,
        digest: str,
        metrics: Mapping[str, Any],
        data_versions: Mapping[str, Any],
        trained_by: str,
        submitted_by: str,
        reason: str,
        origin: str = "",
    ) -> Approval:
        """Put a trained version before its judges.

        A person needs the privilege ``TRAIN``; the retraining service (``service:<name>``) submits by itself.

        Raises:
            NotAllowedError: the person may not submit.
            ConflictError: the version is already submitted or approved.
            ApprovalError: something is missing.
        """
        if not submitted_by.startswith(SERVICE_PREFIX):
            self._require(submitted_by, "TRAIN", model_name, model_version, origin=origin)
        if not _DIGEST.fullmatch(digest) or not metrics or not data_versions or not trained_by:
            raise ApprovalError("a submission names the bundle's SHA-256, its metrics, its data versions and who trained it")
        values = {
            "model_name": model_name,
            "model_version": model_version,
            "digest": digest,
            "metrics": dict(metrics),
            "data_versions": dict(data_versions),
            "evidence_digest": evidence_digest(model_name, model_version, digest=digest, metrics=metrics, data_versions=data_versions),
            "trained_by": trained_by,
            "submitted_by": submitted_by,
            "submitted_at": as_text(utc_now()),
            "submit_reason": _reason(reason),
            "state": "submitted",
        }
        try:
            with writing(self._engine) as connection:
                number = connection.execute(APPROVALS.insert().values(**values).returning(APPROVALS.c.approval_id)).scalar_one()
                self._append(connection, submitted_by, "model.submit", values, reason=reason, origin=origin)
                return _approvals(connection, select(APPROVALS).where(APPROVALS.c.approval_id == number))[0]
        except IntegrityError as error:
            raise ConflictError(f"{model_name} version {model_version} is already submitted or approved") from error

    def approve(self, approval_id: int, *, approver: str, evidence: str, reason: str, origin: str = "") -> Approval:
        """Approve a submission.

        Args:
            approval_id: The submission.
            approver: An account with ``APPROVE`` that neither trained nor submitted the version.
            evidence: ``evidence_digest`` of the submission the approver has seen.
            reason: Why.
            origin: Where from.

        Raises:
            NotAllowedError: the policy says no.
            ClockBehindError: the clock was set back: nothing is signed until it has caught up or was accepted.
            ConflictError: decided already.
            ApprovalError: the evidence is not the one submitted.
        """
        return self._decide(approval_id, "approved", approver=approver, evidence=evidence, reason=reason, origin=origin)

    def reject(self, approval_id: int, *, approver: str, evidence: str, reason: str, origin: str = "") -> Approval:
        """Reject a submission; the same people as for ``approve``, the same errors."""
        return self._decide(approval_id, "rejected", approver=approver, evidence=evidence, reason=reason, origin=origin)

    def _decide(self, approval_id: int, state: str, *, approver: str, evidence: str, reason: str, origin: str) -> Approval:
        found = self.get(approval_id)
        authors = (found.trained_by, found.submitted_by)
        self._require(approver, "APPROVE", found.model_name, found.model_version, authors=authors, origin=origin)
        self._require_clock(approver, found.model_name, found.model_version, origin=origin)
        stored = evidence_digest(
            found.model_name, found.model_version, digest=found.digest, metrics=found.metrics, data_versions=found.data_versions
        )
        if not evidence == stored == found.evidence_digest:
            raise ApprovalError("the evidence is not the one submitted: look at the submission again before deciding")
        change = {"state": state, "decided_by": approver, "decided_at": as_text(utc_now()), "decision_reason": _reason(reason)}
        with writing(self._engine) as connection:
            open_one = (APPROVALS.c.approval_id == approval_id) & (APPROVALS.c.state == "submitted")
            if connection.execute(APPROVALS.update().where(open_one).values(**change)).rowcount != 1:
                raise ConflictError(f"submission {approval_id} is decided already")
            decided = _approvals(connection, select(APPROVALS).where(APPROVALS.c.approval_id == approval_id))[0]
            verb = {"approved": "approve", "rejected": "reject"}[state]
            self._append(connection, approver, f"model.{verb}", asdict(decided), reason=reason, origin=origin)
        failpoint("after_decision_commit")
        return decided

    def promote(self, model_name: str, model_version: str, *, by: str, reason: str, origin: str = "") -> Serving:
        """Let an approved version serve from now on; needs ``APPROVE``.

        Raises:
            NotAllowedError: the policy says no.
            ClockBehindError: the clock was set back, as for ``approve``.
            ConflictError: it serves already.
            ApprovalError: the version is not approved.
        """
        return self._serve(model_name, model_version, action="promote", by=by, reason=reason, origin=origin)

    def rollback(self, model_name: str, *, by: str, reason: str, model_version: str | None = None, origin: str = "") -> Serving:
        """Let a version that served before serve again; needs ``APPROVE``.

        A clock that was set back does not stop it: it brings nothing new into service and is the way out of harm.

        Args:
            model_name: Registered model.
            by: Who.
            reason: Why.
            model_version: Version to go back to; default: the one that served before the present one.
            origin: Where from.

        Raises:
            NotAllowedError: the policy says no.
            ApprovalError: there is none, or it never served.
        """
        history = self.serving_history(model_name)
        present = history[0].model_version if history else ""
        before = [row.model_version for row in history if row.model_version != present]
        if not before or (model_version is not None and model_version not in before):
            raise ApprovalError(
                f"{model_name} has no earlier version to go back to" if not before else f"{model_name} version {model_version} never served"
            )
        return self._serve(model_name, model_version or before[0], action="rollback", by=by, reason=reason, origin=origin)

    def _serve(self, model_name: str, model_version: str, *, action: str, by: str, reason: str, origin: str) -> Serving:
        self._require(by, "APPROVE", model_name, model_version, origin=origin)
        if action == "promote":
            self._require_clock(by, model_name, model_version, origin=origin)
        with writing(self._engine) as connection:
            approved = [row for row in _select_approved(connection, model_name) if row.model_version == model_version]
            if not approved:
                raise ApprovalError(f"{model_name} version {model_version} is not approved")
            old = self._serving(connection, model_name)
            if old is not None and old.model_version == model_version:
                raise ConflictError(f"{model_name} version {model_version} serves already")
            values: dict[str, Any] = {
                "model_name": model_name,
                "model_version": model_version,
                "digest": approved[0].digest,
                "action": action,
                "approval_id": approved[0].approval_id,
                "decided_by": by,
                "at_utc": as_text(utc_now()),
                "reason": _reason(reason),
            }
            seq = connection.execute(SERVING_HISTORY.insert().values(**values).returning(SERVING_HISTORY.c.seq)).scalar_one()
            before = {"version": old.model_version, "digest": old.digest} if old else None
            self._append(connection, by, f"model.{action}", values, reason=reason, origin=origin, old=before)
            failpoint("before_serving_commit")
        failpoint("after_serving_commit")
        return Serving(seq=seq, **values)

    def get(self, approval_id: int) -> Approval:
        """Return one submission.

        Raises:
            ApprovalError: no such submission.
        """
        with self._engine.connect() as connection:
            found = _approvals(connection, select(APPROVALS).where(APPROVALS.c.approval_id == approval_id))
        if not found:
            raise ApprovalError(f"no submission {approval_id}")
        return found[0]

    def submissions(self, model_name: str | None = None, *, state: str | None = None) -> list[Approval]:
        """Return submissions, newest first, of one model or all, in one state or any."""
        query = select(APPROVALS).order_by(APPROVALS.c.approval_id.desc())
        if model_name is not None:
            query = query.where(APPROVALS.c.model_name == model_name)
        if state is not None:
            query = query.where(APPROVALS.c.state == state)
        with self._engine.connect() as connection:
            return _approvals(connection, query)

    def approved_versions(self, model_name: str) -> list[Approval]:
        """Return the approved versions of a model, the last approved first."""
        with self._engine.connect() as connection:
            return _select_approved(connection, model_name)

    def latest_approved(self, model_name: str) -> Approval | None:
        """Return the version approved last."""
        return next(iter(self.approved_versions(model_name)), None)

    def serving(self, model_name: str) -> Serving | None:
        """Return the version that should serve now."""
        with self._engine.connect() as connection:
            return self._serving(connection, model_name)

    def serving_history(self, model_name: str) -> list[Serving]:
        """Return every change of the serving version, newest first."""
        query = select(SERVING_HISTORY).where(SERVING_HISTORY.c.model_name == model_name).order_by(SERVING_HISTORY.c.seq.desc())
        with self._engine.connect() as connection:
            return [Serving(**row) for row in connection.execute(query).mappings()]

    def _serving(self, connection: Connection, model_name: str) -> Serving | None:
        query = select(SERVING_HISTORY).where(SERVING_HISTORY.c.model_name == model_name).order_by(SERVING_HISTORY.c.seq.desc())
        row = connection.execute(query.limit(1)).mappings().first()
        return Serving(**row) if row else None

    def _require(
        self, user: str, privilege: str, model_name: str, model_version: str, *, authors: tuple[str, ...] = (), origin: str = ""
    ) -> None:
        """Refuse, and record the refusal, unless the policy allows the step."""
        decision = self._policy.current().decide(user, privilege, f"model:{model_name}", authors=authors)
        if decision.allowed:
            return
        what = {"privilege": privilege, "rules": decision.reasons}
        self._log.append(actor=user, action="model.refused", target=_target(model_name, model_version), new=what, origin=origin)
        raise NotAllowedError(f"{user} may not {privilege.lower()} {model_name} version {model_version} ({', '.join(decision.reasons)})")

    def _require_clock(self, user: str, model_name: str, model_version: str, *, origin: str) -> None:
        """Refuse, and record the refusal, while the clock is behind what is recorded already: a signature states when it was given."""
        found = step_back(self._engine, now=utc_now())
        if found is None:
            return
        what = {"rules": ["clock-behind"], "recorded": found.at_utc, "seq": found.seq}
        self._log.append(actor=user, action="model.refused", target=_target(model_name, model_version), new=what, origin=origin)
        raise ClockBehindError(f"nothing was signed: {found.message}")

    def _append(
        self, connection: Connection, actor: str, action: str, values: Mapping[str, Any], *, reason: str, origin: str, old: Any = None
    ) -> None:
        target = _target(values["model_name"], values["model_version"])
        self._log.append(connection, actor=actor, action=action, target=target, old=old, new=dict(values), reason=reason, origin=origin)


def _target(model_name: str, model_version: str) -> str:
    return f"model:{model_name}@{model_version}"


def _select_approved(connection: Connection, model_name: str) -> list[Approval]:
    query = select(APPROVALS).where((APPROVALS.c.model_name == model_name) & (APPROVALS.c.state == "approved"))
    newest_first = query.order_by(APPROVALS.c.decided_at.desc(), APPROVALS.c.approval_id.desc())
    return _approvals(connection, newest_first)


def _approvals(connection: Connection, query: Select[Any]) -> list[Approval]:
    return [_approval(row) for row in connection.execute(query).mappings()]


def _approval(row: RowMapping) -> Approval:
    return Approval(**{str(key): value for key, value in row.items()})


def _reason(reason: str) -> str:
    try:
        return stated_reason(reason)
    except ReasonError as error:
        raise ApprovalError(str(error)) from error
