"""A run of any assets ends with the lineage of what it wrote, whether it chose the lineage or not."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import polars as pl
import pytest

from lab_assets.contracts.bronze import LIMS_LOTS
from lab_assets.contracts.governance import LINEAGE
from lab_assets.contracts.silver import LOTS
from lab_assets.definitions import build_defs
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import get_settings
from lab_assets.stations.governance.lineage import missing_lineage
from lab_assets_tests.stations.rows import at, putting


@pytest.fixture
def lots(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lakehouse]:
    """A lot of the LIMS, in the laboratory that runs open by themselves."""
    monkeypatch.setenv("LAB_HOME", str(lakehouse.settings.home))
    get_settings.cache_clear()
    putting(lakehouse)(LIMS_LOTS, {"lot_id": "L1", "product": "P", "recorded_at_utc": at(2)})
    yield lakehouse
    get_settings.cache_clear()


def materialise(*names: str, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
    """Run some assets alone, their tables opened by the run."""
    keys = {dg.AssetKey(name.split(".")) for name in names}
    job = build_defs().resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(instance=instance, raise_on_error=raise_on_error)


@pytest.mark.parametrize("chosen", [("silver.lots",), ("silver.lots", "governance.lineage")], ids=["alone", "with_lineage"])
def test_a_run_leaves_no_version_without_lineage(lots: Lakehouse, chosen: tuple[str, ...]) -> None:
    done = materialise(*chosen)
    assert missing_lineage(lots) == {}
    of_tables = lots.polars(LINEAGE).filter(pl.col("output_column").is_null())
    rows = of_tables.filter(output="silver.lots", output_version=str(lots.version(LOTS)))
    assert rows["run_id"].to_list() == [done.run_id]
    version = lots.version(LINEAGE)
    materialise("silver.lots")
    assert lots.version(LINEAGE) == version, "without news nothing is written"


def test_a_run_that_fails_records_what_it_wrote(lots: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("the disk does not answer")

    monkeypatch.setattr("lab_assets.orchestration.assets.station_assets.check_result", refuse)
    assert not materialise("silver.lots", raise_on_error=False).success
    assert lots.version(LOTS) == 1
    assert missing_lineage(lots) == {}
