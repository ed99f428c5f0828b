"""Replaced files put away: every version answers as before, and what lies on the disk is no more than a few times what is live."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lab_assets.contracts.core import Column, TableContract
from lab_assets.ingest.scrub import scrub
from lab_assets.lake import archive, archive_batch, archiving
from lab_assets.lake.archive_folder import FOLDER, ArchiveError, files_stay
from lab_assets.lake.archiving import put_away
from lab_assets.lake.data_files import committed_files
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.maintenance import maintain
from lab_assets.lake.opening import DamagedTableError, lost_commits
from lab_assets.lake.pinned import pinned_files
from lab_assets.lake.versions import table_difference, table_history
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger

VALUES = TableContract(
    layer="silver",
    name="values_of_test",
    grain="one value",
    description="A small table with every kind of column.",
    owner="team:test",
    primary_key=("number",),
    columns=(
        Column(name="number", kind="int64", meaning="ordinal", nullable=False),
        Column(name="note", kind="string", meaning="note"),
        Column(name="value", kind="float64", meaning="value"),
        Column(name="trace", kind="array<float64>", meaning="signal"),
        Column(name="features", kind="map<string,float64>", meaning="values by name"),
        Column(name="at_utc", kind="timestamp_utc", meaning="moment"),
    ),
)
GRACE = timedelta(hours=24)


def later(days: int = 2) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def values(lake: Lakehouse, *numbers: int, note: str = "", seed: int = 0) -> Any:
    draw = random.Random(f"{numbers} {note} {seed}")
    rows = [
        {
            "number": number,
            "note": note or None,
            "value": draw.choice([0.0, -0.0, float("nan"), None, draw.random()]),
            "trace": draw.choice([None, [], [draw.random(), None, float("inf")]]),
            "features": draw.choice([None, [], [("a", draw.random()), ("b", None)]]),
            "at_utc": datetime(2026, 3, 1, 12, 0, draw.randrange(60), draw.randrange(10**6), tzinfo=UTC),
        }
        for number in numbers
    ]
    return lake.local_rows(VALUES, rows)


def content(lake: Lakehouse, version: int | None = None) -> list[str]:
    """Every row as text that tells NaN from null and 0.0 from -0.0."""
    return sorted(map(repr, lake.polars(VALUES, version=version).rows()))


def every_version(lake: Lakehouse) -> list[list[str]]:
    return [content(lake, version) for version in range(lake.version(VALUES) + 1)]


def stored(lake: Lakehouse) -> set[str]:
    return {path.name for path in Path(lake.uri(VALUES)).glob("*.parquet")}


def live(lake: Lakehouse) -> set[str]:
    return {Path(uri).name for uri in lake.open(VALUES).file_uris()}


def fresh(settings: Settings, lake: Lakehouse) -> Lakehouse:
    """The same lake for a process that has opened nothing yet."""
    return Lakehouse(settings, lake.keeper, lake.ledger)


def appended(lake: Lakehouse, commits: int) -> None:
    for number in range(commits):
        lake.append(VALUES, values(lake, number, note=f"row {number}"))


def test_files_put_together_go_and_every_version_answers(lakehouse: Lakehouse) -> None:
    """Twelve commits of a row, put together: one data file is left, and versions 0 to 13 hold what they held."""
    appended(lakehouse, 12)
    maintain(lakehouse, VALUES)
    before = every_version(lakehouse)
    done = put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    assert (done.files, done.kept_whole, stored(lakehouse)) == (12, 0, live(lakehouse))
    assert every_version(fresh(lakehouse.settings, lakehouse)) == before
    assert len(stored(lakehouse)) == 13  # put back by being asked for
    again = put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    assert (again.files, stored(lakehouse)) == (12, live(lakehouse))
    assert not put_away(lakehouse, VALUES, now=later(), grace=GRACE).done


def test_files_replaced_within_the_grace_stay(lakehouse: Lakehouse) -> None:
    appended(lakehouse, 12)
    maintain(lakehouse, VALUES)
    assert not put_away(lakehouse, VALUES, now=later(0), grace=GRACE).done
    assert len(stored(lakehouse)) == 13


def test_a_dry_run_says_what_would_go_and_changes_nothing(lakehouse: Lakehouse) -> None:
    appended(lakehouse, 12)
    maintain(lakehouse, VALUES)
    folder = Path(lakehouse.uri(VALUES))
    before = sorted(folder.rglob("*"))
    would = put_away(lakehouse, VALUES, now=later(), grace=GRACE, dry_run=True)
    assert sorted(folder.rglob("*")) == before
    assert (would.files, would.bytes) == (12, sum((folder / name).stat().st_size for name in stored(lakehouse) - live(lakehouse)))
    assert put_away(lakehouse, VALUES, now=later(), grace=GRACE).bytes == would.bytes


def test_a_corrected_row_costs_itself_and_not_its_file(lakehouse: Lakehouse) -> None:
    """A table of 4,000 rows corrected 20 times, a row each: the archive holds 20 rows, not 20 times 4,000."""
    lakehouse.append(VALUES, values(lakehouse, *range(4_000)))
    for number in range(20):
        lakehouse.replace_where(VALUES, values(lakehouse, number, note="corrected"), f"number = {number}")
    before = [content(lakehouse, version) for version in (1, 7, 20, 21)]
    put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    folder = Path(lakehouse.uri(VALUES))
    (rows,) = (folder / FOLDER).glob(f"*{archive.ROWS}")
    assert archive.read_rows(rows, archive.table_schema(folder)).num_rows == 20
    assert sum(path.stat().st_size for path in (folder / FOLDER).iterdir()) < sum(
        (folder / name).stat().st_size for name in live(lakehouse)
    )
    assert [content(fresh(lakehouse.settings, lakehouse), version) for version in (1, 7, 20, 21)] == before


def test_commits_before_a_checkpoint_are_packed_and_history_stays(lakehouse: Lakehouse) -> None:
    """130 commits: the log keeps those after the last old checkpoint, and history, lineage's source, names all of them."""
    lake, shown = lakehouse, (0, 3, 60, 99, 129)
    lake.open(VALUES)
    for number in range(130):
        write_deltalake(lake.uri(VALUES), values(lake, number), mode="append")
    maintain(lake, VALUES)
    before, history = [content(lake, version) for version in shown], lake.history(VALUES)
    log = Path(lake.uri(VALUES)) / "_delta_log"
    size = sum(path.stat().st_size for path in log.iterdir())
    assert put_away(lake, VALUES, now=later(), grace=GRACE).commits >= 130
    assert not list(log.glob(f"{100:020d}*"))
    assert sum(path.stat().st_size for path in Path(lake.uri(VALUES), FOLDER).glob("log-*")) < size / 4
    assert fresh(lake.settings, lake).history(VALUES) == history
    assert fresh(lake.settings, lake).history(VALUES, 120) == history[:120]
    assert [content(fresh(lake.settings, lake), version) for version in shown] == before
    assert fresh(lake.settings, lake).history(VALUES) == history  # with gaps in the log, where commits were put back
    assert table_history(lake.settings, VALUES, limit=3)[0]["version"] == history[0]["version"]
    assert lost_commits(VALUES.full_name, lake.uri(VALUES), lake.ledger) == []
    put_away(lake, VALUES, now=later(), grace=GRACE)
    assert not list(log.glob(f"{2:020d}*"))


