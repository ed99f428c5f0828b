"""Online predictions on their way into ``ml.predictions``.

Belongs here: the stream between the two tables. Does not belong here: the service's log (``lab_assets.service``).
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.ml import ONLINE_LOG, PREDICTIONS
from lab_assets.lake.lakehouse import Lakehouse

STATION: Final = "ml.predictions<-ml.online_log"


def fold_online_log(lake: Lakehouse) -> int:
    """Append online predictions that are not in ``ml.predictions`` yet, as a Delta stream whose checkpoint counts each once.

    Returns:
        Version of ``ml.predictions`` afterwards.
    """
    version = lake.version(ONLINE_LOG)
    if version == 0 or lake.ledger.progress(STATION).get(ONLINE_LOG.full_name) == version:
        return lake.version(PREDICTIONS)
    written = lake.stream(lake.read_stream(ONLINE_LOG), PREDICTIONS, name=STATION.replace("<-", "_from_"))
    lake.ledger.set_progress(STATION, {ONLINE_LOG.full_name: version})
    return written
