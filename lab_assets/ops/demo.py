"""The demonstration: a simulated laboratory taken through the whole loop, safe to run again.

Belongs here: the order of the steps and what was found. Does not belong here: printing (``lab_assets.cli.demo``), the steps.

Each step looks first whether it is done, so a demonstration that was killed anywhere goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab_assets.ops.environment import child_environment
from lab_assets.ops.interrupts import interrupts_for_this_process
from lab_assets.ops.jobs import JobOutcome, quiet, run_job, run_until_done
from lab_assets.ops.warm_up import scratch_folder
from lab_assets.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from lab_assets.registry.model_records import VersionInfo

Say = Callable[[str], None]

START: Final = datetime(2024, 7, 1, tzinfo=UTC)
MONTHS: Final = 14
TRUTH: Final = "demo_truth.parquet"
GATE: Final = "ml/oos_risk: gate"
"""The check that refuses models, as a run names it."""
TOO_FEW: Final = "TooFewLabelsError"
"""What training raises where there is not enough to learn from."""


class DemoError(RuntimeError):
    """A step of the demonstration failed."""


@dataclass(kw_only=True)
class DemoReport:
    """What the demonstration did and found.

    Attributes:
        passwords: Of the demonstration users, the one time they are made.
        seconds: Duration of each step.
        arrivals: Files by final state.
        reasons: Quarantined files by rule.
        rows: Rows by table.
        metrics: Test metrics by candidate: model, baseline, base_rate, attainable.
        serving: Model version that serves.
        decisions: Three example decisions with their drivers.
        drift: Subjects compared and drifted in the last check.
        refused: Why no model went into service; empty where one did.
    """

    passwords: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    arrivals: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    serving: str = ""
    decisions: list[dict[str, Any]] = field(default_factory=list)
    drift: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


class Demo:
    """One run of the demonstration over one home."""

    def __init__(self, settings: Settings, *, lots: int, seed: int, say: Say) -> None:
        self.settings = settings
        self.lots = lots
        self.seed = seed
        self.say = say
        self.report = DemoReport()

    def run(self) -> DemoReport:
        """Take every step that is not done yet; those that need a model only where one passed the gate.

        Raises:
            DemoError: a step failed; the message names it and what to look at.
            KeyboardInterrupt: a person ended it.
        """
        with interrupts_for_this_process():
            return self._run_all()

    def _run_all(self) -> DemoReport:
        from lab_assets.state.database import open_database
        from lab_assets.state.upgrade import upgrade

        upgrade(self.settings, say=self.say)
        engine = open_database(self.settings)
        try:
            self._step("users", lambda: self._users(engine))
            self._step("simulate", self._simulate)
            self._step("ingest", lambda: self._ingest(engine))
            self._step("train", lambda: self._train(engine))
            if not self.report.refused:
                self._step("approve", lambda: self._approve(engine))
                self._step("score", lambda: self._job("score_batch"))
                self._step("drift", self._drift)
            self._step("gold", lambda: self._job("refresh_gold"))
            self._step("scrub", lambda: self._scrub(engine))
            self._step("summary", lambda: self._summary(engine))
        finally:
            engine.dispose()
        return self.report

    def _step(self, name: str, work: Callable[[], str | None]) -> None:
        self.say(f"{name} ...")
        started = time.monotonic()
        outcome = work()
        self.report.seconds[name] = time.monotonic() - started
        self.say(f"{name}: {outcome or 'done'} ({self.report.seconds[name]:.1f} s)")

    def _job(self, job: str) -> str:
        return self._ended(self._run(job))

    def _run(self, job: str, *, user: str | None = None) -> JobOutcome:
        outcome = run_job(self.settings, job, run_config=quiet(self.settings.log_level), tags={"lab/user": user} if user else None)
        if outcome.interrupted:
            raise KeyboardInterrupt
        return outcome

    def _ended(self, outcome: JobOutcome) -> str:
        if not outcome.success:
            reasons = "; ".join(f"{step}: {reason}" for step, reason in outcome.failures.items())
            raise DemoError(f"job {outcome.job} failed ({reasons}); run {outcome.run_id} in the Dagster UI says more ('lab up')")
        return f"run {outcome.run_id[:8]}"

    def _ingest(self, engine: Engine) -> str:
        from lab_assets.ops.batches import last_batch, waiting_files
        from lab_assets.ops.progress import progress_lines

        last = last_batch(engine)

        def waiting() -> int:
            found = waiting_files(self.settings, engine)
            return found["ready"] + found["refused"]

        with progress_lines(engine, last["batch"] if last else 0, waiting=waiting, say=self.say):
            return self._ended(run_until_done(lambda: self._run("ingest")))

    def _users(self, engine: Engine) -> str:
        from lab_assets.governance.users import ensure_demo_users
        from lab_assets.state.database import writing

        with writing(engine) as connection:
            self.report.passwords = ensure_demo_users(connection)
        return f"{len(self.report.passwords)} made" if self.report.passwords else "there already"

    def _simulate(self) -> str:
        """Write the laboratory's files aside and move each source into the inbox whole."""
        from lab_assets.simulation.run import simulate

        truth = self.settings.run / TRUTH
        made = self.settings.run / "demo_files"
        if truth.exists() and not made.exists():
            return "there already"
        shutil.rmtree(made, ignore_errors=True)
        with _spark_warming(self.settings):
            summary = simulate(made, seed=self.seed, n_lots=self.lots, start=START, months=MONTHS, truth_path=truth)
        for folder in sorted(made.iterdir()):
            target = self.settings.inbox / folder.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                folder.rename(target)
        shutil.rmtree(made)
        self._wait_until_finished()
        made = summary.as_json()
        return f"{made['injections']} injections of {made['lots']} lots" if {"injections", "lots"} <= made.keys() else "files written"

    def _wait_until_finished(self) -> None:
        """Files count as finished only when they have not changed for a while."""
        time.sleep(self.settings.stable_s + 0.1)

    def _train(self, engine: Engine) -> str:
        from lab_assets.registry.serving import current_serving

        serving = current_serving(engine)
        if serving is not None:
            return f"version {serving.version} serves already"
        outcome = self._run("train", user="scientist")
        if GATE in outcome.refused:
            self.report.refused = outcome.refused[GATE]
            return "the gate refused the model"
        if TOO_FEW in outcome.errors.values():
            self.report.refused = list(outcome.failures.values())
            return "too little to train on"
        return self._ended(outcome)

    def _approve(self, engine: Engine) -> str:
        """Submit as the scientist, approve and promote as QA: two people, as the policy asks."""
        from lab_assets.governance.approvals import Approvals
        from lab_assets.registry.serving import bundle_of, current_serving, mirror_ledger, registry_of

        if current_serving(engine) is not None:
            return "approved already"
        registry, approvals = registry_of(self.settings), Approvals(engine)
        version = registry.versions()[0]
        submitted = next(
            (known for known in approvals.submissions(registry.model_name, state="submitted") if known.digest == version.digest), None
        )
        if submitted is None and not any(known.digest == version.digest for known in approvals.approved_versions(registry.model_name)):
            submitted = self._submit(version)
        if submitted is not None:
            bundle_of(self.settings, submitted.digest, version=version.version)
            reason = "demonstration: gate passed, reliability looked at"
            approvals.approve(submitted.approval_id, approver="qa", evidence=submitted.evidence_digest, reason=reason, origin="demo")
        approvals.promote(registry.model_name, version.version, by="qa", reason="demonstration: first version into service", origin="demo")
        mirror_ledger(registry, engine)
        return f"version {version.version}: submitted by scientist, approved and promoted by qa"

    def _submit(self, version: VersionInfo) -> Any:
        from lab_assets.governance.approvals import Approvals
        from lab_assets.registry.serving import bundle_of, registry_of
        from lab_assets.state.database import open_database

        registry = registry_of(self.settings)
        bundle = bundle_of(self.settings, version.digest, version=version.version)
        return Approvals(open_database(self.settings)).submit(
            registry.model_name,
            version.version,
            digest=bundle.digest,
            metrics=dict(bundle.info.metrics),
            data_versions=dict(version.table_versions),
            trained_by=version.trained_by,
            submitted_by="scientist",
            reason="demonstration: first model",
            origin="demo",
        )

    def _drift(self) -> str:
        from lab_assets.stations.ml.drift_history import newest_checks

        if newest_checks(self.settings, 1):
            return "checked already; the daily schedule goes on"
        return self._job("check_drift")

    def _scrub(self, engine: Engine) -> str:
        """Hold originals and tables against their recorded digests, as the weekly schedule does."""
        from lab_assets.state.audit_chain import AuditLog

        self._job("scrub")
        (entry,) = AuditLog(engine).entries(action="integrity", limit=1)
        findings = json.loads(entry.new or "{}")
        return f"{findings['files']} originals and files of tables hashed, {len(findings['findings'])} differ"

    def _summary(self, engine: Engine) -> str:
        from lab_assets.ops.demo_summary import drift_counts, example_decisions, row_counts, test_metrics
        from lab_assets.registry.serving import current_serving
        from lab_assets.state.ledger import Ledger
        from lab_assets.state.quarantine import Quarantine

        ledger = Ledger(engine)
        serving = current_serving(engine)
        self.report.arrivals = ledger.counts()
        self.report.reasons = Quarantine(engine).counts()
        self.report.rows = row_counts(self.settings)
        self.report.serving = f"{serving.model_name} version {serving.version} (digest {serving.digest[:12]})" if serving else "none"
        self.report.metrics = test_metrics(self.settings, serving.version if serving else None, self.settings.run / TRUTH)
        self.report.decisions = example_decisions(self.settings)
        self.report.drift = drift_counts(self.settings)
        return "gathered"


@contextmanager
def _spark_warming(settings: Settings) -> Iterator[None]:
    """Start the Spark server meanwhile and send work through it, in a process of its own: reading thousands of files begins at once then."""
    warming = subprocess.Popen(
        (sys.executable, "-m", "lab_assets.ops.warm_up"),
        env=child_environment(settings, component="warm-up"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        warming.terminate()  # what is warm by now stays warm; the rest would only compete with the work itself
        warming.wait()
        shutil.rmtree(scratch_folder(settings), ignore_errors=True)


def truth_path(settings: Settings) -> Path:
    """Return where the simulator's truth lies, which the pipeline never reads."""
    return settings.run / TRUTH
