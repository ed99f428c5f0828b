"""Whether the workers of another Spark server share this laboratory's folders, tried before they are given files.

Belongs here: the trial. Does not belong here: reading files (``parsing.py``), folders that cannot be written here (``lab_assets.disk``).

A worker that does not see the originals would call every file missing, and one that lays rows into a folder of its own would leave
bronze empty of what the ledger says was committed. So each worker reads a fresh file of the raw store and of a lake that lies in a
folder, and lays an answer into the staging folder, which has to arrive here.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab_assets.compute.parts import PartsCompute
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

_TASKS: Final = 8
"""Several, so that more than one host answers."""
_TRIED: Final = set[tuple[str, str]]()
"""Servers and homes that this process has seen to share."""


def require_shared_once(settings: Settings, spark: PartsCompute) -> None:
    """Try it, unless this process has seen it already; the embedded server is on this machine.

    Raises:
        EnvironmentFaultError: a folder is not shared.
    """
    key = (settings.spark_remote or "", str(settings.home))
    if settings.spark_remote and key not in _TRIED:
        require_shared(settings, spark)
        _TRIED.add(key)


def require_shared(settings: Settings, spark: PartsCompute) -> None:
    """See that the workers read what lies here, and that what they write arrives here.

    Args:
        settings: Whose folders.
        spark: The other server's workers.

    Raises:
        EnvironmentFaultError: a folder is not shared; each is named with what a worker said.
        SparkGoneError: the server went away.
        WorkError: the workers lack the package.
    """
    import pyarrow as pa

    word, staging = uuid.uuid4().hex, settings.run / "staging"
    lake = settings.lake.removeprefix("file://")
    read = [settings.raw, *([] if "://" in lake else [Path(lake)])]
    for folder in (*read, staging):
        folder.mkdir(parents=True, exist_ok=True)
    markers = [folder / f".lab-shared-{word}" for folder in read]
    answers = [staging / f".lab-shared-{word}-{number}" for number in range(_TASKS)]
    try:
        for marker in markers:
            marker.write_text(word)
        rows = pa.table({"answer": [str(answer) for answer in answers]})
        schema = pa.schema([("problem", pa.string())])
        problems = spark.map_rows(partial(_try, [str(each) for each in markers], word), rows, schema, tasks=_TASKS, isolated=True)
        found = sorted({each for each in problems["problem"].to_pylist() if each})
        lost = [] if found or all(_says(answer, word) for answer in answers) else [f"{staging}: what a worker laid there is not here"]
    finally:
        for path in (*markers, *answers):
            path.unlink(missing_ok=True)
    if found or lost:
        raise EnvironmentFaultError(Kind.NOT_SHARED, "; ".join([*found, *lost]))


def _try(markers: list[str], word: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Read the fresh files and lay an answer down for each row; runs in a worker."""
    import pyarrow as pa

    for batch in batches:
        unread = [f"{Path(marker).parent}: a worker does not see what lies here" for marker in markers if not _says(Path(marker), word)]
        problems = [*unread, *(problem for answer in batch["answer"].to_pylist() if (problem := _lay(Path(answer), word)))]
        yield pa.RecordBatch.from_pydict({"problem": problems}, schema=pa.schema([("problem", pa.string())]))


def _says(path: Path, word: str) -> bool:
    try:
        return path.read_text() == word
    except OSError:
        return False


def _lay(answer: Path, word: str) -> str:
    try:
        with answer.open("w") as file:
            file.write(word)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{answer.parent}: a worker cannot write there ({error.strerror})"
    return ""
