"""``lab table`` on a real Delta table: versions, difference, state at a time, restore, rebuild; runs taken back; maintenance."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.bronze import LIMS_LOTS
from lab_assets.contracts.governance import LINEAGE
from lab_assets.contracts.silver import LOTS
from lab_assets.lake.data_files import commit_path, local_path
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets.stations.all_stations import stations
from lab_assets.stations.governance import lineage
from lab_assets.stations.governance.lineage import missing_lineage, update_lineage
from lab_assets.stations.runner import update
from lab_assets_tests.cli.commands import Lab
from lab_assets_tests.stations.rows import at, putting

NAME = "bronze.chromatograms"
CONTRACT = contract(NAME)


def row(injection: str, y: list[float], operator: str = "Tom") -> dict[str, Any]:
    blank = dict.fromkeys(CONTRACT.column_names)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    own = {"injection_name": injection, "channel": "A", "x": [0.0] * len(y), "y": y, "n_points": len(y), "zone_known": True}
    kept = {"source": "hplc", "source_file": "a.txt", "source_sha256": "0" * 64, "source_row": 1, "ingested_at_utc": at, "ingest_batch": 1}
    return {**blank, **own, **kept, "operator": operator}


def write(settings: Settings, rows: list[dict[str, Any]], mode: str = "append") -> None:
    table = pa.Table.from_pylist(rows, schema=CONTRACT.arrow_schema())
    write_deltalake(settings.table_uri("bronze", "chromatograms"), table, mode=mode)  # type: ignore[call-overload]  # mode is a literal there


@pytest.fixture
def table(settings: Settings) -> datetime:
    """Version 0: i1. Version 1: i1, i2. Version 2: i2 and i3. Returns a time between versions 0 and 1."""
    open_database(settings).dispose()
    write(settings, [row("i1", [1.0])])
    time.sleep(0.05)
    between = datetime.now(UTC)
    time.sleep(0.05)
    write(settings, [row("i2", [2.0] * 20)])
    write(settings, [row("i2", [2.0] * 20), row("i3", [3.0])], mode="overwrite")
    return between


def test_history_is_newest_first(lab: Lab, table: datetime) -> None:
    commits = lab("table", "history", NAME, "--json").document["commits"]
    assert [commit["version"] for commit in commits] == [2, 1, 0]
    assert [commit["version"] for commit in lab("table", "history", NAME, "--limit", "1", "--json").document["commits"]] == [2]
    assert NAME in lab("table", "history", NAME).stdout


def test_a_difference_speaks_of_rows_and_not_of_files(lab: Lab, table: datetime) -> None:
    """i2 was written anew in version 2, the same as before: it is in neither list."""
    found = lab("table", "diff", NAME, "1", "2", "--json").document
    assert [each["injection_name"] for each in found["added"]] == ["i3"]
    assert [each["injection_name"] for each in found["removed"]] == ["i1"]
    assert lab("table", "diff", NAME, "2", "2", "--json").document["added"] == []
    assert "1 row(s) added, 1 removed" in lab("table", "diff", NAME, "1", "2").stdout


def test_a_row_wider_than_the_screen_is_shown_field_by_field(lab: Lab, table: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thirty columns of a trace fit no screen; the six of a history fit one of 200 characters and not one of 60."""
    shown = lab("table", "as-of", NAME, "1").stdout.splitlines()
    names = sorted(line.split() for line in shown if line.startswith("injection_name"))
    assert names == [["injection_name", "i1"], ["injection_name", "i2"]]
    assert [line[:6] for line in shown if " of 2 " in line] == ["1 of 2", "2 of 2"]
    assert "┃ version ┃" in lab("table", "history", NAME).stdout
    monkeypatch.setenv("COLUMNS", "60")
    assert [line.split() for line in lab("table", "history", NAME).stdout.splitlines() if line.startswith("version")] == [
        ["version", "2"],
        ["version", "1"],
        ["version", "0"],
    ]


def test_a_table_is_shown_as_it_was(lab: Lab, table: datetime) -> None:
    by_version = lab("table", "as-of", NAME, "1", "--json").document
    assert (by_version["version"], by_version["row_count"]) == (1, 2)
    by_time = lab("table", "as-of", NAME, table.isoformat(), "--json").document
    assert (by_time["version"], [each["injection_name"] for each in by_time["rows"]]) == (0, ["i1"])
    without_zone = lab("table", "as-of", NAME, table.replace(tzinfo=None).isoformat(), "--json").document
    assert without_zone["version"] == 0


