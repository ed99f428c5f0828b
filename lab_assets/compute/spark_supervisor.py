"""The process that keeps the embedded Spark Connect server alive while it is used, and ends it when it is not.

Belongs here: Java's command line, restarting, idling, ending. Does not belong here: what users of the server do.
Run as ``python -m lab_assets.compute.spark_supervisor SETTINGS`` (JSON).
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

import psutil
from filelock import FileLock, Timeout

from lab_assets.compute.jars import class_archive, ensure_jars, java_executable, spark_home
from lab_assets.compute.spark_server import COMPONENT_NAME, ServerState, SparkFiles, live_leases
from lab_assets.grpc_health import answers_grpc
from lab_assets.home_identity import place_of
from lab_assets.process_identity import marked
from lab_assets.process_stamp import Stamp, end_with_parent, is_suspended, kill, stamp_of
from lab_assets.provenance import program_digest
from lab_assets.settings import Settings

MAX_QUICK_DEATHS: Final = 5
QUICK_DEATH_S: Final = 30.0
LONGEST_START_S: Final = 110.0
PROBE_INTERVAL_S: Final = 3.0
PROBE_TIMEOUT_S: Final = 5.0
LONGEST_SILENCE_S: Final = 40.0
"""A server under load answers late; one that was stopped by a signal is seen as such and does not get this long."""
SUSPENDED_S: Final = 1.5

_OPENS: Final = (
    *("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util", "java.util.concurrent"),
    *("java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar"),
)


def spark_conf(settings: Settings, port: int) -> dict[str, str]:
    """Return the server's configuration."""
    work = settings.run / "spark"
    return {
        "spark.master": "local[*]",
        "spark.app.name": "lab_assets",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.connect.grpc.maxInboundMessageSize": str(256 * 1024 * 1024),
        # the session that all processes share ends with the server
        "spark.connect.session.manager.defaultSessionTimeout": "365d",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(work / "warehouse"),
        "spark.local.dir": str(work / "scratch"),
        "spark.ui.enabled": "false",
        "spark.log.level": "WARN",
        # small data on few cores: one task a core, one partition for Delta's own log
        "spark.sql.shuffle.partitions": str(max(2, os.cpu_count() or 2)),
        "spark.databricks.delta.snapshotPartitions": "1",
        # one process writes under a lock, so a log file needs no rename through file contexts, which fork a process each
        "spark.delta.logStore.file.impl": "io.delta.storage.LocalLogStore",
        # plans over kilobytes: planning, compiling and re-planning them costs more than interpreting them
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        # one product, one set of classes: without this each task asks the driver for generated classes one by one
        "spark.sql.artifact.isolation.enabled": "false",
        "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "64",
        "spark.sql.streaming.noDataMicroBatches.enabled": "false",
        "spark.pyspark.python": sys.executable,
        "spark.python.daemon.module": "lab_assets.compute.spark_python",
        "spark.pyspark.driver.python": sys.executable,
        "spark.sql.pyspark.jvmStacktrace.enabled": "false",
    }


def java_command(settings: Settings, port: int, *, archive_to: Path | None = None) -> list[str]:
    """Return the command that runs the server.

    Args:
        settings: Of the laboratory.
        port: Loopback port.
        archive_to: Where the server writes the classes that it loaded when it ends; ``None`` to use an archive that is there.
    """
    jars = [str(spark_home() / "jars" / "*"), *map(str, ensure_jars(settings))]
    return [
        java_executable(),
        *("-cp", os.pathsep.join(jars)),
        *_class_options(settings, archive_to),
        f"-Xmx{settings.spark_memory}",
        # many short plans: the quick compiler and the small collector start twice as fast and need half the memory
        *("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xss4m", "-XX:+IgnoreUnrecognizedVMOptions"),
        # the quick compiler's default code cache (48 MiB) fills within a minute; then code is swept out and compiled again
        *("-XX:ReservedCodeCacheSize=192m", "-XX:MetaspaceSize=256m", "-Xms512m", "-Xmn256m"),
        *("--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"),
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENS),
        *("-Djdk.reflect.useDirectMethodHandle=false", "-Dio.netty.tryReflectionSetAccessible=true", "-Dio.netty.noUnsafe=false"),
        *(f"-D{key}={value}" for key, value in spark_conf(settings, port).items()),
        "org.apache.spark.sql.connect.service.SparkConnectServer",
    ]


def _class_options(settings: Settings, archive_to: Path | None) -> list[str]:
    """Return the options by which classes come from an archive, or go into one; Java passes over an archive of other JARs."""
    if archive_to is not None:
        return [f"-XX:ArchiveClassesAtExit={archive_to}"]
    archive = class_archive(settings)
    return [f"-XX:SharedArchiveFile={archive}"] if archive.is_file() else []


