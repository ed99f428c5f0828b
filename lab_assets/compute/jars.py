"""The JARs Spark needs besides its own, resolved once by the Ivy that Spark brings.

Belongs here: which JARs, where they lie, how they are fetched. Does not belong here: starting Spark.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

from filelock import FileLock

from lab_assets.settings import Settings

_SCALA: Final = "2.13"
_SPARK: Final = "4.2"

_IVY_SETTINGS: Final = """<ivysettings>
  <settings defaultResolver="public"/>
  <caches defaultCacheDir="${lab.ivy.cache}"/>
  <resolvers><ibiblio name="public" m2compatible="true"/></resolvers>
</ivysettings>
"""


class JarsMissingError(RuntimeError):
    """The JARs are not there and could not be fetched."""


def java_executable() -> str:
    """Return the Java to use.

    Raises:
        JarsMissingError: there is no Java on the path.
    """
    java = shutil.which("java")
    if java is None:
        raise JarsMissingError("Java is missing: install a JDK or JRE 17 or 21 (for example 'apt-get install openjdk-17-jre-headless').")
    return java


def spark_home() -> Path:
    """Return the folder of the installed pyspark, without importing it."""
    distribution = metadata.distribution("pyspark")
    return Path(str(distribution.locate_file("pyspark"))).resolve()


def required_jars() -> dict[str, str]:
    """Return file name by artifact of every JAR that is needed."""
    delta = metadata.version("delta-spark")
    artifacts = (
        f"delta-spark_{_SPARK}_{_SCALA}",
        "delta-storage",
        "delta-kernel-api",
        "delta-kernel-defaults",
        "delta-kernel-unitycatalog",
    )
    return {artifact: f"{artifact}-{delta}.jar" for artifact in artifacts}


def present_jars(settings: Settings) -> list[Path]:
    """Return the JARs when all are there, else an empty list."""
    paths = [settings.jars_dir / name for name in required_jars().values()]
    return paths if all(path.is_file() for path in paths) else []


def ensure_jars(settings: Settings) -> list[Path]:
    """Return the JARs, fetching them first when any is missing.

    Raises:
        JarsMissingError: they could not be fetched.
    """
    if paths := present_jars(settings):
        return paths
    settings.jars_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.jars_dir / ".lock"):
        if not present_jars(settings):
            _fetch(settings.jars_dir)
    return present_jars(settings)


def class_archive(settings: Settings) -> Path:
    """Return where the archive of the server's classes lies, if one was made (``class_archive.py``)."""
    return settings.jars_dir / "classes.jsa"


def _fetch(target: Path) -> None:
    delta = metadata.version("delta-spark")
    dependencies = "\n".join(f'<dependency org="io.delta" name="{name}" rev="{delta}" conf="default->master"/>' for name in required_jars())
    module = (
        '<ivy-module version="2.0"><info organisation="lab_assets" module="engine-jars"/>'
        f'<configurations><conf name="default"/></configurations><dependencies>{dependencies}</dependencies></ivy-module>'
    )
    ivy = next((spark_home() / "jars").glob("ivy-*.jar"))
    with tempfile.TemporaryDirectory(dir=target) as work:
        folder = Path(work)
        (folder / "ivysettings.xml").write_text(_IVY_SETTINGS)
        (folder / "ivy.xml").write_text(module)
        command = [
            java_executable(),
            f"-Dlab.ivy.cache={folder / 'cache'}",
            *("-cp", str(ivy), "org.apache.ivy.Main"),
            *("-settings", str(folder / "ivysettings.xml"), "-ivy", str(folder / "ivy.xml")),
            *("-retrieve", str(folder / "jars" / "[artifact]-[revision].[ext]")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        fetched = {path.name: path for path in (folder / "jars").glob("*.jar")}
        missing = sorted(set(required_jars().values()) - set(fetched))
        if missing:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise JarsMissingError(f"could not fetch {', '.join(missing)}; is the package registry reachable?\n{tail}")
        for name in required_jars().values():
            fetched[name].replace(target / name)


def main() -> int:
    """Fetch what is missing; where that fails, say why in one line."""
    from lab_assets.settings import get_settings

    try:
        ensure_jars(get_settings())
    except JarsMissingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
