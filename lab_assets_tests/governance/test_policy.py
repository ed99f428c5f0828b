"""Who may do what: the whole matrix of roles and privileges, and denial wherever something is off."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from lab_assets.contracts.all_contracts import contracts
from lab_assets.features.feature import Feature
from lab_assets.governance.grants import GrantError, ManageRefusedError, Stewardship, access_rows, list_grants, require_manage
from lab_assets.governance.policy import PolicyEngine, PolicyError, PolicyStore, load_rules
from lab_assets.governance.securables import Securable, UnknownSecurableError, parse_securable
from lab_assets.governance.users import ROLE_NAMES, bump_policy, create_user, set_disabled, set_roles
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import writing
from lab_assets.state.governance_tables import COLUMN_TAGS, MASK_POLICIES
from lab_assets_tests.governance.tables import PASSWORD

QUESTIONS = {
    "browse": ("BROWSE", "silver.lots"),
    "gold": ("SELECT", "gold.lot_disposition"),
    "silver": ("SELECT", "silver.lots"),
    "lineage": ("SELECT", "governance.lineage"),
    "audit": ("SELECT", "governance.audit"),
    "customer": ("SELECT", "silver.lots.customer"),
    "analyst": ("SELECT", "silver.injections.analyst"),
    "modify": ("MODIFY", "silver.lots"),
    "manage": ("MANAGE", "lab"),
    "execute": ("EXECUTE", "model:oos_risk"),
    "train": ("TRAIN", "model:oos_risk"),
    "approve": ("APPROVE", "model:oos_risk"),
}
MATRIX = {
    "viewer": {"browse", "gold"},
    "analyst": {"browse", "gold", "silver", "lineage", "execute"},
    "scientist": {"browse", "gold", "silver", "lineage", "execute", "train"},
    "qc_lead": {"browse", "gold", "silver", "lineage", "execute", "analyst"},
    "qa": {"browse", "gold", "silver", "lineage", "audit", "customer", "analyst", "execute", "approve"},
    "admin": {"browse", "gold", "silver", "lineage", "audit", "execute", "manage"},
    "nobody": set(),
}


@pytest.fixture
def policy(people: Engine) -> PolicyEngine:
    return PolicyStore(people).current()


def test_the_matrix_of_roles_and_privileges(policy: PolicyEngine) -> None:
    answered = {
        user: {name for name, (privilege, target) in QUESTIONS.items() if policy.decide(user, privilege, target).allowed} for user in MATRIX
    }
    assert answered == MATRIX


def test_who_sees_which_tag_in_clear(policy: PolicyEngine) -> None:
    masked = {user: policy.masked_columns(user, "silver.samples") for user in ROLE_NAMES}
    both = {"analyst": "personal_name", "patient_initials": "patient"}
    assert masked == {
        "viewer": both,
        "analyst": both,
        "scientist": both,
        "admin": both,
        "qc_lead": {"patient_initials": "patient"},
        "qa": {},
    }
    assert policy.masked_columns("nobody", "silver.samples") == both
    assert policy.masked_columns("analyst", "silver.no_such_table") == {}


def test_several_tags_take_the_strictest_mask(policy: PolicyEngine) -> None:
    """Free text may hold all four: the patient's NULL is stricter than the others' ``***`` and pseudonym."""
    assert policy.masked_columns("analyst", "bronze.quarantined_rows") == {"row_text": "patient"}
    assert policy.masked_columns("qc_lead", "bronze.quarantined_rows") == {"row_text": "patient"}


@pytest.mark.parametrize(
    ("user", "privilege", "target", "reason"),
    [
        ("ghost", "SELECT", "silver.lots", "unknown-user"),
        ("qa", "SELECT", "silver.nothing", "unknown-securable"),
        ("qa", "SELECT", "silver.lots.nothing", "unknown-securable"),
        ("qa", "SELECT", 'silver.lots" || true', "unknown-securable"),
        ("qa", "SELECT", "", "unknown-securable"),
        ("qa", "SELECT", "model:a b", "unknown-securable"),
        ("qa", "SELECT", "model:oos_risk", "privilege-has-no-meaning-here"),
        ("qa", "DROP", "lab", "privilege-has-no-meaning-here"),
        ("viewer", "SELECT", "silver.lots", "no-grant"),
        ("analyst", "SELECT", "silver.lots.customer", "tag-not-cleared"),
    ],
)
def test_what_cannot_be_decided_is_denied(policy: PolicyEngine, user: str, privilege: str, target: str, reason: str) -> None:
    decision = policy.decide(user, privilege, target)
    assert not decision.allowed
    assert reason in decision.reasons


def test_four_eyes_hold_whatever_else_a_person_is(people: Engine) -> None:
    with writing(people) as connection:
        create_user(connection, name="both", password=PASSWORD, roles=("scientist", "qa"), actor="t")
    policy = PolicyStore(people).current()
    assert policy.decide("both", "APPROVE", "model:oos_risk", authors=("scientist",)).allowed
    assert policy.decide("both", "APPROVE", "model:oos_risk", authors=("x", "both")).reasons == ("four-eyes",)
    assert policy.decide("both", "TRAIN", "model:oos_risk").reasons == ("qa-does-not-train",)


def test_an_owner_has_every_right_but_approval_and_clear_text(people: Engine) -> None:
    steward = Stewardship(people, actor="admin")
    steward.set_owner("silver.lots", "user:viewer", reason="steward of lots")
    steward.set_owner("model:oos_risk", "user:viewer", reason="steward of the model")
    policy = PolicyStore(people).current()
    assert all(policy.decide("viewer", privilege, "silver.lots").allowed for privilege in ("BROWSE", "SELECT", "MODIFY", "MANAGE"))
    assert not policy.decide("viewer", "SELECT", "silver.samples").allowed
    assert not policy.decide("viewer", "SELECT", "silver.lots.customer").allowed
    assert policy.decide("viewer", "TRAIN", "model:oos_risk").allowed
    assert not policy.decide("viewer", "APPROVE", "model:oos_risk").allowed


def test_grants_reach_downwards_and_changes_hold_at_the_next_question(people: Engine) -> None:
    store = PolicyStore(people)
    before = store.current()
    assert store.current() is before
    steward = Stewardship(people, actor="admin")
    assert steward.grant("select", "lab.silver", "role:viewer")
    assert not steward.grant("SELECT", "silver", "role:viewer")
    assert store.current().decide("viewer", "SELECT", "silver.peaks").allowed
    assert not store.current().decide("viewer", "SELECT", "bronze.files").allowed
    assert not steward.revoke("SELECT", "silver.peaks", "role:viewer")
    assert steward.revoke("SELECT", "silver", "role:viewer")
    assert not store.current().decide("viewer", "SELECT", "silver.peaks").allowed
    set_disabled(people, "qa", disabled=True, actor="admin", reason="left")
    assert "account-closed" in store.current().decide("qa", "SELECT", "gold.lot_disposition").reasons
    set_roles(people, "viewer", roles=("analyst",), actor="admin", reason="moved")
    assert store.current().decide("viewer", "SELECT", "silver.peaks").allowed


def test_a_grant_to_one_person_is_that_persons_alone(people: Engine) -> None:
    Stewardship(people, actor="admin").grant("SELECT", "silver.lots", "user:viewer")
    policy = PolicyStore(people).current()
    assert policy.decide("viewer", "SELECT", "silver.lots").allowed
    assert not policy.decide("viewer", "SELECT", "silver.peaks").allowed


@pytest.mark.parametrize(
    ("privilege", "target", "principal"),
    [
        ("DROP", "lab", "role:qa"),
        ("SELECT", "silver.nothing", "role:qa"),
        ("SELECT", "model:oos_risk", "role:qa"),
        ("TRAIN", "silver.lots", "role:qa"),
        ("SELECT", "lab", "role:boss"),
        ("SELECT", "lab", "user:ghost"),
        ("SELECT", "lab", "qa"),
        ("SELECT", "lab", "role:qa' OR '1'='1"),
        ("APPROVE", "lab", "user:admin"),
    ],
)
def test_meaningless_and_self_grants_are_refused(people: Engine, privilege: str, target: str, principal: str) -> None:
    with pytest.raises(GrantError):
        Stewardship(people, actor="admin").grant(privilege, target, principal)


@pytest.mark.parametrize("actor", ["viewer", "analyst", "scientist", "qc_lead", "qa", "ghost"])
def test_only_who_manages_may_change_the_policy(people: Engine, actor: str) -> None:
    steward = Stewardship(people, actor=actor)
    steps = (
        lambda: steward.grant("SELECT", "lab", "role:viewer"),
        lambda: steward.revoke("SELECT", "lab.gold", "role:viewer"),
        lambda: steward.set_owner("silver.lots", "role:viewer"),
        lambda: steward.set_tag("silver.lots.customer", "customer", present=False, reason="show me"),
        lambda: steward.set_mask("customer", "redact", reason="show me"),
        lambda: require_manage(people, actor),
    )
    for step in steps:
        with pytest.raises(ManageRefusedError):
            step()
    assert [entry.action for entry in AuditLog(people).entries(actor=actor)] == ["policy.refused"] * len(steps)
    assert PolicyStore(people).current().masked_columns("analyst", "silver.lots").keys() == {"customer", "formulation"}


def test_tags_are_added_and_removed_with_a_reason(people: Engine) -> None:
    store, steward = PolicyStore(people), Stewardship(people, actor="admin")
    steward.set_tag("silver.lots.site", "customer", present=True, reason="a site tells the customer")
    assert store.current().masked_columns("analyst", "silver.lots")["site"] == "customer"
    steward.set_tag("silver.lots.customer", "customer", present=False, reason="published")
    assert "customer" not in store.current().masked_columns("analyst", "silver.lots")
    steward.set_tag("silver.lots.customer", "customer", present=True, reason="not any more")
    assert store.current().masked_columns("analyst", "silver.lots")["customer"] == "customer"
    with pytest.raises(GrantError, match="reason"):
        steward.set_tag("silver.lots.customer", "customer", present=False, reason="")
    with pytest.raises(GrantError):
        steward.set_tag("silver.lots.customer", "nice", present=True, reason="x")
    with pytest.raises(GrantError):
        steward.set_tag("silver.lots", "customer", present=True, reason="x")
    entry = AuditLog(people).entries(action="policy.untag")[0]
    assert (entry.object, entry.old, entry.new, entry.reason) == ("lab.silver.lots.customer", '["customer"]', "[]", "published")


def test_masks_are_set_and_an_undecided_one_is_the_strictest(people: Engine) -> None:
    steward = Stewardship(people, actor="shell:root")
    steward.set_mask("customer", "pseudonym", reason="group by customer")
    assert PolicyStore(people).current().mask_method("customer") == "pseudonym"
    assert PolicyStore(people).current().mask_method("undecided") == "null"
    for tag, method, reason in (("customer", "plain", "x"), ("nice", "null", "x"), ("customer", "null", " ")):
        with pytest.raises(GrantError):
            steward.set_mask(tag, method, reason=reason)


def test_broken_policy_data_denies(people: Engine) -> None:
    store = PolicyStore(people)
    assert store.current().decide("qa", "SELECT", "silver.lots").allowed
    row = {"securable": "lab.silver.lots.site", "tag": "nice", "state": "set", "set_by": "x", "set_at": "x", "reason": "x"}
    with writing(people) as connection:
        connection.execute(COLUMN_TAGS.insert().values(**row))
        connection.execute(text("UPDATE policy_state SET version = version + 1"))
    with pytest.raises(PolicyError, match="nice"):
        store.current()
    with writing(people) as connection:
        connection.execute(text("DELETE FROM policy_state"))
    with pytest.raises(PolicyError):
        store.current()


def test_rules_that_do_not_fit_their_schema_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    import importlib.resources
    from pathlib import Path

    from lab_assets.governance import policy as module

    folder = Path(str(tmp_path)) / "policies"
    folder.mkdir()
    real = importlib.resources.files("lab_assets.governance") / "policies"
    (folder / "lab.cedarschema").write_text((real / "lab.cedarschema").read_text())
    monkeypatch.setattr(module, "files", lambda _: folder.parent)
    for broken in ("permit (principal, action, resource) when { principal.wealth > 3 };", "permit (", ""):
        (folder / "lab.cedar").write_text(broken)
        load_rules.cache_clear()
        if broken:
            with pytest.raises(PolicyError):
                load_rules()
        else:
            load_rules()
    load_rules.cache_clear()


def test_names_of_securables() -> None:
    known = contracts()
    assert parse_securable("silver.lots", known) == Securable(kind="Table", name="lab.silver.lots")
    assert parse_securable("lab.silver.lots.customer", known).ancestors == (
        "lab",
        "lab.silver",
        "lab.silver.lots",
        "lab.silver.lots.customer",
    )
    assert parse_securable("Silver", known).kind == "Schema"
    assert parse_securable("model:oos_risk", known).ancestors == ("lab", "model:oos_risk")
    for wrong in ("", "lab.", "nope", "silver.lots.customer.x", "model:", "model:x/y"):
        with pytest.raises(UnknownSecurableError):
            parse_securable(wrong, known)


def test_the_access_review_names_the_grant_behind_each_right(people: Engine) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rows = access_rows(PolicyStore(people).current(), at)
    mine = [row for row in rows if row["user"] == "viewer" and row["privilege"] == "SELECT" and row["securable"] == "lab.gold.stability"]
    assert mine == []  # no such table
    gold = [
        row for row in rows if row["user"] == "viewer" and row["securable"] == "lab.gold.lot_disposition" and row["privilege"] == "SELECT"
    ]
    assert [(row["principal"], row["granted_on"], row["clearances"]) for row in gold] == [("role:viewer", "lab.gold", [])]
    assert {row["user"] for row in rows if row["privilege"] == "MANAGE"} == {"admin"}
    with people.connect() as connection:
        assert {grant.granted_by for grant in list_grants(connection)} == {"system:install"}


def test_a_mask_method_that_the_program_does_not_know_hides_all(engine: Engine) -> None:
    """Methods are listed in the program alone; a database of a later release may name one that this one lacks."""
    with writing(engine) as connection:
        connection.execute(MASK_POLICIES.update().where(MASK_POLICIES.c.tag == "customer").values(method="truncate"))
        bump_policy(connection)
    policy = PolicyStore(engine).current()
    assert policy.mask_method("customer") == "null"
    assert policy.masked_columns("analyst", "silver.lots")["customer"] == "customer"


def test_a_former_computation_is_as_sensitive_as_its_feature(people: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its column has the tags of the feature's, and those of its own."""
    Stewardship(people, actor="admin").set_tag("features.lot_history.lot_min_margin", "formulation", present=True, reason="tells")
    was = Feature(name="lot_min_margin", table="lot_history", meaning="")
    monkeypatch.setattr("lab_assets.governance.policy.FORMER_FEATURES", {was.former_column: was})
    hidden = PolicyStore(people).current().masked_columns("analyst", "features.lot_history")
    assert hidden == {"lot_min_margin": "formulation", "lot_min_margin_v1": "formulation"}