def test_names_of_persons_are_hidden_and_long_traces_are_short(lab: Lab, table: datetime) -> None:
    rows = {each["injection_name"]: each for each in lab("table", "as-of", NAME, "1", "--json").document["rows"]}
    assert [each["operator"] for each in rows.values()] == ["***", "***"]
    assert (rows["i1"]["y"], rows["i2"]["y"]) == ([1.0], "[20 values]")
    assert "Tom" not in lab("table", "diff", NAME, "0", "1").stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("as-of", NAME, "9"), "has versions 0 to 2, not 9"),
        (("as-of", NAME, "2001-01-01"), "did not exist at 2001-01-01"),
        (("as-of", NAME, "yesterday"), "neither a version nor a time"),
        (("diff", NAME, "0", "9"), "has versions 0 to 2, not 9"),
        (("history", "silver.peaks"), "silver.peaks has no data yet"),
        (("restore", NAME, "2", "--reason", "x"), "is at version 2; name an earlier one"),
    ],
)
def test_what_does_not_exist_is_told(lab: Lab, table: datetime, arguments: tuple[str, ...], reason: str) -> None:
    answer = lab("table", *arguments)
    assert answer.exit_code == 1
    assert reason in answer.stderr


def test_a_restore_is_a_new_commit_with_its_reason_on_record(lab: Lab, lakehouse: Lakehouse) -> None:
    lakehouse.append(CONTRACT, lakehouse.local_rows(CONTRACT, [row("i1", [1.0])]))
    lakehouse.append(CONTRACT, lakehouse.local_rows(CONTRACT, [row("i2", [2.0])]))
    done = lab("table", "restore", NAME, "1", "--reason", "wrong batch", "--force", "--json")
    assert {name: done.document[name] for name in ("table", "restored", "version", "previous", "made_anew")} == {
        "table": NAME,
        "restored": 1,
        "version": 3,
        "previous": 2,
        "made_anew": False,
    }
    assert done.document["rests_on_it"][0] == "silver.injections"
    assert "the check that holds the ledger against the tables fails" in done.stderr
    assert lakehouse.polars(CONTRACT)["injection_name"].to_list() == ["i1"]
    entries = AuditLog(open_database(lakehouse.settings)).entries(action="table")
    assert [entry.action for entry in entries] == ["table.restore_begin", "table.restore"]
    assert {entry.reason for entry in entries} == {"wrong batch"}


def test_bronze_is_not_set_back_without_force(lab: Lab, lakehouse: Lakehouse) -> None:
    """What follows is said; nothing is written, not even to the audit trail."""
    lakehouse.append(CONTRACT, lakehouse.local_rows(CONTRACT, [row("i1", [1.0])]))
    answer = lab("table", "restore", NAME, "0", "--reason", "wrong batch")
    assert answer.exit_code == 1
    assert "do not come in again by themselves" in answer.stderr
    assert f"'lab table restore {NAME} 1 --force' takes it back" in answer.stderr
    assert (lakehouse.version(CONTRACT), AuditLog(open_database(lakehouse.settings)).entries(action="table")) == (1, [])


@pytest.fixture
def lots(lakehouse: Lakehouse) -> Lakehouse:
    """Two lots of the LIMS; then a rebuild makes silver.lots of them."""
    putting(lakehouse)(
        LIMS_LOTS,
        {"lot_id": "L1", "product": "NEBRILAT-10", "site": "Plant North", "recorded_at_utc": at(2)},
        {"lot_id": "L2", "product": "NEBRILAT-10", "site": "Plant East", "recorded_at_utc": at(3)},
    )
    return lakehouse


def test_a_rebuild_makes_a_table_of_its_inputs_and_says_what_differed(lab: Lab, lots: Lakehouse) -> None:
    (first,) = lab("table", "rebuild", "silver.lots", "--json").document
    assert (first["groups"], first["groups_differed"], first["rows_added"], first["rows_removed"]) == (2, 2, 2, 0)
    (again,) = lab("table", "rebuild", "silver.lots", "--json").document
    assert (again["groups_differed"], again["rows_added"], again["version"]) == (0, 0, first["version"])
    lots.delete(LOTS, "lot_id = 'L2'")
    shown = lab("table", "rebuild", "silver.lots", "--reason", "a row was taken out by hand").stdout
    assert "silver.lots: 1 of 2 group(s) differed; 1 row(s) added, 0 removed" in shown
    assert "L2" in shown
    entries = AuditLog(open_database(lots.settings)).entries(action="table.rebuild")
    assert [entry.reason for entry in entries] == ["", "", "a row was taken out by hand"]


