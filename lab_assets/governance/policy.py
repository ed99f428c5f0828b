"""Who may do what, decided by Cedar over grants held as data. Everything that cannot be decided is denied.

Belongs here: loading people, grants, tags and masks into one immutable engine, and asking it. Does not belong here: the rules
themselves (``policies/lab.cedar``), changing grants and tags (``grants.py``), applying masks (``masking.py``).

Grants are attributes of securables, flattened down the tree when loading, and a handful of fixed rules test them: one policy per
grant would cost 1 ms per decision at a thousand grants, this costs 50 us. Cedar skips a rule whose evaluation errs, a
``forbid`` as well; so unknown people and securables are refused before asking, and an answer with errors is a denial.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, select

from lab_assets.contracts.core import SENSITIVITY_TAGS, TableContract
from lab_assets.features.definitions import FORMER_FEATURES
from lab_assets.governance.accounts import User, list_users
from lab_assets.governance.mask_methods import MASK_METHODS
from lab_assets.governance.securables import CATALOG, PRIVILEGES, Securable, UnknownSecurableError, parse_securable
from lab_assets.state.governance_tables import CLEARANCES, COLUMN_TAGS, GRANTS, MASK_POLICIES, OWNERS, POLICY_STATE

if TYPE_CHECKING:
    import cedarpy

_STRICTEST_FIRST: Final = tuple(MASK_METHODS)
_LOG: Final = logging.getLogger(__name__)


def _with_former(tags: Mapping[str, Mapping[str, frozenset[str]]]) -> dict[str, dict[str, frozenset[str]]]:
    """Return the tags of columns by table; the column of a former computation is as sensitive as its feature's."""
    found = {table: dict(columns) for table, columns in tags.items()}
    for column, feature in FORMER_FEATURES.items():
        columns = found.get(f"features.{feature.table}", {})
        if own := columns.get(feature.name):
            columns[column] = columns.get(column, frozenset()) | own
    return found


class PolicyError(RuntimeError):
    """The policy cannot be used as it stands; until it is mended everything is denied."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer to one question.

    Attributes:
        allowed: Whether it may be done.
        reasons: Ids of the rules that decided, or why nothing could be decided.
    """

    allowed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Rules:
    policies: cedarpy.PolicySet
    schema: cedarpy.Schema


@cache
def load_rules() -> _Rules:
    """Parse the rules of the package and check them against their schema, once per process.

    Raises:
        PolicyError: they do not fit each other.
    """
    import cedarpy

    folder = files("lab_assets.governance") / "policies"
    policies, schema = (folder / name for name in ("lab.cedar", "lab.cedarschema"))
    try:
        verdict = cedarpy.validate_policies(policies.read_text("utf-8"), schema.read_text("utf-8"))
        if not verdict.validation_passed:
            raise PolicyError(f"the policy rules are not valid: {'; '.join(map(str, verdict.errors))}")
        return _Rules(
            policies=cedarpy.PolicySet.from_str(policies.read_text("utf-8")),
            schema=cedarpy.Schema.from_str(schema.read_text("utf-8")),
        )
    except (ValueError, OSError) as error:
        raise PolicyError(f"the policy rules cannot be read: {error}") from error


