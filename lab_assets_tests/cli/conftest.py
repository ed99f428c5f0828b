"""Running ``lab`` against a laboratory of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from lab_assets.settings import Settings, get_settings
from lab_assets_tests.cli.commands import CommandResult, Lab


@pytest.fixture
def lab(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Run the real command in this process; its settings are those of the ``settings`` fixture."""
    from lab_assets.cli.main import app

    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, text: str | None = None) -> CommandResult:
        monkeypatch.setenv("LAB_HOME", str(settings.home))
        monkeypatch.setenv("LAB_STABLE_S", "0")
        if settings.spark_remote:
            monkeypatch.setenv("LAB_SPARK_REMOTE", settings.spark_remote)
        get_settings.cache_clear()
        result = CliRunner().invoke(app, list(arguments), input=text)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return CommandResult(exit_code=result.exit_code, stdout=result.stdout, stderr=result.stderr)

    yield run
    get_settings.cache_clear()
