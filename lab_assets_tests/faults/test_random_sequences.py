"""Random sequences of what happens to drop folders and runs; after each the same few promises hold."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import select

from lab_assets.contracts.bronze import CHROMATOGRAMS, FILES, QUARANTINE, VENDOR_PEAKS
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.ledger_tables import ARRIVALS
from lab_assets.stations.quality import reconciliation
from lab_assets_tests.faults.ingestion import KILLED, PLACES, Plant, plant_at, run_of

NAMES = st.sampled_from([f"{letter}.txt" for letter in "abcdef"])
CONTENTS = st.integers(0, 5).map(lambda number: run_of(f"S-{number}").encode())


class DropFolder(RuleBasedStateMachine):
    """One laboratory under a random sequence."""

    home: Path
    numbers = itertools.count()

    @initialize()
    def found(self) -> None:
        self.plant: Plant = plant_at(self.home / f"lab-{next(self.numbers)}")
        (self.plant.inbox / "hplc").mkdir()

    @property
    def held(self) -> list[Path]:
        return sorted((self.plant.inbox / "hplc").iterdir())

    @rule(name=NAMES, content=CONTENTS)
    def drop_or_overwrite(self, name: str, content: bytes) -> None:
        self.plant.drop(name, content)

    @precondition(lambda self: self.held)
    @rule(at=st.integers(0, 5))
    def drop_again(self, at: int) -> None:
        path = self.held[at % len(self.held)]
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)

    @precondition(lambda self: self.held)
    @rule(at=st.integers(0, 5), name=NAMES)
    def rename(self, at: int, name: str) -> None:
        path = self.held[at % len(self.held)]
        path.replace(path.with_name(name))

    @precondition(lambda self: self.held)
    @rule(at=st.integers(0, 5), share=st.sampled_from([0.0, 0.4, 0.7]))
    def truncate(self, at: int, share: float) -> None:
        path = self.held[at % len(self.held)]
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    @rule(place=st.sampled_from(PLACES))
    def kill(self, place: str) -> None:
        """Killed at that step, unless the run had nothing to do there."""
        done = self.plant.ingest(FAILPOINT=place)
        assert done.returncode in {0, KILLED}, done.stderr[-2000:]
        if done.returncode == 0:
            self.promises_hold()

    @rule()
    def run_twice_at_once(self) -> None:
        children = [self.plant.start(), self.plant.start()]
        ends = [(child.communicate(timeout=300), child.returncode) for child in children]
        assert 0 in {code for _, code in ends}, ends[0][0][1][-2000:]
        self.restart()

    @rule()
    def restart(self) -> None:
        Ingestor(self.plant.lake).run()
        self.promises_hold()

    def promises_hold(self) -> None:
        lake = self.plant.lake
        with lake.ledger.engine.connect() as connection:
            arrivals = list(connection.execute(select(ARRIVALS).order_by(ARRIVALS.c.arrival_id)))
        assert lake.ledger.unfinished_batches() == []
        assert {row.state for row in arrivals} <= {"committed", "quarantined", "duplicate", "discarded"}
        assert reconciliation(lake) == {}
        assert lake.row_count(FILES) == len(arrivals)

        committed = [row.file_id for row in arrivals if row.state == "committed"]
        assert len(committed) == len(set(committed)), "the same bytes were read twice"
        for table in (CHROMATOGRAMS, VENDOR_PEAKS):
            rows = dict(lake.polars(table, ["source_sha256"])["source_sha256"].value_counts().rows())
            assert rows == dict.fromkeys(committed, 2), f"{table.name}: each good file has two rows, others none"

        newest = {row.file_name: row for row in arrivals}
        for path in self.held:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert digest in {row.file_id for row in arrivals}, f"{path.name} was never taken"
            assert newest[path.name].file_id == digest, f"{path.name} holds other bytes than the ledger tells"
            assert (self.plant.settings.raw / digest[:2] / digest).exists()
        refused = {row.file_id for row in arrivals if row.state == "quarantined"}
        assert not refused & set(committed), "a file is in two final states"
        steps = lake.polars(QUARANTINE, ["arrival_id", "event"]).rows()
        assert {number for number, event in steps if event == "quarantined"} >= {
            row.arrival_id for row in arrivals if row.state == "quarantined"
        }
        assert AuditLog(lake.ledger.engine).verify().ok


def test_whatever_happens_each_record_is_there_once_and_each_file_in_one_state(tmp_path: Path) -> None:
    machine = type("OwnDropFolder", (DropFolder,), {"home": tmp_path})
    plan = settings(
        max_examples=4,
        stateful_step_count=14,
        deadline=None,
        phases=[Phase.generate],  # a step takes seconds: the sequence that failed is told as it was
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=plan)
