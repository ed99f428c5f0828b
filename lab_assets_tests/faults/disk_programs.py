"""What runs inside a mount namespace of its own: ``python -m lab_assets_tests.faults.disk_programs NAME``, ``LAB_HOME`` on the mount.

Belongs here: steps on a full or read-only disk, told as one JSON document. Does not belong here: assertions, mounting.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from lab_assets.governance.grants import Stewardship, list_grants
from lab_assets.settings import PROJECT_ROOT, Settings, get_settings
from lab_assets.state.audit_chain import AuditError, AuditLog
from lab_assets_tests.faults.laboratory import PASSWORD, Laboratory, environment_of, found, lab_command

MOST_TRIES = 200


def fill(settings: Settings, *, spare: int = 0) -> Path:
    """Take all space that is left on the disk of a home, but for some bytes."""
    ballast = settings.home / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
        file.truncate(file.tell() - spare)
    return ballast


def model_name(number: int) -> str:
    """Return something to grant a right on; names sort as they count."""
    return f"model:m{number:03d}"


def attempt(step: Callable[[], object]) -> str:
    """Do something; return the kind of its error, empty when it succeeds."""
    try:
        step()
    except (AuditError, SQLAlchemyError) as error:
        return type(error).__name__
    return ""


def facts(laboratory: Laboratory) -> dict[str, Any]:
    """What the database holds of the actions of this program."""
    log = AuditLog(laboratory.engine)
    checked = log.verify()
    with laboratory.engine.connect() as connection:
        granted = sorted(each.securable for each in list_grants(connection) if each.securable.startswith("model:"))
    return {
        "granted": granted,
        "grant_entries": sorted(entry.object for entry in log.entries(action="policy.grant")),
        "entries": len(log.entries(action="config.change")),
        "states": [each.state for each in laboratory.ledger.submissions()],
        "approve_entries": len(log.entries(action="model.approve")),
        "chain": [checked.ok, checked.reason],
    }


def full_audit() -> dict[str, Any]:
    """Change things until the disk is full for the audit trail too, then with space again."""
    settings = get_settings()
    laboratory = found(settings)
    submitted = laboratory.submit("1")
    steward = Stewardship(laboratory.engine, actor="admin")
    ballast = fill(settings, spare=120_000)  # room for some actions: each is done whole, until one is refused
    done, refused = 0, ""
    while not refused and done < MOST_TRIES:
        name = model_name(done)
        refused = attempt(lambda name=name: steward.grant("EXECUTE", name, "role:viewer", reason="disk"))
        done += not refused
    log, entry, entries = AuditLog(laboratory.engine), "", 0
    while not entry and entries < MOST_TRIES:  # an entry alone takes less than a grant, so some more may still fit
        entry = attempt(lambda: log.append(actor="admin", action="config.change", target="x"))
        entries += not entry
    evidence = submitted.evidence_digest
    signing = attempt(lambda: laboratory.ledger.approve(1, approver="qa", evidence=evidence, reason="meets the gates"))
    answer: dict[str, Any] = {
        "done": done,
        "refused": refused,
        "signing": signing,
        "entry": entry,
        "entries": entries,
        "full": facts(laboratory),
    }
    answer["full"]["status"] = command("status", "--json")
    answer["full"]["doctor"] = command("doctor", "--json")
    ballast.unlink()
    answer["again"] = attempt(lambda: laboratory.ledger.approve(1, approver="qa", evidence=evidence, reason="meets the gates"))
    answer["free"] = facts(laboratory)
    answer["free"]["status"] = command("status", "--json")
    return answer


def command(*arguments: str) -> dict[str, Any]:
    """Run ``lab``; return its exit code and what it told."""
    done = subprocess.run(
        lab_command(*arguments), env=os.environ, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    return {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def full_service() -> dict[str, Any]:
    """Ask the running service for its health before, while and after its disk is full."""
    settings = get_settings()
    found(settings).engine.dispose()
    command = [sys.executable, "-m", "lab_assets.service"]
    process = subprocess.Popen(command, env=environment_of(settings, LAB_SERVICE_PORT=str(settings.service_port)), cwd=PROJECT_ROOT)
    try:
        before = health_when(settings.service_port, "ok")
        ballast = fill(settings)
        full = health_when(settings.service_port, "degraded")
        ready = ask(settings.service_port, "/readyz")
        refused = sign_in(settings.service_port)
        ballast.unlink()
        after = health_when(settings.service_port, "ok")
        signed_in = sign_in(settings.service_port)[0]
        return {"before": before, "full": full, "ready": ready, "refused": refused, "after": after, "signed_in": signed_in}
    finally:
        process.terminate()
        process.wait(timeout=30)


def sign_in(port: int) -> list[Any]:
    """Sign in with the right password: an action that needs an audit entry."""
    return ask(port, "/v1/login", body=json.dumps({"user": "qa", "password": PASSWORD}))


def ask(port: int, path: str, *, body: str | None = None) -> list[Any]:
    """Return status and document of a GET, or of a POST where there is a body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET" if body is None else "POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return [answer.status, json.loads(answer.read())]


def health_when(port: int, wanted: str) -> list[Any]:
    """Return the answer of ``/healthz`` once it says what is wanted, or the last one after 30 s."""
    deadline, last = time.monotonic() + 30, [0, {}]
    while time.monotonic() < deadline:
        try:
            last = ask(port, "/healthz")
        except OSError:
            last = [0, {}]
        if last[1].get("status") == wanted:
            break
        time.sleep(0.1)
    return last


PROGRAMS = {each.__name__: each for each in (full_audit, full_service)}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(PROGRAMS[sys.argv[1]]()))
