"""The raw store: bytes by digest, refusals, durability of what is there."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from lab_assets.ingest import raw_store
from lab_assets.ingest.raw_store import NotAFileError, RawStore, StillChangingError

ABC_SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of "abc", FIPS 180-2, appendix B.1."""


@pytest.fixture
def store(tmp_path: Path) -> RawStore:
    return RawStore(tmp_path / "raw")


def test_a_file_lies_under_its_digest_and_cannot_be_written(store: RawStore, tmp_path: Path) -> None:
    """Digest of "abc" as published in FIPS 180-2."""
    (tmp_path / "a.txt").write_bytes(b"abc")
    stored = store.put_file(tmp_path / "a.txt")
    assert (stored.sha256, stored.size) == (ABC_SHA256, 3)
    kept = store.path(ABC_SHA256)
    assert kept == store.root / "ba" / ABC_SHA256
    assert kept.read_bytes() == b"abc"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o400
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == [ABC_SHA256]


def test_the_same_bytes_are_kept_once(store: RawStore, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc")
    (tmp_path / "b.txt").write_bytes(b"abc")
    assert store.put_file(tmp_path / "a.txt").sha256 == store.put_file(tmp_path / "b.txt").sha256 == store.put_bytes(b"abc")
    assert len([path for path in store.root.rglob("*") if path.is_file()]) == 1


def test_a_large_file_is_copied_whole(store: RawStore, tmp_path: Path) -> None:
    data = os.urandom(3 * (1 << 20) + 17)
    (tmp_path / "large.bin").write_bytes(data)
    assert store.path(store.put_file(tmp_path / "large.bin").sha256).read_bytes() == data


def test_links_and_pipes_are_refused_without_hanging(store: RawStore, tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_bytes(b"abc")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    for name in ("link.txt", "pipe.txt"):
        with pytest.raises(NotAFileError, match=name):
            store.put_file(tmp_path / name)
    assert not store.root.exists() or not list(store.root.iterdir())


def test_a_vanished_file_is_told_as_such(store: RawStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put_file(tmp_path / "gone.txt")


def test_a_file_that_grows_while_it_is_copied_is_not_taken(store: RawStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer appends between the copy's first and second chunk, as a slow export does."""
    growing = tmp_path / "growing.txt"
    growing.write_bytes(b"x" * 10)

    class Digest:
        def __init__(self) -> None:
            self.inner = hashlib.new("sha256")

        def update(self, data: bytes) -> None:
            self.inner.update(data)
            if growing.stat().st_size == 10:
                with growing.open("ab") as file:
                    file.write(b"y" * 5)

        def hexdigest(self) -> str:
            return self.inner.hexdigest()

    monkeypatch.setattr(raw_store.hashlib, "sha256", Digest)
    with pytest.raises(StillChangingError, match="changed while it was copied"):
        store.put_file(growing)


def test_a_name_cannot_lead_out_of_the_store(store: RawStore, tmp_path: Path) -> None:
    """Only the digest names the copy, whatever the original is called."""
    odd = tmp_path / "..\n*évil'.txt"
    odd.write_bytes(b"abc")
    assert store.path(store.put_file(odd).sha256).parent.parent == store.root


def test_bytes_that_are_kept_already_are_only_read(store: RawStore, tmp_path: Path) -> None:
    """A file that was moved: its recorded digest holds, nothing is written; where it does not, the file is copied as any other."""
    (tmp_path / "a.txt").write_bytes(b"abc")
    first = store.put_file(tmp_path / "a.txt")
    store.root.joinpath("ba").chmod(0o500)
    kept = store.path(ABC_SHA256).stat().st_ino
    assert store.put_file(tmp_path / "a.txt", recorded_sha256=ABC_SHA256) == first
    (tmp_path / "a.txt").write_bytes(b"abd")
    other = store.put_file(tmp_path / "a.txt", recorded_sha256=ABC_SHA256)
    assert other.sha256 == hashlib.sha256(b"abd").hexdigest()
    assert store.path(other.sha256).read_bytes() == b"abd"
    assert store.path(ABC_SHA256).stat().st_ino == kept


def test_an_original_that_was_lost_is_kept_again(store: RawStore, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc")
    assert store.put_file(tmp_path / "a.txt", recorded_sha256=ABC_SHA256).sha256 == ABC_SHA256
    assert store.path(ABC_SHA256).read_bytes() == b"abc"


def test_a_folder_that_is_kept_already_is_only_read(store: RawStore, tmp_path: Path) -> None:
    (tmp_path / "run.D").mkdir()
    (tmp_path / "run.D" / "a.ch").write_bytes(b"abc")
    first = store.put_folder(tmp_path / "run.D")
    kept = store.path(first.sha256).stat().st_ctime_ns
    assert store.put_folder(tmp_path / "run.D", recorded_sha256=first.sha256) == first
    assert store.path(first.sha256).stat().st_ctime_ns == kept


def test_a_file_that_changed_since_it_was_found_finished_is_left_for_a_later_look(store: RawStore, tmp_path: Path) -> None:
    """Between the look and the copy of one of thousands lie minutes."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc")
    status = path.stat()
    seen = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    assert store.put_file(path, seen=seen).sha256 == ABC_SHA256
    path.write_bytes(b"abcdef")
    with pytest.raises(StillChangingError, match="since it was found finished"):
        store.put_file(path, seen=seen)