class PolicyEngine:
    """People, grants, tags and masks of one moment. Build with ``load``; immutable afterwards.

    Attributes:
        version: Value of the policy counter it was loaded at.
        users: Accounts by name.
        tags: Sensitivity tags of each tagged column, by ``layer.table`` and column: the contract's and those decided here.
    """

    def __init__(
        self,
        *,
        version: int,
        users: Mapping[str, User],
        rights: Mapping[str, Mapping[str, frozenset[str]]],
        clearances: Mapping[str, frozenset[str]],
        tags: Mapping[str, Mapping[str, frozenset[str]]],
        masks: Mapping[str, str],
        contracts: Mapping[str, TableContract],
    ) -> None:
        import cedarpy

        self.version, self.users, self.tags = version, users, _with_former(tags)
        self._rights, self._clearances, self._masks, self._contracts = rights, clearances, masks, contracts
        self._rules = load_rules()
        try:
            self._entities = cedarpy.Entities.from_json_str(json.dumps(self._all_entities()), self._rules.schema)
        except ValueError as error:
            raise PolicyError(f"people and grants do not fit the policy's schema: {error}") from error
        self._masked: dict[tuple[str, str], dict[str, str]] = {}

    @classmethod
    def load(cls, connection: Connection, contracts: Mapping[str, TableContract]) -> PolicyEngine:
        """Read people, grants, tags and masks.

        Args:
            connection: A connection to the relational state.
            contracts: All tables by ``layer.table``.

        Raises:
            PolicyError: rules or data are broken, such as an unknown sensitivity tag.
        """
        rights: dict[str, dict[str, set[str]]] = {}
        for row in connection.execute(select(GRANTS.c.securable, GRANTS.c.privilege, GRANTS.c.principal)):
            rights.setdefault(row.securable, {}).setdefault(row.privilege, set()).add(row.principal)
        for row in connection.execute(select(OWNERS.c.securable, OWNERS.c.principal)):
            rights.setdefault(row.securable, {}).setdefault("owners", set()).add(row.principal)
        clearances: dict[str, set[str]] = {}
        for row in connection.execute(select(CLEARANCES)):
            clearances.setdefault(row.role, set()).add(row.tag)
        version = connection.execute(select(POLICY_STATE.c.version)).scalar()
        if version is None:
            raise PolicyError("the policy counter is missing: the database is not migrated or was tampered with")
        return cls(
            version=version,
            users={user.name: user for user in list_users(connection)},
            rights={name: {key: frozenset(value) for key, value in held.items()} for name, held in rights.items()},
            clearances={role: frozenset(tags) for role, tags in clearances.items()},
            tags=_effective_tags(connection, contracts),
            masks={row.tag: row.method for row in connection.execute(select(MASK_POLICIES))},
            contracts=contracts,
        )

    def decide(self, user: str, privilege: str, securable: str | Securable, *, authors: tuple[str, ...] = ()) -> Decision:
        """Return whether a person may do something.

        Args:
            user: Account name.
            privilege: One of ``PRIVILEGES``.
            securable: What it is done to.
            authors: People who made the thing, for ``APPROVE``: they may not.
        """
        if user not in self.users:
            return Decision(allowed=False, reasons=("unknown-user",))
        try:
            target = parse_securable(securable, self._contracts) if isinstance(securable, str) else securable
        except UnknownSecurableError:
            return Decision(allowed=False, reasons=("unknown-securable",))
        if not target.takes(privilege):
            return Decision(allowed=False, reasons=("privilege-has-no-meaning-here",))
        context = {"authors": list(authors)} if privilege == "APPROVE" else {}
        return self._ask(user, privilege, target, context)

    def _ask(self, user: str, privilege: str, target: Securable, context: dict[str, Any]) -> Decision:
        import cedarpy

        request = {
            "principal": _uid("User", user),
            "action": _uid("Action", privilege),
            "resource": _uid(target.kind, target.name),
            "context": context,
        }
        entities = self._entities
        if target.kind == "Model" and target.name not in self._rights:
            entities = entities.with_added_json_str(json.dumps([self._entity(target)]), self._rules.schema)
        if target.kind == "Column" and target.name.rpartition(".")[2] not in self.tags.get(target.table, {}):
            request["resource"] = _uid("Table", f"{CATALOG}.{target.table}")
        answer = cedarpy.is_authorized(request, self._rules.policies, entities, self._rules.schema)
        if answer.diagnostics.errors or answer.decision is cedarpy.Decision.NoDecision:
            _LOG.error("policy could not decide %s %s %s: %s", user, privilege, target.name, answer.diagnostics.errors)
            return Decision(allowed=False, reasons=("policy-error",))
        names = answer.diagnostics.id_annotations_by_reason
        reasons = tuple(sorted(names.get(rule, rule) for rule in answer.diagnostics.reasons))
        return Decision(allowed=answer.decision is cedarpy.Decision.Allow, reasons=reasons or ("no-grant",))

    def masked_columns(self, user: str, table: str) -> dict[str, str]:
        """Return the columns of a table this person does not see in clear, each with the tag whose mask applies.

        Args:
            user: Account name; an unknown one sees no tagged column.
            table: ``layer.table``.
        """
        key = (user, table)
        if key not in self._masked:
            cleared = self.clearances(user)
            masked: dict[str, str] = {}
            for column, tags in self.tags.get(table, {}).items():
                target = Securable(kind="Column", name=f"{CATALOG}.{table}.{column}")
                if not self.decide(user, "SELECT", target).allowed:
                    masked[column] = min(tags - cleared or tags, key=lambda tag: (_STRICTEST_FIRST.index(self.mask_method(tag)), tag))
            self._masked[key] = masked
        return dict(self._masked[key])

    def clearances(self, user: str) -> frozenset[str]:
        """Return the tags a person sees in clear, through any role."""
        account = self.users.get(user)
        roles = account.roles if account else ()
        return frozenset().union(*(self._clearances.get(role, frozenset()) for role in roles))

    def mask_method(self, tag: str) -> str:
        """Return how a tag's values are hidden; the strictest way where nothing was decided or this program lacks the method."""
        method = self._masks.get(tag, "")
        return method if method in MASK_METHODS else _STRICTEST_FIRST[0]

    def holders(self, securable: Securable, privilege: str) -> dict[str, str]:
        """Return who holds a privilege, and the container it comes from: for access reviews."""
        held: dict[str, str] = {}
        for name in securable.ancestors:
            for principal in self._rights.get(name, {}).get(privilege, ()):
                held.setdefault(principal, name)
        return held

    @property
    def models(self) -> list[str]:
        """Models that a grant or an owner is named for, as ``model:NAME``."""
        return sorted(name for name in self._rights if name.startswith("model:"))

    def _entity(self, target: Securable, tags: frozenset[str] | None = None) -> dict[str, Any]:
        rights = {
            key: [_uid("Group", group) for name in target.ancestors for group in sorted(self._rights.get(name, {}).get(key, ()))]
            for key in (*PRIVILEGES, "owners")
        }
        parents = {"Schema": "Catalog", "Table": "Schema", "Column": "Table", "Model": "Catalog"}
        parent = [_uid(parents[target.kind], target.ancestors[-2])] if target.kind in parents else []
        attributes: dict[str, Any] = {"rights": rights}
        if tags is not None:
            attributes["tags"] = sorted(tags)
        return {"uid": _uid(target.kind, target.name), "attrs": attributes, "parents": parent}

    def _all_entities(self) -> list[dict[str, Any]]:
        layers = sorted({contract.layer for contract in self._contracts.values()})
        plain = [Securable(kind="Catalog", name=CATALOG)]
        plain += [Securable(kind="Schema", name=f"{CATALOG}.{layer}") for layer in layers]
        plain += [Securable(kind="Table", name=f"{CATALOG}.{table}") for table in self._contracts]
        plain += [Securable(kind="Model", name=name) for name in self.models]
        tagged = [
            (Securable(kind="Column", name=f"{CATALOG}.{table}.{column}"), tags)
            for table in self._contracts
            for column, tags in self.tags.get(table, {}).items()
        ]
        people = [self._person(user) for user in self.users.values()]
        groups = {parent["id"] for person in people for parent in person["parents"]}
        groups |= {group for held in self._rights.values() for members in held.values() for group in members}
        return [
            *(self._entity(target) for target in plain),
            *(self._entity(target, tags) for target, tags in tagged),
            *people,
            *({"uid": _uid("Group", group), "attrs": {}, "parents": []} for group in sorted(groups)),
        ]

    def _person(self, user: User) -> dict[str, Any]:
        groups = [f"user:{user.name}", *(f"role:{role}" for role in user.roles)]
        attributes = {"name": user.name, "enabled": not user.disabled, "clearances": sorted(self.clearances(user.name))}
        return {"uid": _uid("User", user.name), "attrs": attributes, "parents": [_uid("Group", group) for group in groups]}


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": f"Lab::{kind}", "id": name}


