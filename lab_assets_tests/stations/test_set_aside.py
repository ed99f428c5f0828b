"""What runs fail on again and again is set aside by name; everything else is made and scored, and what was set aside can come back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from lab_assets.contracts.features import INJECTION_PROGRESS
from lab_assets.contracts.ml import PREDICTIONS
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.ops.doctor import examine
from lab_assets.ops.status import lab_status
from lab_assets.orchestration.assets import station_assets
from lab_assets.stations import set_aside
from lab_assets.stations.all_stations import stations
from lab_assets.stations.ml import predictions
from lab_assets.stations.ml.predictions import Scoring, score_waiting
from lab_assets.stations.runner import StationOutcome, has_news, mark_anew, update
from lab_assets.stations.station import Station
from lab_assets_tests.stations.ml.models import put_into_service
from lab_assets_tests.stations.small_laboratory import copied, made_in, opened, rows_of

NAME = INJECTION_PROGRESS.full_name
REASON = "ZeroDivisionError: no formula takes these points"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small laboratory whose files went through every station."""
    return made_in(tmp_path_factory.mktemp("set_aside") / "lab")


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Iterator[Lakehouse]:
    with opened(copied(made, tmp_path / "lab")) as lake:
        lake.settings.context_grace_s = 0
        yield lake


def poisoned(station: Station, *names: str, error: Callable[[str], Exception] = ZeroDivisionError) -> Station:
    """The station, whose formula fails on some groups, all of them where none is named."""

    def make(read: object, keys: pl.DataFrame) -> pl.DataFrame:
        if not names or any(row[0] in names for row in keys.iter_rows()):
            raise error("no formula takes these points")
        return station.make(read, keys)  # type: ignore[arg-type]

    return replace(station, make=make)


def injections(lake: Lakehouse) -> list[str]:
    """The injections of the table, in order."""
    return sorted(set(rows_of(lake, INJECTION_PROGRESS)["injection_id"]))


def ask_for_all(lake: Lakehouse, name: str = NAME) -> None:
    """Ask a station to make its table anew, as after a restore."""
    mark_anew(lake, [name], "restored")


def tried(lake: Lakehouse, station: Station, times: int) -> StationOutcome:
    """Let a station try so often; the last try succeeds, the others fail."""
    for _ in range(times - 1):
        with pytest.raises(ZeroDivisionError):
            update(lake, station)
    return update(lake, station)


def test_the_third_run_sets_one_injection_aside_and_makes_all_others(lake: Lakehouse) -> None:
    before, (bad, *_) = rows_of(lake, INJECTION_PROGRESS), injections(lake)
    lake.replace(INJECTION_PROGRESS, before.clear().to_arrow())
    ask_for_all(lake)
    name = before.filter(pl.col("injection_id") == bad)["injection_name"][0]
    station, key = poisoned(stations()[NAME], bad), json.dumps({"injection_id": bad, "injection_name": name})
    outcome = tried(lake, station, 3)
    assert outcome.set_aside == {key: REASON}
    assert rows_of(lake, INJECTION_PROGRESS).equals(before.filter(pl.col("injection_id") != bad))
    (aside,) = lake.ledger.set_aside()
    assert (aside.station, aside.key, aside.reason) == (NAME, key, REASON)
    assert not lake.ledger.work_waits([NAME])
    assert f"set aside, since runs fail on it: {NAME} {key}: {REASON}; 'lab run retry' tries it again" in lab_status(lake.settings).problems
    assert [check.state for check in examine(lake.settings) if check.name == "stations" and key in check.found] == ["warning"]

    assert lake.ledger.retry_set_aside() == [aside]
    assert lake.ledger.work_waits([NAME])
    assert update(lake, station).set_aside == {key: REASON}  # at once: it is known
    lake.ledger.retry_set_aside(NAME)
    assert update(lake, stations()[NAME]).changed == 1
    assert rows_of(lake, INJECTION_PROGRESS).equals(before)
    assert (lake.ledger.set_aside(), lake.ledger.work_waits([NAME])) == ([], False)


