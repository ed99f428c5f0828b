"""Setting tables back leaves no hole: what the next run makes equals a rebuild, and what a run wrote can be taken back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer

from lab_assets.cli.main import app
from lab_assets.contracts.all_contracts import contract, contracts
from lab_assets.contracts.bronze import LIMS_LOTS
from lab_assets.contracts.ml import DECISIONS, ONLINE_LOG, PREDICTIONS
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.maintenance import maintain
from lab_assets.orchestration.jobs import JOBS
from lab_assets.stations.all_stations import STATIONS, stations
from lab_assets.stations.ml.predictions import Scoring, score_waiting
from lab_assets.stations.restoring import RestoringError, rebuild, require_made, restore, rests_on
from lab_assets.stations.rollback import rollback, rollback_plan, run_named, runs
from lab_assets.stations.runner import has_news, mark_anew, update
from lab_assets_tests.stations.ml.models import put_into_service
from lab_assets_tests.stations.small_laboratory import copied, made_in, opened, rows_of, run_stations, write_files

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small laboratory whose files went through every station."""
    return made_in(tmp_path_factory.mktemp("restoring") / "lab")


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Iterator[Lakehouse]:
    with opened(copied(made, tmp_path / "lab")) as lake:
        yield lake


def content(lake: Lakehouse) -> dict[str, list[dict[str, Any]]]:
    return {station.name: rows_of(lake, station.target).to_dicts() for station in STATIONS}


