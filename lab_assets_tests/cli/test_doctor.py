"""``lab doctor``: what it finds wrong, and that it says how to mend it."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deltalake import write_deltalake
from sqlalchemy import text

from lab_assets.contracts.bronze import LIMS_LOTS
from lab_assets.contracts.silver import LOTS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.ops import doctor
from lab_assets.ops.checks import Check
from lab_assets.ops.doctor import clock_skew_s, examine, java_version
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database, writing
from lab_assets.state.ledger import Ledger
from lab_assets.stations.all_stations import STATIONS, stations
from lab_assets.stations.governance.lineage import update_lineage
from lab_assets.stations.runner import has_news, update
from lab_assets.stations.silver.reference import LOTS_STATION
from lab_assets_tests.cli.commands import Lab
from lab_assets_tests.cli.ports import free_ports
from lab_assets_tests.no_spark import NoSparkKeeper
from lab_assets_tests.stations.rows import at, putting


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Ports that nobody else uses."""
    ports = free_ports(3)
    return Settings(
        home=tmp_path / "lab", jars_dir=PROJECT_ROOT / ".jars", service_port=ports[0], dagster_port=ports[1], mlflow_port=ports[2]
    )


def check(settings: Settings, name: str) -> tuple[str, str, str]:
    (found,) = [each for each in examine(settings) if each.name == name]
    return found.state, found.found, found.mend


def test_a_new_machine_is_healthy(settings: Settings) -> None:
    """Nothing has been made yet, and looking makes nothing."""
    assert [each.name for each in examine(settings) if each.state == "failed"] == []
    assert not settings.home.exists()


def test_the_answer_is_one_document_whose_verdict_is_the_exit_code(lab: Lab, settings: Settings) -> None:
    answer = lab("doctor", "--json")
    failed = [each["name"] for each in answer.document["checks"] if each["state"] == "failed"]
    assert answer.document["ok"] == (not failed)
    assert answer.exit_code == (1 if failed else 0)