def _effective_tags(connection: Connection, contracts: Mapping[str, TableContract]) -> dict[str, dict[str, frozenset[str]]]:
    """Return the tags of columns: the contract's, plus what was set here, minus what was removed here."""
    tags = {name: {column: set(marks) for column, marks in contract.tagged_columns().items()} for name, contract in contracts.items()}
    for row in connection.execute(select(COLUMN_TAGS)):
        if row.tag not in SENSITIVITY_TAGS:
            raise PolicyError(f"{row.securable} carries the unknown tag {row.tag!r}; known: {sorted(SENSITIVITY_TAGS)}")
        try:
            target = parse_securable(row.securable, contracts)
        except UnknownSecurableError:
            continue  # the column is gone from its contract, so nobody can read it through a contract either
        marks = tags.setdefault(target.table, {}).setdefault(target.name.rpartition(".")[2], set())
        (marks.add if row.state == "set" else marks.discard)(row.tag)
    return {table: {column: frozenset(marks) for column, marks in columns.items() if marks} for table, columns in tags.items()}


class PolicyStore:
    """The policy as it is now: loaded anew whenever the counter has moved, so a change takes effect at the next question."""

    def __init__(self, engine: Engine, contracts: Mapping[str, TableContract] | None = None) -> None:
        self._engine = engine
        self._contracts = contracts
        self._loaded: PolicyEngine | None = None

    def current(self) -> PolicyEngine:
        """Return the policy in force.

        Raises:
            PolicyError: it cannot be loaded; nothing older is used, since it may allow what was since withdrawn.
        """
        from lab_assets.contracts.all_contracts import contracts

        with self._engine.connect() as connection:
            version = connection.execute(select(POLICY_STATE.c.version)).scalar()
            if self._loaded is None or self._loaded.version != version:
                self._loaded = None
                self._loaded = PolicyEngine.load(connection, self._contracts if self._contracts is not None else contracts())
            return self._loaded