def test_status_and_doctor_name_what_a_restore_left_to_do(lab: Lab, lots: Lakehouse) -> None:
    """Which table waits to be made anew, why, and what does it; nothing any more once it is made."""
    lab("table", "rebuild", "silver.lots")
    assert lab("status", "--json").document["to_make_anew"] == {}
    lab("table", "restore", "silver.lots", "0", "--reason", "wrong batch")
    assert lab("status", "--json").document["to_make_anew"] == {"silver.lots": "restored to version 0"}
    assert "to be made anew by the next run, or now by 'lab ingest': silver.lots (restored to version 0)" in lab("status").stdout
    (found,) = [each for each in lab("doctor", "--json").document["checks"] if each["name"] == "stations"]
    assert (found["state"], found["found"]) == ("warning", "to be made anew: silver.lots (restored to version 0)")
    assert "'lab ingest'" in found["mend"]
    lab("table", "rebuild", "silver.lots")
    assert lab("status", "--json").document["to_make_anew"] == {}
    (found,) = [each for each in lab("doctor", "--json").document["checks"] if each["name"] == "stations"]
    assert found["state"] == "ok"


def newest_lineage(lab: Lab, name: str) -> tuple[str, str]:
    """What is shown of the newest version: its number, and the run that its first row names."""
    found = lab("catalog", "lineage", name, "--json").document
    return found["output_version"], found["lineage"][0]["run_id"]


def test_what_a_command_commits_has_its_lineage_when_it_ends(lab: Lab, lots: Lakehouse) -> None:
    """Of a rebuild, a restore, a run taken back and a compaction; a question that is answered with no writes nothing."""
    (made,) = lab("table", "rebuild", "silver.lots", "--json").document
    assert (missing_lineage(lots), newest_lineage(lab, "silver.lots")) == ({}, ("1", made["run_id"]))
    before = lots.version(LINEAGE)
    lab("run", "rollback", made["run_id"], "--reason", "x", text="n\n")
    assert lots.version(LINEAGE) == before
    lab("run", "rollback", made["run_id"], "--reason", "x", "--yes")
    assert (missing_lineage(lots), newest_lineage(lab, "silver.lots")[0]) == ({}, "2")
    lab("table", "restore", "silver.lots", "1", "--reason", "x")
    assert (missing_lineage(lots), newest_lineage(lab, "silver.lots")[0]) == ({}, "3")
    for number in range(8):
        putting(lots)(LIMS_LOTS, {"lot_id": f"M{number}", "product": "P", "recorded_at_utc": at(4)}, batch=number + 2)
    lab("maintain", "bronze.lims_lots")
    assert (missing_lineage(lots), newest_lineage(lab, "bronze.lims_lots")[0]) == ({}, str(lots.version(LIMS_LOTS)))


