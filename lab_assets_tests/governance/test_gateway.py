"""People's SQL: what is masked stays masked, what is refused stays refused, and everything is in the trail."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pyarrow as pa
import pytest
from sqlalchemy import Engine

from lab_assets.contracts.all_contracts import contract
from lab_assets.governance.gateway import GatewayLimits, QueryFailedError, QueryGateway
from lab_assets.governance.grants import Stewardship
from lab_assets.governance.mask_methods import MaskKey
from lab_assets.governance.relations import open_for_query, table_state
from lab_assets.governance.snapshots import Snapshot
from lab_assets.governance.sql import QueryRefusedError, allow_list, check_query
from lab_assets.governance.users import set_disabled
from lab_assets.home_identity import LostError
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets_tests.governance.tables import AT, write_table

SECRETS = ("Acme", "Bolt", "secret-1", "secret-2", "secret-3", "Ann Smith", "Bob Stone")


@pytest.fixture
def gateway(people: Engine, lots: Settings) -> QueryGateway:
    return QueryGateway(lots, people)


def _text(rows: list[tuple[Any, ...]]) -> str:
    return json.dumps(rows, default=str)


def test_a_role_decides_what_is_seen(gateway: QueryGateway) -> None:
    sql = "SELECT lot_id, customer, formulation FROM silver.lots ORDER BY lot_id"
    assert gateway.run(sql, user="qa").rows == [("L1", "Acme", "secret-1"), ("L2", "Acme", "secret-2"), ("L3", "Bolt", "secret-3")]
    analyst = gateway.run(sql, user="analyst")
    assert analyst.rows == [("L1", "***", "***"), ("L2", "***", "***"), ("L3", "***", "***")]
    assert analyst.masked_columns == {"silver.lots.customer": "customer", "silver.lots.formulation": "formulation"}
    assert (analyst.columns, analyst.types) == (["lot_id", "customer", "formulation"], ["VARCHAR"] * 3)
    assert (analyst.tables, analyst.table_versions, analyst.truncated) == (["silver.lots"], {"silver.lots": 0}, False)
    assert gateway.run(sql, user="admin").rows == analyst.rows


def test_a_pseudonym_groups_the_same_person_and_is_an_hmac(gateway: QueryGateway, lots: Settings) -> None:
    """Checked against Python's own HMAC-SHA-256 (RFC 2104) under the installation's key."""
    sql = "SELECT analyst, count(*) FROM silver.injections GROUP BY analyst ORDER BY 2 DESC, 1 NULLS LAST"
    rows = gateway.run(sql, user="analyst").rows
    secret = (lots.run / "mask.key").read_bytes()
    ann, bob = ("person-" + hmac.new(secret, name.encode(), hashlib.sha256).hexdigest()[:10] for name in ("Ann Smith", "Bob Stone"))
    assert rows == [(ann, 2), (bob, 1), (None, 1)]
    assert gateway.run(sql, user="qc_lead").rows == [("Ann Smith", 2), ("Bob Stone", 1), (None, 1)]


def test_the_key_is_private_and_kept(tmp_path: Path) -> None:
    home = Settings(home=tmp_path)
    path = tmp_path / "run" / "mask.key"
    first = MaskKey.of(home)
    assert MaskKey.of(home) == first
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(PermissionError):
        MaskKey.of(home)
    path.chmod(0o600)
    for other, kind in ((b"short", ValueError), (b"", LostError)):
        path.write_bytes(other)
        with pytest.raises(kind, match="pseudonyms follow from it"):
            MaskKey.of(home)
    path.unlink()
    with pytest.raises(LostError, match=r"mask\.key is gone, though it was made here before"):
        MaskKey.of(home)
    assert not path.exists()


def test_masks_keep_the_column_type(people: Engine, lots: Settings) -> None:
    steward = Stewardship(people, actor="admin")
    for column in ("batch_size_kg", "recorded_at_utc"):
        steward.set_tag(f"silver.lots.{column}", "customer", present=True, reason="tells the customer")
    result = QueryGateway(lots, people).run(
        "SELECT batch_size_kg, recorded_at_utc, sum(batch_size_kg) FROM silver.lots GROUP BY ALL", user="analyst"
    )
    assert result.rows == [(None, None, None)]
    assert result.types == ["DOUBLE", "TIMESTAMP WITH TIME ZONE", "DOUBLE"]


MASKED = [
    "SELECT * FROM silver.lots",
    "select * from SILVER.LOTS",
    'SELECT * FROM "silver"."lots"',
    "SELECT * FROM lab.silver.lots",
    "FROM silver.lots",
    "TABLE silver.lots",
    "SELECT l.* FROM silver.lots l",
    "SELECT l FROM silver.lots l",
    "SELECT x.customer FROM (SELECT * FROM silver.lots) x",
    "SELECT silver.lots.customer FROM silver.lots",
    "SELECT lab.silver.lots.customer FROM silver.lots",
    "WITH c AS (SELECT customer FROM silver.lots) SELECT * FROM c",
    "WITH lots AS (SELECT * FROM silver.lots) SELECT customer FROM lots",
    "WITH RECURSIVE r AS (SELECT customer, 1 AS n FROM silver.lots UNION ALL SELECT customer, n + 1 FROM r WHERE n < 3) SELECT * FROM r",
    "WITH a AS (SELECT * FROM silver.lots), b AS (SELECT * FROM a) SELECT customer FROM b",
    "SELECT (SELECT max(customer) FROM silver.lots)",
    "SELECT customer FROM silver.lots UNION ALL SELECT formulation FROM silver.lots",
    "(SELECT customer FROM silver.lots) EXCEPT (SELECT 'x')",
    "SELECT a.customer, b.formulation FROM silver.lots a JOIN silver.lots b USING (lot_id)",
    "SELECT a.customer FROM silver.lots a, silver.lots b",
    "SELECT a.customer FROM (silver.lots a JOIN silver.lots b ON a.lot_id = b.lot_id)",
    "SELECT customer FROM silver.lots NATURAL JOIN silver.injections",
    "SELECT customer FROM silver.lots POSITIONAL JOIN silver.injections",
    "SELECT z.customer FROM silver.injections i, LATERAL (SELECT customer FROM silver.lots l WHERE l.lot_id = i.lot_id) z",
    "SELECT c FROM silver.lots AS t(a, b, c, d)",
    "SELECT * EXCLUDE (lot_id) FROM silver.lots",
    "SELECT * REPLACE (upper(customer) AS product) FROM silver.lots",
    "SELECT COLUMNS('cust.*') FROM silver.lots",
    "SELECT upper(customer), length(customer), customer || formulation, concat(customer, 'x') FROM silver.lots",
    "SELECT string_agg(customer, ','), list(formulation), min(customer), any_value(customer), arg_max(customer, lot_id) FROM silver.lots",
    "SELECT first_value(customer) OVER (PARTITION BY product ORDER BY lot_id), lag(customer) OVER (ORDER BY lot_id) FROM silver.lots",
    "SELECT CASE WHEN customer > 'A' THEN customer END, coalesce(customer, 'x') FROM silver.lots",
    "SELECT {'c': customer} FROM silver.lots",
    "SELECT {'c': customer}.c, [customer][1] FROM silver.lots",
    "SELECT DISTINCT ON (lot_id) customer FROM silver.lots",
    "SELECT analyst FROM silver.injections ORDER BY analyst",
    "SELECT regexp_replace(analyst, 'x', 'y'), substr(analyst, 1, 3) || analyst FROM silver.injections",
    "SELECT customer FROM silver.lots -- /* comment */",
    "SELECT customer AS silver FROM silver.lots",
    "SELECT u.c FROM silver.lots l, UNNEST([l.customer, l.formulation]) AS u(c)",
    "SELECT customer, count(*) FROM silver.lots GROUP BY ROLLUP (customer)",
    "SELECT customer FROM silver.lots QUALIFY row_number() OVER (ORDER BY customer) < 9",
]


@pytest.mark.parametrize("sql", MASKED)
def test_no_form_of_query_shows_a_masked_value(gateway: QueryGateway, sql: str) -> None:
    result = gateway.run(sql, user="analyst")
    assert result.masked_columns
    assert not any(secret.lower() in _text(result.rows).lower() for secret in SECRETS)
    assert result.rows or "EXCEPT" in sql or "NATURAL" in sql


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT lot_id FROM silver.lots WHERE customer = 'Acme'",
        "SELECT lot_id FROM silver.lots WHERE customer LIKE 'A%'",
        "SELECT lot_id FROM silver.lots l WHERE EXISTS (SELECT 1 FROM silver.lots m WHERE m.customer = 'Acme')",
        "SELECT lot_id FROM silver.lots WHERE 'Acme' IN (SELECT customer FROM silver.lots)",
        "SELECT lot_id FROM silver.lots GROUP BY lot_id, customer HAVING customer = 'Acme'",
        "SELECT lot_id FROM silver.lots WHERE regexp_matches(formulation, 'secret')",
        "SELECT a.lot_id FROM silver.lots a JOIN (VALUES ('Acme')) v(name) ON a.customer = v.name",
    ],
)
def test_conditions_compare_the_mask_and_not_the_value(gateway: QueryGateway, sql: str) -> None:
    assert gateway.run(sql, user="analyst").rows == []
    assert gateway.run(sql, user="qa").rows != []


REFUSED = [
    "",
    "   ",
    ";",
    "-- nothing",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE silver.lots",
    "SELECT",
    "SELECT * FROM",
    "hello",
    "\x00SELECT 1",
    "SELECT * FROM read_parquet('/etc/passwd')",
    "SELECT * FROM parquet_scan('/tmp/*')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_json('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM delta_scan('/tmp')",
    "SELECT * FROM sqlite_scan('lab.db', 'users')",
    "SELECT * FROM '/etc/passwd'",
    'SELECT * FROM "/etc/passwd"',
    "SELECT * FROM '/tmp/x.parquet'",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM silver.'x.csv'",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('lots')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM duckdb_tables()",
    "SELECT * FROM duckdb_views",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM pragma_table_info('lots')",
    "SELECT * FROM main.lots",
    "SELECT * FROM memory.silver.lots",
    "SELECT * FROM temp.silver.lots",
    "SELECT * FROM lots",
    "SELECT * FROM silver.nothing",
    "SELECT * FROM users",
    "SELECT * FROM gateway",
    "SELECT getenv('HOME')",
    "SELECT getvariable('x')",
    "SELECT current_setting('memory_limit')",
    "SELECT current_user",
    "SELECT current_database()",
    "SELECT version()",
    "SELECT * FROM range(1000000000)",
    "SELECT * FROM generate_series(1, 1000000000)",
    "SELECT unnest(range(1000000000))",
    "SELECT repeat('x', 1000000000)",
    "SELECT rpad('x', 1000000000, 'y')",
    "SELECT list_transform([1], x -> x)",
    "SELECT list_filter([1], lambda x: x > 0)",
    "SELECT error('x')",
    "SELECT random()",
    "SELECT nextval('s')",
    "SELECT write_log('x')",
    "SELECT ?",
    "SELECT $1",
    "SELECT $lab_inner_key",
    "SELECT CAST('a' AS ENUM('a'))",
    "SELECT 'lots'::regclass",
    "SELECT * FROM silver.lots AT (VERSION => 0)",
    "SELECT * FROM silver.lots FOR SYSTEM_TIME AS OF '2020-01-01'",
    "SELECT * FROM silver.lots TABLESAMPLE 10%",
    "SELECT * FROM silver.lots USING SAMPLE 3",
    "SELECT * FROM silver.lots PIVOT (count(*) FOR product IN ('P'))",
    "PIVOT silver.lots ON product",
    "UNPIVOT silver.lots ON product INTO NAME n VALUE v",
    "SELECT * FROM (PIVOT silver.lots ON product)",
    "SELECT * FROM (DESCRIBE silver.lots)",
    "SELECT * FROM (SUMMARIZE silver.lots)",
    "SELECT * FROM (SHOW TABLES)",
    "ATTACH 'lab.db'",
    "DETACH memory",
    "COPY silver.lots TO '/tmp/x.csv'",
    "COPY (SELECT 1) TO '/tmp/x.csv'",
    "EXPORT DATABASE '/tmp/x'",
    "IMPORT DATABASE '/tmp/x'",
    "PRAGMA database_list",
    "SET threads = 1",
    "RESET threads",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CREATE TABLE x AS SELECT 1",
    "CREATE VIEW x AS SELECT * FROM silver.lots",
    "CREATE MACRO f(x) AS x",
    "INSERT INTO silver.lots VALUES (1)",
    "UPDATE silver.lots SET customer = 'x'",
    "DELETE FROM silver.lots",
    "MERGE INTO silver.lots USING silver.lots ON true WHEN MATCHED THEN DELETE",
    "DROP TABLE silver.lots",
    "TRUNCATE silver.lots",
    "CALL duckdb_tables()",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXPLAIN SELECT * FROM silver.lots",
    "EXPLAIN ANALYZE SELECT 1",
    "DESCRIBE silver.lots",
    "SUMMARIZE silver.lots",
    "SHOW TABLES",
    "VACUUM",
    "CHECKPOINT",
    "BEGIN",
    "USE silver",
    "VALUES (1)",
    "WITH x AS (INSERT INTO silver.lots VALUES (1) RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM silver.lots RETURNING *) SELECT * FROM x",
    "SELECT * INTO x FROM silver.lots",
    "SELECT * FROM silver.lots FOR UPDATE",
    "WITH duckdb_tables AS (SELECT 1) SELECT 1",
    "WITH sqlite_master AS (SELECT 1) SELECT * FROM (SELECT * FROM sqlite_master)",
    "SELECT (WITH c AS (SELECT 1 AS a) SELECT a FROM c), (SELECT a FROM c)",
    "SELECT * FROM (WITH c AS (SELECT 1) SELECT * FROM c) x, c",
    "SELECT rowid FROM silver.lots",
    "SELECT filename FROM silver.lots",
    "SELECT file_row_number FROM silver.lots",
    "SELECT " + "(" * 3000 + "1" + ")" * 3000,
    "SELECT " + "-" * 3000 + "1",
    "SELECT " + "NOT " * 3000 + "true",
    "SELECT 1" + " + 1" * 5000,
    "SELECT '" + "x" * 30_000 + "'",
]


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: sql[:40])
def test_everything_else_is_refused_with_a_word_on_what_is_allowed(gateway: QueryGateway, sql: str) -> None:
    with pytest.raises(QueryRefusedError) as refusal:
        gateway.run(sql, user="qa")
    assert len(str(refusal.value)) < 600
    assert "/lake/" not in str(refusal.value)


ALLOWED = [
    ("SELECT 1 + 1 AS a, 7 // 2, 2 ** 3, 7 % 4", [(2, 3, 8.0, 3)]),
    ("SELECT count(*) FROM silver.lots WHERE product = 'P'", [(2,)]),
    (
        "SELECT product, sum(batch_size_kg), round(avg(batch_size_kg), 1) FROM silver.lots GROUP BY product ORDER BY 1",
        [("P", 30.0, 15.0), ("Q", 30.0, 30.0)],
    ),
    (
        "SELECT median(batch_size_kg), quantile_cont(batch_size_kg, 0.5), max(batch_size_kg) - min(batch_size_kg) FROM silver.lots",
        [(20.0, 20.0, 20.0)],
    ),
    ("SELECT lot_id, row_number() OVER (ORDER BY batch_size_kg DESC) AS n FROM silver.lots QUALIFY n = 1", [("L3", 1)]),
    ("SELECT date_trunc('year', recorded_at_utc) FROM silver.lots LIMIT 1", [(datetime(2026, 1, 1, tzinfo=UTC),)]),
    (
        "SELECT year(recorded_at_utc), extract(month FROM recorded_at_utc), strftime(recorded_at_utc, '%d') FROM silver.lots LIMIT 1",
        [(2026, 1, "02")],
    ),
    ("SELECT recorded_at_utc - INTERVAL 1 DAY FROM silver.lots LIMIT 1", [(datetime(2026, 1, 1, 3, 4, 5, tzinfo=UTC),)]),
    (
        "SELECT l.lot_id, count(i.injection_id) FROM silver.lots l LEFT JOIN silver.injections i USING (lot_id) GROUP BY 1 ORDER BY 1",
        [("L1", 2), ("L2", 1), ("L3", 1)],
    ),
    ("SELECT lot_id FROM silver.lots ORDER BY lot_id DESC LIMIT 2", [("L3",), ("L2",)]),
    ("SELECT lot_id FROM silver.lots ORDER BY lot_id OFFSET 2", [("L3",)]),
    ("(SELECT lot_id FROM silver.lots ORDER BY 1 LIMIT 1)", [("L1",)]),
    ("SELECT 'a' UNION SELECT 'b' ORDER BY 1", [("a",), ("b",)]),
    ("SELECT a.x FROM (VALUES (1), (2)) a(x) ORDER BY 1", [(1,), (2,)]),
    ("SELECT count(*) FILTER (WHERE product = 'P') FROM silver.lots", [(2,)]),
    (
        "SELECT try_cast('x' AS DOUBLE), nullif(1, 1), greatest(1, 2), 'x' LIKE 'X', 'x' ILIKE 'X', 2 BETWEEN 1 AND 3",
        [(None, None, 2, False, True, True)],
    ),
    ("SELECT list_avg([1, 3]), list_contains([1, 2], 2), [1, 2, 3][1:2], len([1, 2])", [(2.0, True, [1, 2], 2)]),
    ("SELECT unnest([1, 2])", [(1,), (2,)]),
    ("SELECT sum(1), TIMESTAMP '2026-01-01 00:00:00' FROM silver.lots", [(3, datetime(2026, 1, 1))]),  # noqa: DTZ001  no zone asked for
    ("SELECT count(*) AS count, count(*) AS count FROM silver.lots", [(3, 3)]),
]


@pytest.mark.parametrize(("sql", "rows"), ALLOWED, ids=[sql[:40] for sql, _ in ALLOWED])
def test_ordinary_questions_are_answered(gateway: QueryGateway, sql: str, rows: list[tuple[Any, ...]]) -> None:
    assert gateway.run(sql, user="analyst").rows == rows


def test_maps_and_arrays_come_out_as_they_are(people: Engine, settings: Settings) -> None:
    write_table(settings, "ml.predictions", [{"prediction_id": "p1", "risk": 0.25, "features": {"a": 1.5}, "requested_by": "Ann Smith"}])
    write_table(settings, "bronze.chromatograms", [{"injection_name": "i", "x": [0.0, 1.0], "y": [5.0, 7.0]}])
    gateway = QueryGateway(settings, people)
    assert gateway.run("SELECT features['a'], features, map_keys(features) FROM ml.predictions", user="analyst").rows == [
        (1.5, {"a": 1.5}, ["a"])
    ]
    assert gateway.run("SELECT x, list_max(y) FROM bronze.chromatograms", user="analyst").rows == [([0.0, 1.0], 7.0)]


def test_who_may_not_is_told_so_clearly(gateway: QueryGateway, people: Engine) -> None:
    with pytest.raises(QueryRefusedError, match="no user 'ghost'"):
        gateway.run("SELECT 1", user="ghost")
    with pytest.raises(QueryRefusedError, match=r"viewer may not read silver\.lots"):
        gateway.run("SELECT 1 FROM gold.lot_disposition WHERE EXISTS (SELECT 1 FROM silver.lots)", user="viewer")
    with pytest.raises(QueryRefusedError, match=r"analyst may not read governance\.audit"):
        gateway.run("SELECT * FROM governance.audit", user="analyst")
    set_disabled(people, "analyst", disabled=True, actor="admin", reason="left")
    with pytest.raises(QueryRefusedError, match="disabled"):
        gateway.run("SELECT 1", user="analyst")


def test_a_table_one_may_not_know_of_looks_like_one_that_is_not(people: Engine, lots: Settings) -> None:
    Stewardship(people, actor="admin").revoke("BROWSE", "lab", "role:viewer")
    with pytest.raises(QueryRefusedError, match=r"no table silver.lots"):
        QueryGateway(lots, people).run("SELECT * FROM silver.lots", user="viewer")


def test_a_changed_tag_holds_at_the_next_query(gateway: QueryGateway, people: Engine) -> None:
    sql = "SELECT DISTINCT product FROM silver.lots ORDER BY 1"
    assert gateway.run(sql, user="analyst").rows == [("P",), ("Q",)]
    Stewardship(people, actor="admin").set_tag("silver.lots.product", "formulation", present=True, reason="tells the recipe")
    assert gateway.run(sql, user="analyst").rows == [("***",)]


def test_every_query_is_in_the_trail_without_its_answer(gateway: QueryGateway, people: Engine) -> None:
    gateway.run("SELECT customer FROM silver.lots", user="analyst", origin="::1", request_id="r1")
    gateway.run("SELECT customer FROM silver.lots", user="qa")
    for sql, user in (("SELECT * FROM users", "analyst"), ("SELECT 1", "ghost")):
        with pytest.raises(QueryRefusedError):
            gateway.run(sql, user=user)
    with pytest.raises(QueryFailedError):
        gateway.run("SELECT CAST(customer AS INT) FROM silver.lots", user="qa")
    entries = AuditLog(people).entries(action="query")
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("analyst", "query.run"),
        ("qa", "query.run"),
        ("analyst", "query.refused"),
        ("ghost", "query.refused"),
        ("qa", "query.run"),
        ("qa", "query.failed"),
    ]
    first = json.loads(entries[0].new or "")
    assert (first["tables"], first["masked"]) == ({"silver.lots": 0}, {"silver.lots.customer": "customer"})
    assert (entries[0].origin, entries[0].request_id, entries[0].object) == ("::1", "r1", "silver.lots")
    assert not any(secret in str(entries) for secret in SECRETS)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CAST(customer AS INT) FROM silver.lots",
        "SELECT CAST(formulation AS DATE) FROM silver.lots",
        "SELECT customer::DOUBLE FROM silver.lots",
    ],
)
def test_error_text_holds_no_value(gateway: QueryGateway, sql: str) -> None:
    with pytest.raises(QueryFailedError) as failure:
        gateway.run(sql, user="qa")
    assert not any(secret in str(failure.value) for secret in SECRETS)
    assert failure.value.__cause__ is None


def test_an_error_in_late_rows_holds_no_value_either(people: Engine, lots: Settings) -> None:
    """Rows stream: past the first thousands an error comes through Arrow, with DuckDB's text in it."""
    rows = [{"lot_id": str(number), "recorded_at_utc": AT} for number in range(30_000)]
    write_table(lots, "silver.lots", [*rows, {"lot_id": "secret-3", "recorded_at_utc": AT}])
    gateway = QueryGateway(lots, people, limits=GatewayLimits(rows=100_000))
    with pytest.raises(QueryFailedError) as failure:
        gateway.run("SELECT CAST(lot_id AS INT) FROM silver.lots WHERE lot_id NOT LIKE 'L%'", user="qa")
    assert "secret" not in str(failure.value)
    with pytest.raises(QueryFailedError):
        gateway.run("SELECT DATE '100000-01-01'", user="qa")


