"""Who may call what: every route declares its privilege, and each role gets what the policy says."""

from __future__ import annotations

import time

import pytest

from lab_assets.contracts.all_contracts import contracts
from lab_assets.governance.grants import Stewardship
from lab_assets.governance.users import set_disabled
from lab_assets.service.auth import COOKIE, Open, Requires, csrf_token
from lab_assets.service.limits import RateLimiter
from lab_assets.service.pages import SignedIn
from lab_assets.service.table_cache import read_rows

ROLES = ("viewer", "analyst", "scientist", "qc_lead", "qa", "admin")
SCORE = {"checkpoint_pct": 50, "features": {"ih_tailing": 1.1}}
EVERYBODY = set(ROLES)
READERS = EVERYBODY - {"viewer"}
AUDITORS = {"qa", "admin"}

MATRIX = [
    ("POST", "/v1/score", {"json": SCORE}, READERS),
    ("GET", "/v1/predictions/p-unknown", {}, READERS),
    ("GET", "/v1/decisions/d-unknown", {}, READERS),
    ("POST", "/v1/query", {"json": {"sql": "SELECT lot_id FROM gold.lot_disposition"}}, EVERYBODY),
    ("GET", "/v1/catalog/tables", {}, EVERYBODY),
    ("GET", "/v1/catalog/search?q=lot", {}, EVERYBODY),
    ("GET", "/v1/catalog/tables/silver.lots", {}, EVERYBODY),
    ("GET", "/v1/models/oos_risk", {}, EVERYBODY),
    ("GET", "/v1/models/oos_risk/serving", {}, EVERYBODY),
    ("GET", "/v1/approvals", {}, EVERYBODY),
    ("GET", "/v1/audit/entries", {}, AUDITORS),
    ("GET", "/v1/audit/verify", {}, AUDITORS),
    ("GET", "/v1/me", {}, EVERYBODY),
    ("GET", "/", {}, EVERYBODY),
    ("GET", "/live", {}, EVERYBODY),
]
OPEN = {"/healthz", "/readyz", "/metrics", "/v1/login", "/signin"}
DOCS = {"/openapi.json", "/docs", "/docs/oauth2-redirect"}


def _routes(app):
    for route in app.routes:
        found = route.effective_route_contexts() if hasattr(route, "effective_route_contexts") else [route]
        yield from (one for one in found if not str(getattr(one, "path", "")).startswith("/static") and getattr(one, "path", None))


def _guards(dependant):
    for one in dependant.dependencies:
        if isinstance(one.call, Requires | SignedIn | Open):
            yield one.call
        yield from _guards(one)


def test_every_route_declares_what_it_needs(client):
    """A route without exactly one guard fails here; only health and sign-in are open."""
    seen = {}
    for route in _routes(client.app):
        if route.path in DOCS:
            continue
        guards = list(_guards(route.dependant))
        assert len(guards) == 1, f"{route.path} has {len(guards)} guards"
        seen[route.path] = guards[0]
    assert {path for path, guard in seen.items() if isinstance(guard, Open)} == OPEN
    assert len(seen) >= 20


def test_the_matrix_names_every_guarded_route(client):
    """So that a new route cannot be forgotten in the matrix below."""
    paths = {route.path for route in _routes(client.app)} - OPEN - DOCS
    named = {path.partition("?")[0] for _, path, _, _ in MATRIX}
    elsewhere = {"/v1/runs/{injection_id}/trace", "/v1/logout", "/signout", "/predictions/{prediction_id}"}
    matched = {
        path for path in paths for name in named
        if len(path.split("/")) == len(name.split("/"))
        and all(a == b or a.startswith("{") for a, b in zip(path.split("/"), name.split("/"), strict=True))
    }  # fmt: skip
    missing = sorted(paths - matched - elsewhere)
    assert not missing, f"add a line to MATRIX, who may call it: {', '.join(missing)}"
    assert paths - matched == elsewhere


@pytest.mark.parametrize(("method", "path", "options", "allowed"), MATRIX, ids=lambda value: value if isinstance(value, str) else "")
def test_each_role_gets_what_the_policy_says(client, method, path, options, allowed):
    for role in ROLES:
        answer = client.request(method, path, user=role, **options)
        assert (answer.status_code != 403) == (role in allowed), f"{role} {path}: {answer.status_code} {answer.text[:200]}"
        assert answer.status_code < 500
    nobody = client.request(method, path, follow_redirects=False, **options)
    assert nobody.status_code == (303 if path == "/" else 401)