def test_lineage_that_cannot_be_recorded_does_not_undo_a_command(lab: Lab, lots: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rebuild stands and says what waits; who asks is answered from the commits."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError("the disk does not answer")

    monkeypatch.setattr(lineage, "update_lineage", refuse)
    done = lab("table", "rebuild", "silver.lots", "--json")
    assert (done.exit_code, lots.row_count(LOTS)) == (0, 2)
    assert "does not have the newest versions yet, the next run adds them: the disk does not answer" in done.stderr
    assert newest_lineage(lab, "silver.lots") == ("1", done.document[0]["run_id"])


def test_lineage_that_no_run_has_recorded_is_read_from_the_commits(lab: Lab, lots: Lakehouse) -> None:
    """Newest versions of all tables, and no row twice; of a damaged table nothing, which is said to who asks for another one."""
    lab("table", "rebuild", "silver.lots")
    recorded = lots.version(LINEAGE)
    putting(lots)(LIMS_LOTS, {"lot_id": "L3", "product": "P", "recorded_at_utc": at(4)}, batch=2)
    update(lots, stations()["silver.lots"], run_id="run-2")
    assert newest_lineage(lab, "silver.lots") == ("2", "run-2")
    (row,) = lab("catalog", "lineage", "silver.lots", "--version", "2", "--json").document["lineage"][:1]
    assert (row["input"], row["input_version"]) == ("bronze.lims_lots", str(lots.version(LIMS_LOTS)))
    found = [(row["output"], row["output_version"]) for row in lab("catalog", "lineage", "silver.lots", "--json").document["lineage"]]
    assert ("bronze.lims_lots", str(lots.version(LIMS_LOTS))) in found
    assert len(found) == len(set(found))
    assert lots.version(LINEAGE) == recorded, "to look at it writes nothing"
    commit_path(local_path(lots.uri(LIMS_LOTS)), lots.version(LIMS_LOTS)).write_text("")
    answer = lab("catalog", "lineage", "silver.lots", "--json")
    assert (answer.document["output_version"], "bronze.lims_lots" in answer.stderr) == ("2", True)
    assert lab("catalog", "lineage", "bronze.lims_lots").exit_code == 1


def test_the_lineage_of_a_version_is_that_of_the_table_that_is_there(lab: Lab, lots: Lakehouse) -> None:
    """Two versions, then the last commit is lost: the table begins anew and has a version 1 again, made of other versions by another run."""
    lab("table", "rebuild", "silver.lots")
    putting(lots)(LIMS_LOTS, {"lot_id": "L3", "product": "P", "recorded_at_utc": at(4)}, batch=2)
    update(lots, stations()["silver.lots"], run_id="run-2")
    update_lineage(lots, [])
    commit_path(local_path(lots.uri(LOTS)), 2).unlink()
    (made,) = lab("table", "rebuild", "silver.lots", "--json").document
    assert made["version"] == 1
    shown = lab("catalog", "lineage", "silver.lots", "--version", "1", "--json")
    steps = [row for row in shown.document["lineage"] if row["output"] == "silver.lots"]
    read = str(lots.version(LIMS_LOTS))
    assert [(row["input"], row["input_version"], row["run_id"]) for row in steps] == [("bronze.lims_lots", read, made["run_id"])]
    assert shown.document["earlier_life"] is False
    assert "an earlier life of the table had a version 1 as well, which is not shown: silver.lots began anew at" in shown.stderr
    gone = lab("catalog", "lineage", "silver.lots", "--version", "2", "--json")
    assert gone.document["earlier_life"] is True
    assert [row["run_id"] for row in gone.document["lineage"] if row["output"] == "silver.lots"] == ["run-2"]
    assert "version 2 belongs to an earlier life of the table and is not there any more: silver.lots began anew at" in gone.stderr
    assert newest_lineage(lab, "silver.lots") == ("1", made["run_id"])
    created = lab("catalog", "lineage", "silver.lots", "--version", "0", "--json").document["lineage"]
    assert [row["input"] for row in created] == ["contract:silver.lots"]


def test_lineage_of_a_table_that_began_anew_is_read_from_its_commits(lab: Lab, lots: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no run has recorded any of it, and its earlier life came further."""
    lab("table", "rebuild", "silver.lots")
    putting(lots)(LIMS_LOTS, {"lot_id": "L3", "product": "P", "recorded_at_utc": at(4)}, batch=2)
    update(lots, stations()["silver.lots"], run_id="run-2")
    update_lineage(lots, [])
    commit_path(local_path(lots.uri(LOTS)), 2).unlink()
    monkeypatch.setattr(lineage, "update_lineage", lambda *_args, **_more: 0)
    (made,) = lab("table", "rebuild", "silver.lots", "--json").document
    assert newest_lineage(lab, "silver.lots") == ("1", made["run_id"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((NAME,), "holds what files say and is made from nothing else"),
        (("ml.predictions",), "the job 'score_batch' scores every run again"),
        ((), "name one table, or give --all"),
        (("silver.lots", "--all"), "name one table, or give --all"),
        (("silver.nothing",), "silver.nothing"),
    ],
)
def test_what_cannot_be_made_anew_is_said_with_what_to_do(lab: Lab, arguments: tuple[str, ...], reason: str) -> None:
    answer = lab("table", "rebuild", *arguments)
    assert answer.exit_code == 1
    assert reason in answer.stderr


def test_all_tables_are_made_anew_in_flow_order(lab: Lab, lots: Lakehouse) -> None:
    found = lab("table", "rebuild", "--all", "--json").document
    assert [each["table"] for each in found] == list(stations())
    assert {each["table"]: each["rows_added"] for each in found}["silver.lots"] == 2
    runs = lab("run", "list", "--json").document
    assert [run["run_id"] for run in runs] == [found[0]["run_id"]]


def test_a_run_is_taken_back_after_a_question(lab: Lab, lots: Lakehouse) -> None:
    """A rebuild wrote silver.lots: refused at first, then taken back by the beginning of its id; the next rebuild makes it again."""
    (made,) = lab("table", "rebuild", "silver.lots", "--json").document
    prefix = made["run_id"][:12]
    asked = lab("run", "rollback", prefix, "--reason", "wrong code", text="n\n")
    assert asked.exit_code == 1
    assert "silver.lots: set back to version 0, made anew by the next run" in asked.stdout
    assert lots.row_count(LOTS) == 2
    done = lab("run", "rollback", prefix, "--reason", "wrong code", "--yes", "--json").document
    assert (done["run_id"], done["set_back"]) == (made["run_id"], {"silver.lots": {"as": 0, "version": 2}})
    said = ("predictions_ended", "predictions_waiting", "predictions_version")
    assert [done[name] for name in said] == [0, 0, None]
    assert lots.row_count(LOTS) == 0
    entries = AuditLog(open_database(lots.settings)).entries(action="run")
    assert [(entry.action, entry.object, entry.reason) for entry in entries] == [
        ("run.rollback_begin", made["run_id"], "wrong code"),
        ("run.rollback", made["run_id"], "wrong code"),
    ]
    commits = lab("run", "show", prefix, "--json").document["commits"]
    assert sorted(each["table"] for each in commits) == ["governance.lineage", "silver.lots"]
    lab("table", "rebuild", "silver.lots")
    assert lots.row_count(LOTS) == 2


def test_a_run_that_nobody_knows_is_said(lab: Lab, lots: Lakehouse) -> None:
    answer = lab("run", "rollback", "nobody", "--reason", "x", "--yes")
    assert answer.exit_code == 1
    assert "no run whose id begins with 'nobody' has written to a table" in answer.stderr


def test_maintenance_says_what_it_did(lab: Lab, lakehouse: Lakehouse) -> None:
    for number in range(8):
        lakehouse.append(CONTRACT, lakehouse.local_rows(CONTRACT, [row(f"i{number}", [1.0])]))
    (done,) = lab("maintain", NAME, "--json").document
    assert (done["table"], done["files_before"], done["files_after"], done["version"]) == (NAME, 8, 1, 9)
    assert "0 of 1 table(s) needed something" in lab("maintain", NAME).stdout
    assert lab("table", "history", NAME, "--limit", "1", "--json").document["commits"][0]["rows_written"] == 8
    assert lab("maintain", "silver.nothing").exit_code == 1


@pytest.mark.parametrize("given", ["", "  ", "\t\n"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("table", "restore", "silver.lots", "0"),
        ("run", "rollback", "any", "--yes"),
        ("quarantine", "discard", "1"),
        ("schema", "accept", "1"),
        ("schema", "reject", "1"),
    ],
)
def test_a_reason_that_is_required_is_not_empty(lab: Lab, lakehouse: Lakehouse, arguments: tuple[str, ...], given: str) -> None:
    answer = lab(*arguments, "--reason", given)
    assert (answer.exit_code, answer.stderr) == (1, "error: say why: a reason is required\n")
    assert AuditLog(open_database(lakehouse.settings)).entries(action="table") == []


def test_a_decision_about_data_needs_more_than_blanks_as_its_reason(lab: Lab, lakehouse: Lakehouse) -> None:
    answer = lab("reconcile", "--accept-lake", "--reason", "  ")
    assert (answer.exit_code, "--accept-lake needs --reason" in answer.stderr) == (1, True)


def test_doubled_rows_of_the_lineage_are_taken_away_by_a_rebuild(lab: Lab, lots: Lakehouse) -> None:
    """As two runs left it that wrote at once."""
    update_lineage(lots, list(stations().values()))
    once = lots.row_count(LINEAGE)
    lots.append(LINEAGE, lots.polars(LINEAGE).to_arrow())
    (done,) = lab("table", "rebuild", "governance.lineage", "--json").document
    assert (done["table"], done["rows_removed"]) == ("governance.lineage", once)
    assert f"{LINEAGE.full_name}: 0 row(s) added, 0 removed; version" in lab("table", "rebuild", LINEAGE.full_name).stdout