def without_batches(held: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Leave out in which batch something came."""
    return {name: [{key: value for key, value in row.items() if key != "ingest_batch"} for row in rows] for name, rows in held.items()}


RESTORED = ("silver.lots", "silver.injections", "silver.peaks", "silver.results", "features.injection_progress", "gold.lot_disposition")


@pytest.mark.parametrize("name", RESTORED)
def test_a_restored_table_is_whole_again_after_the_next_run(lake: Lakehouse, name: str) -> None:
    """Back to the empty table; then one run of the stations: every table is as it was, as if nothing had been set back."""
    before = content(lake)
    done = restore(lake, contract(name), 0)
    assert lake.row_count(contract(name)) == 0
    assert (done.anew, has_news(lake, stations()[name])) == (True, True)
    run_stations(lake)
    assert content(lake) == before


def test_tables_that_rest_on_a_restored_one_are_named_in_flow_order(lake: Lakehouse) -> None:
    done = restore(lake, contract("silver.lots"), 0)
    assert done.rests_on_it == ["gold.lot_disposition", "gold.method_trends", "gold.exceptions", "gold.time_to_release"]
    assert rests_on({"silver.peaks"})[0] == "silver.results"
    assert rests_on({"silver.peaks"})[-1] == PREDICTIONS.full_name
    assert rests_on({"gold.exceptions"}) == []


def test_a_rebuild_of_what_is_right_writes_nothing(lake: Lakehouse) -> None:
    done = rebuild(lake, "silver.results")
    assert (done.outcome.changed, done.outcome.version, done.added.height, done.removed.height) == (0, done.before, 0, 0)
    assert done.outcome.groups > 0


def test_a_rebuild_mends_what_was_changed_by_hand_and_says_what_differed(lake: Lakehouse) -> None:
    """One peak is taken out by another program: the rebuild brings exactly this row back."""
    peaks = contract("silver.peaks")
    before = rows_of(lake, peaks)
    lost = before.row(3, named=True)
    key = " AND ".join(f"`{name}` = {lost[name]!r}" for name in peaks.primary_key)
    lake.delete(peaks, key)
    assert lake.row_count(peaks) == before.height - 1
    done = rebuild(lake, "silver.peaks")
    assert (done.added.height, done.removed.height, done.outcome.changed) == (1, 0, 1)
    assert done.added.select(peaks.primary_key).row(0) == tuple(lost[name] for name in peaks.primary_key)
    assert rows_of(lake, peaks).equals(before)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bronze.chromatograms", "holds what files say"),
        ("ml.predictions", "the job 'score_batch' scores every run again"),
        ("ml.training_sets", "the job 'train' freezes a new one"),
        ("governance.audit", "the job 'refresh_gold'"),
    ],
)
def test_what_no_station_makes_is_not_made_anew(name: str, words: str) -> None:
    with pytest.raises(RestoringError, match=words):
        require_made(name)


def test_what_is_named_in_place_of_a_rebuild_is_there() -> None:
    """Every command with its words in capitals as arguments, and every job."""
    named = 0
    for name in contracts():
        try:
            require_made(name)
        except RestoringError as error:
            said = str(error)
        else:
            continue
        jobs = set(re.findall(r"the job '(\w+)'", said))
        assert jobs <= {job.name for job in JOBS}
        named += len(jobs)
        for words in re.findall(r"'lab ([^']+)'", said):
            named += 1
            command: Any = typer.main.get_command(app)
            given = words.split()
            while hasattr(command, "commands"):
                command = command.commands[given.pop(0)]
            options = {option for each in command.params for option in each.opts}
            arguments = [each for each in command.params if each.param_type_name == "argument"]
            assert {word for word in given if word.startswith("--")} <= options, words
            wanted = [each for each in arguments if each.required]
            assert len(wanted) <= len([word for word in given if word.isupper()]) <= len(arguments), words
    assert named > 20


def test_bronze_is_set_back_only_by_force_and_its_rows_leave_every_table(lake: Lakehouse) -> None:
    before = lake.version(LIMS_LOTS)
    with pytest.raises(RestoringError, match=rf"'lab table restore bronze\.lims_lots {before} --force' takes it back"):
        restore(lake, LIMS_LOTS, 0)
    assert lake.version(LIMS_LOTS) == before
    restore(lake, LIMS_LOTS, 0, force=True)
    run_stations(lake)
    assert lake.row_count(contract("silver.lots")) == 0
    restore(lake, LIMS_LOTS, before, force=True)
    run_stations(lake)
    assert lake.row_count(contract("silver.lots")) == 2


def second_run(lake: Lakehouse, run_id: str) -> dict[str, list[dict[str, Any]]]:
    """Break the peaks of the laboratory as a faulty program would, in the name of a run; return what stood before."""
    before = content(lake)
    peaks = contract("silver.peaks")
    wrong = lake.polars(peaks).with_columns(pl.col("area") * 2)
    lake.replace(peaks, wrong.to_arrow(), derivation=Derivation(inputs={"bronze.chromatograms": 1}, run_id=run_id))
    for station in STATIONS[STATIONS.index(stations()["silver.results"]) :]:
        update(lake, station, run_id=run_id)
    return before


def test_nothing_is_taken_away_of_what_people_were_answered(lake: Lakehouse) -> None:
    with pytest.raises(RestoringError, match=r"nothing is taken away from it, by force either.*lab restore DIR --only lake/ml/online_log"):
        restore(lake, ONLINE_LOG, 0, force=True)


def test_a_faulty_run_is_taken_back(lake: Lakehouse) -> None:
    """Every table it wrote is as before at once, and still so after the next run; maintenance in between is in nobody's way."""
    before = second_run(lake, "faulty-1")
    assert content(lake) != before
    for station in STATIONS:
        maintain(lake, station.target)
    plan = rollback_plan(run_named(lake, "faulty"))
    assert {"silver.peaks", "features.injection_progress"} <= set(plan.set_back)
    assert plan.made_anew == []
    done = rollback(lake, plan, at_utc=NOW)
    assert set(done.set_back) == set(plan.set_back)
    assert content(lake) == before
    run_stations(lake)
    assert content(lake) == before


def test_what_a_run_wrote_is_made_anew_at_once_where_another_wrote_to_it_as_well(lake: Lakehouse) -> None:
    """Run 1 doubled the areas; run 2 took one peak away. Taking run 1 back keeps neither: the stations make the tables, at once."""
    before = second_run(lake, "faulty-1")
    peaks = contract("silver.peaks")
    fewer = lake.polars(peaks).slice(1)
    lake.replace(peaks, fewer.to_arrow(), derivation=Derivation(inputs={"bronze.chromatograms": 1}, run_id="later-2"))
    plan = rollback_plan(run_named(lake, "faulty-1"))
    assert (plan.set_back, plan.made_anew[0], plan.others) == ({}, "silver.peaks", ["silver.peaks"])
    done = rollback(lake, plan, at_utc=NOW)
    assert done.made_anew["silver.peaks"].changed > 0
    assert content(lake) == before
    run_stations(lake)
    assert content(lake) == before


def test_taking_a_run_back_may_be_repeated(lake: Lakehouse) -> None:
    """As after a command that was killed before it ended: a table that is back already is no reason to keep the others."""
    before = second_run(lake, "faulty-1")
    first = rollback_plan(run_named(lake, "faulty"))
    rollback(lake, first, at_utc=NOW)
    again = rollback_plan(run_named(lake, "faulty"))
    assert again == first
    rollback(lake, again, at_utc=NOW)
    assert content(lake) == before


def drop(lake: Lakehouse, files: Path, names: list[Path]) -> None:
    for name in names:
        target = lake.settings.inbox / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files / name, target)


