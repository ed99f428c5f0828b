"""``lab doctor``: what it finds wrong, and that it says how to mend it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from sqlalchemy import text

from lab_assets.ops.doctor import clock_skew_s, examine, java_version
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.database import open_database, writing
from lab_assets_tests.cli.commands import Lab
from lab_assets_tests.cli.ports import free_port


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Ports that nobody else uses."""
    ports = [free_port() for _ in range(3)]
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