def test_no_route_shows_what_is_masked(client):
    """No answer of a route above, to anybody, holds a text of a column that this person does not see in clear."""
    held = {}
    for name, table in contracts().items():
        if tagged := [column for column in table.tagged_columns() if table.column(column).kind == "string"]:
            held[name] = {
                column: {row[column] for row in read_rows(client.lab.settings, name, columns=tagged)} - {None, ""} for column in tagged
            }
    assert "Ann Analyst" in held["silver.injections"]["analyst"]
    assert "Secret Customer" in held["silver.lots"]["customer"]
    shown = []
    for role in ROLES:
        policy = client.state.policy.current()
        hidden = {
            text for name, columns in held.items() for column in policy.masked_columns(role, name) for text in columns.get(column, ())
        }
        hidden -= {*ROLES}  # accounts of the small laboratory are called like the roles, which pages name
        for method, path, options, _ in MATRIX:
            answer = client.request(method, path, user=role, **options).text
            shown += [f"{method} {path} shows {role} the masked text {text!r}" for text in hidden if text in answer]
    assert shown == []


def test_a_viewer_may_not_send_a_trace(client):
    assert client.post("/v1/runs/i-9/trace", user="viewer", json={}).status_code == 403


@pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer ", "Basic YTpi", "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer " + "x" * 5000])
def test_tokens_that_are_not_ours_are_refused(client, header):
    answer = client.get("/v1/me", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_unknown_user_and_bad_password_get_the_same_answer(client):
    unknown = client.post("/v1/login", json={"user": "nobody-here", "password": "x" * 14})
    wrong = client.post("/v1/login", json={"user": "viewer", "password": "x" * 14})
    assert unknown.status_code == wrong.status_code == 401
    assert unknown.json() == wrong.json()


@pytest.mark.parametrize("body", [{}, {"user": "qa"}, {"user": 1, "password": "x"}, {"user": "qa", "password": "x", "admin": True}])
def test_a_sign_in_is_read_strictly(client, body):
    assert client.post("/v1/login", json=body).status_code == 422


def test_sign_in_is_rate_limited_by_name(client):
    """Ten tries at once use the name's tokens up; then a wait is answered and no password is looked at."""
    limiter = client.state.access._by_name
    assert [limiter.take("guess.me", now_s=time.monotonic()) for _ in range(10)] == [0.0] * 10
    answer = client.post("/v1/login", json={"user": "guess.me", "password": "y" * 14})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 7


def test_tokens_of_a_limiter_come_back_with_time():
    """30 a minute is one every 2 s."""
    limiter = RateLimiter(burst=1, per_minute=30)
    assert [limiter.take("a", now_s=at) for at in (0.0, 0.5, 2.0)] == [0.0, 1.5, 0.0]
    assert limiter.take("b", now_s=2.0) == 0.0


def test_a_browsers_change_needs_the_sessions_token(client):
    token = client.token("analyst")
    cookie = {"Cookie": f"{COOKIE}={token}"}
    assert client.get("/v1/me", headers=cookie).status_code == 200
    assert client.post("/v1/score", json=SCORE, headers=cookie).status_code == 403
    assert client.post("/v1/score", json=SCORE, headers=cookie | {"X-CSRF-Token": "0" * 64}).status_code == 403
    assert client.post("/v1/score", json=SCORE, headers=cookie | {"X-CSRF-Token": csrf_token(token)}).status_code == 200


def test_signing_out_ends_the_session_everywhere(client):
    answer = client.post("/v1/login", json={"user": "qc_lead", "password": client.lab.passwords["qc_lead"]})
    bearer = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert client.get("/v1/me", headers=bearer).status_code == 200
    assert client.post("/v1/logout", headers=bearer).status_code == 204
    assert client.get("/v1/me", headers=bearer).status_code == 401
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_disabled_account_is_out_within_a_second(client):
    headers = {"Authorization": f"Bearer {client.token('scientist')}"}
    assert client.get("/v1/me", headers=headers).status_code == 200
    set_disabled(client.lab.engine, "scientist", disabled=True, actor="admin", reason="leaves")
    try:
        time.sleep(0.6)
        assert client.get("/v1/me", headers=headers).status_code == 401
    finally:
        set_disabled(client.lab.engine, "scientist", disabled=False, actor="admin", reason="is back")
        client._tokens.pop("scientist")


def test_health_needs_nobody_and_tells_nothing_of_the_laboratory(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "model_version": "1", "problems": []}
    text = client.get("/metrics").text
    assert "lab_predictions_total" in text
    assert "LOT-1" not in text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"sql": "SELECT 1", "user": "qa"}, 422),
        ({"sql": 7}, 422),
        ({"sql": "SELECT * FROM read_csv('/etc/passwd')"}, 403),
        ({"sql": "DROP TABLE silver.lots"}, 403),
        ({"sql": "SELECT CAST(lot_id AS INT) FROM gold.lot_disposition"}, 422),
    ],
)
def test_sql_that_may_not_run_is_refused_with_a_reason(client, body, status):
    answer = client.post("/v1/query", user="analyst", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert "LOT-1" not in answer.text


def test_masks_follow_the_role_through_sql(client):
    sql = {"sql": "SELECT customer, formulation FROM silver.lots"}
    assert client.post("/v1/query", user="qa", json=sql).json()["rows"] == [["Secret Customer", "secret"]]
    assert client.post("/v1/query", user="analyst", json=sql).json()["rows"] == [["***", "***"]]


def test_the_catalogue_shows_tags_that_were_decided_here(client):
    """Those of the contract and those that a steward has set: both mask."""
    change = Stewardship(client.lab.engine, actor="admin")

    def tags():
        columns = client.get("/v1/catalog/tables/silver.lots", user="analyst").json()["columns"]
        return {column["name"]: (column["tags"], column["masked_for_you"]) for column in columns if column["tags"]}

    before = tags()
    assert before["customer"] == (["customer"], True)
    change.set_tag("silver.lots.product", "formulation", present=True, reason="tells the recipe")
    try:
        assert tags() == before | {"product": (["formulation"], True)}
    finally:
        change.set_tag("silver.lots.product", "formulation", present=False, reason="end")


def test_unknown_tables_and_models_are_not_found(client):
    assert client.get("/v1/catalog/tables/silver.nothing", user="qa").status_code == 404
    assert client.get("/v1/models/other", user="qa").status_code == 404
    assert client.get("/v1/approvals?status=odd", user="qa").status_code == 422


def test_people_in_the_approvals_ledger_are_masked_like_any_name(client):
    assert client.get("/v1/models/oos_risk", user="qa").json()[0]["trained_by"] == "scientist"
    assert client.get("/v1/models/oos_risk", user="analyst").json()[0]["trained_by"].startswith("person-")


def test_a_hidden_feature_is_hidden_in_predictions_explanations_and_pages(client):
    """A tag set on a feature's column hides its value, its part and its name in words from who is not cleared."""
    answered = client.post("/v1/score", user="analyst", json={"checkpoint_pct": 50, "features": {"worst_margin_so_far": -2.5}}).json()
    path = f"/v1/predictions/{answered['prediction_id']}?explain=true"
    change, column = Stewardship(client.lab.engine, actor="admin"), "features.injection_progress.worst_margin_so_far"
    change.set_tag(column, "formulation", present=True, reason="trade secret")
    try:
        shown = client.get(path, user="analyst").json()
        assert shown["features"]["worst_margin_so_far"] is None
        assert "-2.5" not in client.get(path, user="analyst").text
        assert client.get(path, user="qa").json()["features"]["worst_margin_so_far"] == -2.5
        assert "-2.5" not in client.get(f"/predictions/{answered['prediction_id']}", user="analyst").text
        decision = client.get(f"/v1/decisions/d-{answered['prediction_id']}", user="analyst").text
        assert "smallest margin" not in decision
        assert "worst_margin" not in decision
    finally:
        change.set_tag(column, "formulation", present=False, reason="end")


def test_an_empty_text_is_masked_as_in_sql(client):
    """Whether there is a customer is hidden like who it is; a number has no stand-in, and what carries no tag stays."""
    change = Stewardship(client.lab.engine, actor="admin")
    change.set_tag("silver.lots.batch_size_kg", "customer", present=True, reason="tells the customer")
    try:
        row = {"lot_id": "LOT-9", "customer": None, "formulation": "secret", "batch_size_kg": 2.0, "site": None}
        shown = client.state.views.masked("silver.lots", row, user="analyst")
        assert shown == {"lot_id": "LOT-9", "customer": "***", "formulation": "***", "batch_size_kg": None, "site": None}
        sql = {"sql": "SELECT site, customer, batch_size_kg FROM silver.lots"}
        assert client.post("/v1/query", user="analyst", json=sql).json()["rows"] == [[None, "***", None]]
    finally:
        change.set_tag("silver.lots.batch_size_kg", "customer", present=False, reason="end")
