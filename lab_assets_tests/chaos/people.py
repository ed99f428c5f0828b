"""People who work while mishaps happen: one who scores without pause, one who reads pages, one who queries.

Belongs here: their requests, and what was answered. Does not belong here: whether that was right (``verdict.py``).
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import httpx

from lab_assets_tests.chaos.world import World

PAUSE_S: Final = 0.05
PAGES: Final = ("/", "/live", "/v1/catalog/tables", "/v1/models/oos_risk/serving", "/v1/catalog/search?q=lot")
ASKED: Final = "LOT-OF-PEOPLE"
"""Lot of what people have scored: no file names it."""
QUERY: Final = "select lot_id, count(*) as results from silver.results group by lot_id"


@dataclass
class Answers:
    """What people were answered.

    Attributes:
        risks: By prediction whose answer arrived, the risk that it gave.
        codes: How often each kind of request got each status; 0 for no answer.
    """

    risks: dict[str, float] = field(default_factory=dict[str, float])
    codes: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])


class People:
    """Threads of people from entering to leaving the context."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answers = Answers()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._at_work, args=(work,)) for work in (self._score, self._read, self._query)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
        self.world.problems.extend(f"{thread.name} got no answer for a minute" for thread in self._threads if thread.is_alive())

    def _at_work(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - an answer that nobody expects is a problem of the laboratory, not the end of its test
            self.world.problems.append(f"{work.__name__[1:]}: {type(error).__name__}: {error}")

    def _analyst(self) -> Person:
        return Person(self.world.port, "analyst", self.world.passwords["analyst"])

    def _score(self) -> None:
        number, person = 0, self._analyst()
        while not self._ended.wait(PAUSE_S):
            number += 1
            features = {"worst_margin_so_far": number % 5 - 2.0, "pressure_ripple_pct": number % 7 + 0.5}
            body = {"injection_id": f"of-people-{number}", "lot_id": ASKED, "checkpoint_pct": 50, "features": features}
            code, answer = person.ask("POST", "/v1/score", body)
            self.answers.codes["score", code] += 1
            if code == httpx.codes.OK:
                self.answers.risks[answer["prediction_id"]] = answer["risk"]

    def _read(self) -> None:
        number, person, rng = 0, self._analyst(), random.Random(1)
        while not self._ended.wait(PAUSE_S * 4):
            number += 1
            code, _ = person.ask("GET", PAGES[number % len(PAGES)])
            self.answers.codes["page", code] += 1
            if self.answers.risks:
                self._look_up(person, rng.choice([*self.answers.risks]))

    def _look_up(self, person: Person, prediction_id: str) -> None:
        """Ask for a prediction that was answered before: it is known, and as it was."""
        code, answer = person.ask("GET", f"/v1/predictions/{prediction_id}")
        self.answers.codes["prediction", code] += 1
        risk = answer["risk"] if code == httpx.codes.OK else None
        if code == httpx.codes.NOT_FOUND or (risk is not None and risk != self.answers.risks[prediction_id]):
            self.world.problems.append(f"{prediction_id} was answered with {self.answers.risks[prediction_id]}, and later {code} {risk}")

    def _query(self) -> None:
        person = self._analyst()
        while not self._ended.wait(1.0):
            code, _ = person.ask("POST", "/v1/query", {"sql": QUERY})
            self.answers.codes["query", code] += 1


class Person:
    """One person with a session, who signs in again when it is gone."""

    def __init__(self, port: int, name: str, password: str) -> None:
        self._name, self._password = name, password
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20.0)
        self._token = ""

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return status and document of an answer; 0 where none came."""
        try:
            if not self._token:
                self._token = self._sign_in()
            answer = self._http.request(method, path, json=body, headers={"Authorization": f"Bearer {self._token}"})
        except (httpx.HTTPError, KeyError, ValueError):
            time.sleep(0.2)
            return 0, None
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._token = ""
        is_document = answer.headers.get("content-type", "").startswith("application/json")
        return answer.status_code, answer.json() if is_document else None

    def _sign_in(self) -> str:
        answer = self._http.post("/v1/login", json={"user": self._name, "password": self._password})
        return answer.json()["token"]
