"""The pages, as a browser gets them."""

from __future__ import annotations

import re

from lab_assets.service.auth import COOKIE


def test_somebody_unknown_is_sent_to_the_sign_in_page(client):
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin")
    page = client.get("/signin").text
    assert 'autocomplete="current-password"' in page


def test_signing_in_and_out_through_the_forms(client):
    form = {"user": "admin", "password": client.lab.passwords["admin"]}
    answer = client.post("/signin", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    token = answer.cookies[COOKIE]
    cookie = {"Cookie": f"{COOKIE}={token}"}
    page = client.get("/", headers=cookie).text
    csrf = re.search(r'name="csrf_token" value="([0-9a-f]{64})"', page).group(1)
    assert client.post("/signout", data={"csrf_token": "0" * 64}, headers=cookie).status_code == 403
    assert client.post("/signout", data={"csrf_token": csrf}, headers=cookie, follow_redirects=False).status_code == 303
    assert client.get("/v1/me", headers=cookie).status_code == 401


def test_a_sign_in_from_another_site_is_refused(client):
    form = {"user": "admin", "password": client.lab.passwords["admin"]}
    assert client.post("/signin", data=form, headers={"Origin": "http://evil.example"}).status_code == 403


def test_the_first_page_shows_runs_lots_and_exceptions(client):
    answered = client.post(
        "/v1/score", user="analyst",
        json={"injection_id": "i-page", "lot_id": "<b>LOT</b>", "checkpoint_pct": 50, "features": {"worst_margin_so_far": -3.0}},
    ).json()  # fmt: skip
    page = client.get("/", user="qc_lead").text
    assert f'href="/predictions/{answered["prediction_id"]}"' in page
    assert "&lt;b&gt;LOT&lt;/b&gt;" in page
    assert "RS-01/IMP-A" in page
    assert "IMP-A 0.71 %, limit 0.5 %" in page
    assert page.index("LOT-2") < page.index("ASSAY-01/API")  # failing lots come first
    assert "Secret Customer" not in page


def test_the_queue_shows_each_run_once_and_the_highest_risk_first(client):
    """A safe run is scored last, a doubtful one twice: its later prediction leads the page, the earlier one is gone."""

    def score(injection_id, checkpoint_pct, margin):
        answered = {
            "injection_id": injection_id,
            "lot_id": "LOT-Q",
            "checkpoint_pct": checkpoint_pct,
            "features": {"worst_margin_so_far": margin},
        }
        return client.post("/v1/score", user="analyst", json=answered).json()

    earlier, later = score("i-doubtful", 10, -3.0), score("i-doubtful", 50, -3.0)
    safe = score("i-safe", 50, 3.0)
    assert later["risk"] > safe["risk"]
    page = client.get("/", user="qc_lead").text
    assert earlier["prediction_id"] not in page
    assert page.index(later["prediction_id"]) < page.index(safe["prediction_id"])


def test_a_viewer_sees_lots_but_not_predictions(client):
    page = client.get("/live", user="viewer").text
    assert "You may not see predictions" in page
    assert "LOT-2" in page
    assert client.get("/predictions/p-x", user="viewer").status_code == 403


def test_one_prediction_shows_what_it_rests_on(client):
    answered = client.post("/v1/score", user="analyst", json={"checkpoint_pct": 50, "features": {"worst_margin_so_far": -2.0}}).json()
    page = client.get(f"/predictions/{answered['prediction_id']}", user="analyst").text
    assert client.lab.bundle.digest in page
    assert "worst_margin_so_far" in page
    assert f"lab reproduce {answered['prediction_id']}" in page
    assert client.get("/predictions/p-none", user="analyst").status_code == 404


def test_browsers_must_not_guess_frame_or_cache(client):
    headers = client.get("/signin").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert client.get("/static/lab.css").status_code == 200
    assert client.get("/static/../app.py").status_code == 404


def test_openapi_describes_every_feature(client):
    document = client.get("/openapi.json").json()
    schema = document["paths"]["/v1/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "worst_margin_so_far" in schema["properties"]["features"]["properties"]
