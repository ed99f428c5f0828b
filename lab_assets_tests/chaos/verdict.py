"""What has to hold after a history: nothing lost, doubled or different, and every answer on record.

Belongs here: waiting until the laboratory is quiet, the quiet laboratory beside it, the differences. Does not belong here: mishaps.
"""

from __future__ import annotations

import ast
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from lab_assets.contracts.all_contracts import contract
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets_tests.chaos.people import ASKED, Answers
from lab_assets_tests.chaos.world import World
from lab_assets_tests.no_spark import NoSparkKeeper
from lab_assets_tests.orders.laboratory import Home, contents, differences
from lab_assets_tests.stations.ml.models import bundle

QUIET_S: Final = 420.0
_OF_PEOPLE: Final = ("ml.online_log", "ml.evaluations")
_WHO: Final = frozenset({"requested_by", "mode"})


@dataclass(frozen=True)
class Verdict:
    """What did not hold; nothing in it is well.

    Attributes:
        problems: What ``lab status`` and ``lab doctor`` say, or why the laboratory did not become quiet.
        tables: By table, how many rows only this and only the quiet laboratory has, and examples.
        unrecorded: Predictions that people were answered and the log does not hold once and as they were.
        audit: Why the audit trail does not hold.
    """

    problems: list[str] = field(default_factory=list[str])
    tables: dict[str, tuple[int, int, str]] = field(default_factory=dict[str, tuple[int, int, str]])
    unrecorded: list[str] = field(default_factory=list[str])
    audit: str = ""

    def lines(self) -> list[str]:
        """Return what did not hold, for people."""
        tables = [
            f"{name}: {only} row(s) only after the history, {quiet} only in quiet\n   {rows}"
            for name, (only, quiet, rows) in self.tables.items()
        ]
        lost = (
            [f"{len(self.unrecorded)} answered prediction(s) are not on record as they were answered, or twice: {self.unrecorded[:3]}"]
            if self.unrecorded
            else []
        )
        return [*self.problems, *tables, *lost, *([self.audit] if self.audit else [])]


def judge(world: World, answers: Answers, folder: Path) -> Verdict:
    """Wait until nothing waits any more, end the laboratory, and compare it with one that took the same files in quiet."""
    if world.clock is not None and world.clock.ahead_s:
        world.clock.set(0)
    world.lab("audit", "accept-clock", "--as", "admin", "--reason", "the clock of the machine was set")
    problems = _until_quiet(world)
    world.lab("down")
    lake = Lakehouse(world.settings, NoSparkKeeper(world.settings, str(world.settings.home)), Ledger(open_database(world.settings)))
    quiet = Home(folder / "quiet", bundle(), grace_s=0.0)
    quiet.take(world.files)
    chain = AuditLog(lake.ledger.engine).verify()
    return Verdict(
        problems=[*world.problems, *problems, *_unanswered(answers)],
        tables=differences(_of_files(lake), _of_files(quiet.lake)),
        unrecorded=unrecorded(lake, answers),
        audit="" if chain.ok else f"the audit trail does not hold: {chain.reason}",
    )


def _until_quiet(world: World) -> list[str]:
    """Wait until everything runs, no file waits and no work is left."""
    ends, said = time.monotonic() + QUIET_S, ["the laboratory was never looked at"]
    while time.monotonic() < ends:
        status = world.status()
        inbox = status["inbox"] or {"ready": 1, "growing": 0}
        waiting = [f"{inbox['ready']} file(s) ready, {inbox['growing']} growing"] if inbox["ready"] or inbox["growing"] else []
        said = [*status["problems"], *waiting, *_left(world), *([] if status["up"] else ["not up"])]
        if not said:
            return []
        time.sleep(2.0)
    return [f"not quiet after {QUIET_S:.0f} s: {line}" for line in said]


def _left(world: World) -> list[str]:
    from lab_assets.stations.all_stations import stations

    ledger = Ledger(open_database(world.settings))
    try:
        open_batches, arrivals = ledger.unfinished_batches(), ledger.waiting_arrivals()
        work = ledger.work_waits((*stations(), "ml.predictions"))
    finally:
        ledger.engine.dispose()
    return [
        *([f"unfinished batches {open_batches}"] if open_batches else []),
        *([f"{arrivals} arrival(s) wait"] if arrivals else []),
        *(["a station has work left"] if work else []),
    ]


def _of_files(lake: Lakehouse) -> dict[str, list[str]]:
    """Return the contents that follow from files: without what people asked for, and without who asked."""
    table = contract("ml.predictions")
    of_people = set(lake.polars(table, ["prediction_id"], where=pl.col("lot_id") == ASKED)["prediction_id"])
    found = {name: rows for name, rows in contents(lake, without=_WHO).items() if name not in _OF_PEOPLE}
    explained = contract("ml.explanations").full_name
    found[explained] = [row for row in found[explained] if ast.literal_eval(row.partition(",")[0].lstrip("(")) not in of_people]
    return {name: [row for row in rows if ASKED not in row] for name, rows in found.items()}


def unrecorded(lake: Lakehouse, answers: Answers) -> list[str]:
    """Return predictions that the log holds twice, and those that were answered and that it does not hold as they were."""
    rows = lake.polars(contract("ml.online_log"), ["prediction_id", "risk"])
    held = dict(rows.iter_rows())
    doubled = rows.filter(rows["prediction_id"].is_duplicated())["prediction_id"].to_list()
    return [*doubled, *(prediction for prediction, risk in answers.risks.items() if held.get(prediction) != risk)]


def _unanswered(answers: Answers) -> list[str]:
    """Return the kinds of requests of which not one was answered: a history in which nobody got an answer says nothing."""
    kinds = ("score", "page", "query", "prediction")
    return [f"no {kind} was ever answered: {dict(answers.codes)}" for kind in kinds if not answers.codes[kind, 200]]
