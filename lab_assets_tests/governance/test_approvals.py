"""Approval of models: order, four eyes, evidence, one decision, promotion and rollback."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import Engine

from lab_assets.governance.approvals import Approval, ApprovalError, Approvals, NotAllowedError, evidence_digest
from lab_assets.governance.users import create_user
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import writing
from lab_assets.state.governance_tables import APPROVALS
from lab_assets_tests.governance.tables import PASSWORD

DIGEST = "ab" * 32
METRICS = {"average_precision": 0.71}
DATA = {"ml.training_sets": 3}


def _submit(approvals: Approvals, version: str = "1", **changes: Any) -> Approval:
    given: dict[str, Any] = {
        "digest": DIGEST,
        "metrics": METRICS,
        "data_versions": DATA,
        "trained_by": "scientist",
        "submitted_by": "scientist",
        "reason": "better than the last",
    }
    return approvals.submit("oos_risk", version, **(given | changes))


def _approved(approvals: Approvals, version: str) -> Approval:
    found = _submit(approvals, version)
    return approvals.approve(found.approval_id, approver="qa", evidence=found.evidence_digest, reason="meets the gates")


def test_a_model_goes_its_way_in_order(people: Engine) -> None:
    approvals = Approvals(people)
    with pytest.raises(ApprovalError, match="not approved"):
        approvals.promote("oos_risk", "1", by="qa", reason="now")
    found = _submit(approvals)
    assert (found.state, found.digest, found.metrics, found.data_versions) == ("submitted", DIGEST, METRICS, DATA)
    with pytest.raises(ApprovalError, match="not approved"):
        approvals.promote("oos_risk", "1", by="qa", reason="now")
    done = approvals.approve(found.approval_id, approver="qa", evidence=found.evidence_digest, reason="meets the gates")
    assert (done.state, done.decided_by, done.decision_reason) == ("approved", "qa", "meets the gates")
    assert approvals.latest_approved("oos_risk") == done
    serving = approvals.promote("oos_risk", "1", by="qa", reason="released")
    assert (serving.model_version, serving.digest, serving.approval_id) == ("1", DIGEST, done.approval_id)
    assert approvals.serving("oos_risk") == serving
    actions = [entry.action for entry in AuditLog(people).entries(action="model")]
    assert actions == ["model.submit", "model.approve", "model.promote"]
    assert AuditLog(people).verify().ok


@pytest.mark.parametrize("approver", ["scientist", "viewer", "analyst", "qc_lead", "admin", "ghost", "service:pipeline"])
def test_only_qa_approves(people: Engine, approver: str) -> None:
    approvals = Approvals(people)
    found = _submit(approvals)
    for step in (approvals.approve, approvals.reject):
        with pytest.raises(NotAllowedError):
            step(found.approval_id, approver=approver, evidence=found.evidence_digest, reason="x")
    with pytest.raises(NotAllowedError):
        approvals.promote("oos_risk", "1", by=approver, reason="x")
    assert approvals.get(found.approval_id).state == "submitted"
    assert len(AuditLog(people).entries(actor=approver, action="model.refused")) == 3


def test_an_author_never_approves_even_through_a_second_role_or_a_service(people: Engine) -> None:
    with writing(people) as connection:
        create_user(connection, name="both", password=PASSWORD, roles=("scientist", "qa"), actor="t")
    approvals = Approvals(people)
    found = _submit(approvals, trained_by="both", submitted_by="service:retrain")
    with pytest.raises(NotAllowedError, match="four-eyes"):
        approvals.approve(found.approval_id, approver="both", evidence=found.evidence_digest, reason="x")


@pytest.mark.parametrize("user", ["viewer", "analyst", "qc_lead", "qa", "admin", "ghost"])
def test_only_who_trains_submits(people: Engine, user: str) -> None:
    with pytest.raises(NotAllowedError):
        _submit(Approvals(people), submitted_by=user)


@pytest.mark.parametrize("change", [{"digest": "short"}, {"metrics": {}}, {"data_versions": {}}, {"trained_by": ""}, {"reason": " "}])
def test_an_incomplete_submission_is_refused(people: Engine, change: dict[str, Any]) -> None:
    with pytest.raises(ApprovalError):
        _submit(Approvals(people), **change)


def test_evidence_that_is_not_the_one_submitted_is_refused(people: Engine) -> None:
    approvals = Approvals(people)
    one, two = _submit(approvals, "1"), _submit(approvals, "2", metrics={"average_precision": 0.2})
    assert one.evidence_digest != two.evidence_digest
    for evidence in (two.evidence_digest, "", "0" * 64):
        with pytest.raises(ApprovalError, match="evidence"):
            approvals.approve(one.approval_id, approver="qa", evidence=evidence, reason="x")


@pytest.mark.parametrize("column", ["digest", "metrics", "data_versions"])
def test_what_changed_since_the_submission_is_refused(people: Engine, column: str) -> None:
    approvals = Approvals(people)
    found = _submit(approvals)
    new = {"digest": "cd" * 32, "metrics": {"average_precision": 0.99}, "data_versions": {"ml.training_sets": 4}}[column]
    with writing(people) as connection:
        connection.execute(APPROVALS.update().values({column: new}))
    with pytest.raises(ApprovalError, match="evidence"):
        approvals.approve(found.approval_id, approver="qa", evidence=found.evidence_digest, reason="x")


def test_the_evidence_digest_covers_every_part() -> None:
    base = {"digest": DIGEST, "metrics": METRICS, "data_versions": DATA}
    digests = {
        evidence_digest("m", "1", **base),
        evidence_digest("m", "2", **base),
        evidence_digest("n", "1", **base),
        evidence_digest("m", "1", **base | {"digest": "cd" * 32}),
        evidence_digest("m", "1", **base | {"metrics": {}}),
        evidence_digest("m", "1", **base | {"data_versions": {}}),
    }
    assert len(digests) == 6


def test_of_two_decisions_at_once_one_wins(people: Engine) -> None:
    with writing(people) as connection:
        create_user(connection, name="qa2", password=PASSWORD, roles=("qa",), actor="t")
    approvals = Approvals(people)
    found = _submit(approvals)
    start, outcomes = threading.Barrier(2), []

    def decide(step: Any, approver: str) -> None:
        start.wait()
        try:
            outcomes.append(step(found.approval_id, approver=approver, evidence=found.evidence_digest, reason="x").state)
        except ApprovalError as error:
            outcomes.append(str(error))

    threads = [
        threading.Thread(target=decide, args=(approvals.approve, "qa")),
        threading.Thread(target=decide, args=(approvals.reject, "qa2")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    final = approvals.get(found.approval_id).state
    assert sorted(outcomes) == sorted([final, f"submission {found.approval_id} is decided already"])
    assert len([entry for entry in AuditLog(people).entries(action="model") if entry.action != "model.submit"]) == 1


def test_a_version_is_submitted_again_only_after_a_rejection(people: Engine) -> None:
    approvals = Approvals(people)
    first = _submit(approvals)
    with pytest.raises(ApprovalError, match="already"):
        _submit(approvals)
    approvals.reject(first.approval_id, approver="qa", evidence=first.evidence_digest, reason="drifted data")
    second = _submit(approvals)
    assert [item.approval_id for item in approvals.submissions("oos_risk")] == [second.approval_id, first.approval_id]
    assert [item.approval_id for item in approvals.submissions(state="rejected")] == [first.approval_id]
    with pytest.raises(ApprovalError):
        approvals.get(99)


def test_rollback_goes_to_what_served_before_and_nothing_else(people: Engine) -> None:
    approvals = Approvals(people)
    with pytest.raises(ApprovalError, match="no earlier"):
        approvals.rollback("oos_risk", by="qa", reason="x")
    for version in ("1", "2", "3"):
        _approved(approvals, version)
    approvals.promote("oos_risk", "1", by="qa", reason="first")
    approvals.promote("oos_risk", "2", by="qa", reason="second")
    with pytest.raises(ApprovalError, match="serves already"):
        approvals.promote("oos_risk", "2", by="qa", reason="again")
    with pytest.raises(ApprovalError, match="never served"):
        approvals.rollback("oos_risk", by="qa", reason="x", model_version="3")
    with pytest.raises(NotAllowedError):
        approvals.rollback("oos_risk", by="scientist", reason="x")
    back = approvals.rollback("oos_risk", by="qa", reason="worse on new lots")
    assert (back.model_version, back.action, back.reason) == ("1", "rollback", "worse on new lots")
    assert [row.model_version for row in approvals.serving_history("oos_risk")] == ["1", "2", "1"]
    assert [item.model_version for item in approvals.approved_versions("oos_risk")] == ["3", "2", "1"]
