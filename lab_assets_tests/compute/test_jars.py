"""The JARs Spark needs besides its own."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from lab_assets.compute.jars import JarsMissingError, ensure_jars, java_executable, present_jars, required_jars, spark_home
from lab_assets.settings import PROJECT_ROOT, Settings


def test_what_setup_fetched_is_whole() -> None:
    """Each JAR opens as a ZIP archive without a damaged member."""
    found = present_jars(Settings(jars_dir=PROJECT_ROOT / ".jars"))
    assert sorted(path.name for path in found) == sorted(required_jars().values())
    for path in found:
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None


def test_names_carry_the_versions_of_spark_scala_and_delta() -> None:
    assert required_jars()["delta-spark_4.2_2.13"] == "delta-spark_4.2_2.13-4.4.0.jar"


def test_present_jars_are_not_fetched_again() -> None:
    """No folder is written and no Java is started when all are there."""
    settings = Settings(jars_dir=PROJECT_ROOT / ".jars")
    assert ensure_jars(settings) == present_jars(settings)


def test_a_missing_jar_makes_the_set_incomplete(tmp_path: Path) -> None:
    for name in list(required_jars().values())[1:]:
        (tmp_path / name).touch()
    assert present_jars(Settings(jars_dir=tmp_path)) == []


def test_a_missing_java_is_reported_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JarsMissingError, match=r"install a JDK or JRE 17 or 21"):
        java_executable()


def test_spark_is_found_without_importing_it() -> None:
    assert any((spark_home() / "jars").glob("spark-connect_*.jar"))
