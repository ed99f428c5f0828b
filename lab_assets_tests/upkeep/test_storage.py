"""How large a home is, how it grows, and when its disk is full: by numbers that can be worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab_assets.settings import Settings
from lab_assets.upkeep.storage import Sample, forecast, in_words, kept_samples, measured, samples, storage_of, take_sample

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GIB = 2**30


def sample(day: float, *, lake: int, free: int, raw: int = GIB, disk: int = 100 * GIB) -> Sample:
    return Sample(at_utc=NOON + timedelta(days=day), parts={"raw": raw, "lake": lake}, free=free, disk=disk)


def growing(days: int, *, free: int) -> list[Sample]:
    """A gibibyte of lake more each day, out of the disk's free space; ``free`` is what is left at the end."""
    return [sample(day, lake=(day + 1) * GIB, free=free + (days - day) * GIB) for day in range(days + 1)]


def test_a_home_is_measured_by_part(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    for path, size in (
        ("raw/ab/x", 100),
        ("lake/ml/t/a.parquet", 30),
        ("lab.db", 7),
        ("lab.db-wal", 2),
        ("run/logs/a.log", 5),
        ("notes.txt", 1),
        ("own/f", 4),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(bytes(size))
    parts = measured(settings, now=NOON).parts
    assert {name: size for name, size in parts.items() if size} == {"raw": 100, "lake": 30, "database": 9, "run": 5, "other": 5}


def test_a_gibibyte_a_day_fills_thirteen_in_thirteen_days(tmp_path: Path) -> None:
    found = forecast(Settings(home=tmp_path), growing(5, free=13 * GIB))
    assert (found.growth_bytes_day, found.growth_by_part, found.days_until_full, found.level) == (GIB, {"lake": GIB}, 13.0, "warning")
    assert found.problem.startswith(
        f"the disk of {tmp_path} has 13.0 GiB (13 %) free and is full in 13 day(s); the home grows by 1.0 GiB a day, most of it in lake: "
    )


@pytest.mark.parametrize(("free", "level"), [(15, "ok"), (13, "warning"), (4, "warning"), (3, "critical")])
def test_levels_by_the_days_that_are_left(tmp_path: Path, free: int, level: str) -> None:
    """A gibibyte a day: fewer than 14 days warn, fewer than a fourth of that are critical."""
    assert forecast(Settings(home=tmp_path), growing(3, free=free * GIB)).level == level


def test_the_limit_is_a_setting(tmp_path: Path) -> None:
    known = growing(3, free=13 * GIB)
    assert forecast(Settings(home=tmp_path, disk_warn_days=10), known).level == "ok"
    assert forecast(Settings(home=tmp_path, disk_warn_days=100), known).level == "critical"


def test_one_clean_up_does_not_turn_the_growth(tmp_path: Path) -> None:
    """A gibibyte a day for six days and half of one given back on the fourth: the growth is still said to be a gibibyte."""
    known = growing(6, free=50 * GIB)
    known[4:] = [sample(day, lake=(day + 1) * GIB - GIB // 2, free=50 * GIB) for day in (4, 5, 6)]
    growth = forecast(Settings(home=tmp_path), known).growth_bytes_day
    assert growth is not None
    assert 0.8 * GIB <= growth <= GIB


def test_another_program_that_fills_the_disk_counts(tmp_path: Path) -> None:
    """The home stands still, the disk loses two gibibytes a day of ten."""
    known = [sample(day, lake=GIB, free=(16 - 2 * day) * GIB) for day in range(4)]
    found = forecast(Settings(home=tmp_path), known)
    assert (found.growth_bytes_day, found.days_until_full, found.level) == (0, 5.0, "warning")


def test_nothing_is_said_about_a_day_before_six_hours(tmp_path: Path) -> None:
    found = forecast(Settings(home=tmp_path), [sample(0, lake=GIB, free=50 * GIB), sample(0.2, lake=9 * GIB, free=42 * GIB)])
    assert (found.growth_bytes_day, found.days_until_full, found.level) == (None, None, "ok")


def test_samples_stay_few(tmp_path: Path) -> None:
    """One each ten minutes for 500 days: an hour each of two days and a day each of 400 are left."""
    every = [sample(number / 144, lake=number, free=GIB) for number in range(144 * 500)]
    kept = kept_samples(every, now=every[-1].at_utc)
    assert 400 <= len(kept) <= 450
    assert kept[-1] == every[-1]


def test_a_sample_is_kept_and_a_young_one_serves(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    (tmp_path / "run").mkdir()
    take_sample(settings, now=NOON)
    (tmp_path / "new.bin").write_bytes(bytes(1000))
    assert storage_of(settings, now=NOON + timedelta(minutes=5)).parts_bytes["other"] == 0
    assert storage_of(settings, now=NOON + timedelta(hours=2)).parts_bytes["other"] == 1000
    assert [each.at_utc for each in samples(settings)] == [NOON, NOON + timedelta(hours=2)]
    storage_of(settings, now=NOON + timedelta(hours=9), keep=False)
    assert len(samples(settings)) == 2


def test_a_damaged_store_counts_as_none(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "storage.json").write_text('[{"at_utc": "x"')
    assert storage_of(settings, now=NOON).growth_bytes_day is None
    assert len(samples(settings)) == 1


def test_bytes_in_words() -> None:
    assert [in_words(size) for size in (5, 2048, 3 * 2**20, 1.5 * GIB)] == ["5 B", "2 KiB", "3 MiB", "1.5 GiB"]
