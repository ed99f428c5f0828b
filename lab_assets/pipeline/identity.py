"""Injections recognised in bronze: their identity, and the frames that Spark stations join by it.

Belongs here: identity and selection. Does not belong here: context (``injections.py``), what is computed from traces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lab_assets.engine.delta import Lakehouse

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PARTS: Final = ("source", "instrument_name", "injection_name", "injected_at_text")
"""Columns of ``bronze.chromatograms`` that tell an injection from every other."""


def injection_id(source: str | None, instrument_name: str | None, injection_name: str | None, injected_at_text: str | None) -> str:
    """Return the identity of an injection.

    Sixteen hex digits of the SHA-256 of source, instrument, name and time text: the same export read twice is the same
    injection, the same name on another instrument or day is not.
    """
    parts = (source, instrument_name, injection_name, injected_at_text)
    return "inj_" + hashlib.sha256("|".join(part or "" for part in parts).encode()).hexdigest()[:16]


def injection_id_column() -> Column:
    """Return ``injection_id`` as a Spark column over ``bronze.chromatograms``."""
    from pyspark.sql import functions as sf

    parts = [sf.coalesce(sf.col(name), sf.lit("")) for name in PARTS]
    return sf.concat(sf.lit("inj_"), sf.substring(sf.sha2(sf.concat_ws("|", *parts), 256), 1, 16))


def with_identity(traces: DataFrame) -> DataFrame:
    """Add ``injection_id`` and keep, of each injection and channel, the row of the newest file."""
    from pyspark.sql import Window
    from pyspark.sql import functions as sf

    newest = Window.partitionBy("injection_id", "channel").orderBy(sf.desc("ingest_batch"), sf.desc("source_sha256"), sf.desc("source_row"))
    identified = traces.withColumn("injection_id", injection_id_column())
    return identified.withColumn("_order", sf.row_number().over(newest)).where("_order = 1").drop("_order")


def named(lake: Lakehouse, column: str, values: Sequence[str]) -> DataFrame:
    """Return some values as a small frame of one column, to keep the rows that carry one of them."""
    import pyarrow as pa
    from pyspark.sql import functions as sf

    return sf.broadcast(lake.spark.createDataFrame(pa.table({column: pa.array(values, pa.string())})))


def task_count(injections: int) -> int:
    """Return how many tasks share some injections: each writes a file, so few injections go into few files."""
    return max(2, min(64, injections // 400))
