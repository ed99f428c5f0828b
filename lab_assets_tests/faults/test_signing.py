"""Signing raced by two people, and signing under a clock that was set back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lab_assets.governance.clock_guard import ClockBehindError
from lab_assets.governance.health import record_health
from lab_assets.service.record_watch import RecordWatch
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.clock import MOST_STEP_BACK, from_text
from lab_assets_tests.faults.laboratory import Laboratory, end, found, go, reply_of

ROUNDS = 8


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    made = found(Settings(home=tmp_path / "lab"))
    yield made
    made.engine.dispose()


@pytest.mark.parametrize("second", ["approve", "reject"])
def test_of_two_decisions_at_once_one_wins_and_the_other_is_told(laboratory: Laboratory, second: str) -> None:
    """Case 25: ``qa`` approves and ``qa2`` approves or rejects in the same moment, eight times, each in a process of their own."""
    numbers = [laboratory.submit(str(version)).approval_id for version in range(1, ROUNDS + 1)]
    ids = [str(number) for number in numbers]
    people = {
        "qa": ("approve", laboratory.child("decide", "qa", "approve", *ids)),
        "qa2": (second, laboratory.child("decide", "qa2", second, *ids)),
    }
    for number in numbers:
        go(*(child for _, child in people.values()))
        answers = {name: reply_of(child) for name, (_, child) in people.items()}
        (winner,) = [name for name, answer in answers.items() if "state" in answer]
        (loser,) = [answer for answer in answers.values() if "state" not in answer]
        final = laboratory.ledger.get(number)
        verb = people[winner][0]
        assert (final.state, final.decided_by) == ({"approve": "approved", "reject": "rejected"}[verb], winner)
        assert loser == {"error": "ConflictError", "message": f"submission {number} is decided already"}
        entries = AuditLog(laboratory.engine).entries(target=f"model:oos_risk@{final.model_version}")
        assert [(entry.actor, entry.action) for entry in entries] == [("scientist", "model.submit"), (winner, f"model.{verb}")]
    assert [end(child) for _, child in people.values()] == [0, 0]
    assert AuditLog(laboratory.engine).verify().ok


def test_a_clock_set_back_an_hour_raises_an_alarm_and_stops_signing(laboratory: Laboratory) -> None:
    """Case 27: the trail holds an entry an hour ahead, as after a step back; every sign of it is checked, and the way out.

    Order stays that of the numbers, the alarm comes before the first entry after the step, approving, rejecting and promoting are
    refused until an administrator accepts the clock with a reason; a second step back is a second alarm.
    """
    submitted = laboratory.submit("1")
    ahead = told_once(laboratory, "3600")
    log = AuditLog(laboratory.engine)

    doctor = laboratory.lab("doctor", "--json")
    (signing,) = [each for each in json.loads(doctor.stdout)["checks"] if each["name"] == "signing"]
    assert (doctor.returncode, signing["state"]) == (1, "failed")
    assert f"behind audit entry {ahead['seq']} ({ahead['at_utc']})" in signing["found"]
    assert 3590 <= float(signing["found"].split("the clock is ")[1].split(" s behind")[0]) <= 3600
    problems = json.loads(laboratory.lab("status", "--json").stdout)["problems"]
    assert [each for each in problems if each.startswith("the clock is")]
    watch = RecordWatch(laboratory.settings, laboratory.engine)  # what the service's health tells
    watch.refresh()
    (problem,) = watch.health.problems
    assert f"behind audit entry {ahead['seq']} " in problem
    assert log.head()[0] == ahead["seq"], "looking writes nothing"

    approving = laboratory.child("decide", "qa", "approve", str(submitted.approval_id))
    go(approving)
    assert reply_of(approving)["error"] == "ClockBehindError"
    assert end(approving) == 0
    rejecting = laboratory.lab("model", "reject", "1", "--as", "qa", "--reason", "too weak")
    assert (rejecting.returncode, len(rejecting.stderr.splitlines())) == (1, 1)
    assert rejecting.stderr.startswith("error: nothing was signed: the clock is ")
    assert laboratory.ledger.get(submitted.approval_id).state == "submitted"
    entries = log.entries()
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    after = [(entry.actor, entry.action) for entry in entries if entry.seq > ahead["seq"]]
    assert after == [("system:clock", "clock.stepped_back"), ("qa", "model.refused"), ("qa", "model.refused")]
    alarm = entries[ahead["seq"]]
    assert alarm.old is not None
    assert json.loads(alarm.old) == {"at_utc": ahead["at_utc"], "seq": ahead["seq"]}
    assert alarm.at_utc < ahead["at_utc"]
    assert log.verify().ok

    accept = ("audit", "accept-clock", "--reason", "time server was wrong, ticket 12")
    refused = laboratory.lab(*accept, "--as", "qa")
    assert (refused.returncode, "qa may not manage lab" in refused.stderr) == (1, True)
    assert laboratory.lab("audit", "accept-clock", "--as", "admin", "--reason", " ").returncode == 1
    accepted = laboratory.lab(*accept, "--as", "admin")
    assert accepted.returncode == 0, accepted.stderr
    assert record_health(laboratory.settings, laboratory.engine).problems == []
    assert "not behind" in laboratory.lab(*accept, "--as", "admin").stderr
    decided = laboratory.ledger.approve(submitted.approval_id, approver="qa", evidence=submitted.evidence_digest, reason="good")
    assert decided.state == "approved"
    assert [(entry.actor, entry.reason) for entry in log.entries(action="clock.accept")] == [("admin", "time server was wrong, ticket 12")]

    told_once(laboratory, "600")
    with pytest.raises(ClockBehindError):
        laboratory.ledger.promote("oos_risk", "1", by="qa", reason="go live")
    assert len(log.entries(action="clock.stepped_back")) == 2
    assert laboratory.ledger.serving("oos_risk") is None


def test_signing_goes_on_by_itself_once_the_clock_has_caught_up(laboratory: Laboratory) -> None:
    """Case 27: an entry 11 s ahead stops signing until the clock is within 5 s of it, and no longer."""
    submitted = laboratory.submit("1")
    ahead = told_once(laboratory, "11")
    waiting = laboratory.child("approve_until_done", str(submitted.approval_id))
    done = reply_of(waiting)
    assert end(waiting) == 0
    assert done["refused"] >= 1
    lag = from_text(ahead["at_utc"]) - from_text(done["decided_at"])
    assert MOST_STEP_BACK - timedelta(seconds=3) <= lag <= MOST_STEP_BACK
    assert laboratory.ledger.get(submitted.approval_id).state == "approved"


def told_once(laboratory: Laboratory, seconds: str) -> dict[str, Any]:
    """Write an entry on a machine whose clock is ahead by so much; return its number and time."""
    child = laboratory.child("record_ahead", seconds)
    entry = reply_of(child)
    assert end(child) == 0
    return entry