def test_the_next_version_of_the_code_tries_again_what_was_set_aside(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = injections(lake)[0]
    ask_for_all(lake)
    tried(lake, poisoned(stations()[NAME], bad), 3)
    assert not set_aside.waits_for_this_code(lake.ledger)
    monkeypatch.setattr(set_aside, "code_version", lambda: "the next version")
    assert set_aside.waits_for_this_code(lake.ledger)
    assert update(lake, stations()[NAME]).groups == 1
    assert (lake.ledger.set_aside(), set_aside.waits_for_this_code(lake.ledger)) == ([], False)


def test_where_more_fail_than_can_be_at_fault_the_table_is_set_aside(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands as it was, the work waits, and the first run that succeeds takes the mark away."""
    monkeypatch.setattr(set_aside, "MOST", 3)
    before = rows_of(lake, INJECTION_PROGRESS)
    ask_for_all(lake)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            update(lake, poisoned(stations()[NAME]))
        assert lake.ledger.set_aside() == []
    with pytest.raises(set_aside.TooManyFailError, match="more than 3 groups fail, the last with ZeroDivisionError"):
        update(lake, poisoned(stations()[NAME]))
    assert [(each.station, each.key) for each in lake.ledger.set_aside()] == [(NAME, "")]
    assert lake.ledger.work_waits([NAME])
    assert rows_of(lake, INJECTION_PROGRESS).equals(before)
    assert update(lake, stations()[NAME]).set_aside == {}
    assert lake.ledger.set_aside() == []


def test_a_fault_of_the_machine_sets_nothing_aside(lake: Lakehouse) -> None:
    bad = injections(lake)[0]
    ask_for_all(lake)
    for _ in range(5):
        with pytest.raises(OSError, match="no formula"):
            update(lake, poisoned(stations()[NAME], bad, error=OSError))
    assert lake.ledger.set_aside() == []


def test_a_run_that_cannot_be_scored_is_set_aside_and_the_others_are_scored(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its features break the model's input; its earlier prediction, had it one, would stand."""
    bundle = put_into_service(lake)
    assemble = predictions.assemble

    def breaking(lake: Lakehouse, spine: pl.DataFrame, *rest: object, **named: object) -> pl.DataFrame:
        if bad in set(spine["injection_id"]):
            raise ValueError("a value that is no number")
        return assemble(lake, spine, *rest, **named)  # type: ignore[arg-type]

    def score() -> predictions.Scored:
        at = datetime(2026, 3, 1, tzinfo=UTC)
        return score_waiting(lake, bundle, Scoring(model_version="1", mode="stream", requested_by="test", predicted_at_utc=at))

    roles = dict(lake.polars(INJECTIONS, ["injection_id", "sample_role"]).iter_rows())
    bad = next(name for name in injections(lake) if roles[name] == "sample")
    monkeypatch.setattr(predictions, "assemble", breaking)
    for _ in range(2):
        with pytest.raises(ValueError, match="no number"):
            score()
    done = score()
    assert (done.set_aside, done.predictions > 0) == (1, True)
    scored = set(rows_of(lake, PREDICTIONS)["injection_id"])
    assert bad not in scored
    assert [each.key for each in lake.ledger.set_aside(PREDICTIONS.full_name)] == [json.dumps({"injection_id": bad})]
    monkeypatch.setattr(predictions, "assemble", assemble)
    lake.ledger.retry_set_aside()
    assert score().set_aside == 0
    assert set(rows_of(lake, PREDICTIONS)["injection_id"]) - scored == {bad}
    assert lake.ledger.set_aside() == []


def test_a_step_makes_what_does_not_rest_on_a_failing_table_and_succeeds_without_it(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suitability fails as a whole: method trends are made in each run, exceptions rest on it and from the third run on are made too."""
    monkeypatch.setattr(set_aside, "MOST", 0)
    known = dict(stations())
    known["gold.suitability"] = poisoned(known["gold.suitability"])
    monkeypatch.setattr(station_assets, "stations", lambda: known)
    names = ("gold.suitability", "gold.method_trends", "gold.exceptions")
    for name in names:
        lake.ledger.set_progress(name, {each.name: 0 for each in known[name].inputs})
    step = station_assets.build_step("gold", station_assets.names_of("gold"))
    ended: list[tuple[bool, list[str]]] = []
    for _ in range(3):
        result = dg.materialize([step], resources={"lake": lake}, raise_on_error=False)
        ended.append((result.success, [name for name in names if has_news(lake, known[name])]))
    assert ended == [
        (False, ["gold.suitability", "gold.exceptions"]),
        (False, ["gold.suitability", "gold.exceptions"]),
        (True, ["gold.suitability"]),
    ]
    assert [(each.station, each.key) for each in lake.ledger.set_aside()] == [("gold.suitability", "")]