def test_news_and_differences_across_what_was_put_away(lakehouse: Lakehouse) -> None:
    """A station that stopped at version 3 finds rows 3 to 11 as news and no other; so does the difference for people."""
    appended(lakehouse, 12)
    lakehouse.delete(VALUES, "number = 1")
    maintain(lakehouse, VALUES)
    put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    lake = fresh(lakehouse.settings, lakehouse)
    changes = lake.changes(VALUES, ["number"], since=3)
    assert (sorted(changes.added["number"]), list(changes.removed["number"])) == (list(range(3, 12)), [1])
    shown = table_difference(lake.settings, VALUES, 3, lake.version(VALUES))
    assert (len(shown["added"]), [row["number"] for row in shown["removed"]]) == (9, [1])


def test_a_restored_version_is_live_again_and_stays(lakehouse: Lakehouse) -> None:
    appended(lakehouse, 12)
    maintain(lakehouse, VALUES)
    before = content(lakehouse, 5)
    put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    lake = fresh(lakehouse.settings, lakehouse)
    lake.restore(VALUES, 5)
    assert content(lake) == before
    put_away(lake, VALUES, now=later(4), grace=GRACE)
    assert content(fresh(lake.settings, lake)) == before
    assert stored(lake) == live(lake)
    assert content(fresh(lake.settings, lake), 13) == content(lake, 12)


