"""``lab maintain`` and what status and doctor say of the disk, by the real commands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab_assets.contracts.bronze import LIMS_LOTS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.state import clock
from lab_assets.upkeep.storage import Sample, samples, samples_path
from lab_assets_tests.cli.commands import Lab
from lab_assets_tests.stations.rows import at, putting

NAME = LIMS_LOTS.full_name


@pytest.fixture
def lots(lakehouse: Lakehouse) -> Lakehouse:
    """Nine commits of one row each."""
    for number in range(9):
        putting(lakehouse)(LIMS_LOTS, {"lot_id": f"L{number}", "product": "P", "site": "S", "recorded_at_utc": at(2)})
    return lakehouse


def test_a_dry_run_says_what_would_go_and_the_real_one_does_it(lab: Lab, lots: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine files put together today; two days later they are archived. Each version is still shown, and one row a version more."""
    folder = Path(lots.uri(LIMS_LOTS))
    assert lab("maintain", NAME).exit_code == 0
    monkeypatch.setattr(clock, "utc_now", lambda: datetime.now(UTC) + timedelta(days=2))
    before = sorted(path for path in folder.rglob("*") if path.is_file())
    (would,) = lab("maintain", NAME, "--dry-run", "--json").document
    assert (would["archived"]["files"], sorted(path for path in folder.rglob("*") if path.is_file())) == (9, before)
    assert "would be given back" in lab("maintain", "--dry-run").stdout
    (done,) = lab("maintain", NAME, "--json").document
    assert (done["archived"]["files"], done["archived"]["bytes"]) == (9, would["archived"]["bytes"])
    assert len(list(folder.glob("*.parquet"))) == 1
    assert [lab("table", "as-of", NAME, str(version), "--json").document["row_count"] for version in range(10)] == list(range(10))


def test_everything_is_looked_at_and_measured(lab: Lab, lots: Lakehouse, settings: Settings) -> None:
    (settings.run / "logs").mkdir(parents=True, exist_ok=True)
    (settings.run / "logs" / "service.log").write_bytes(bytes(30 * 2**20))
    rows = lab("maintain", "--json").document
    kinds = {row["what"]: row["items"] for row in rows if "what" in row}
    assert kinds["logs turned over"] == 1
    assert {row["table"] for row in rows if "table" in row} >= {NAME}
    assert len(samples(settings)) == 1
    assert lots.ledger.noted_version(NAME) == 9 + 1


def test_status_and_doctor_warn_before_the_disk_is_full(lab: Lab, lots: Lakehouse, settings: Settings) -> None:
    """The home grew by all that is free on the disk within two days: what is full in two days is said by both, and by part."""
    status = lab("status", "--json").document
    assert status["storage"]["parts_bytes"]["lake"] > 0
    now = samples(settings)[-1]
    early = Sample(
        at_utc=now.at_utc - timedelta(days=2), parts={**now.parts, "lake": now.parts["lake"] - now.free}, free=2 * now.free, disk=now.disk
    )
    import json
    from dataclasses import asdict

    samples_path(settings).write_text(json.dumps([{**asdict(each), "at_utc": each.at_utc.isoformat()} for each in (early, now)]))
    status = lab("status", "--json").document
    assert (status["storage"]["days_until_full"], status["storage"]["level"]) == (2.0, "critical")
    assert any("is full in 2 day(s)" in problem and "most of it in lake" in problem for problem in status["problems"])
    (check,) = [each for each in lab("doctor", "--json").document["checks"] if each["name"] == "growth"]
    assert (check["state"], "full in 2 day(s)" in check["found"]) == ("failed", True)
    assert "lab maintain --dry-run" in check["mend"]
    assert "disk: " in lab("status").stdout