def take_as(lake: Lakehouse, run_id: str) -> None:
    Ingestor(lake, run_id=run_id).run()
    run_stations(lake, run_id=run_id)


@pytest.mark.parametrize("first_has", ["records", "traces", "half of either"])
def test_the_first_of_two_runs_taken_back_leaves_no_table_empty_or_behind(made: Path, tmp_path: Path, first_has: str) -> None:
    """Files of both runs stay in bronze. Right after the command every table is what both give: the same as in one run, and after the next.

    Lots, samples and documents came with one of the runs alone, and most of gold is made of these and of what the other brought.
    """
    files = write_files(tmp_path / "files")
    names = sorted(path.relative_to(files) for path in files.rglob("*") if path.is_file())
    chosen = {
        "records": [name for name in names if name.parts[0] != "hplc_shimadzu"],
        "traces": [name for name in names if name.parts[0] == "hplc_shimadzu"],
        "half of either": names[::2],
    }[first_has]
    assert 0 < len(chosen) < len(names)
    with opened(made) as whole:
        both = content(whole)
    with opened(tmp_path / "lab") as lake:
        drop(lake, files, chosen)
        take_as(lake, "first-1")
        drop(lake, files, [name for name in names if name not in chosen])
        take_as(lake, "second-2")
        assert without_batches(content(lake)) == without_batches(both)
        rollback(lake, rollback_plan(run_named(lake, "first")), at_utc=NOW, run_id="back-3")
        assert without_batches(content(lake)) == without_batches(both)
        assert [station.name for station in STATIONS if has_news(lake, station)] == []
        run_stations(lake)
        assert without_batches(content(lake)) == without_batches(both)


def test_tables_that_another_run_made_of_what_is_taken_back_follow_at_once(lake: Lakehouse) -> None:
    """Run 1 takes the lots away and makes nothing else; run 2 makes the dispositions of that. Both are right again after the command."""
    before = content(lake)
    lots = contract("silver.lots")
    lake.replace(lots, lake.polars(lots).clear().to_arrow(), derivation=Derivation(inputs={"bronze.lims_lots": 1}, run_id="faulty-1"))
    update(lake, stations()["gold.lot_disposition"], run_id="later-2")
    assert content(lake)["gold.lot_disposition"] != before["gold.lot_disposition"]
    plan = rollback_plan(run_named(lake, "faulty"))
    assert (plan.set_back, plan.made_anew, plan.others) == ({}, ["silver.lots"], ["gold.lot_disposition"])
    assert plan.followed == rests_on({"silver.lots"})
    rollback(lake, plan, at_utc=NOW)
    assert content(lake) == before


def test_a_process_that_dies_between_mark_and_restore_leaves_work_and_no_hole(lake: Lakehouse) -> None:
    before = content(lake)
    mark_anew(lake, ["silver.results"], "about to be restored")
    assert has_news(lake, stations()["silver.results"])
    run_stations(lake)
    assert content(lake) == before
    assert not has_news(lake, stations()["silver.results"])


def test_runs_are_found_by_what_their_commits_say(lake: Lakehouse) -> None:
    second_run(lake, "faulty-1")
    second_run(lake, "faulty-2")
    assert [run.run_id for run in runs(lake)[:2]] == ["faulty-2", "faulty-1"]
    assert "silver.peaks" in run_named(lake, "faulty-1").written_over
    with pytest.raises(RestoringError, match="2 runs begin with 'faulty'"):
        run_named(lake, "faulty")
    with pytest.raises(RestoringError, match="no run whose id begins with 'nobody'"):
        run_named(lake, "nobody")


def prediction(name: str, *, mode: str = "batch", superseded_by: str | None = None) -> dict[str, Any]:
    ended = {"superseded_by": superseded_by, "ended_at_utc": NOW, "ended_reason": "changed"} if superseded_by else {}
    filled: dict[str, Any] = {"string": "x", "float64": 0.5, "int64": 1, "timestamp_utc": NOW}
    row = {column.name: filled.get(column.kind) for column in PREDICTIONS.columns if not column.nullable}
    return {**row, "prediction_id": name, "injection_id": f"run of {name}", "mode": mode, **ended}


def decision(name: str) -> dict[str, Any]:
    filled: dict[str, Any] = {"string": "x", "float64": 0.5, "int64": 1, "timestamp_utc": NOW, "array<string>": []}
    row = {column.name: filled.get(column.kind) for column in DECISIONS.columns if not column.nullable}
    return {**row, "decision_id": f"d-{name}", "prediction_id": name}


