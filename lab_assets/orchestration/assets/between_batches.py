"""What a run does between two batches of files: takes the last one on to its scores.

Belongs here: silver, features and scores of what bronze has committed, by the functions of their own steps. Does not belong here: gold,
lineage and reports, which come once at the end of the run, in their steps.

A delivery of a hundred thousand files is a hundred batches. A trace that was dropped meanwhile comes with the next of them, and its score
need not wait for the rest. A batch of nothing but the delivery itself is taken on as often as that costs little: what is made of a few
files at a time is made again where their context comes with a later batch.
"""

import time
from typing import Final

import dagster as dg

from lab_assets.contracts.bronze import TABLES
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.scoring import ScoringConfig, score_news
from lab_assets.orchestration.assets.station_assets import brought_up_to_date, names_of
from lab_assets.stations.all_stations import stations

_SHARE: Final = 0.1
"""Largest part of a run's time that goes into taking on what nobody just dropped."""
_FIRST_S: Final = 10.0
"""What that is taken to cost before it was done once: a run of a minute or two comes to its scores as soon without it."""


class Onward:
    """Takes batches on while their run takes further ones.

    What fails is left to the run's own steps, which say so; no further batch of this run is taken on then.
    """

    def __init__(self, context: dg.AssetExecutionContext, lake: Lakehouse) -> None:
        self.context = context
        self.lake = lake
        self.stopped = ""
        self._began_s = time.monotonic()
        self._spent_s, self._last_s = 0.0, _FIRST_S

    def __call__(self, live: bool) -> None:
        """Bring silver and features up to date, and score.

        Args:
            live: Whether files came with the batch that were dropped while others waited; without, it is done only where it costs little.
        """
        started = time.monotonic()
        if self.stopped or not (live or self._spent_s + self._last_s <= _SHARE * (started - self._began_s)):
            return
        try:
            self.stopped = self._go_on()
        except Exception as error:  # noqa: BLE001 - of whatever kind, it comes again in the step whose work it is
            self.stopped = f"{type(error).__name__}: {error}"
        if self.stopped:
            self.context.log.warning("further batches are scored at the end of the run: %s", self.stopped)
        else:
            self._last_s = time.monotonic() - started
            self._spent_s += self._last_s
            self.context.log.info("taken on to scores in %.1f s", self._last_s)

    def _go_on(self) -> str:
        """Take on what is new; return what stands against it."""
        from lab_assets.stations.quality import reconciliation, violations

        if differences := reconciliation(self.lake):
            return f"ledger and tables differ: {differences}"
        for table in TABLES:
            if broken := violations(self.lake, table):
                return f"{table.full_name} breaks its contract: {broken}"
        for name in (*names_of("silver"), *names_of("features")):
            brought_up_to_date(self.context, self.lake, stations()[name])
            if broken := violations(self.lake, stations()[name].target):
                return f"{name} breaks its contract: {broken}"
        score_news(self.context, ScoringConfig(), self.lake)
        return ""
