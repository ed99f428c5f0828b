"""Every process of a whole laboratory killed and stopped, alone and in all pairs: ``make nemesis-pairs``, some thirty minutes."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import httpx
import psutil
import pytest

from lab_assets.compute.spark_server import SparkFiles
from lab_assets.governance.users import ensure_demo_users
from lab_assets.home_identity import place_of
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.ops.components import http_status
from lab_assets.ops.processes import stop
from lab_assets.ops.startup import bring_up
from lab_assets.ops.status import lab_status
from lab_assets.ops.supervision.watch_files import STANDBYS, Post
from lab_assets.process_identity import COMPONENT, marked
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.database import open_database, writing
from lab_assets.state.ledger import Ledger
from lab_assets_tests.chaos.people import Person
from lab_assets_tests.cli.ports import free_ports
from lab_assets_tests.no_spark import NoSparkKeeper
from lab_assets_tests.stations.ml.models import put_into_service
from lab_assets_tests.supervision.parts import lives

PAIRS = os.environ.get("LAB_NEMESIS_PAIRS", "")
"""``all``, ``none`` for each process alone, or how many cases are drawn."""

pytestmark = [
    pytest.mark.skipif(not PAIRS, reason="'make nemesis-pairs' runs it"),
    pytest.mark.timeout(7200),
    pytest.mark.spark,
    pytest.mark.e2e,
]

BACK_S = float(os.environ.get("LAB_NEMESIS_BACK_S", "60"))
SERVICE_BACK_S = float(os.environ.get("LAB_NEMESIS_SERVICE_BACK_S", "5"))
FEATURES = {"checkpoint_pct": 50, "features": {"worst_margin_so_far": -1.0, "pressure_ripple_pct": 2.5}}
SETTLED_S = 12.0
"""What worked for ten seconds is started again at once."""


class Scorer:
    """A person who asks for scores without a pause, and remembers what was no score."""

    def __init__(self, settings: Settings, password: str) -> None:
        self._person = Person(settings.service_port, "analyst", password)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask_always)
        self.failures: list[str] = []
        self.scores = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask_always(self) -> None:
        while not self._ended.wait(0.05):
            code, answer = self._person.ask("POST", "/v1/score", FEATURES)
            if code == httpx.codes.OK:
                self.scores += 1
            else:
                self.failures.append(f"{code or 'no answer'}: {answer}")


@dataclass(frozen=True)
class Laboratory:
    """A whole laboratory, and somebody who scores in it."""

    settings: Settings
    scorer: Scorer


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    ports = free_ports(3)
    settings = Settings(
        home=tmp_path_factory.mktemp("nemesis") / "lab",
        jars_dir=PROJECT_ROOT / ".jars",
        service_port=ports[0],
        dagster_port=ports[1],
        mlflow_port=ports[2],
    )
    settings.run.mkdir(parents=True)
    engine = open_database(settings)
    with writing(engine) as connection:
        passwords = ensure_demo_users(connection)
    put_into_service(Lakehouse(settings, NoSparkKeeper(settings, "the nemesis"), Ledger(engine)))
    engine.dispose()
    bring_up(settings)
    with Scorer(settings, passwords["analyst"]) as scorer:
        yield Laboratory(settings, scorer)
    stop(settings)


def processes(settings: Settings) -> dict[str, int]:
    """Each process by name, those below a component included."""
    found = {each.name: each.pid or 0 for each in lab_status(settings).components}
    found |= {name: holder.pid for name in STANDBYS if (holder := Post(settings.run, name).holder())}
    server = SparkFiles(settings).read_state()
    found["java"] = server.java_pid if server else 0
    found["mlflow's child"] = next((each.pid for each in psutil.Process(found["mlflow"]).children()), 0)
    return found


def whole(settings: Settings, without: set[int]) -> bool:
    """Return whether all is up, in processes that are none of some."""
    if not lab_status(settings).up:
        return False
    found = processes(settings)
    return all(found.values()) and len(found) == 11 and not without & set(found.values())


def within(seconds: float, settings: Settings, without: set[int]) -> float:
    began = time.monotonic()
    while not whole(settings, without):
        assert time.monotonic() < began + seconds, f"after {seconds:.0f} s: {lab_status(settings).problems}"
        time.sleep(0.2)
    return time.monotonic() - began


def served_within(seconds: float, settings: Settings) -> None:
    began = time.monotonic()
    while http_status(settings.service_port, "/healthz", timeout_s=1.0) != 200:
        assert time.monotonic() < began + seconds, f"the service is not back after {seconds:.0f} s"
        time.sleep(0.1)


def test_alone_and_in_all_pairs_everything_is_back_by_itself(laboratory: Laboratory) -> None:
    """Everything within a minute, the service within five seconds; while another process alone is gone, no score fails."""
    settings, scorer = laboratory.settings, laboratory.scorer
    names = sorted(processes(settings))
    assert len(names) == 11
    groups = [*((name,) for name in names), *itertools.combinations(names, 2)]
    cases = [(number, victims) for number in (signal.SIGKILL, signal.SIGSTOP) for victims in groups]
    if PAIRS == "none":
        cases = [case for case in cases if len(case[1]) == 1]
    elif PAIRS != "all":
        cases = random.Random(1).sample(cases, int(PAIRS))
    slowest = 0.0
    for number, victims in cases:
        within(BACK_S, settings, set())
        time.sleep(SETTLED_S)
        found = processes(settings)
        pids = {found[name] for name in victims}
        scores, failures = scorer.scores, len(scorer.failures)
        for pid in pids:
            os.kill(pid, number)
        if "service" in victims:
            served_within(SERVICE_BACK_S, settings)
        seconds = within(BACK_S, settings, pids)
        slowest = max(slowest, seconds)
        assert not any(map(lives, pids)), f"{victims} left something behind"
        if len(victims) == 1 and victims != ("service",):
            assert (scorer.failures[failures:], scorer.scores > scores) == ([], True), f"{victims} {number.name}"
        sys.stdout.write(f"{number.name} {' and '.join(victims)}: {seconds:.1f} s\n")
        sys.stdout.flush()
    ours = [each.environ().get(COMPONENT) for each in marked(place_of(settings))]
    assert ours.count("supervisor") == 3
    sys.stdout.write(f"slowest: {slowest:.1f} s; {scorer.scores} scores\n")