def test_predictions_of_a_run_end_and_those_it_superseded_wait_for_the_next_scoring(lakehouse: Lakehouse) -> None:
    """The run superseded p1 by p2 and copied p3, which the service had answered: p2 ends, p1 and p3 stay as they are."""
    lake = lakehouse
    of_run = Derivation(run_id="faulty-1")
    lake.append(PREDICTIONS, lake.local_rows(PREDICTIONS, [prediction("p1")]), derivation=Derivation(run_id="earlier"))
    lake.append(DECISIONS, lake.local_rows(DECISIONS, [decision("p1"), decision("p2")]), derivation=of_run)
    lake.append(PREDICTIONS, lake.local_rows(PREDICTIONS, [prediction("p2"), prediction("p3", mode="online")]), derivation=of_run)
    marked = lake.local_rows(PREDICTIONS, [prediction("p1", superseded_by="p2")])
    lake.replace_where(PREDICTIONS, marked, "prediction_id = 'p1'", derivation=of_run)
    done = rollback(lake, rollback_plan(run_named(lake, "faulty")), at_utc=NOW)
    assert (done.ended, done.kept) == (1, [])
    rows = {row["prediction_id"]: row for row in lake.polars(PREDICTIONS).to_dicts()}
    assert {name: row["ended_reason"] for name, row in rows.items()} == {"p1": "changed", "p2": "run faulty-1 was taken back", "p3": None}
    assert rows["p1"]["superseded_by"] == "p2"
    ended = {row["prediction_id"]: row["ended_at_utc"] for row in lake.polars(DECISIONS).to_dicts()}
    assert ended == {"p1": None, "p2": NOW}
    again = rollback(lake, rollback_plan(run_named(lake, "faulty")), at_utc=NOW)
    assert again.ended == 0


def test_the_next_scoring_makes_again_what_was_taken_back(lake: Lakehouse) -> None:
    """Predictions of a run end when it is taken back, and count again once the next scoring has made the same."""
    lake.settings.context_grace_s = 0
    bundle = put_into_service(lake)

    def score(run_id: str) -> int:
        scoring = Scoring(model_version="1", mode="batch", requested_by="test", predicted_at_utc=NOW, run_id=run_id)
        return score_waiting(lake, bundle, scoring).predictions

    def counting() -> list[str]:
        return sorted(lake.polars(PREDICTIONS, ["prediction_id"], where=pl.col("ended_at_utc").is_null())["prediction_id"])

    assert score("faulty-1") > 0
    before = counting()
    assert rollback(lake, rollback_plan(run_named(lake, "faulty")), at_utc=NOW).ended == len(before)
    assert counting() == []
    assert score("next-2") == 0, "the same features and the same model give the same predictions"
    assert counting() == before
    decided = lake.polars(DECISIONS, ["prediction_id"], where=pl.col("ended_at_utc").is_null())
    assert sorted(decided["prediction_id"]) == before


def test_of_a_chain_of_predictions_one_counts_after_a_link_is_taken_back(lakehouse: Lakehouse) -> None:
    """The run superseded p1 by p2, and a later run p2 by p3: p3 counts, so p1 does not. p5, which the service answered, superseded p4."""
    lake = lakehouse
    of_run = Derivation(run_id="faulty-1")
    lake.append(PREDICTIONS, lake.local_rows(PREDICTIONS, [prediction("p1"), prediction("p4")]), derivation=Derivation(run_id="earlier"))
    lake.append(PREDICTIONS, lake.local_rows(PREDICTIONS, [prediction("p2"), prediction("p5", mode="online")]), derivation=of_run)
    marked = [prediction("p1", superseded_by="p2"), prediction("p4", superseded_by="p5")]
    lake.replace_where(PREDICTIONS, lake.local_rows(PREDICTIONS, marked), "prediction_id IN ('p1', 'p4')", derivation=of_run)
    later = Derivation(run_id="later-2")
    lake.append(PREDICTIONS, lake.local_rows(PREDICTIONS, [prediction("p3")]), derivation=later)
    marked = [prediction("p2", superseded_by="p3")]
    lake.replace_where(PREDICTIONS, lake.local_rows(PREDICTIONS, marked), "prediction_id = 'p2'", derivation=later)
    done = rollback(lake, rollback_plan(run_named(lake, "faulty")), at_utc=NOW)
    assert done.ended == 0
    counting = {row["prediction_id"] for row in lake.polars(PREDICTIONS).to_dicts() if row["ended_at_utc"] is None}
    assert counting == {"p3", "p5"}