def test_a_check_that_fails_in_a_way_of_its_own_stops_no_other(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a library does that could be loaded in part alone, for want of memory."""

    def _models(_settings: Settings) -> Check:
        raise ValueError("Invalid version: ''\nand more")

    monkeypatch.setattr(doctor, "KEPT", (_models,))
    assert check(settings, "models")[:2] == ("failed", "it could not be looked at (ValueError: Invalid version: '')")
    assert check(settings, "python")[0] == "ok"


def test_a_limit_on_addresses_is_named_before_libraries_fail_of_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda _which: (10**9, 10**9))
    state, found, mend = check(settings, "memory")
    assert (state, mend) == ("failed", "take the limit off ('ulimit -v unlimited')")
    assert found.startswith("this process may take 0.9 GiB of addresses ('ulimit -v')")


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_402"', 8),
        ("bash: java: command not found", None),
    ],
)
def test_java_versions_are_read_from_either_scheme(answer: str, version: int | None) -> None:
    assert java_version(answer) == version


def test_a_machine_without_java_is_told_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    state, _, mend = check(settings, "java")
    assert state == "failed"
    assert "openjdk-17-jre-headless" in mend


def test_missing_jars_are_mended_by_setup(settings: Settings, tmp_path: Path) -> None:
    settings.jars_dir = tmp_path
    assert check(settings, "jars")[::2] == ("failed", "run 'make setup'")


def test_a_busy_port_is_named_with_the_setting_that_moves_it(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.mlflow_port))
        other.listen()
        state, found, mend = check(settings, "ports")
    assert state == "failed"
    assert str(settings.mlflow_port) in found
    assert "LAB_MLFLOW_PORT" in mend


def test_a_database_of_a_newer_version_is_refused_and_an_older_one_is_not(settings: Settings) -> None:
    engine = open_database(settings)
    assert check(settings, "database")[0] == "ok"
    for revision, state in (("9999", "failed"), ("0000", "warning")):
        with writing(engine) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
        assert check(settings, "database")[0] == state


def test_a_database_that_is_none_is_told(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "lab.db").write_bytes(b"not a database" * 100)
    state, found, _ = check(settings, "database")
    assert state == "failed"
    assert "not a database" in found


def test_a_table_without_its_log_is_named(settings: Settings) -> None:
    (settings.home / "lake" / "silver" / "peaks" / "_delta_log").mkdir(parents=True)
    state, found, mend = check(settings, "lake")
    assert (state, "silver.peaks" in found, "backup" in mend) == ("failed", True, True)


def log_of(settings: Settings, name: str) -> Path:
    return Path(settings.table_uri(*name.split("."))) / "_delta_log"


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lakehouse]:
    """Two lots, brought by three exports and made into ``silver.lots``: versions 1 to 3 of either table."""
    engine = open_database(settings)
    lake = Lakehouse(settings, NoSparkKeeper(settings, "doctor"), Ledger(engine))
    for number, lot in enumerate(("A", "B", "A"), start=1):
        putting(lake)(LIMS_LOTS, {"lot_id": lot, "product": f"P{number}", "recorded_at_utc": at(number)}, batch=number)
        update(lake, LOTS_STATION)
    assert lake.versions([LIMS_LOTS, LOTS]) == {"bronze.lims_lots": 3, "silver.lots": 3}
    yield lake
    engine.dispose()


def remove_folder(log: Path) -> None:
    shutil.rmtree(log.parent)


def remove_log(log: Path) -> None:
    shutil.rmtree(log)


def remove_commits(*versions: int) -> Callable[[Path], None]:
    def remove(log: Path) -> None:
        for version in versions:
            (log / f"{version:020d}.json").unlink()

    return remove


LOSSES: dict[str, tuple[Callable[[Path], None], str]] = {
    "folder": (remove_folder, "no table lies at {uri}, but version 3 was committed"),
    "log": (remove_log, "no table lies at {uri}, but version 3 was committed"),
    "all commits": (remove_commits(0, 1, 2, 3), "no table lies at {uri}, but version 3 was committed"),
    "one in the middle": (remove_commits(2), "the log at {uri} lacks version 2, though later ones are there"),
    "the first": (remove_commits(0), "the log at {uri} lacks version 0, though later ones are there"),
    "the last two": (remove_commits(2, 3), "the log at {uri} answers version 1, but version 3 was committed; its last commits are missing"),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["bronze.lims_lots", "silver.lots"])
def test_a_table_that_is_gone_or_lost_commits_is_named_with_what_to_do(lake: Lakehouse, lab: Lab, loss: str, name: str) -> None:
    """What follows from other tables can be made anew without a backup; what files say cannot."""
    assert check(lake.settings, "lake")[0] == "ok"
    damage, words = LOSSES[loss]
    damage(log_of(lake.settings, name))
    state, found, mend = check(lake.settings, "lake")
    assert (state, found) == ("failed", f"{name}: {words.format(uri=lake.settings.table_uri(*name.split('.')))}")
    assert mend.startswith(f"{name}: restore the table's folder from the last backup")
    assert ("'lab table rebuild silver.lots'" in mend) == (name == "silver.lots")
    answer = lab("doctor", "--json")
    (shown,) = [each for each in answer.document["checks"] if each["name"] == "lake"]
    assert (answer.exit_code, answer.document["ok"], shown["found"]) == (1, False, found)


def test_a_lake_that_is_gone_whole_is_told_table_by_table(lake: Lakehouse) -> None:
    shutil.rmtree(lake.settings.home / "lake")
    state, found, mend = check(lake.settings, "lake")
    assert state == "failed"
    assert [each.partition(": ")[0] for each in found.split("; ")] == ["bronze.lims_lots", "silver.lots"]
    assert mend.startswith(
        "bronze.lims_lots, silver.lots: restore the table's folder from the last backup ('lab restore'); or, without a backup, 'lab table"
    )


def test_commits_that_a_checkpoint_covers_are_missed_as_well(lake: Lakehouse) -> None:
    """The last version is whole without commit 1, and versions 1 and 2 cannot be read any more: a rebuild would not bring them back."""
    lake.checkpoint(LOTS)
    remove_commits(1)(log_of(lake.settings, "silver.lots"))
    assert lake.row_count(LOTS) == 2
    state, found, mend = check(lake.settings, "lake")
    assert (state, "lacks version 1" in found, "rebuild" in mend) == ("failed", True, False)


def test_a_table_that_only_others_wrote_is_missed_by_who_read_it(settings: Settings) -> None:
    """No commit of it was noted, but a station worked on its version 4."""
    engine = open_database(settings)
    Ledger(engine).set_progress("ml.predictions#online", {"ml.online_log": 4, "#model": 7})
    state, found, _ = check(settings, "lake")
    assert (state, found) == ("failed", f"ml.online_log: no table lies at {settings.table_uri('ml', 'online_log')}, but version 4 was read")


def test_what_another_program_wrote_is_a_warning_once_it_is_recorded(lake: Lakehouse) -> None:
    write_deltalake(lake.uri(LOTS), lake.polars(LOTS).head(1).to_arrow().cast(LOTS.arrow_schema()), mode="append")
    update_lineage(lake, STATIONS)
    state, found, mend = check(lake.settings, "lake")
    assert (state, "another program than this one wrote to silver.lots (version 4)" in found) == ("warning", True)
    assert "'lab table rebuild TABLE'" in mend
    update(lake, LOTS_STATION, rebuild=True)
    assert check(lake.settings, "lake")[0] == "ok"


@pytest.mark.parametrize("loss", LOSSES)
def test_what_doctor_names_can_be_made_anew_as_it_says(lake: Lakehouse, lab: Lab, loss: str) -> None:
    """The lots are back, what reads them is told to look at all of it again, what was left lies aside, and doctor is content."""
    before = lake.polars(LOTS).sort("lot_id")
    log = log_of(lake.settings, "silver.lots")
    LOSSES[loss][0](log)
    left = {path.name for path in log.parent.glob("*.parquet")}
    (rebuilt,) = lab("table", "rebuild", "silver.lots", "--json").document
    assert (rebuilt["rows_added"], rebuilt["rows_removed"], "silver.lots" in rebuilt["lost"]) == (2, 0, True)
    assert check(lake.settings, "lake")[0] == "ok"
    again = Lakehouse(lake.settings, lake.keeper, lake.ledger)
    assert again.polars(LOTS).sort("lot_id").equals(before, null_equal=True)
    assert has_news(again, stations()["gold.lot_disposition"]) is True
    assert update(again, LOTS_STATION).words() == "no news"
    if left:
        assert {path.name for path in Path(rebuilt["aside"]).glob("*.parquet")} == left
    entry = AuditLog(lake.ledger.engine).entries(action="table.rebuild")[-1]
    assert "silver.lots" in json.loads(entry.new or "{}")["lost"]


def test_a_local_disk_keeps_this_machines_time(tmp_path: Path) -> None:
    assert abs(clock_skew_s(tmp_path)) < 1.0


def test_files_passed_over_and_broken_descriptions_are_told(settings: Settings) -> None:
    """A name that means a transfer under way, and a description without what it needs."""
    (settings.inbox / "hplc").mkdir(parents=True)
    (settings.inbox / "hplc" / "a.txt.part").write_text("x")
    (settings.inbox / "hplc" / "b.txt").write_text("x")
    settings.formats.mkdir()
    (settings.formats / "freezer.yaml").write_text("match: {columns: [T1]}")
    answer = {check.name: check for check in examine(settings)}
    assert (answer["inbox"].state, answer["inbox"].found) == ("warning", "1 file(s) in the drop folders, 1 passed over for their names")
    assert answer["formats"].state == "warning"
    assert answer["formats"].found.startswith("freezer.yaml: ")