def java_environment(token: str) -> dict[str, str]:
    """Return the environment of the server and its workers.

    Args:
        token: What clients have to show.
    """
    return {
        **os.environ,
        "SPARK_HOME": str(spark_home()),
        "SPARK_CONNECT_AUTHENTICATE_TOKEN": token,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONHASHSEED": "0",
        # one thread for each worker: two workers share the cores already
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1"),
    }


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Supervisor:
    """One embedded server from start to end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.files = SparkFiles(settings)
        self.place = place_of(settings)
        self.port = free_port()
        self.starts = 0
        self.quick_deaths = 0
        self.started_s = 0.0
        self.answered_s = 0.0
        self.probed_s = 0.0
        self.suspended_s: float | None = None
        self.last_end = ""
        self.ready = False
        self.java: subprocess.Popen[bytes] | None = None
        self.born: Stamp | None = None
        self.ending = False
        self.token = secrets.token_urlsafe(32)
        self.stated: ServerState | None = None

    def run(self) -> int:
        """Supervise until idle or asked to end; return the exit code."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        self._write_token()
        kill(marked(self.place, COMPONENT_NAME, spared=(os.getpid(),)))  # a server whose supervisor was killed
        self._state(ready=False)  # whoever ends the laboratory now finds this process
        try:
            return self._loop()
        finally:
            self._stop_java()
            self.files.state.unlink(missing_ok=True)

    def _loop(self) -> int:
        last_used_s = time.monotonic()
        self._start_java()
        while not self.ending:
            if live_leases(self.files, self.place):
                last_used_s = time.monotonic()
            if time.monotonic() - last_used_s > self.settings.spark_idle_s:
                return 0
            if self.java is not None and self.java.poll() is not None:
                self.last_end = f"Java ended with {_exit_in_words(self.java.returncode)}"
                if not self._revive():
                    return 1
            elif hung := self._hung():
                self.last_end = hung
                self._kill_java()
            self.beat()
            time.sleep(0.25)
        return 0

    def _revive(self) -> bool:
        quick = time.monotonic() - self.started_s < QUICK_DEATH_S
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        if self.quick_deaths >= MAX_QUICK_DEATHS:
            sys.stderr.write(f"the Spark server died {self.quick_deaths} times at once ({self.last_end}); see {self.files.log}\n")
            return False
        self._start_java()
        return True

    def _start_java(self) -> None:
        with self.files.log.open("ab") as log:
            self.java = subprocess.Popen(
                java_command(self.settings, self.port),
                env=java_environment(self.token),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.files.folder,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it makes one system call
            )
        self.born = stamp_of(self.java.pid)
        self.starts += 1
        self.started_s = time.monotonic()
        self._state(ready=False)
        while not self.ending and self.java.poll() is None and not answers_grpc(f"127.0.0.1:{self.port}", timeout_s=0.5):
            if (hung := self._suspended()) or time.monotonic() - self.started_s > LONGEST_START_S:
                self.last_end = hung or f"it did not answer within {LONGEST_START_S:.0f} s of its start"
                self._kill_java()
                break
            self.beat()
            time.sleep(0.1)
        self.answered_s = self.probed_s = time.monotonic()
        self._state(ready=self.java.poll() is None)

    def _hung(self) -> str:
        """Say in which way the server hangs; empty while it works."""
        if suspended := self._suspended():
            return suspended
        if time.monotonic() - self.probed_s < PROBE_INTERVAL_S:
            return ""
        if answers_grpc(f"127.0.0.1:{self.port}", timeout_s=PROBE_TIMEOUT_S):
            self.answered_s = time.monotonic()
        self.probed_s = time.monotonic()
        silent_s = self.probed_s - self.answered_s
        return f"it did not answer for {silent_s:.0f} s" if silent_s > LONGEST_SILENCE_S else ""

    def _suspended(self) -> str:
        """Say that the server was stopped by a signal, once it has been for a while."""
        process = self.born.process() if self.born else None
        if process is None or not is_suspended(process):
            self.suspended_s = None
            return ""
        self.suspended_s = self.suspended_s or time.monotonic()
        return "it was stopped by a signal" if time.monotonic() - self.suspended_s > SUSPENDED_S else ""

    def beat(self) -> None:
        """Show whoever watches that this process works, and say again what is not there any more or was damaged."""
        with suppress(OSError):  # a full disk: the next beat tries again
            if not self._token_is_written():
                self._write_token()
            if self.stated is None or self.files.stated() != self.stated:
                self._state(ready=self.ready)
            else:
                os.utime(self.files.state)

    def _state(self, *, ready: bool) -> None:
        self.ready = ready
        self.stated = ServerState(
            place=self.place,
            program=program_digest(),
            supervisor=stamp_of(os.getpid()),
            java=self.born,
            port=self.port,
            starts=self.starts,
            ready=ready,
            last_end=self.last_end,
        )
        self.files.write_state(self.stated)

    def _kill_java(self) -> None:
        """End a server that hangs, with its workers."""
        if self.java is not None:
            kill(_workers(self.java.pid))
            self.java.kill()
            self.java.wait()

    def _stop_java(self) -> None:
        if self.java is None or self.java.poll() is not None:
            return
        self.java.terminate()
        try:
            self.java.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.java.kill()
            self.java.wait()

    def _write_token(self) -> None:
        descriptor = os.open(self.files.token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(self.token)

    def _token_is_written(self) -> bool:
        try:
            return self.files.token.read_bytes() == self.token.encode()
        except FileNotFoundError:
            return False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True


def _workers(java: int) -> list[psutil.Process]:
    try:
        return psutil.Process(java).children(recursive=True)
    except psutil.Error:
        return []


def _exit_in_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def main() -> int:
    """Run the supervisor of one home; a second one for the same home ends at once."""
    settings = Settings(**json.loads(sys.argv[1]))
    files = SparkFiles(settings)
    files.prepare()
    try:
        with FileLock(files.life_lock, timeout=5):
            return Supervisor(settings).run()
    except Timeout:
        return 0


if __name__ == "__main__":
    sys.exit(main())