def test_an_unknown_column_is_named_and_nothing_physical(gateway: QueryGateway) -> None:
    with pytest.raises(QueryRefusedError, match="nosuch") as refusal:
        gateway.run("SELECT nosuch FROM silver.lots", user="analyst")
    assert "lab_" not in str(refusal.value)


def test_a_table_without_data_has_its_columns_and_no_rows(gateway: QueryGateway) -> None:
    result = gateway.run("SELECT * FROM gold.lot_disposition", user="viewer")
    assert result.columns == list(contract("gold.lot_disposition").column_names)
    assert (result.rows, result.table_versions) == ([], {"gold.lot_disposition": None})


def test_new_rows_are_seen_and_the_version_is_told(gateway: QueryGateway, lots: Settings) -> None:
    assert gateway.run("SELECT count(*) FROM silver.lots", user="qa").rows == [(3,)]
    write_table(lots, "silver.lots", [{"lot_id": "L4", "recorded_at_utc": AT}])
    again = gateway.run("SELECT count(*) FROM silver.lots", user="qa")
    assert (again.rows, again.table_versions) == ([(4,)], {"silver.lots": 1})
    deltalake.DeltaTable(lots.table_uri("silver", "lots")).delete("lot_id = 'L1'")
    assert gateway.run("SELECT count(*) FROM silver.lots", user="qa").rows == [(3,)]
    assert table_state(lots, contract("silver.lots")) == (2, 3)


