"""The last runs before a new one are looked for step by step; what is found does not depend on the steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import polars as pl
import pytest

from lab_assets.contracts.silver import INJECTIONS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.features import instrument_history
from lab_assets.stations.reading import StationReader

START = datetime(2024, 1, 1, tzinfo=UTC)


def _history(lake: Lakehouse) -> None:
    random = Random(3)
    rows = [
        {
            "injection_id": f"inj_{number:04d}",
            "injection_name": f"RUN-{number:04d}",
            "source": "hplc",
            "instrument_id": random.choice(["LC-1", "LC-2"]),
            "method_id": random.choices(["ASSAY", "RARE", None], [20, 1, 2])[0],
            "column_id": random.choices([f"C-{number // 150}", "C-OLD", None], [10, 1, 2])[0],
            "injected_at_utc": START + timedelta(hours=12 * number),
            "known_time_utc": START + timedelta(hours=12 * number + 1),
            "zone_known": True,
            "channels": ["A"],
            "source_sha256": "0" * 64,
        }
        for number in range(600)
    ]
    lake.append(INJECTIONS, lake.local_rows(INJECTIONS, rows))


def _found(lake: Lakehouse, names: list[str]) -> pl.DataFrame:
    station = instrument_history.INSTRUMENT_HISTORY_STATION
    read = StationReader(lake, station, lake.versions([each.table for each in station.inputs]))
    wanted = lake.polars(INJECTIONS, where=pl.col("injection_id").is_in(names))
    return instrument_history._with_earlier(read, wanted).sort("injection_id")  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("names", [["inj_0599"], ["inj_0590", "inj_0400"], ["inj_0003"]])
def test_the_same_runs_are_found_in_steps_and_at_once(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    _history(lakehouse)
    monkeypatch.setattr(instrument_history, "KEEP", 20)
    monkeypatch.setattr(instrument_history, "LOOKED_BACK", (None,))
    whole = _found(lakehouse, names)
    monkeypatch.setattr(instrument_history, "LOOKED_BACK", (timedelta(days=5), timedelta(days=40), timedelta(days=120), None))
    assert _found(lakehouse, names).equals(whole)
    assert whole.height < 600 or len(names) > 1
