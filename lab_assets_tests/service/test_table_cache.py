"""Frames in memory follow the tables: what is written, replaced, compacted, restored."""

from __future__ import annotations

import random
import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from lab_assets.contracts.all_contracts import contract
from lab_assets.service import table_cache
from lab_assets.service.keyed_frame import KeyedFrame
from lab_assets.service.table_cache import Newest, Snapshot, TableCache, TableLostError, TableUnavailableError, load_snapshot
from lab_assets.settings import Settings
from lab_assets_tests.service.laboratory import NOW, write

pytestmark = pytest.mark.usefixtures("engine")
COLUMNS = ("lot_id", "product", "customer")
PLACES = ("prediction_id", "predicted_at_utc", "checkpoint_pct")


def lots(numbers, **more) -> list[dict]:
    return [
        {"lot_id": f"L{number:03d}", "product": f"P{number % 3}", "customer": None, "recorded_at_utc": NOW, **more} for number in numbers
    ]


def opened(settings: Settings, table: str = "silver/lots") -> DeltaTable:
    return DeltaTable(settings.table_uri(*table.split("/")))


def test_frames_are_those_of_a_whole_read_after_any_commits(settings):
    """Appends, updates, deletions, compactions and restores in random order; what is kept is compared with what the table holds."""
    chance = random.Random(5)
    cache = TableCache(settings, check_interval_s=0)
    assert cache.get("silver.lots", COLUMNS).version == -1
    write(settings, "silver.lots", lots(range(5)))
    for step in range(30):
        table = opened(settings)
        match chance.choice(("append", "append", "update", "delete", "compact", "restore")):
            case "append":
                write(settings, "silver.lots", lots(range(100 + 3 * step, 103 + 3 * step)))
            case "update":
                table.update(updates={"customer": f"'of step {step}'"}, predicate="product = 'P1'")
            case "delete":
                table.delete(f"lot_id = 'L{100 + 3 * chance.randrange(max(step, 1)):03d}'")
            case "compact":
                table.optimize.compact()
            case "restore" if table.version():
                table.restore(chance.randrange(max(table.version() - 3, 0), table.version()))
        kept = cache.get("silver.lots", COLUMNS)
        whole = load_snapshot(settings, "silver.lots", columns=COLUMNS)
        assert kept.version == whole.version == opened(settings).version()
        assert kept.frame.sort(COLUMNS).equals(whole.frame.sort(COLUMNS))
        for product in ("P0", "P1", "none"):
            found = kept.rows.keyed(("lot_id",), product=[product])
            assert sorted(found["lot_id"]) == sorted(whole.frame.filter(pl.col("product") == product)["lot_id"])


def test_only_files_that_came_are_read(settings):
    cache = TableCache(settings, check_interval_s=0)
    write(settings, "silver.lots", lots(range(5)))
    cache.get("silver.lots", COLUMNS)
    first = opened(settings).file_uris()
    for path in first:
        Path(path).write_bytes(b"not to be read")
    write(settings, "silver.lots", lots(range(5, 7)))
    assert sorted(cache.get("silver.lots", COLUMNS).frame["lot_id"]) == [f"L{number:03d}" for number in range(7)]


def test_a_version_that_did_not_move_is_not_opened_again(settings, monkeypatch):
    cache = TableCache(settings, check_interval_s=0)
    write(settings, "silver.lots", lots(range(3)))
    kept = cache.get("silver.lots", COLUMNS)
    monkeypatch.setattr(table_cache, "open_table", lambda *_, **__: pytest.fail("opened"))
    assert cache.get("silver.lots", COLUMNS) is kept


def test_a_folder_that_was_put_back_with_as_many_versions_is_seen(settings):
    """As 'lab restore' does: another table of the same number of commits lies where the first one lay."""
    cache = TableCache(settings, check_interval_s=0)
    write(settings, "silver.lots", lots(range(3)))
    cache.get("silver.lots", COLUMNS)
    shutil.rmtree(settings.table_uri("silver", "lots"))
    write(settings, "silver.lots", lots(range(50, 52)))
    assert sorted(cache.get("silver.lots", COLUMNS).frame["lot_id"]) == ["L050", "L051"]


