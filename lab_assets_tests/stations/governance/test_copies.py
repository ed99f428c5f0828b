"""The access review as a table: every right, the grant it comes from, and no name that carries no tag; copies that were set back."""

from __future__ import annotations

from typing import Any

import pytest

from lab_assets.contracts.bronze import QUARANTINE
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.governance import ACCESS, AUDIT
from lab_assets.governance.grants import Stewardship
from lab_assets.governance.users import create_user
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import writing
from lab_assets.stations.governance.copies import update_access, update_audit
from lab_assets.stations.restoring import RestoringError, restore


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Lakehouse:
    """A laboratory with an administrator and two analysts, one of whom reads the audit trail by a grant of her own."""
    with writing(lakehouse.ledger.engine) as connection:
        for name, role in (("root", "admin"), ("ann.smith", "analyst"), ("bob.stone", "analyst")):
            create_user(connection, name=name, password="correct-horse-9", roles=(role,), actor="system:test")
    change = Stewardship(lakehouse.ledger.engine, actor="root")
    change.grant("SELECT", "lab.governance.audit", "user:ann.smith", reason="looks into an incident")
    change.grant("APPROVE", "model:oos_risk", "role:analyst", reason="a trial")
    return lakehouse


def review(lake: Lakehouse) -> list[dict[str, Any]]:
    update_access(lake)
    return lake.polars(ACCESS).to_dicts()


def grants(rows: list[dict[str, Any]], **wanted: str) -> list[tuple[str, str]]:
    return sorted((row["principal"], row["granted_on"]) for row in rows if all(row[name] == value for name, value in wanted.items()))


def test_every_right_names_the_grant_it_comes_from(lake: Lakehouse) -> None:
    rows = review(lake)
    reads = {"privilege": "SELECT"}
    assert grants(rows, **reads, user="bob.stone", securable="lab.silver.lots") == [("role:analyst", "lab.silver")]
    assert grants(rows, **reads, user="bob.stone", securable="lab.governance.audit") == []
    assert grants(rows, **reads, user="ann.smith", securable="lab.governance.audit") == [("user", "lab.governance.audit")]


def test_rights_of_every_kind_are_reviewed(lake: Lakehouse) -> None:
    rows = review(lake)
    assert {row["user"] for row in rows if row["privilege"] == "MANAGE"} == {"root"}
    of_bob = {"user": "bob.stone", "securable": "model:oos_risk"}
    assert grants(rows, **of_bob, privilege="APPROVE") == [("role:analyst", "model:oos_risk")]
    assert grants(rows, **of_bob, privilege="EXECUTE") == [("role:analyst", "lab")]


def test_no_untagged_column_names_a_person(lake: Lakehouse) -> None:
    """Who may not see names sees roles, tables and rights of a review, and a stand-in for each person."""
    untagged = [column.name for column in ACCESS.columns if not column.tags]
    assert not any("smith" in str(row[name]) for row in review(lake) for name in untagged)


def test_a_review_of_an_earlier_form_is_made_again(lake: Lakehouse) -> None:
    """Reviews named 'owner' instead of the grant; what was noted of them does not count."""
    before = len(review(lake))
    assert len(review(lake)) == before
    noted = lake.ledger.progress(ACCESS.full_name)
    lake.ledger.set_progress(ACCESS.full_name, {name: 0 for name in noted if name != "policy"})
    assert len(review(lake)) == 2 * before


def test_who_owns_a_table_has_its_rights_by_that(lake: Lakehouse) -> None:
    """Owning gives every right on it but to approve."""
    Stewardship(lake.ledger.engine, actor="root").set_owner("lab.governance.integrity", "user:bob.stone", reason="looks after it")
    owned = [row for row in review(lake) if row["principal"] == "owner"]
    assert {(row["user"], row["securable"], row["granted_on"]) for row in owned} == {("bob.stone", *["lab.governance.integrity"] * 2)}
    assert {row["privilege"] for row in owned} == {"BROWSE", "SELECT", "MODIFY", "MANAGE"}


def copied(lake: Lakehouse) -> list[int]:
    update_audit(lake)
    return sorted(lake.polars(AUDIT)["seq"].to_list())


def test_an_audit_trail_that_was_set_back_is_copied_again_each_entry_once(lake: Lakehouse) -> None:
    """Set back to the empty table and to the middle, with and without an entry made since: nothing is missing or twice afterwards."""
    first = copied(lake)
    assert first == list(range(1, len(first) + 1))
    middle = lake.version(AUDIT)
    restore(lake, AUDIT, 0, force=True)
    assert lake.row_count(AUDIT) == 0
    assert copied(lake) == first
    log = AuditLog(lake.ledger.engine)
    added = log.append(actor="root", action="table.restore", target=AUDIT.full_name, reason="a trial", origin="test")
    assert copied(lake) == [*first, added.seq]
    restore(lake, AUDIT, middle, force=True)
    assert lake.row_count(AUDIT) == len(first)
    assert copied(lake) == [*first, added.seq]
    version = lake.version(AUDIT)
    assert copied(lake) == [*first, added.seq]
    assert lake.version(AUDIT) == version


def test_a_review_that_was_set_back_is_made_again_once(lake: Lakehouse) -> None:
    """Rights have not changed since: the table shows today's rights again, and a version that shows them needs no further review."""
    before = {tuple(row[name] for name in ACCESS.primary_key[1:]) for row in review(lake)}
    shown = lake.version(ACCESS)
    restore(lake, ACCESS, 0, force=True)
    rows = review(lake)
    assert {tuple(row[name] for name in ACCESS.primary_key[1:]) for row in rows} == before
    assert len(review(lake)) == len(rows) == len(before)
    restore(lake, ACCESS, shown, force=True)
    assert len(review(lake)) == len(before)


@pytest.mark.parametrize("contract", [AUDIT, ACCESS, QUARANTINE])
def test_who_sets_a_copy_back_is_told_that_the_next_run_fills_it(lake: Lakehouse, contract: TableContract) -> None:
    with pytest.raises(RestoringError, match="The next run") as told:
        restore(lake, contract, 0)
    assert "No run writes them again" not in str(told.value)