def test_columns_outside_the_contract_stay_unseen_and_absent_ones_are_null(people: Engine, settings: Settings) -> None:
    uri = settings.table_uri("silver", "lots")
    deltalake.write_deltalake(uri, pa.table({"lot_id": ["L1"], "patient_file": ["Ann Smith"]}))
    deltalake.write_deltalake(uri, pa.table({"lot_id": ["L2"], "product": ["P"]}), mode="append", schema_mode="merge")
    result = QueryGateway(settings, people).run("SELECT * FROM silver.lots ORDER BY lot_id", user="qa")
    assert result.columns == list(contract("silver.lots").column_names)
    assert [row[:3] for row in result.rows] == [("L1", None, None), ("L2", "P", None)]


def test_a_partitioned_table_is_read_with_its_partition_values(people: Engine, settings: Settings) -> None:
    uri = settings.table_uri("silver", "lots")
    deltalake.write_deltalake(
        uri, pa.table({"lot_id": ["L1", "L2"], "product": ["P", "Q"], "customer": ["Acme", "Bolt"]}), partition_by=["product"]
    )
    gateway = QueryGateway(settings, people)
    sql = "SELECT lot_id, product, customer FROM silver.lots ORDER BY 1"
    assert gateway.run(sql, user="analyst").rows == [("L1", "P", "***"), ("L2", "Q", "***")]
    assert gateway.run(sql, user="qa").rows == [("L1", "P", "Acme"), ("L2", "Q", "Bolt")]