def test_the_last_good_rows_stay_while_a_table_cannot_be_read_for_a_moment(settings, monkeypatch):
    cache = TableCache(settings, check_interval_s=0)
    write(settings, "silver.lots", lots(range(3)))
    cache.get("silver.lots", COLUMNS)
    write(settings, "silver.lots", lots(range(3, 5)))
    with monkeypatch.context() as patch:
        patch.setattr(table_cache.opening, "open_table", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        assert cache.get("silver.lots", COLUMNS).frame.height == 3
        with pytest.raises(TableUnavailableError):
            load_snapshot(settings, "silver.lots")
    assert cache.get("silver.lots", COLUMNS).frame.height == 5


def test_rows_of_earlier_do_not_stand_for_those_of_a_lost_table(settings):
    cache = TableCache(settings, check_interval_s=0)
    write(settings, "silver.lots", lots(range(3)))
    cache.get("silver.lots", COLUMNS)
    write(settings, "silver.lots", lots(range(3, 5)))
    for path in opened(settings).file_uris():
        Path(path).unlink()
    for read in (lambda: cache.get("silver.lots", COLUMNS), lambda: load_snapshot(settings, "silver.lots")):
        with pytest.raises(TableLostError, match=r"silver\.lots: the data file .* is missing"):
            read()


def predictions(start: int, count: int) -> list[dict]:
    return [
        {"prediction_id": f"p{number:03d}", "predicted_at_utc": NOW + timedelta(minutes=number // 4), "checkpoint_pct": (10, 25, 50, 75)[number % 4]}
        for number in range(start, start + count)
    ]  # fmt: skip


def test_the_newest_rows_are_right_after_news_updates_and_deletions(settings):
    """Ten are kept of up to 80; a deletion takes kept rows away, so that earlier ones come back."""
    newest = Newest(by=("predicted_at_utc", "checkpoint_pct"), limit=10)
    cache = TableCache(settings, check_interval_s=0)

    def seen() -> list[str]:
        return sorted(cache.get("ml.predictions", PLACES, newest=newest).frame["prediction_id"])

    def last(*numbers: int) -> list[str]:
        return [f"p{number:03d}" for number in numbers]

    write(settings, "ml.predictions", predictions(0, 40))
    assert seen() == last(*range(30, 40))
    write(settings, "ml.predictions", predictions(40, 4))
    assert seen() == last(*range(34, 44))
    table = opened(settings, "ml/predictions")
    table.update(updates={"ended_reason": "'late standard'"}, predicate="prediction_id < 'p038'")
    assert seen() == last(*range(34, 44))
    opened(settings, "ml/predictions").delete("prediction_id >= 'p040'")
    assert seen() == last(*range(30, 40))
    opened(settings, "ml/predictions").optimize.compact()
    write(settings, "ml.predictions", predictions(60, 20))
    assert seen() == last(*range(70, 80))


def test_only_rows_that_count_are_kept_however_they_come_to_count(settings):
    """Five are kept of those that did not end, and of those that did; rows end and count again."""
    cache = TableCache(settings, check_interval_s=0)
    counting = Newest(by=("predicted_at_utc", "checkpoint_pct"), limit=5, empty="ended_reason")
    ended = Newest(by=("predicted_at_utc",), limit=5, filled="ended_reason")

    def seen() -> tuple[list[str], list[str]]:
        rows = cache.get("ml.predictions", (*PLACES, "ended_reason"), newest=counting).frame
        gone = cache.get("ml.predictions", ("prediction_id", "predicted_at_utc", "ended_reason"), newest=ended).frame
        return sorted(rows["prediction_id"]), sorted(gone["prediction_id"])

    write(settings, "ml.predictions", predictions(0, 20))
    assert seen() == ([f"p{n:03d}" for n in range(15, 20)], [])
    opened(settings, "ml/predictions").update(updates={"ended_reason": "'late standard'"}, predicate="prediction_id >= 'p018'")
    assert seen() == ([f"p{n:03d}" for n in range(13, 18)], ["p018", "p019"])
    opened(settings, "ml/predictions").update(updates={"ended_reason": "NULL"}, predicate="prediction_id = 'p019'")
    assert seen() == (["p014", "p015", "p016", "p017", "p019"], ["p018"])


def test_look_ups_by_several_keys_and_values():
    rows = pl.DataFrame({"a": [f"a{n % 7}" for n in range(700)], "b": [n % 5 for n in range(700)], "n": range(700)})
    kept = KeyedFrame.of(rows)
    for a, b in (
        (["a1"], [2]),
        (["a1", "a3", None], [2]),
        (["a1"], [0, 4]),
        (["a9"], [2]),
        ([], [2]),
        ([None], [1]),
        (pl.Series(["a2", "a2"]), [1]),
    ):
        wanted = rows.filter(pl.col("a").is_in([one for one in a if one]) & pl.col("b").is_in(b)).select("n", "b")
        assert kept.keyed(["n", "b"], a=a, b=b).equals(wanted)
        assert kept.keyed(["n", "b"], a=a, b=b).equals(wanted)


def test_a_table_that_does_not_exist_has_no_rows(settings):
    found: Snapshot = load_snapshot(settings, "silver.lots", columns=COLUMNS)
    assert found.frame.columns == list(COLUMNS)
    assert found.rows.keyed(lot_id=["L1"]).is_empty()
    assert set(contract("silver.lots").column_names) >= set(COLUMNS)
