"""Looks of one watch, one after another: they ask for little, and nothing is lost by it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from lab_assets.ingest.candidates import Look, Patience
from lab_assets.ingest.inbox import LOOKS_TO_SEE_ALL, InboxError, InboxWatch, Thoroughness, nothing_taken
from lab_assets.ingest.receive import Receiver
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets.state.taken_paths import TakenPath, taken_paths

CARELESS = Thoroughness(always=0, recent=0, stamp_s=0.02)
"""As careless as the guarantee allows: what a watch of very many files is."""
_STAMP_S = 0.006
"""A little more than one step of the time stamps of the file systems that tests run on."""
_EXAMPLES = count()


class Drops:
    """One inbox of two sources, changed as instruments, people and transfers change it."""

    def __init__(self, home: Path, database: str, number: int) -> None:
        self.settings = Settings(home=home, db_url=database, stable_s=0, folder_stable_s=0)
        self.sources = [f"a{number}", f"b{number}"]
        self.written = count()
        for source in self.sources:
            (self.settings.inbox / source / "deep").mkdir(parents=True)

    def path(self, number: int) -> Path:
        """One of eight paths, half of them in a subfolder."""
        source = self.settings.inbox / self.sources[number % 2]
        return (source / "deep" if number & 4 else source) / f"{'xy'[number >> 1 & 1]}.txt"

    def content(self) -> bytes:
        """Bytes never written before, always as many."""
        return f"{next(self.written):08d}".encode()

    def create(self, number: int, _other: int) -> None:
        self.path(number).write_bytes(self.content())

    def overwrite(self, number: int, _other: int) -> None:
        """Other bytes of the same size under the same inode, with the modification time put back."""
        if self.path(number).exists():
            times = self.path(number).stat()
            with self.path(number).open("r+b") as file:
                file.write(self.content())
            os.utime(self.path(number), ns=(times.st_atime_ns, times.st_mtime_ns))

    def replace(self, number: int, _other: int) -> None:
        """Other bytes written aside and renamed over the file, as rsync does."""
        aside = self.settings.home / "aside"
        aside.write_bytes(self.content())
        os.utime(aside, (1, 1))
        aside.rename(self.path(number))

    def rename(self, number: int, other: int) -> None:
        if self.path(number).exists():
            self.path(number).rename(self.path(other))

    def delete(self, number: int, _other: int) -> None:
        self.path(number).unlink(missing_ok=True)

    def touch(self, number: int, _other: int) -> None:
        if self.path(number).exists():
            self.path(number).touch()

    def back_date(self, number: int, _other: int) -> None:
        if self.path(number).exists():
            os.utime(self.path(number), (0, 0))

    def copy_folder(self, number: int, _other: int) -> None:
        """A folder copied and put in place of itself: the same names, sizes and times under other inodes."""
        folder = self.settings.inbox / self.sources[number % 2]
        shutil.copytree(folder, folder.with_name("copying.tmp"))
        shutil.rmtree(folder)
        folder.with_name("copying.tmp").rename(folder)

    def on_disk(self) -> dict[tuple[str, str], TakenPath]:
        """What lies in the drop folders, as the ledger should have it."""
        found: dict[tuple[str, str], TakenPath] = {}
        for source in self.sources:
            for path in (self.settings.inbox / source).rglob("*.txt"):
                status = path.stat()
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                name = str(path.relative_to(self.settings.inbox / source))
                found[source, name] = TakenPath(status.st_size, status.st_mtime_ns, status.st_ctime_ns, digest)
        return found

    def in_ledger(self, engine: Engine) -> dict[tuple[str, str], TakenPath]:
        """What the ledger has of what lies in the drop folders."""
        paths = self.on_disk()
        return {
            (source, name): taken
            for source in self.sources
            for name, taken in taken_paths(engine, source, [name for owner, name in paths if owner == source]).items()
        }


CHANGES: list[Callable[[Drops, int, int], None]] = [
    Drops.create, Drops.overwrite, Drops.replace, Drops.rename, Drops.delete, Drops.touch, Drops.back_date, Drops.copy_folder,
]  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(CHANGES), st.integers(0, 7), st.integers(0, 7)),
        st.sampled_from(["look", "run", "wait"]),
    ),
    min_size=1,
    max_size=30,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One ledger for all examples; each has sources of its own."""
    opened = open_database(Settings(home=tmp_path_factory.mktemp("ledger")))
    yield opened
    opened.dispose()


def run(drops: Drops, engine: Engine) -> None:
    """Take what waits, two files at a time, as one ingestion does."""
    receiver = Receiver(drops.settings, Ledger(engine))
    while receiver.take(2).may_go_on:
        pass


@hypothesis_settings(max_examples=60)
@given(steps=STEPS)
def test_nothing_is_lost_whatever_happens_between_looks(engine: Engine, steps: Sequence[object]) -> None:
    """After the last change: if anything differs, one of twenty looks says so; after a run the ledger is as the disk."""
    with tempfile.TemporaryDirectory() as home:
        drops = Drops(Path(home), engine.url.render_as_string(), next(_EXAMPLES))
        watch = InboxWatch(drops.settings.inbox, thoroughness=CARELESS)
        recorded, patience = partial(taken_paths, engine), Patience(stable_s=0)
        for number in range(6):
            drops.create(number, number)
        run(drops, engine)
        watch.look(recorded, patience)  # from this moment on, it remembers six files as taken
        for step in steps:
            if step == "look":
                watch.look(recorded, patience)
            elif step == "run":
                run(drops, engine)
            elif step == "wait":
                time.sleep(0.025)
            elif isinstance(step, tuple):
                change, number, other = step
                time.sleep(_STAMP_S)
                change(drops, number, other)
        differs = drops.on_disk() != drops.in_ledger(engine)
        noticed = any(watch.look(recorded, patience).ready for _ in range(LOOKS_TO_SEE_ALL))
        assert noticed == differs
        run(drops, engine)
        assert drops.in_ledger(engine) == drops.on_disk()
        assert not any(watch.look(recorded, patience).ready for _ in range(LOOKS_TO_SEE_ALL))


