"""Wrong settings: named by their variable with what is allowed, refused at every start; misspelt ones are named with the right name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets_tests.faults.laboratory import environment_of, lab_command

WRONG = {
    "LAB_SERVICE_PORT=99999999": "allowed are numbers from 1 to 65535",
    "LAB_DAGSTER_PORT=8600": "LAB_SERVICE_PORT and LAB_DAGSTER_PORT are both 8600",
    "LAB_ZONE=Mars/Base": "no IANA time zone such as UTC or Europe/Berlin",
    "LAB_ZONE=Europe/Berln": "did you mean Europe/Berlin?",
    'LAB_SOURCE_ZONES={"hplc": "Mars/Base"}': "'Mars/Base' is no IANA time zone",
    "LAB_DONE_SOURCES=lims": 'it is not JSON; write it as ["hplc", "lims"]',
    'LAB_STRICT_SOURCES=["a/b"]': "'a/b' is no name of a drop folder",
    "LAB_SPARK_MEMORY=1gb": "such as 1g or 1536m",
    "LAB_SPARK_MEMORY=100m": "at least 512m",
    "LAB_SPARK_REMOTE=http://spark:15002": "allowed is sc://HOST:PORT",
    "LAB_LAKE_URI=ftp://lake": "s3://",
    "LAB_DB_URL=mysql://a:secret@b/c": "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE",
    "MLFLOW_TRACKING_URI=postgresql://a:secret@b/c": "models would be kept in the working directory",
    "LAB_HOST=http://here:80": "without a port",
    "LAB_LOG_LEVEL=loud": "allowed are DEBUG, INFO, WARNING, ERROR, CRITICAL",
    "LAB_DISK_WARN_GIB=1": "LAB_DISK_WARN_GIB (1) is below LAB_DISK_LEAST_GIB (2)",
    "LAB_PARSE_MEMORY_MB=1": "allowed are numbers from 256",
}


def run(
    settings: Settings, command: list[str], cwd: Path = PROJECT_ROOT, *, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    env = {**environment_of(settings, **environment), "PYTHONPATH": str(PROJECT_ROOT)}
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("given", WRONG)
def test_a_wrong_setting_is_named_with_what_is_allowed(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable, what is allowed; a password that was given is not repeated."""
    from lab_assets.cli.main import environment_fault

    name, _, value = given.partition("=")
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - pydantic's, of whichever source
        Settings()
    fault = environment_fault(refused.value)
    assert fault is not None
    assert (fault.kind, name in str(fault), WRONG[given] in str(fault), "secret" in str(fault)) == ("wrong_setting", True, True, False)


def test_every_door_refuses_a_wrong_setting_with_two(settings: Settings) -> None:
    """Command, doctor, service: exit code 2, one line, no traceback; for machines a document."""
    wrong = {"LAB_ZONE": "Mars/Base", "LAB_SERVICE_PORT": "0"}
    told = run(settings, lab_command("status", "--json"), environment=wrong)
    assert (told.returncode, len(told.stderr.splitlines())) == (2, 1)
    assert "LAB_SERVICE_PORT=0" in json.loads(told.stdout)["error"]["where"]
    service = run(settings, [sys.executable, "-m", "lab_assets.service"], environment=wrong)
    assert (service.returncode, service.stderr.startswith("error: a setting is wrong: ")) == (2, True)
    assert len(service.stderr.splitlines()) == 1
    doctor = run(settings, lab_command("doctor", "--json"), environment=wrong)
    document = json.loads(doctor.stdout)
    assert (doctor.returncode, document["ok"], len(document["checks"])) == (2, False, 2)
    assert {each["name"] for each in document["checks"]} == {"settings"}


def test_misspelt_variables_are_named_with_the_right_name(settings: Settings, tmp_path: Path) -> None:
    """In the environment and in ``.env``; a variable of another program that is like none is not told on every command."""
    (tmp_path / ".env").write_text("LAB_STABEL_S=5\nLAB_ZONE=Europe/Berlin\n")
    wrong = {"LAB_SERVICE_PROT": "9000", "LAB_MLFLOW_TRACKING_URI": "http://x", "LAB_XYLOPHONE": "1"}
    told = run(settings, lab_command("status"), tmp_path, environment=wrong)
    warned = [line for line in told.stderr.splitlines() if line.startswith("warning: ")]
    assert (told.returncode, warned) == (
        0,
        [
            "warning: LAB_MLFLOW_TRACKING_URI sets nothing; did you mean MLFLOW_TRACKING_URI?",
            "warning: LAB_SERVICE_PROT sets nothing; did you mean LAB_SERVICE_PORT?",
            "warning: LAB_STABEL_S sets nothing; did you mean LAB_STABLE_S?",
        ],
    )
    doctor = run(settings, lab_command("doctor", "--json"), tmp_path, environment={**wrong, "LAB_DONE_SOURCES": '["lims"]'})
    (check,) = [each for each in json.loads(doctor.stdout)["checks"] if each["name"] == "settings"]
    assert check["state"] == "warning"
    assert "LAB_XYLOPHONE sets nothing" in check["found"]


def test_a_source_without_a_drop_folder_is_told(settings: Settings) -> None:
    from lab_assets.ops.doctor import sources_without_folder

    named = settings.model_copy(update={"done_sources": ["lims", "limz"]})
    assert sources_without_folder(named) == []
    (settings.inbox / "lims").mkdir(parents=True)
    assert sources_without_folder(named) == [("LAB_DONE_SOURCES", "limz")]


def test_doctor_names_the_source_that_a_wrong_one_is_most_like(settings: Settings) -> None:
    from lab_assets.ops.doctor import examine

    (settings.inbox / "hplc-berlin").mkdir(parents=True)
    named = settings.model_copy(update={"source_zones": {"hplc-berln": "Europe/Berlin"}})
    (check,) = [each for each in examine(named) if each.name == "settings"]
    assert check.state == "warning"
    assert "LAB_SOURCE_ZONES names 'hplc-berln', which has no drop folder, did you mean hplc-berlin?" in check.found


@pytest.mark.parametrize("host", ["999.1.1.1", "nohost.invalid", "192.0.2.7"])
def test_an_address_that_is_not_this_machines_is_named_before_any_start(settings: Settings, host: str) -> None:
    """No number, a name that nobody knows, and an address of documentation (RFC 5737); nothing is made, and no port is blamed."""
    for command in (lab_command("up"), [sys.executable, "-m", "lab_assets.service"]):
        refused = run(settings, command, environment={"LAB_HOST": host})
        (line,) = refused.stderr.splitlines()
        assert (refused.returncode, f"LAB_HOST={host} is no address of this machine" in line) == (2, True), line
        assert ("port" in line, "127.0.0.1, 0.0.0.0 or ::" in line) == (False, True)
    doctor = run(settings, lab_command("doctor", "--json"), environment={"LAB_HOST": host})
    (check,) = [each for each in json.loads(doctor.stdout)["checks"] if each["name"] == "address"]
    assert (check["state"], f"LAB_HOST={host}" in check["found"], "set LAB_HOST" in check["mend"]) == ("failed", True, True)
    assert not settings.home.exists()
