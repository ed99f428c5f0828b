"""The command as a whole: start, help, errors and exit codes."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from pydantic import ValidationError

from lab_assets.cli.main import environment_fault, plain_error
from lab_assets.compute.jars import JarsMissingError
from lab_assets.settings import Settings
from lab_assets_tests.cli.commands import Lab


def test_it_starts_without_science_spark_or_a_database() -> None:
    """What takes long to import is imported by the command that needs it; seen in a fresh interpreter."""
    slow = {"dagster", "pyspark", "mlflow", "pandas", "numpy", "sqlalchemy", "duckdb", "deltalake", "fastapi", "lightgbm", "pydantic"}
    program = f"import sys, lab_assets.cli.main; print(sorted({slow!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_every_command(lab: Lab) -> None:
    answer = lab("--help")
    assert answer.exit_code == 0
    for name in (
        *("up", "down", "status", "doctor", "simulate", "read", "peaks", "stability", "ingest", "query", "catalog", "table"),
        *("quarantine", "score", "explain", "reproduce", "model", "drift", "user", "grant", "revoke", "tag", "mask", "audit"),
    ):
        assert f" {name} " in answer.stdout, name


def test_the_version_is_the_packages(lab: Lab) -> None:
    assert lab("--version").stdout.strip() == f"lab_assets {version('lab-assets')}"


def test_a_wrong_call_is_a_usage_error(lab: Lab) -> None:
    assert lab("table", "history").exit_code == 2
    assert lab("no-such-command").exit_code == 2


def test_an_error_for_people_is_one_line_and_no_output(lab: Lab) -> None:
    answer = lab("table", "history", "silver.nothing", "--json")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("error: no table 'silver.nothing'; ")
    assert "; known: bronze.files" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_what_a_library_logs_while_a_command_works_is_one_line() -> None:
    """Python itself would print the traceback of an error that is logged and handled."""
    program = (
        "import logging, lab_assets.cli.main as main\n"
        "@main.app.command('fail')\n"
        "def fail():\n"
        "    try:\n"
        "        raise ValueError('it is empty\\nand more')\n"
        "    except ValueError:\n"
        "        logging.getLogger('lab_assets.any').exception('%s cannot be read', 'a file')\n"
        "main.app(['fail'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "error: a file cannot be read: it is empty\n"


def test_a_wrong_setting_is_named_by_its_variable() -> None:
    with pytest.raises(ValidationError) as raised:
        Settings(service_port="many")  # type: ignore[arg-type]  # as an environment would give it
    assert "LAB_SERVICE_PORT=many" in str(environment_fault(raised.value))


@pytest.mark.parametrize("home", ["/labs/our home", "/labs/Prüflabor", "/labs/50%", "/labs/a#b"])
def test_a_home_in_which_no_table_could_be_read_is_refused(home: str) -> None:
    """Libraries do not agree whether a table's address is written as its path: the first ingestion would fail, and every one after it."""
    with pytest.raises(ValidationError, match="choose a folder whose path has letters of ASCII") as refused:
        Settings(home=Path(home))
    fault = environment_fault(refused.value)
    assert fault is not None
    assert fault.where.startswith(f"LAB_HOME: the path {home} holds ")
    with pytest.raises(ValidationError):
        Settings(home=Path("/labs/a"), lake_uri=f"file://{home}")
    assert Settings(home=Path("/labs/qc-1.a_b"), lake_uri="s3://labs/50%").home == Path("/labs/qc-1.a_b")


def test_our_errors_and_the_systems_are_told_and_defects_are_not() -> None:
    assert plain_error(JarsMissingError("Java is missing: install one")) == "Java is missing: install one"
    assert plain_error(PermissionError(13, "Permission denied", "/srv/lab")) == "/srv/lab: Permission denied"
    assert plain_error(ZeroDivisionError("division by zero")) is None
    assert plain_error(KeyError("a")) is None