def test_the_scrub_holds_the_archive_and_misses_nothing(lakehouse: Lakehouse) -> None:
    """The archive's files are hashed in place of those that it stands for; one changed bit is named, and no version is made of it."""
    appended(lakehouse, 12)
    lakehouse.delete(VALUES, "number = 1")
    maintain(lakehouse, VALUES)
    put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    assert scrub(lakehouse.settings, lakehouse.ledger).findings == ()
    (rows,) = Path(lakehouse.uri(VALUES), FOLDER).glob(f"*{archive.ROWS}")
    data = bytearray(rows.read_bytes())
    data[len(data) // 3] ^= 8
    rows.write_bytes(data)
    (finding,) = scrub(lakehouse.settings, lakehouse.ledger).findings
    assert (finding.problem, finding.object.endswith(rows.name)) == ("changed", True)
    with pytest.raises(DamagedTableError, match="version 2 cannot be put back"):
        content(fresh(lakehouse.settings, lakehouse), 2)


def test_a_column_that_came_later_is_empty_in_earlier_versions(lakehouse: Lakehouse) -> None:
    folder = lakehouse.uri(VALUES)
    old = replace(VALUES, columns=VALUES.columns[:2])
    for number in range(12):
        lakehouse.append(old, pa.table({"number": pa.array([number], pa.int64()), "note": [f"row {number}"]}))
    lakehouse.append(VALUES, values(lakehouse, 99))
    before = every_version(lakehouse)
    maintain(lakehouse, VALUES)
    put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    assert len(list(Path(folder).glob("*.parquet"))) == len(live(lakehouse))
    assert every_version(fresh(lakehouse.settings, lakehouse))[: len(before)] == before
    put_away(lakehouse, VALUES, now=later(4), grace=GRACE)
    grown = replace(VALUES, columns=(*VALUES.columns, Column(name="last", kind="string", meaning="came after all were put away")))
    wider = values(lakehouse, 100).append_column("last", pa.array(["new"]))
    lakehouse.append(grown, wider)
    assert every_version(fresh(lakehouse.settings, lakehouse))[: len(before)] == before


def test_what_a_killed_writer_left_goes_after_a_week(lakehouse: Lakehouse) -> None:
    appended(lakehouse, 2)
    left = Path(lakehouse.uri(VALUES)) / "part-00000-left.parquet"
    left.write_bytes(b"PAR1")
    assert put_away(lakehouse, VALUES, now=later(6), grace=GRACE).orphans == 0
    assert (put_away(lakehouse, VALUES, now=later(9), grace=GRACE).orphans, left.exists()) == (1, False)
    assert len(content(lakehouse)) == 2


def test_a_file_that_its_rows_do_not_fit_into_is_kept_whole(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is made again of rows here: the bytes themselves are kept, and VACUUM by another program takes none of them."""
    appended(lakehouse, 12)
    maintain(lakehouse, VALUES)
    before = every_version(lakehouse)
    monkeypatch.setattr(archive, "sized_parquet", lambda _rows, _size: None)
    done = put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    assert (done.files, done.kept_whole, stored(lakehouse)) == (12, 12, live(lakehouse))
    lakehouse.open(VALUES).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert every_version(fresh(lakehouse.settings, lakehouse))[: len(before)] == before  # VACUUM has commits of its own
    assert scrub(lakehouse.settings, lakehouse.ledger).findings == ()
    assert put_away(lakehouse, VALUES, now=later(4), grace=GRACE).files == 12
    assert every_version(fresh(lakehouse.settings, lakehouse))[: len(before)] == before  # VACUUM has commits of its own


def test_vacuum_by_another_program_takes_no_version(lakehouse: Lakehouse) -> None:
    """Delta takes every file away that the last version does not have; the archive answers them all."""
    appended(lakehouse, 12)
    maintain(lakehouse, VALUES)
    before = every_version(lakehouse)
    put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    lakehouse.open(VALUES).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert every_version(fresh(lakehouse.settings, lakehouse))[: len(before)] == before  # VACUUM has commits of its own


def test_a_damaged_file_is_named_and_not_put_away(lakehouse: Lakehouse) -> None:
    """What is archived is what was committed: one changed bit keeps the whole table from it, and the file stays to be restored."""
    appended(lakehouse, 12)
    maintain(lakehouse, VALUES)
    victim = Path(lakehouse.uri(VALUES)) / sorted(stored(lakehouse) - live(lakehouse))[3]
    data = bytearray(victim.read_bytes())
    data[len(data) // 3] ^= 4
    victim.write_bytes(data)
    with pytest.raises(DamagedTableError, match=rf"{victim.name}, has other bytes than were committed"):
        put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    assert len(stored(lakehouse)) == 13


def test_nothing_is_taken_away_while_a_backup_is_made(lakehouse: Lakehouse) -> None:
    appended(lakehouse, 12)
    maintain(lakehouse, VALUES)
    with files_stay(lakehouse.settings, wait_s=1):
        done = put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    assert (done.is_held, done.done, len(stored(lakehouse))) == (True, False, 13)
    assert put_away(lakehouse, VALUES, now=later(), grace=GRACE).files == 12


def test_what_a_backup_copies_answers_every_version_elsewhere(lakehouse: Lakehouse, tmp_path: Path) -> None:
    """The files that a backup names for the last version, in another home with the ledger: the archive is among them."""
    appended(lakehouse, 12)
    lakehouse.delete(VALUES, "number = 1")
    maintain(lakehouse, VALUES)
    put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    folder, before = Path(lakehouse.uri(VALUES)), every_version(lakehouse)
    put_away(lakehouse, VALUES, now=later(4), grace=GRACE)  # what was just put back
    other = Settings(home=tmp_path / "other")
    ledger = Ledger(open_database(other))
    for file in pinned_files(VALUES.full_name, str(folder), lakehouse.version(VALUES), lakehouse.ledger):
        place = Path(other.table_uri("silver", VALUES.name)) / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file.path, place)
    ledger.note_table_commit(VALUES.full_name, lakehouse.version(VALUES), committed_files(folder, 0, lakehouse.version(VALUES)))
    assert every_version(Lakehouse(other, lakehouse.keeper, ledger)) == before


def test_a_log_that_was_restored_without_its_archive_is_not_touched(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits that have the numbers of packed ones and other bytes are not what the packs hold: nothing is taken away."""
    monkeypatch.setattr(archiving, "_LEAST_COMMITS", 3)
    appended(lakehouse, 12)
    maintain(lakehouse, VALUES)
    put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    folder = Path(lakehouse.uri(VALUES))
    other = folder / "_delta_log" / f"{5:020d}.json"
    other.write_bytes(b'{"commitInfo":{"timestamp":0}}')
    with pytest.raises(ArchiveError, match=r"holds another 0+5\.json than the log; the table's folder was restored in part"):
        put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    assert other.exists()


@pytest.mark.parametrize("step", ["write_durably", "_note", "_take_away"])
def test_a_process_that_dies_while_putting_away_loses_nothing(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    appended(lakehouse, 12)
    maintain(lakehouse, VALUES)
    before = every_version(lakehouse)

    def dies(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archive_batch if step == "write_durably" else archiving, step, dies)
        with pytest.raises(KeyboardInterrupt):
            put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    assert every_version(fresh(lakehouse.settings, lakehouse)) == before
    assert put_away(lakehouse, VALUES, now=later(), grace=GRACE).files == 12
    assert every_version(fresh(lakehouse.settings, lakehouse)) == before
    assert scrub(lakehouse.settings, lakehouse.ledger).findings == ()


def test_a_file_is_made_of_a_bounded_number_of_others(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Corrected and put away each night, nine nights; each third night by rows of its own: 50 rows stand there, one elsewhere."""
    monkeypatch.setattr(archive_batch, "_OWN_ROWS_EVERY", 3)
    lakehouse.append(VALUES, values(lakehouse, *range(50)))
    for night in range(9):
        lakehouse.replace_where(VALUES, values(lakehouse, night, note="corrected"), f"number = {night}")
        put_away(lakehouse, VALUES, now=later(), grace=GRACE)
    folder = Path(lakehouse.uri(VALUES))
    kept = [archive.read_rows(batch.rows, archive.table_schema(folder)).num_rows for batch in archive.batches(folder)]
    assert kept == [1, 1, 50] * 3
    assert [len(content(fresh(lakehouse.settings, lakehouse), version)) for version in range(11)] == [0, *[50] * 10]


@pytest.mark.parametrize("seed", range(2))
def test_any_history_answers_each_version_as_before(lakehouse: Lakehouse, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random appends, corrections, deletions, replacements, restores and maintenances: each version by content as when it was made."""
    draw, lake = random.Random(seed), lakehouse
    known: list[list[str]] = [content(lake)]
    day = 0

    def note(version: int) -> None:
        known.extend(content(lake, each) for each in range(len(known), version + 1))

    steps: list[tuple[int, Callable[[], object]]] = [
        (8, lambda: lake.append(VALUES, values(lake, *draw.sample(range(40), 3), note=f"{draw.random()}"))),
        (3, lambda: lake.replace_where(VALUES, values(lake, 7, note=f"{draw.random()}"), "number = 7")),
        (1, lambda: lake.delete(VALUES, f"number = {draw.randrange(40)}")),
        (1, lambda: lake.replace(VALUES, values(lake, *range(10), note=f"{draw.random()}"))),
        (1, lambda: lake.restore(VALUES, draw.randrange(lake.version(VALUES))) if lake.version(VALUES) else None),
        (1, lambda: lake.checkpoint(VALUES)),
        (1, lambda: maintain(lake, VALUES)),
    ]
    monkeypatch.setattr(archiving, "_LEAST_COMMITS", 5)
    for _ in range(45):
        draw.choices([step for _, step in steps], [weight for weight, _ in steps])[0]()
        note(lake.version(VALUES))
        if draw.random() < 0.15:
            day += 3
            put_away(lake, VALUES, now=later(day), grace=GRACE)
    put_away(lake, VALUES, now=later(day + 3), grace=GRACE)
    assert stored(lake) == live(lake)
    reader = fresh(lake.settings, lake)
    order = draw.sample(range(len(known)), len(known))
    assert {version: content(reader, version) for version in order} == dict(enumerate(known))
    assert scrub(lake.settings, lake.ledger).findings == ()
