"""Mishaps of the audit trail: named, shown, accepted by two people, and listed ever after."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from lab_assets.governance.audit_acceptance import AcceptanceError, AcceptanceRefusedError, confirm, open_proposals, propose
from lab_assets.settings import Settings
from lab_assets.state import audit_chain
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_engine
from lab_assets_tests.state.tampering import tamper


def entry(engine: Engine, number: int) -> None:
    AuditLog(engine).append(actor="ann", action="test.do", target=f"thing:{number}")


def put_older_database_back(engine: Engine, home: Settings, spare: Path) -> Engine:
    """Two entries are lost with an older copy, and one is written on it."""
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(home.home / "lab.db", spare)
    entry(engine, 1)
    entry(engine, 2)
    engine.dispose()
    for left in home.home.glob("lab.db*"):
        left.unlink()
    shutil.copy(spare, home.home / "lab.db")
    older = open_engine(home)
    entry(older, 3)
    return older


def put_foreign_anchor(engine: Engine, home: Settings, spare: Path) -> Engine:
    """The anchor file of a trail that went another way from its first entry on."""
    anchor = home.run / "audit_anchor.jsonl"
    shutil.copy(anchor, spare)
    anchor.write_text(spare.read_text().replace('"hash":"', '"hash":"0'))
    return engine


def put_older_anchor(engine: Engine, home: Settings, spare: Path) -> Engine:
    """Two entries are in the chain and not in the file; it goes on with the next one."""
    anchor = home.run / "audit_anchor.jsonl"
    shutil.copy(anchor, spare)
    entry(engine, 1)
    entry(engine, 2)
    shutil.copy(spare, anchor)
    entry(engine, 3)
    return engine


def lose_anchor(engine: Engine, home: Settings, _spare: Path) -> Engine:
    """The file is gone, and begun anew by the next entry: that does not mend it."""
    (home.run / "audit_anchor.jsonl").unlink()
    entry(engine, 1)
    return engine


def break_a_line(engine: Engine, home: Settings, _spare: Path) -> Engine:
    anchor = home.run / "audit_anchor.jsonl"
    first, _, others = anchor.read_text().partition("\n")
    anchor.write_text(f"{first}\n#{others}")
    return engine


MISHAPS: dict[str, tuple[Callable[[Engine, Settings, Path], Engine], set[str], str]] = {
    "database": (put_older_database_back, {"database_put_back"}, "an old copy was put back and written on"),
    "foreign anchor": (put_foreign_anchor, {"foreign_anchor", "anchor_missing"}, "it is the file of another trail"),
    "older anchor": (put_older_anchor, {"not_anchored"}, "an older anchor file put back"),
    "no anchor": (lose_anchor, {"anchor_missing"}, "was lost and begun anew"),
    "broken line": (break_a_line, {"broken_line"}, "is not an anchor"),
}


@pytest.mark.parametrize("name", MISHAPS)
def test_a_mishap_is_named_accepted_by_two_and_stays_listed(people: Engine, settings: Settings, tmp_path: Path, name: str) -> None:
    happen, kinds, words = MISHAPS[name]
    engine = happen(people, settings, tmp_path / "spare")
    found = AuditLog(engine).verify()
    assert (found.ok, {fault.kind for fault in found.faults}) == (False, kinds)
    assert words in found.reason

    made = propose(engine, by="admin", reason="the disk was changed on Monday")
    assert AuditLog(engine).verify().ok is False
    with pytest.raises(AcceptanceRefusedError, match="admin may not confirm"):
        confirm(engine, made.seq, by="admin", reason="yes")
    with pytest.raises(AcceptanceRefusedError, match="analyst may not confirm"):
        confirm(engine, made.seq, by="analyst", reason="yes")
    assert [each.seq for each in open_proposals(engine)] == [made.seq]
    accepted = confirm(engine, made.seq, by="qa", reason="seen with IT")

    after = AuditLog(engine).verify()
    assert (after.ok, after.faults, {fault.kind for fault in after.accepted}) == (True, (), kinds)
    assert {(fault.accepted_by, fault.accepted_reason, fault.accepted_seq) for fault in after.accepted} == {
        (("admin", "qa"), "the disk was changed on Monday; seen with IT", accepted.seq)
    }
    entry(engine, 9)
    assert AuditLog(engine).verify().ok
    with pytest.raises(AcceptanceError, match="is whole"):
        propose(engine, by="admin", reason="again")


def test_what_happens_after_an_acceptance_is_another_fault(people: Engine, settings: Settings, tmp_path: Path) -> None:
    lose_anchor(people, settings, tmp_path)
    confirm(people, propose(people, by="admin", reason="moved").seq, by="qa", reason="seen")
    put_older_anchor(people, settings, tmp_path / "spare")
    again = AuditLog(people).verify()
    assert (again.ok, [fault.kind for fault in again.faults]) == (False, ["not_anchored"])


def test_a_changed_entry_cannot_be_accepted(people: Engine, settings: Settings) -> None:
    entry(people, 1)
    entry(people, 2)
    tamper(settings, "UPDATE audit SET actor = 'eve' WHERE object = 'thing:1'")
    with pytest.raises(AcceptanceError, match=r"was changed.*put the database back from a backup"):
        propose(people, by="admin", reason="harmless")


def test_one_person_alone_changes_nothing_by_a_forged_entry(people: Engine, settings: Settings, tmp_path: Path) -> None:
    """Both entries by the same person, written past the policy: the fault stands."""
    lose_anchor(people, settings, tmp_path)
    made = propose(people, by="admin", reason="moved")
    what = {"faults": list(made.faults), "proposal": made.seq}
    AuditLog(people).append(actor="admin", action="audit.accept", target="audit", new=what, reason="me too")
    assert AuditLog(people).verify().ok is False


def test_a_write_cut_off_between_commit_and_anchor_is_no_fault(people: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was intended before the commit stands for the anchor that a kill prevented."""
    with monkeypatch.context() as patch:
        patch.setattr(audit_chain.AuditLog, "_vouch", lambda _self, _entry: None)
        entry(people, 1)
    assert AuditLog(people).verify().ok
    entry(people, 2)
    assert AuditLog(people).verify().ok
