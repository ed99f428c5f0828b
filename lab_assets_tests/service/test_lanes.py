"""Places are shared between people and bounded; nobody's work fills another kind's, and what is refused says when to come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from lab_assets.service.fresh import FreshCache
from lab_assets.service.gate import LEAST_SCORES
from lab_assets.service.lanes import Lane, Lanes, Pace
from lab_assets.service.latency_limit import LatencyLimit
from lab_assets.service.problems import ProblemError, problem_response


def lane(**changed) -> Lane:
    return Lane("pages", **({"places": 2, "each": 1, "waiting": 4, "waiting_each": 3, "wait_s": 30} | changed))


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110  what happens sets no event
            await asyncio.sleep(0.001)


def held(one: Lane, person: str, order: list[str], free: asyncio.Event) -> asyncio.Task[None]:
    """A request that keeps its place until it is let go, and says when it got it."""

    async def work() -> None:
        async with one.place(person):
            order.append(person)
            await free.wait()

    return asyncio.get_running_loop().create_task(work())


def test_one_person_never_holds_every_place() -> None:
    async def try_it() -> None:
        one, order, free = lane(), [], asyncio.Event()
        tasks = [held(one, "ann", order, free) for _ in range(3)]
        await until(lambda: one.waiting == 2)
        tasks.append(held(one, "bob", order, free))
        await until(lambda: one.running == 2)
        assert order == ["ann", "bob"]
        free.set()
        await asyncio.gather(*tasks)
        assert (one.running, one.waiting) == (0, 0)

    asyncio.run(try_it())


def test_places_go_round_between_people() -> None:
    """Ann asked three times before Bob did once: Bob comes after her next one, not after all of hers."""

    async def try_it() -> None:
        one, order, first, free = lane(places=1), [], asyncio.Event(), asyncio.Event()
        free.set()
        tasks = [held(one, "cid", order, first)]
        await until(lambda: one.running == 1)
        for number, person in enumerate(("ann", "ann", "ann", "bob"), 1):
            tasks.append(held(one, person, order, free))
            await until(lambda wanted=number: one.waiting == wanted)
        first.set()
        await asyncio.gather(*tasks)
        assert order == ["cid", "ann", "bob", "ann", "ann"]

    asyncio.run(try_it())


@pytest.mark.parametrize(
    ("people", "status", "words"), [("ann ann ann ann", 429, "3 of yours wait"), ("ann bob cid dan eve", 503, "too many pages")]
)
def test_who_waits_is_bounded_and_told_when_to_come_back(people: str, status: int, words: str) -> None:
    async def try_it() -> None:
        one, order, free = lane(places=1), [], asyncio.Event()
        tasks = [held(one, "first", order, free)]
        await until(lambda: one.running == 1)
        *waiting, last = people.split()
        tasks += [held(one, person, order, free) for person in waiting]
        await until(lambda: one.waiting == len(waiting))
        with pytest.raises(ProblemError, match=words) as refused:
            await one.run(last, lambda: None)
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (status, "1")
        free.set()
        await asyncio.gather(*tasks)

    asyncio.run(try_it())


def test_waiting_ends_and_takes_nothing_with_it() -> None:
    async def try_it() -> None:
        one, order, free = lane(places=1, wait_s=0.01), [], asyncio.Event()
        tasks = [held(one, "ann", order, free)]
        await until(lambda: one.running == 1)
        with pytest.raises(ProblemError, match="no place within"):
            await one.run("bob", lambda: None)
        left = asyncio.get_running_loop().create_task(one.run("cid", lambda: None))
        await until(lambda: one.waiting == 1)
        left.cancel()
        await asyncio.wait((left,))
        assert (one.running, one.waiting) == (1, 0)
        free.set()
        await asyncio.gather(*tasks)
        assert await one.run("bob", lambda: 7) == 7

    asyncio.run(try_it())


def test_refusals_leave_at_a_pace() -> None:
    """100 a second: the first at once, the next 10 ms later each, none later than 20 ms."""
    pace = Pace(per_s=100, longest_s=0.02)
    assert [round(pace.delay_s(5.0), 3) for _ in range(5)] == [0.0, 0.01, 0.02, 0.02, 0.02]
    assert pace.delay_s(6.0) == 0.0


def test_scores_pages_sql_and_sign_ins_do_not_wait_for_one_another(client) -> None:
    """Every place for pages, traces and sign-ins is held by work that does not end, and the threads of people's look-ups as well."""
    state, free = client.state, threading.Event()
    token = client.token("analyst")
    score = {"checkpoint_pct": 50, "features": {"ih_tailing": 1.1}}

    async def hold() -> list[asyncio.Task]:
        lanes: Lanes = state.lanes
        create = asyncio.get_running_loop().create_task
        tasks = [
            create(one.run(f"person-{number}", free.wait))
            for one in (lanes.pages, lanes.traces, lanes.sign_in)
            for number in range(one.places)
        ]
        tasks += [create(state.access._in_thread("people", free.wait)) for _ in range(2)]
        await until(lambda: all(one.running == one.places for one in (lanes.pages, lanes.traces, lanes.sign_in)))
        return tasks

    tasks = client.run(hold())
    try:
        state.access._sessions.drop(token)  # so that it must be looked up anew
        answer = client.post("/v1/score", json=score, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        text = client.get("/metrics").text
        assert 'lab_working{kind="pages"} 3.0' in text
        assert f'lab_places{{kind="scores"}} {float(LEAST_SCORES)}' in text
    finally:
        free.set()
        client.run(asyncio.gather(*tasks))


def test_a_large_body_is_not_read_on_the_event_loop(client) -> None:
    """With the threads for traces held, a body of 20 kB waits, a score does not; then its fields are named as ever."""
    state, free = client.state, threading.Event()
    score = {"checkpoint_pct": 50, "features": {"ih_tailing": 1.1}}
    large = score | {"unknown": "x" * 20_000}
    headers = {"Authorization": f"Bearer {client.token('analyst')}"}

    async def try_it() -> tuple[int, str]:
        create, lane = asyncio.get_running_loop().create_task, state.lanes.traces
        tasks = [create(lane.run(f"person-{number}", free.wait)) for number in range(lane.places)]
        asked = create(client._http.post("/v1/score", json=large, headers=headers))
        await until(lambda: lane.waiting == 1)
        answered = await client._http.post("/v1/score", json=score, headers=headers)
        free.set()
        await asyncio.gather(*tasks)
        return answered.status_code, (await asked).text

    status, text = client.run(try_it())
    assert status == 200
    assert "unknown field" in text


def test_what_is_refused_for_now_says_when_to_come_back(client) -> None:
    """Whatever raises it, and readiness as well."""
    assert [problem_response(ProblemError(status, "no")).headers.get("retry-after") for status in (429, 503, 422)] == ["1", "1", None]
    state = client.state
    state.log.last_error = "the disk is full"
    try:
        answer = client.get("/readyz")
    finally:
        state.log.last_error = None
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_the_limit_of_scores_follows_their_latency() -> None:
    """Quiet 1 ms. Eight at once that take 1 ms each do not wait for one another: more. At 10 ms each most of them only wait: fewer."""
    limit = LatencyLimit(least=8, most=64)
    limit.observe(0.001, at_once=1)
    for _ in range(200):
        limit.observe(0.001, at_once=limit.now)
    assert limit.now == 64
    for _ in range(400):
        limit.observe(0.010, at_once=limit.now)
    assert limit.now == 8


def test_a_crowd_never_makes_itself_look_quiet() -> None:
    """However long 100 ms are usual, quiet latency is what a request had that was alone; and an unreached limit stays."""
    limit = LatencyLimit(least=8, most=64)
    limit.observe(0.001, at_once=1)
    for _ in range(10_000):
        limit.observe(0.100, at_once=8)
    assert (limit.now, limit.quiet_s) == (8, 0.001)
    limit.observe(0.001, at_once=2)
    assert limit.now == 8


def test_an_answer_is_asked_for_once_however_many_wait() -> None:
    async def try_it() -> None:
        cache: FreshCache[str, int] = FreshCache(fresh_s=100, most=10)
        asked, answered = [], asyncio.Event()

        async def ask() -> int:
            asked.append(1)
            await answered.wait()
            return len(asked)

        waiting = [asyncio.ensure_future(cache.get("key", ask)) for _ in range(50)]
        await until(lambda: bool(asked))
        answered.set()
        assert await asyncio.gather(*waiting) == [1] * 50
        assert (await cache.get("key", ask), cache.last("key"), len(asked)) == (1, 1, 1)
        cache.drop("key")
        assert (await cache.get("key", ask), cache.last("other")) == (2, None)

    asyncio.run(try_it())


def test_an_answer_asked_for_before_it_was_dropped_is_not_kept() -> None:
    """As when somebody signs out while their session is being looked up."""

    async def try_it() -> None:
        cache: FreshCache[str, str] = FreshCache(fresh_s=100, most=10)
        go = asyncio.Event()

        async def old() -> str:
            await go.wait()
            return "alive"

        async def new() -> str:
            return "ended"

        before = asyncio.ensure_future(cache.get("token", old))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cache.drop("token")
        go.set()
        assert await before == "alive"
        assert await cache.get("token", new) == "ended"

    asyncio.run(try_it())
