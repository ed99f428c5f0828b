"""Asking by values: the rows are those of a plain comparison, and files that cannot hold them are not read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from lab_assets.lake.among import among


@pytest.mark.parametrize("values", [[], [None], ["b"], ["b", "d", None], ["0", "z"], ["b", "b"]])
def test_the_rows_are_those_that_hold_one_of_the_values(values: list[str | None]) -> None:
    rows = pl.DataFrame({"name": ["a", "b", None, "c", "d"]})
    wanted = [name for name in rows["name"] if name is not None and name in values]
    assert rows.filter(among("name", pl.Series(values, dtype=pl.String)))["name"].to_list() == wanted


def test_times_are_compared_as_times() -> None:
    at = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    rows = pl.DataFrame({"at": at})
    assert rows.filter(among("at", rows["at"].head(2)))["at"].to_list() == at[:2]


def test_files_whose_limits_rule_the_values_out_are_not_read(tmp_path: Path) -> None:
    for number in range(3):
        pl.DataFrame({"name": [f"{number}-a", f"{number}-b"], "value": [1, 2]}).write_parquet(tmp_path / f"{number}.parquet")
    damaged = tmp_path / "2.parquet"
    content = bytearray(damaged.read_bytes())
    content[4:40] = b"\0" * 36  # pages, not the footer with the limits
    damaged.write_bytes(content)
    frame = pl.scan_parquet(sorted(tmp_path.glob("*.parquet")))
    assert frame.filter(among("name", pl.Series(["0-a", "1-b"]))).collect().height == 2
    with pytest.raises(pl.exceptions.PolarsError):
        frame.filter(pl.col("name").is_in(pl.Series(["0-a", "1-b"]).implode())).collect()