def test_a_table_with_deletion_vectors_is_refused(people: Engine, settings: Settings) -> None:
    """The protocol action is written by hand as Spark writes it: reading the files alone would bring deleted rows back."""
    uri = Path(settings.table_uri("silver", "lots"))
    deltalake.write_deltalake(str(uri), pa.table({"lot_id": ["L1"]}))
    features = ["deletionVectors"]
    protocol = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}}
    (uri / "_delta_log" / "00000000000000000001.json").write_text(json.dumps(protocol) + "\n")
    with pytest.raises(QueryRefusedError, match="deletionVectors"):
        QueryGateway(settings, people).run("SELECT * FROM silver.lots", user="qa")


def test_answers_are_cut_and_say_so(people: Engine, lots: Settings) -> None:
    gateway = QueryGateway(lots, people, limits=GatewayLimits(rows=2))
    cut = gateway.run("SELECT lot_id FROM silver.lots ORDER BY 1 DESC", user="qa")
    assert (cut.rows, cut.truncated) == ([("L3",), ("L2",)], True)
    assert not gateway.run("SELECT lot_id FROM silver.lots LIMIT 2", user="qa").truncated
    assert gateway.run("SELECT lot_id FROM silver.lots LIMIT 1000", user="qa").truncated
    assert gateway.run("(SELECT lot_id FROM silver.lots) UNION ALL (SELECT lot_id FROM silver.lots)", user="qa").truncated
    small = QueryGateway(lots, people, limits=GatewayLimits(answer_bytes=1))
    assert small.run("SELECT lot_id FROM silver.lots", user="qa").truncated


