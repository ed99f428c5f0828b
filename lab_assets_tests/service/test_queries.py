"""People's SQL runs in processes apart: bounded, fair, ended when its asker goes, and answered as the gateway answers."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime

import orjson
import psutil
import pytest

from lab_assets.governance.gateway import QueryGateway
from lab_assets.governance.query_plan import GatewayLimits, QueryFailedError
from lab_assets.service.lanes import Lane
from lab_assets.service.problems import ProblemError
from lab_assets.service.queries import AskerGoneError, Queries
from lab_assets.state.audit_chain import AuditLog
from lab_assets_tests.service.laboratory import write

LOTS = 3000
JOIN = "SELECT count(*) FROM silver.samples a, silver.samples b, silver.samples c WHERE a.sample_name || b.sample_name < c.sample_name"
SMALL = "SELECT lot_id FROM gold.lot_disposition ORDER BY 1"


@pytest.fixture(scope="module", autouse=True)
def many(lab) -> None:
    """So many samples that joining them thrice takes hours."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    write(lab.settings, "silver.samples", [{"sample_name": f"N{number}", "recorded_at_utc": at} for number in range(LOTS)])


def queries(client, *, places: int = 2, each: int = 1, waiting_each: int = 2, **limits) -> Queries:
    bounds = GatewayLimits(**({"seconds": 60, "memory": "192MB", "threads": 1, "snapshots": 2} | limits))
    lane = Lane("queries", places=places, each=each, waiting=4, waiting_each=waiting_each, wait_s=60)
    return Queries(QueryGateway(client.lab.settings, client.lab.engine, limits=bounds), bounds, lane)


async def never() -> None:
    await asyncio.Event().wait()


def processes() -> set[int]:
    """Processes for queries."""
    found: set[int] = set()
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it has ended meanwhile
            if "anyio.to_process" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


async def until(happened) -> None:
    async with asyncio.timeout(120):
        while not happened():  # noqa: ASYNC110  what happens sets no event
            await asyncio.sleep(0.01)


def test_another_persons_query_passes_eight_that_do_not_end(client) -> None:
    """Eight cross joins of the scientist: one runs, two wait, five are refused; the analyst's answer comes meanwhile, masked as ever."""

    async def try_it() -> tuple[bytes, list[object]]:
        some = queries(client)
        joins = [asyncio.ensure_future(some.run(JOIN, user="scientist", origin="", gone=never)) for _ in range(8)]
        await until(lambda: sum(one.done() for one in joins) == 5)
        refused = [one.exception() for one in joins if one.done()]
        assert (some._lane.running, some._lane.waiting) == (1, 2)
        answered = await some.run("SELECT customer FROM silver.lots WHERE lot_id = 'LOT-1'", user="analyst", origin="", gone=never)
        for one in joins:
            one.cancel()
        await asyncio.wait(joins)
        assert (some._lane.running, some._lane.waiting) == (0, 0)
        return answered, refused

    answered, refused = client.run(try_it())
    assert orjson.loads(answered)["rows"] == [["***"]]
    for problem in refused:
        assert isinstance(problem, ProblemError)
        assert (problem.status, problem.headers["Retry-After"]) == (429, "1")


