from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import typer
from anyio import to_process
from click.testing import Result
from fastapi import FastAPI
from typer.testing import CliRunner

from lab_assets.cli.explain import explain, reproduce
from lab_assets.cli.score import score
from lab_assets.service.app import create_app
from lab_assets.settings import get_settings
from lab_assets_tests.service import laboratory
from lab_assets_tests.service.laboratory import NOW, Laboratory


class Client:
    """One application driven in-process, with the six people signed in as needed."""

    def __init__(self, app: FastAPI, lab: Laboratory, loop: asyncio.AbstractEventLoop) -> None:
        self.app, self.lab, self._loop = app, lab, loop
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://lab.test")
        self._tokens: dict[str, str] = {}

    def run(self, work):
        return self._loop.run_until_complete(work)

    def request(self, method: str, path: str, *, user: str | None = None, **options) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if user is not None:
            headers["Authorization"] = f"Bearer {self.token(user)}"
        self._http.cookies.clear()
        return self.run(self._http.request(method, path, headers=headers, **options))

    def get(self, path: str, *, user: str | None = None, **options) -> httpx.Response:
        return self.request("GET", path, user=user, **options)

    def post(self, path: str, *, user: str | None = None, **options) -> httpx.Response:
        return self.request("POST", path, user=user, **options)

    def token(self, user: str) -> str:
        if user not in self._tokens:
            answer = self.run(self._http.post("/v1/login", json={"user": user, "password": self.lab.passwords[user]}))
            assert answer.status_code == 200, answer.text
            self._tokens[user] = answer.json()["token"]
        return self._tokens[user]

    @property
    def state(self):
        return self.app.state.lab


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[FastAPI]:
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    made = laboratory.build(tmp_path_factory.mktemp("lab"))
    laboratory.fill_tables(made.settings)
    return made


@pytest.fixture(scope="session")
def client(lab: Laboratory) -> Iterator[Client]:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(to_process.run_sync(os.getpid))  # the pool of processes ends with the task it was made in: this one, not a test
    loop.run_until_complete(asyncio.sleep(0.5))
    app = create_app(lab.settings, clock=lambda: NOW)
    context = running(app)
    loop.run_until_complete(context.__aenter__())
    yield Client(app, lab, loop)
    loop.run_until_complete(context.__aexit__(None, None, None))
    left = asyncio.all_tasks(loop)
    for task in left:  # the pool of processes for queries ends with its task
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()


@pytest.fixture
def command(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """The three commands, where LAB_HOME is the laboratory's."""
    monkeypatch.setenv("LAB_HOME", str(lab.settings.home))
    get_settings.cache_clear()
    app = typer.Typer()
    for each in (score, explain, reproduce):
        app.command()(each)
    runner = CliRunner()
    yield lambda *arguments: runner.invoke(app, list(arguments))
    get_settings.cache_clear()


@pytest.fixture
def new_home(tmp_path: Path) -> Callable[[], Path]:
    return lambda: tmp_path / "home"
