"""Which laboratory a home is: records, copies, what is lost and what was never made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lab_assets.home_identity import Kept, LostError, has_made, is_new, note_made, place_of, record_path, require_kept
from lab_assets.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def test_a_folder_without_anything_is_new_and_stays_so_when_looked_at(home: Settings) -> None:
    assert is_new(home)
    require_kept(home, Kept.DATABASE)
    assert not home.home.exists()


def test_empty_folders_make_no_laboratory(home: Settings) -> None:
    (home.home / "lake" / "bronze").mkdir(parents=True)
    home.raw.mkdir()
    assert is_new(home)


def test_a_record_is_made_once(home: Settings) -> None:
    first = place_of(home)
    assert place_of(home) == first
    assert not is_new(home)
    assert json.loads(record_path(home).read_text())["home_id"] == first.home_id


def test_a_copy_is_the_same_laboratory_in_another_place(home: Settings, tmp_path: Path) -> None:
    original = place_of(home)
    shutil.copytree(home.home, tmp_path / "copy")
    copied = place_of(Settings(home=tmp_path / "copy"))
    assert copied.home_id == original.home_id
    assert copied.path != original.path
    assert copied.boot_id == original.boot_id


@pytest.mark.parametrize("what", list(Kept))
def test_what_was_made_and_is_gone_or_empty_is_named(home: Settings, what: Kept) -> None:
    path = home.home / what
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something")
    note_made(home, what)
    require_kept(home, what)
    path.write_bytes(b"")
    with pytest.raises(LostError, match=r"is empty, though it was made here before; .+"):
        require_kept(home, what)
    path.unlink()
    with pytest.raises(LostError, match=f"{path.name} is gone"):
        require_kept(home, what)


def test_an_older_home_is_taken_over_with_what_it_holds(home: Settings) -> None:
    (home.home / "run").mkdir(parents=True)
    (home.home / Kept.MASK_KEY).write_text("key")
    assert has_made(home, Kept.MASK_KEY)
    assert not has_made(home, Kept.MLFLOW)
    place_of(home)
    (home.home / Kept.MASK_KEY).unlink()
    with pytest.raises(LostError, match=r"mask\.key is gone"):
        require_kept(home, Kept.MASK_KEY)


def test_originals_or_tables_prove_that_there_was_a_database(home: Settings) -> None:
    (home.home / "lake" / "bronze" / "files").mkdir(parents=True)
    (home.home / "lake" / "bronze" / "files" / "part.parquet").write_bytes(b"rows")
    with pytest.raises(LostError, match=r"lab\.db is gone"):
        require_kept(home, Kept.DATABASE)


def test_a_record_that_cannot_be_read_is_named(home: Settings) -> None:
    place_of(home)
    record_path(home).write_text("{")
    with pytest.raises(LostError, match=r"home\.json cannot be read"):
        place_of(home)
