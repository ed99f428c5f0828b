"""How large a home is, by part, how fast it grows, and when its disk is full.

Belongs here: measuring, a bounded store of samples, the forecast, warnings before the disk is full. Does not belong here: removing
anything, what a full disk does (``lab_assets.disk``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final, Literal

from filelock import FileLock, Timeout

from lab_assets.disk import existing
from lab_assets.settings import Settings
from lab_assets.upkeep.removal import size_of

Level = Literal["ok", "warning", "critical"]

_FRESH: Final = timedelta(minutes=10)
"""A sample that is younger is not taken anew: walking millions of originals takes seconds."""
_HOURLY: Final = timedelta(days=2)
_KEPT: Final = timedelta(days=400)
_LOOK_BACK: Final = timedelta(days=14)
_LEAST_SPAN: Final = timedelta(hours=6)
"""Shorter than this nothing is said about a day."""
_CRITICAL: Final = 4
"""The disk is critical at a fourth of what is warned at."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """How large a home was at a moment, in bytes.

    Attributes:
        at_utc: The moment.
        parts: Bytes by part of the home.
        free: Free bytes of the disk.
        disk: Bytes of the disk.
    """

    at_utc: datetime
    parts: Mapping[str, int]
    free: int
    disk: int

    @property
    def total(self) -> int:
        """Bytes of the whole home."""
        return sum(self.parts.values())


@dataclass(frozen=True, kw_only=True)
class Storage:
    """How large a home is, how it grows, and how long its disk lasts.

    Attributes:
        at_utc: When it was measured.
        parts_bytes: Bytes by part of the home, the largest first.
        total_bytes: Bytes of the whole home.
        free_bytes: Free bytes of the disk.
        disk_bytes: Bytes of the disk.
        growth_bytes_day: What the home grows by in a day, by the last two weeks; ``None`` as long as that is not known.
        growth_by_part: The same by part, those that grow.
        days_until_full: Until the disk is full, by what it loses in a day; ``None`` where it loses nothing, or that is not known.
        level: ``ok``, ``warning`` or ``critical``.
        problem: What is wrong and what to do; empty when ``ok``.
    """

    at_utc: str
    parts_bytes: dict[str, int]
    total_bytes: int
    free_bytes: int
    disk_bytes: int
    growth_bytes_day: int | None
    growth_by_part: dict[str, int] = field(default_factory=dict[str, int])
    days_until_full: float | None = None
    level: Level = "ok"
    problem: str = ""


def measured(settings: Settings, *, now: datetime) -> Sample:
    """Measure a home; parts that lie elsewhere by a setting are not in it."""
    home = settings.home
    database = sum(size_of(path) for path in home.glob("lab.db*"))
    folders = {path.name: size_of(path) for path in sorted(home.iterdir()) if path.is_dir()} if home.is_dir() else {}
    named = {name: folders.pop(name, 0) for name in _PARTS}
    others = sum(folders.values()) + (size_of_files(home) - database)
    disk = shutil.disk_usage(existing(home))
    return Sample(at_utc=now, parts={**named, "database": database, "other": others}, free=disk.free, disk=disk.total)


_PARTS: Final = ("inbox", "raw", "quarantine", "lake", "mlflow", "dagster", "run")


def size_of_files(folder: Path) -> int:
    """Return the bytes of the files of a folder, those of its folders apart."""
    return sum(size_of(path) for path in folder.iterdir() if not path.is_dir()) if folder.is_dir() else 0


def samples_path(settings: Settings) -> Path:
    """Return where the samples are kept."""
    return settings.run / "storage.json"


def samples(settings: Settings) -> list[Sample]:
    """Return the kept samples, oldest first; a file that cannot be read counts as none, since they are made again by themselves."""
    try:
        rows = json.loads(samples_path(settings).read_text())
        return [Sample(**{**row, "at_utc": datetime.fromisoformat(row["at_utc"])}) for row in rows]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return []


def kept_samples(known: Sequence[Sample], *, now: datetime) -> list[Sample]:
    """Return the samples that are kept: the last of each hour for two days, the last of each day for 400."""
    chosen: dict[str, Sample] = {}
    for each in sorted(known, key=lambda sample: sample.at_utc):
        age = now - each.at_utc
        if timedelta(0) <= age <= _KEPT:
            chosen[each.at_utc.strftime("%Y-%m-%d %H" if age <= _HOURLY else "%Y-%m-%d")] = each
    return list(chosen.values())


def take_sample(settings: Settings, *, now: datetime) -> Sample:
    """Measure a home and keep the sample."""
    sample = measured(settings, now=now)
    kept = kept_samples([*samples(settings), sample], now=now)
    path = samples_path(settings)
    with FileLock(path.with_suffix(".lock"), timeout=5):
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps([{**asdict(each), "at_utc": each.at_utc.isoformat()} for each in kept]))
        draft.replace(path)
    return sample


def storage_of(settings: Settings, *, now: datetime, keep: bool = True) -> Storage:
    """Return how large a home is and what is to be expected; a young sample serves, and where none can be kept, none is.

    Args:
        settings: Whose home.
        now: The moment.
        keep: Whether a sample that is taken is kept.
    """
    known = samples(settings)
    latest = known[-1] if known and timedelta(0) <= now - known[-1].at_utc < _FRESH else None
    if latest is None and keep and settings.run.is_dir() and os.access(settings.run, os.W_OK):
        with contextlib.suppress(OSError, Timeout):
            latest = take_sample(settings, now=now)
    latest = latest or measured(settings, now=now)
    disk = shutil.disk_usage(existing(settings.home))  # always as it is now: asking costs nothing
    return forecast(settings, [*known, Sample(at_utc=now, parts=latest.parts, free=disk.free, disk=disk.total)])


def forecast(settings: Settings, known: Sequence[Sample]) -> Storage:
    """Return what follows from samples, oldest first, of which the last one is how it is now."""
    latest = known[-1]
    recent = [each for each in known if latest.at_utc - each.at_utc <= _LOOK_BACK]
    growth = _a_day(recent, [each.total for each in recent])
    loss = _a_day(recent, [-each.free for each in recent])
    by_part = {name: _a_day(recent, [each.parts.get(name, 0) for each in recent]) for name in latest.parts}
    # another program on the disk may fill it, or free what the home takes: what comes first counts
    lost = max((each for each in (growth, loss) if each is not None), default=None)
    days = latest.free / lost if lost is not None and lost > 0 else None
    grown = {name: round(each) for name, each in by_part.items() if each is not None and each >= 1}
    level, problem = _judged(settings, latest, days, growth, grown)
    return Storage(
        at_utc=latest.at_utc.isoformat(timespec="seconds"),
        parts_bytes=dict(sorted(latest.parts.items(), key=lambda part: -part[1])),
        total_bytes=latest.total,
        free_bytes=latest.free,
        disk_bytes=latest.disk,
        growth_bytes_day=None if growth is None else round(growth),
        growth_by_part=dict(sorted(grown.items(), key=lambda part: -part[1])),
        days_until_full=None if days is None else round(days, 1),
        level=level,
        problem=problem,
    )


def _a_day(known: Sequence[Sample], values: Sequence[int]) -> float | None:
    """Return by how much a value grows in a day: the median slope of all pairs of samples, which a single clean-up does not turn."""
    slopes: list[float] = []
    for first, (early, before) in enumerate(zip(known, values, strict=True)):
        for late, after in zip(known[first + 1 :], values[first + 1 :], strict=True):
            if (span := late.at_utc - early.at_utc) >= _LEAST_SPAN:
                slopes.append((after - before) / (span / timedelta(days=1)))
    return median(slopes) if slopes else None


def _judged(settings: Settings, latest: Sample, days: float | None, growth: float | None, by_part: Mapping[str, int]) -> tuple[Level, str]:
    if days is None or days >= settings.disk_warn_days:
        return "ok", ""
    level: Level = "critical" if days < settings.disk_warn_days / _CRITICAL else "warning"
    share = 100 * latest.free / latest.disk
    when = f"in {days:.0f} day(s)" if days >= 1 else "within a day"
    said = f"the disk of {settings.home} has {in_words(latest.free)} ({share:.0f} %) free and is full {when}"
    if growth is not None and growth > 0:
        most = max(by_part, key=lambda name: by_part[name], default="")
        said += f"; the home grows by {in_words(growth)} a day" + (f", most of it in {most}" if most else "")
    return level, f"{said}: free space or move LAB_HOME to a larger disk; 'lab maintain --dry-run' says what maintenance would give back"


def in_words(size: float) -> str:
    """Return bytes as people read them."""
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
