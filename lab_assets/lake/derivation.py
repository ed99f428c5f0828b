"""Where a version of a table came from, kept in the commit itself.

Belongs here: the record and its form in a commit. Does not belong here: the rows of ``governance.lineage``, which are read from the
commits (``lab_assets.stations.governance.lineage``): what is in the commit cannot be lost between the commit and another table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

INPUTS: Final = "labInputs"
RUN: Final = "labRun"
CODE: Final = "labCode"
STATION: Final = "labStation"


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """What a commit was made from.

    Attributes:
        inputs: Version that was read, by input: ``layer.table``, ``model:name``, ``files:batch``.
        run_id: Run that made it.
        code_version: Version of the code that made it.
        station: Version of the station's definition; empty for what no station made.
    """

    inputs: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    run_id: str = ""
    code_version: str = ""
    station: str = ""

    def metadata(self) -> dict[str, str]:
        """Return the entries of the commit's own description."""
        return {
            INPUTS: json.dumps({name: str(version) for name, version in self.inputs.items()}, sort_keys=True),
            RUN: self.run_id,
            CODE: self.code_version,
            STATION: self.station,
        }

    @staticmethod
    def of_commit(entry: Mapping[str, Any]) -> Derivation | None:
        """Read it from an entry of a table's history; ``None`` for a commit that does not say."""
        stated = entry.get(INPUTS)
        if stated is None:
            return None
        return Derivation(
            inputs=json.loads(stated), run_id=entry.get(RUN, ""), code_version=entry.get(CODE, ""), station=entry.get(STATION, "")
        )