def test_a_query_ends_with_its_process_when_its_asker_goes(client) -> None:
    """Over the route: the client leaves while its query runs."""
    left, sent = asyncio.Event(), []
    body = orjson.dumps({"sql": JOIN})
    headers = [(b"authorization", f"Bearer {client.token('scientist')}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/query", "raw_path": b"/v1/query", "query_string": b"", "headers": headers,
             "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("lab", 80), "root_path": ""}  # fmt: skip
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict:
        if parts:
            return parts.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    async def try_it() -> None:
        some = client.state.queries
        await some.run(SMALL, user="scientist", origin="", gone=never)  # a process is ready
        ready = processes()
        asked = asyncio.ensure_future(client.app(scope, receive, send))
        await until(lambda: some._processes.borrowed_tokens == 1)
        left.set()
        await asyncio.wait_for(asked, 60)
        await until(lambda: len(ready & processes()) == len(ready) - 1)

    client.run(try_it())
    assert client.state.lanes.sql.running == 0
    last = AuditLog(client.lab.engine).entries(actor="scientist", action="query")[-2:]
    assert [entry.action for entry in last] == ["query.run", "query.failed"]
    assert "the client left" in (last[1].new or "")
    assert client.post("/v1/query", user="scientist", json={"sql": SMALL}).json()["rows"] == [["LOT-1"], ["LOT-2"]]


def test_who_leaves_while_waiting_takes_no_place(client) -> None:
    async def try_it() -> None:
        some, gone = queries(client, places=1), asyncio.Event()
        async with some._lane.place("somebody"):
            asked = asyncio.ensure_future(some.run(SMALL, user="analyst", origin="", gone=gone.wait))
            await until(lambda: some._lane.waiting == 1)
            gone.set()
            with pytest.raises(AskerGoneError):
                await asked
            assert some._lane.waiting == 0

    client.run(try_it())


def test_a_query_that_takes_too_long_is_stopped_and_the_next_one_runs(client) -> None:
    async def try_it() -> bytes:
        some = queries(client, seconds=0.3)
        began = time.monotonic()
        with pytest.raises(QueryFailedError, match=r"stopped after 0\.3 s"):
            await some.run(JOIN, user="analyst", origin="", gone=never)
        assert time.monotonic() - began < 30
        return await queries(client).run(SMALL, user="analyst", origin="", gone=never)

    assert orjson.loads(client.run(try_it()))["rows"] == [["LOT-1"], ["LOT-2"]]


def test_a_query_that_takes_too_much_memory_is_stopped_and_the_service_is_not(client) -> None:
    """List of 27 billion pairs: DuckDB's own bound, and the process' below it, end it; ours stays as small as it was."""
    sql = "SELECT array_agg(a.sample_name || b.sample_name || c.sample_name) FROM silver.samples a, silver.samples b, silver.samples c"
    before = psutil.Process().memory_info().rss

    async def try_it() -> None:
        with pytest.raises(QueryFailedError, match="memory"):
            await queries(client).run(sql, user="analyst", origin="", gone=never)

    client.run(try_it())
    assert psutil.Process().memory_info().rss - before < 100 << 20
    assert client.run(queries(client).run(SMALL, user="analyst", origin="", gone=never)), "what was needed before leaves room for others"


def test_processes_give_way_to_the_service_and_hold_no_database(client) -> None:
    client.run(queries(client).run(SMALL, user="analyst", origin="", gone=never))
    found = [psutil.Process(pid) for pid in processes()]
    assert any(one.nice() >= 5 for one in found)
    for one in found:
        assert not [file.path for file in one.open_files() if file.path.endswith("lab.db")]


@pytest.mark.parametrize("user", ["qa", "analyst"])
def test_the_answer_is_the_gateways(client, user: str) -> None:
    """Rows, types, masks, versions and cutting are those of the gateway in one process."""
    sql = "SELECT lot_id, customer, recorded_at_utc, sum(1) OVER () FROM silver.lots UNION ALL SELECT sample_name, '', recorded_at_utc, 1 FROM silver.samples"
    limits = GatewayLimits(rows=50, seconds=60, threads=1, memory="192MB")
    told = QueryGateway(client.lab.settings, client.lab.engine, limits=limits).run(sql, user=user)
    answer = orjson.loads(client.run(queries(client, rows=50).run(sql, user=user, origin="", gone=never)))
    assert answer["columns"] == [{"name": name, "type": kind} for name, kind in zip(told.columns, told.types, strict=True)]
    assert (len(answer["rows"]), answer["truncated"]) == (50, True) == (len(told.rows), told.truncated)
    assert answer["rows"][0] == orjson.loads(orjson.dumps(told.rows[0]))
    assert (answer["masked_columns"], answer["tables"]) == (told.masked_columns, told.tables)
    assert answer["table_versions"] == told.table_versions
