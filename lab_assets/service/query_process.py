"""What runs in a process of its own: one planned query, from plain values to the text of its answer.

A process has no database, no policy and no key but those of its plan; it reads the Parquet files that the plan names. It is bounded in
memory, gives way to the service (``nice``), ends with it, and may be killed at any moment: nothing of it outlives the answer.

Belongs here: the work of the process, and its bounds. Does not belong here: how many there are and who waits (``queries.py``), SQL
(``lab_assets.governance.query_plan``). Imports nothing of the service: the process stays small.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import resource
import signal
import sys
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Final

from lab_assets.governance.query_plan import GatewayLimits, QueryFailedError, QueryPlan, QueryRefusedError, QueryResult, QueryRunner
from lab_assets.service.json_text import json_text

NICE: Final = 5
"""A third of the weight of the service, and of what ingestion runs beside it; at 10 a busy machine starves queries."""
MEMORY_BYTES: Final = 3 << 29
"""Most private memory of the process, program, snapshots and answer included; DuckDB's own bound, for each snapshot, is that of the plan."""
_PR_SET_PDEATHSIG: Final = 1
_LOG: Final = logging.getLogger(__name__)
sys.modules.setdefault(
    "__main__", ModuleType("__main__")
)  # the pool leaves none where its own program has no file, and DuckDB looks for it


def answer(plan: QueryPlan) -> bytes:
    """Run one plan and return the JSON of ``POST /v1/query``.

    Raises:
        QueryRefusedError: a name or type does not fit the tables.
        QueryFailedError: it did not finish.
        MemoryError: the answer needs more than the process may take.
    """
    _bounded()
    try:
        return json_text(_document(_runner(plan.limits).run(plan)))
    except QueryRefusedError:
        raise
    except QueryFailedError as error:
        if error.__cause__ is not None:  # it does not pass to the process that answers
            _LOG.error("tables %s cannot be opened for queries: %s", list(plan.table_versions), error.__cause__)
        raise
    except RuntimeError as error:  # without room for its stack a thread does not start
        raise MemoryError(str(error)) from None
    finally:
        if _private_bytes() > MEMORY_BYTES // 2:
            _runner.cache_clear()  # the next query finds room, and opens its tables anew


def _private_bytes() -> int:
    """Return what counts against the bound of memory."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[5]) * resource.getpagesize()


def make_ready(limits: GatewayLimits) -> int:
    """Load what queries need, and return the id of the process."""
    _bounded()  # before Arrow is loaded: it looks once which memory to use
    import duckdb
    import pyarrow as pa

    _runner(limits)
    with duckdb.connect(":memory:") as connection:
        pa.table(connection.sql("SELECT 1"))
    return os.getpid()


@cache
def _bounded() -> None:
    """Give way, bound the memory, and end with the service; once."""
    os.nice(NICE)
    log = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")  # the pool sends sys.stderr nowhere
    logging.basicConfig(stream=log, level=logging.WARNING)
    faulthandler.enable(log)
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # its own one sets 1 GiB aside that it never touches
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt from the keyboard is the service's to act on
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@lru_cache(maxsize=1)
def _runner(limits: GatewayLimits) -> QueryRunner:
    return QueryRunner(limits)


def _document(result: QueryResult) -> dict[str, object]:
    return {
        "columns": [{"name": name, "type": kind} for name, kind in zip(result.columns, result.types, strict=True)],
        "rows": result.rows,
        "masked_columns": result.masked_columns,
        "tables": result.tables,
        "table_versions": result.table_versions,
        "truncated": result.truncated,
    }