class Asked:
    """Counts the names that a ledger is asked for."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.names: list[str] = []

    def __call__(self, source: str, names: Sequence[str]) -> dict[str, TakenPath]:
        self.names += names
        return taken_paths(self.engine, source, names)


@pytest.fixture
def known(tmp_path: Path, engine: Engine) -> tuple[InboxWatch, Asked, Path]:
    """A watch that has seen 400 files, all taken, of which it compares at most 40 again at a look."""
    drops = Drops(tmp_path, engine.url.render_as_string(), next(_EXAMPLES))
    folder = drops.settings.inbox / drops.sources[0]
    for number in range(400):
        (folder / f"{number}.txt").write_text("x")
    run(drops, engine)
    watch, asked = InboxWatch(drops.settings.inbox, thoroughness=Thoroughness(always=40, recent=10, stamp_s=0.02)), Asked(engine)
    assert look(watch, asked).known == 400
    asked.names.clear()
    return watch, asked, folder


def look(watch: InboxWatch, asked: Asked) -> Look:
    return watch.look(asked, Patience(stable_s=0))


def test_a_look_asks_for_a_share_and_twenty_looks_for_all(known: tuple[InboxWatch, Asked, Path]) -> None:
    watch, asked, _ = known
    shares: list[int] = []
    for _ in range(LOOKS_TO_SEE_ALL):
        before = len(asked.names)
        assert look(watch, asked).known == 400
        shares.append(len(asked.names) - before)
    assert set(asked.names) == {f"{number}.txt" for number in range(400)}
    assert max(shares) < 100


def test_a_new_file_is_found_by_the_next_look(known: tuple[InboxWatch, Asked, Path]) -> None:
    watch, asked, folder = known
    time.sleep(0.03)
    look(watch, asked)
    (folder / "new.txt").write_text("x")
    assert [candidate.file_name for candidate in look(watch, asked).ready] == ["new.txt"]


def test_a_file_renamed_over_another_is_found_by_the_next_look(known: tuple[InboxWatch, Asked, Path]) -> None:
    """The name is known, and its inode is not."""
    watch, asked, folder = known
    (folder / "copying.part").write_text("y")
    look(watch, asked)
    (folder / "copying.part").rename(folder / "7.txt")
    found = look(watch, asked)
    assert ([candidate.file_name for candidate in found.ready], found.passed_over) == (["7.txt"], 0)


def test_the_files_changed_last_are_compared_at_every_look(known: tuple[InboxWatch, Asked, Path]) -> None:
    """A correction of the newest export is found at once, one of an old file when it has its turn."""
    watch, asked, folder = known
    newest = max(folder.glob("*.txt"), key=lambda path: path.stat().st_ctime_ns)
    newest.write_text("y")
    assert [candidate.file_name for candidate in look(watch, asked).ready] == [newest.name]


def test_a_ledger_put_back_to_an_earlier_state_is_noticed(known: tuple[InboxWatch, Asked, Path]) -> None:
    """The watch remembers 400 files as taken; the ledger that answers now never heard of them."""
    watch, _, _ = known
    ready = [watch.look(nothing_taken, Patience(stable_s=0)).ready for _ in range(LOOKS_TO_SEE_ALL)]
    assert len(ready[-1]) == 400


def test_an_inbox_that_goes_and_comes_back_is_a_problem_and_then_none(known: tuple[InboxWatch, Asked, Path]) -> None:
    watch, asked, folder = known
    folder.parent.rename(folder.parent.with_name("away"))
    with pytest.raises(InboxError, match="is not there"):
        look(watch, asked)
    folder.parent.with_name("away").rename(folder.parent)
    assert look(watch, asked).known == 400


def test_a_folder_that_a_file_takes_the_place_of_is_looked_at_as_that(known: tuple[InboxWatch, Asked, Path]) -> None:
    watch, asked, folder = known
    (folder / "deep").rmdir()
    (folder / "deep").write_text("x")  # many file systems give it the inode that the folder had
    look(watch, asked)
    assert [candidate.file_name for candidate in look(watch, asked).ready] == ["deep"]


def test_many_files_are_looked_at_with_one_question_a_few_hundred(tmp_path: Path) -> None:
    """25,000 new files of one source: three questions, of at most 10,000 names."""
    (tmp_path / "a").mkdir()
    for number in range(25_000):
        (tmp_path / "a" / str(number)).touch()
    sizes: list[int] = []

    def recorded(_source: str, names: Sequence[str]) -> dict[str, TakenPath]:
        sizes.append(len(names))
        return {}

    found = InboxWatch(tmp_path).look(recorded, Patience(stable_s=0))
    assert (len(found.ready), sorted(sizes)) == (25_000, [5_000, 10_000, 10_000])
