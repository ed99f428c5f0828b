"""What the tests of this folder run as processes of their own: ``python -m lab_assets_tests.faults.children NAME ...``.

Belongs here: one small program for each thing that is killed, raced or run under a wrong clock. Does not belong here: assertions.
Settings come from the environment. A program that works in step with its test prints ``ready`` and waits for a line.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from lab_assets.governance.approvals import ApprovalError, Approvals
from lab_assets.governance.clock_guard import ClockBehindError
from lab_assets.governance.policy import PolicyStore
from lab_assets.settings import get_settings
from lab_assets.state import audit_chain
from lab_assets.state.database import open_database

if TYPE_CHECKING:
    from lab_assets.registry.model_records import TrainingRecord

MODEL = "oos_risk"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def trained(seed: int) -> TrainingRecord:
    """Train for about two seconds; the same seed gives the same bytes in every process."""
    from lab_assets.modeling.experiment import run_experiment
    from lab_assets.registry.model_records import TrainingRecord
    from lab_assets_tests.modeling.data import PLAN, matrix

    plan = replace(PLAN, seed=seed)
    made = run_experiment(matrix()[0], plan)
    return TrainingRecord(
        plan=plan, experiment=made, trained_by="scientist", trained_at_utc=AT, code_commit="abc123", table_versions={"ml.labels": 7}
    )


def train(_engine: Engine) -> None:
    """Train and log to MLflow, as the asset does."""
    from lab_assets.registry.serving import registry_of

    meet()
    logged = registry_of(get_settings()).log_training(trained(3))
    reply({"run_id": logged.run_id, "model_id": logged.model_id, "version": logged.version, "digest": logged.digest})


def promote(engine: Engine, version: str) -> None:
    """Let an approved version serve, without the mirror in MLflow that the command adds."""
    Approvals(engine).promote(MODEL, version, by="qa", reason="better")


def decide(engine: Engine, approver: str, verb: str, *ids: str) -> None:
    """Decide each submission as soon as the test says so, and tell how it went."""
    ledger = Approvals(engine, PolicyStore(engine))
    ledger.submissions()  # the policy and the database are warm, so that the decisions meet
    for number in map(int, ids):
        evidence = ledger.get(number).evidence_digest
        meet()
        step = ledger.approve if verb == "approve" else ledger.reject
        try:
            reply({"state": step(number, approver=approver, evidence=evidence, reason=f"by {approver}").state})
        except (ApprovalError, ClockBehindError) as error:
            reply({"error": type(error).__name__, "message": str(error)})


def record_ahead(engine: Engine, seconds: str) -> None:
    """Write one audit entry on a machine whose clock is ahead: once it is set right, the trail is as after a step back."""
    audit_chain.utc_now = lambda: datetime.now(UTC) + timedelta(seconds=float(seconds))  # type: ignore[assignment]  # this process's clock
    entry = audit_chain.AuditLog(engine).append(actor="admin", action="grant.add", target="lab.gold")
    reply({"seq": entry.seq, "at_utc": entry.at_utc})


def approve_until_done(engine: Engine, number: str) -> None:
    """Try to approve every half second until the clock lets it, and tell when it did."""
    ledger = Approvals(engine)
    evidence = ledger.get(int(number)).evidence_digest
    refused = 0
    while True:
        try:
            done = ledger.approve(int(number), approver="qa", evidence=evidence, reason="meets the gates")
        except ClockBehindError:
            refused += 1
            time.sleep(0.5)
        else:
            reply({"refused": refused, "decided_at": done.decided_at})
            return


def meet() -> None:
    """Tell the test that the moment has come, and wait for its word."""
    reply("ready")
    sys.stdin.readline()


def reply(value: Any) -> None:
    """Print one line of JSON at once."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


PROGRAMS = {each.__name__: each for each in (train, promote, decide, record_ahead, approve_until_done)}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](open_database(get_settings()), *sys.argv[2:])