def test_a_long_query_is_stopped(people: Engine, lots: Settings) -> None:
    write_table(lots, "silver.lots", [{"lot_id": f"N{number}", "recorded_at_utc": AT} for number in range(2000)])
    gateway = QueryGateway(lots, people, limits=GatewayLimits(seconds=0.3))
    begun = time.monotonic()
    with pytest.raises(QueryFailedError, match="stopped"):
        gateway.run("SELECT count(*) FROM silver.lots a, silver.lots b, silver.lots c WHERE a.lot_id || b.lot_id < c.lot_id", user="qa")
    assert time.monotonic() - begun < 20


def test_threads_share_a_gateway(gateway: QueryGateway) -> None:
    wrong: list[Any] = []

    def ask(user: str, customer: str) -> None:
        for _ in range(5):
            rows = gateway.run("SELECT customer FROM silver.lots WHERE lot_id = 'L3'", user=user).rows
            if rows != [(customer,)]:
                wrong.append(rows)

    threads = [threading.Thread(target=ask, args=person) for person in (("qa", "Bolt"), ("analyst", "***"), ("qa", "Bolt"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '/tmp/lab_should_not_exist.csv'",
        "ATTACH '/tmp/lab_should_not_exist.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET allowed_paths = ['/etc/passwd']",
        "SELECT * FROM python_secret",
    ],
)
def test_the_second_wall_holds_without_the_first(lots: Settings, sql: str) -> None:
    """The snapshot itself, given text that no gateway would pass on."""
    python_secret = pa.table({"a": [1]})
    snapshot = Snapshot([open_for_query(lots, contract("silver.lots")).as_relation("lab_lots")], memory="256MB", threads=1)
    assert snapshot.cursor().execute('SELECT count(*) FROM "lab_lots"').fetchone() == (3,)
    with pytest.raises(duckdb.Error):
        snapshot.cursor().execute(sql)
    assert python_secret.num_rows == 1


def test_the_allow_list_names_no_way_to_files_or_settings() -> None:
    words = " ".join(allow_list().nodes | allow_list().functions).lower()
    assert not any(
        word in words for word in ("read", "scan", "glob(", "file", "env", "setting", "copy", "attach", "pragma", "lambda", "command")
    )


def test_a_checked_query_tells_its_tables() -> None:
    query = check_query(
        "WITH c AS (FROM silver.lots) SELECT lot_id FROM c JOIN SILVER.injections USING (lot_id)", {"silver.lots", "silver.injections"}
    )
    assert query.tables == ("silver.injections", "silver.lots")
    assert check_query("SELECT count(*), lot_id FROM silver.lots GROUP BY 2", {"silver.lots"}).mentions("lot_id")
    assert not check_query("SELECT count(*), lot_id FROM silver.lots GROUP BY 2", {"silver.lots"}).mentions("customer")
