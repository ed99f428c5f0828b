"""The process that Spark forks its Python workers from, with the product's readers already imported.

Belongs here: libraries and lower rooms that workers need at once. Does not belong here: what workers do, which they import themselves from
rooms above this one (hundredths of a second once the rest is there).

Spark forks a worker for each core and again after a minute without work; importing pandas, pandera and the readers anew costs
a fork several seconds of CPU, which is most of what a single new file costs. The embedded server names this module in
``spark.python.daemon.module``; a cluster may do the same or leave it.
"""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Final

PRELOADED: Final = (
    # used by every task that exchanges Arrow or pandas with the server
    *("pandas", "pyarrow.parquet", "pyspark.worker", "pyspark.sql.pandas.serializers", "pyspark.cloudpickle"),
    # reading files: contracts are checked by pandera's pandas backend
    *("pandera.pandas", "pandera.backends.pandas", "lab_assets.sources.all_readers"),
    *("lab_assets.contracts.bronze", "lab_assets.contracts.formats.quick_check", "multiprocessing.connection"),
    *("pypdf", "tifffile", "scipy.io", "PIL.Image"),
    # integrating traces, features of partial traces
    *("scipy.signal", "scipy.special", "lab_assets.domain.chromatography", "lab_assets.features.progress", "lab_assets.features.reference"),
)
"""No module here may start threads when imported: they would not live on in a fork."""


def main() -> None:
    """Import what workers need, readers of other packages included, then serve Spark as its own daemon does."""
    from pyspark import daemon

    from lab_assets.sources.all_readers import installed

    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - costs speed alone; work that needs the module fails with its own words
            sys.stderr.write(f"workers begin without {name}: {type(error).__name__}: {error}\n")
    installed()
    gc.freeze()  # what is imported stays: no worker looks through it for garbage, nor copies its pages by doing so
    daemon.manager()


if __name__ == "__main__":
    main()
