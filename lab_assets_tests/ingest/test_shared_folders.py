"""Another Spark server whose workers do not share the laboratory's folders is refused before it is given a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lab_assets.compute.session import SessionKeeper
from lab_assets.compute.spark import SparkCompute
from lab_assets.ingest.shared_folders import require_shared
from lab_assets.settings import Settings
from lab_assets_tests.faults.laboratory import environment_of, in_namespace
from lab_assets_tests.ingest.files import chromatogram, drop

MANY = 260
PROGRAM = """
import json
from lab_assets.compute.session import SessionKeeper
from lab_assets.fault_kinds import EnvironmentFaultError
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import get_settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
settings = get_settings()
keeper, ledger = SessionKeeper(settings), Ledger(open_database(settings))
keeper.session  # while it is being opened, this machine would read the files
try:
    Ingestor(Lakehouse(settings, keeper, ledger)).run()
    told = None
except EnvironmentFaultError as error:
    told = error.document
keeper.close()
print(json.dumps([told, ledger.counts()]))
"""


def test_workers_that_share_the_folders_are_taken(settings: Settings, spark_url: str, keeper: SessionKeeper) -> None:
    settings.spark_remote = spark_url
    require_shared(settings, SparkCompute(keeper))
    assert list(settings.raw.iterdir()) == list((settings.run / "staging").iterdir()) == []


def test_files_are_not_quarantined_where_workers_see_no_originals(tmp_path: Path, spark_url: str) -> None:
    """The ingestion's own raw folder is a mount that the server's workers do not have: the run fails, no file is refused."""
    home = tmp_path / "lab"
    for number in range(MANY):
        drop(home / "inbox", "hplc", f"{number}.txt", chromatogram(f"S-{number}"))
    (home / "raw").mkdir()
    env = environment_of(Settings(home=home), LAB_SPARK_REMOTE=spark_url, LAB_STABLE_S="0")
    done = in_namespace(f"mount -t tmpfs tmpfs {home / 'raw'}", sys.executable, "-c", PROGRAM, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    told, counts = json.loads(done.stdout.splitlines()[-1])
    assert told["kind"] == "not_shared"
    assert f"{home / 'raw'}: a worker does not see what lies here" in told["where"]
    assert "quarantined" not in counts
