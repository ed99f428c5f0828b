"""Contracts of the governance layer: where tables came from, what was done, who may see what.

Belongs here: copies for analysis and the lineage rows. Does not belong here: the audit trail itself and the grants, which live
in the relational state.
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.core import Column, TableContract

LINEAGE = TableContract(
    layer="governance",
    name="lineage",
    grain="one input of one version of one table or model; or one input column of one column, from a version on",
    description="What each version was made from, by which run and code.",
    owner="team:governance",
    primary_key=("output", "output_version", "output_table_id", "output_column", "input", "input_version", "input_column", "run_id"),
    version=3,
    columns=(
        Column(name="output", kind="string", meaning="what was made: layer.table or model:name", nullable=False),
        Column(name="output_version", kind="string", meaning="its version", nullable=False),
        Column(
            name="input",
            kind="string",
            meaning="what it was made from: layer.table, model:name, files:batch or features:set; external: another program wrote it",
            nullable=False,
        ),
        Column(name="input_version", kind="string", meaning="version of the input that was read", nullable=False),
        Column(name="output_column", kind="string", meaning="column that was made; empty on rows about whole tables"),
        Column(name="input_column", kind="string", meaning="column it is worked out of; empty on rows about whole tables"),
        Column(name="run_id", kind="string", meaning="run that made it", nullable=False),
        Column(name="code_version", kind="string", meaning="version of the code that made it", nullable=False),
        Column(name="recorded_at_utc", kind="timestamp_utc", meaning="when it was made", nullable=False),
        Column(
            name="output_table_id",
            kind="string",
            meaning="Delta's id of the table that the version is of: one that began anew has another, and counts from 0 again; "
            "empty on rows about columns and models, and where it was not recorded",
        ),
    ),
)

AUDIT = TableContract(
    layer="governance",
    name="audit",
    grain="one entry of the audit trail",
    description="Copy of the chained audit trail for analysis; the proof is the chain in the relational state.",
    owner="team:governance",
    primary_key=("seq",),
    columns=(
        Column(name="seq", kind="int64", meaning="number in the chain, from 1 without a gap", nullable=False, minimum=1),
        Column(name="at_utc", kind="timestamp_utc", meaning="when, by the server's clock", nullable=False),
        Column(name="actor", kind="string", meaning="who", nullable=False, tags=("personal_name",)),
        Column(name="action", kind="string", meaning="what was done", nullable=False),
        Column(name="object", kind="string", meaning="what it was done to", nullable=False, tags=("personal_name",)),
        Column(
            name="old",
            kind="string",
            meaning="value before, as JSON",
            tags=("personal_name", "customer", "patient", "formulation"),
        ),
        Column(
            name="new",
            kind="string",
            meaning="value after, as JSON",
            tags=("personal_name", "customer", "patient", "formulation"),
        ),
        Column(
            name="reason",
            kind="string",
            meaning="why, in the actor's words",
            nullable=False,
            tags=("personal_name", "customer", "patient", "formulation"),
        ),
        Column(name="origin", kind="string", meaning="where from", nullable=False),
        Column(name="request_id", kind="string", meaning="id of the request; empty outside the service", nullable=False),
        Column(name="prev_hash", kind="string", meaning="hash of the entry before", nullable=False, pattern="[0-9a-f]{64}"),
        Column(name="hash", kind="string", meaning="SHA-256 of the entry's canonical JSON", nullable=False, pattern="[0-9a-f]{64}"),
    ),
)

ACCESS = TableContract(
    layer="governance",
    name="access",
    grain="one privilege of one person on the catalog, a schema, table or model at one review, by what it comes from",
    description="Who may do what, and through which grant: the access review.",
    owner="team:governance",
    primary_key=("reviewed_at_utc", "user", "securable", "privilege", "principal"),
    version=2,
    columns=(
        Column(name="reviewed_at_utc", kind="timestamp_utc", meaning="moment the review shows", nullable=False),
        Column(name="user", kind="string", meaning="account", nullable=False, tags=("personal_name",)),
        Column(name="securable", kind="string", meaning="what the right is held on", nullable=False),
        Column(name="privilege", kind="string", meaning="the right", nullable=False),
        Column(
            name="principal",
            kind="string",
            meaning="what the right comes from: a grant to a role (role:analyst) or to the person (user), or owning (owner, owner role:lims)",
            nullable=False,
        ),
        Column(name="granted_on", kind="string", meaning="container the grant stands on", nullable=False),
        Column(name="clearances", kind="array<string>", meaning="sensitivity tags the person sees in clear", nullable=False),
    ),
)

INTEGRITY = TableContract(
    layer="governance",
    name="integrity",
    grain="one thing that a scrub found missing or changed",
    description="Kept originals, files of tables, databases and models that are no longer what was recorded when they were written.",
    owner="team:governance",
    columns=(
        Column(name="scrubbed_at_utc", kind="timestamp_utc", meaning="when the scrub began", nullable=False),
        Column(
            name="kind",
            kind="string",
            meaning="what it is",
            nullable=False,
            allowed=("original", "data", "log", "table", "database", "model"),
        ),
        Column(
            name="object",
            kind="string",
            meaning="path of the file below the laboratory's folder, or name of the table or model",
            nullable=False,
        ),
        Column(
            name="problem", kind="string", meaning="what is wrong", nullable=False, allowed=("missing", "changed", "unreadable", "foreign")
        ),
        Column(name="told_as", kind="string", meaning="arrival, or table and version, the file belongs to", nullable=False),
        Column(
            name="expected_sha256", kind="string", meaning="digest recorded when it was written; empty where there is none", nullable=False
        ),
        Column(name="found_sha256", kind="string", meaning="digest now; empty when it cannot be read", nullable=False),
    ),
)

TABLES: Final = (LINEAGE, AUDIT, ACCESS, INTEGRITY)
