"""The same bytes under several names: a copy that comes later changes nothing, names that come together are chosen from, none is lost."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from lab_assets.contracts.bronze import CHAMBER_READINGS, CHROMATOGRAMS, LIMS_LOTS
from lab_assets.domain.in_force import RECENCY, in_order
from lab_assets.home_identity import Kept, give_up
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.state.database import writing
from lab_assets.state.quarantine import Quarantine
from lab_assets.stations.quality import reconciliation
from lab_assets_tests.faults.ingestion import Plant, copy_of, plant_at, put_back, run_of
from lab_assets_tests.sources.eln_builders import crate, entry

NAMES = ("hplc/run 9.txt", "hplc/run 10.txt", "archive/run 10.txt")
"""The first has the shortest path; of the two equal names, the folder ``archive`` is first."""
LOTS = "lot_id,product,recorded_at_utc,shift\nL-1,ALPHA-10,2025-01-01T00:00:00Z,night\n"
"""Lots with a column that the contract does not name."""
STRICT = '["a strict", "b strict", "c strict", "d strict", "e strict", "f strict"]'


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return plant_at(tmp_path / "lab")


def drop(plant: Plant, path: str, data: str | bytes) -> None:
    source, _, name = path.partition("/")
    plant.drop(name, data, source=source)


def contents(plant: Plant) -> dict[str, list[str]]:
    """Rows of the tables that files make, as texts."""
    return {table.full_name: sorted(map(repr, plant.lake.polars(table).rows())) for table in (CHROMATOGRAMS, LIMS_LOTS)}


@pytest.mark.parametrize("order", list(permutations(NAMES)), ids=lambda order: " ".join(name[0] + name[-6] for name in order))
def test_of_names_that_come_together_the_shortest_counts(plant: Plant, order: tuple[str, ...]) -> None:
    for name in order:
        drop(plant, name, run_of("S-1"))
    plant.ingest_whole()
    assert plant.lake.polars(CHROMATOGRAMS, ["source", "source_file"]).rows() == [("hplc", "run 9.txt")] * 2
    assert plant.states() == {name: "committed" if name == "hplc/run 9.txt" else "duplicate" for name in NAMES}
    assert {row["duplicate_of"] for row in plant.arrivals().values()} == {None, "hplc/run 9.txt"}
    assert reconciliation(plant.lake) == {}


@pytest.mark.parametrize("copy", ["hplc/b", "hplc/copies of today/run.txt", "archive/run 1.txt", "zz/run.csv"])
def test_a_copy_that_comes_later_changes_nothing(plant: Plant, copy: str) -> None:
    """Shorter or longer, in the same or another folder: what is known stays as it is known."""
    drop(plant, "hplc/run 1.txt", run_of("S-1"))
    plant.ingest_whole()
    before = contents(plant)
    drop(plant, copy, run_of("S-1"))
    plant.ingest_whole()
    assert contents(plant) == before
    assert plant.arrivals()[copy]["duplicate_of"] == "hplc/run 1.txt"


def test_a_copy_of_a_corrected_export_leaves_it_in_its_place(plant: Plant) -> None:
    """An export is corrected under its name and copied in the same moment: the corrected rows stand behind the former ones of that path."""
    drop(plant, "lims/lots of today.csv", LOTS)
    plant.ingest_whole()
    for name in ("lims/a.csv", "lims/lots of today.csv"):
        drop(plant, name, LOTS.replace("ALPHA-10", "BETA-20"))
    plant.ingest_whole()
    rows = plant.lake.polars(LIMS_LOTS, ["source_file", "ingest_batch", "product"]).sort("ingest_batch").rows()
    assert rows == [("lots of today.csv", 1, "ALPHA-10"), ("lots of today.csv", 2, "BETA-20")]
    assert plant.states() == {"lims/lots of today.csv": "committed", "lims/a.csv": "duplicate"}


@pytest.mark.parametrize("order", [("a strict", "lax"), ("lax", "a strict")])
@pytest.mark.parametrize("together", [False, True])
def test_bytes_refused_in_one_folder_are_read_in_another(plant: Plant, order: tuple[str, ...], together: bool) -> None:
    """A strict folder refuses the unknown column; dropped at the same moment, the other folder's file is no mere duplicate of it."""
    for folder in order:
        plant.drop("lots.csv", LOTS, source=folder)
        if not together:
            plant.ingest_whole(STRICT_SOURCES=STRICT)
    plant.ingest_whole(STRICT_SOURCES=STRICT)
    assert plant.lake.polars(LIMS_LOTS, ["source"]).rows() == [("lax",)]
    assert reconciliation(plant.lake) == {}


def test_however_many_folders_refuse_them(plant: Plant) -> None:
    for letter in "abcdef":
        plant.drop("lots.csv", LOTS, source=f"{letter} strict")
    plant.drop("a longer name of lots.csv", LOTS, source="lax")
    plant.ingest_whole(STRICT_SOURCES=STRICT)
    assert plant.lake.polars(LIMS_LOTS, ["source"]).rows() == [("lax",)]


NOTEBOOK = crate(entry(hasPart=[{"@id": "./a/lots.csv"}]), files={"a/lots.csv": LOTS.encode()})
"""A notebook with the lots attached to its entry."""


@pytest.mark.parametrize("order", [("a strict", "lax"), ("lax", "a strict")])
@pytest.mark.parametrize("together", [False, True])
def test_what_one_folder_refuses_of_an_archive_is_read_by_the_archives_other_name(
    plant: Plant, order: tuple[str, ...], together: bool
) -> None:
    for folder in order:
        plant.drop("export.eln", NOTEBOOK, source=folder)
        if not together:
            plant.ingest_whole(STRICT_SOURCES=STRICT)
    plant.ingest_whole(STRICT_SOURCES=STRICT)
    assert plant.lake.polars(LIMS_LOTS, ["source"]).rows() == [("lax",)]
    assert reconciliation(plant.lake) == {}


INNER = crate(entry(hasPart=[{"@id": "./a/lots.csv"}]), files={"a/lots.csv": LOTS.encode()}, folder="inner/")
NESTED = crate(entry(hasPart=[{"@id": "./a/in.eln"}]), files={"a/in.eln": INNER})


@pytest.mark.parametrize("order", [("a strict", "lax"), ("lax", "a strict")])
@pytest.mark.parametrize("together", [False, True])
def test_a_notebook_inside_of_another_has_the_names_of_both(plant: Plant, order: tuple[str, ...], together: bool) -> None:
    for folder in order:
        plant.drop("outer.eln", NESTED, source=folder)
        if not together:
            plant.ingest_whole(STRICT_SOURCES=STRICT)
    plant.ingest_whole(STRICT_SOURCES=STRICT)
    assert plant.lake.polars(LIMS_LOTS, ["source"]).rows() == [("lax",)]


def test_what_was_refused_again_since_is_still_read_by_an_archives_other_name(plant: Plant) -> None:
    """The archive in a strict folder, then the file alone in another strict one, then the archive where it is welcome."""
    for folder, name, data in (("a strict", "z.eln", NOTEBOOK), ("b strict", "q.csv", LOTS), ("lax", "zz.eln", NOTEBOOK)):
        plant.drop(name, data, source=folder)
        plant.ingest_whole(STRICT_SOURCES=STRICT)
    assert plant.lake.polars(LIMS_LOTS, ["source"]).rows() == [("lax",)]
    assert reconciliation(plant.lake) == {}


def counting(plant: Plant) -> str:
    """The product of the lot's row that counts where all state the same time."""
    return in_order(plant.lake.polars(LIMS_LOTS, [*RECENCY, "product"]))["product"][-1]


CORRECTION = LOTS.replace("ALPHA-10", "BETA-20")
DROPS = {
    "z": ("lims/z.csv", LOTS),
    "lots": ("lims/lots.csv", LOTS),
    "other": ("early/lots.csv", LOTS),
    "after": ("lims/lots.csv", CORRECTION),
}
ORDERS = [order for order in permutations(DROPS) if order.index("lots") < order.index("after")]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_a_correction_counts_under_whatever_name_the_former_bytes_do(plant: Plant, order: tuple[str, ...]) -> None:
    """``lots.csv`` is corrected; two copies of what it held before lie under other names, one of them later in the order of paths."""
    for name in order:
        drop(plant, *DROPS[name])
        Ingestor(plant.lake).run()
    assert counting(plant) == "BETA-20"


def test_a_correction_of_a_correction_stands_with_the_first(plant: Plant) -> None:
    """The path held what counts as ``z.csv``, then what counts as ``a.csv``: whatever it holds next replaces both."""
    drop(plant, "lims/z.csv", LOTS)
    drop(plant, "lims/a.csv", CORRECTION)
    Ingestor(plant.lake).run()
    for product in ("ALPHA-10", "BETA-20", "GAMMA-30", "DELTA-40"):
        drop(plant, "lims/lots.csv", LOTS.replace("ALPHA-10", product))
        Ingestor(plant.lake).run()
    assert counting(plant) == "DELTA-40"
    assert plant.arrivals()["lims/lots.csv"]["revises_path"] == "lims/z.csv"
    rows = plant.lake.polars(LIMS_LOTS, ["product", "source_file", "revises_path"]).rows()
    assert sorted(rows)[2:] == [("DELTA-40", "lots.csv", "lims/z.csv"), ("GAMMA-30", "lots.csv", "lims/z.csv")]


TWICE = {**DROPS, "z after": ("lims/z.csv", LOTS.replace("ALPHA-10", "OMEGA-90"))}
TWICE_ORDERS = [
    order
    for order in permutations(("z", "z after", "lots", "after"))
    if order.index("lots") < order.index("after") and order.index("z") < order.index("z after")
]


@pytest.mark.parametrize("order", TWICE_ORDERS, ids=" ".join)
def test_of_two_corrections_of_the_same_the_later_path_counts(plant: Plant, order: tuple[str, ...]) -> None:
    """``lots.csv`` and its copy ``z.csv`` are corrected each in its way: whichever was first, ``z.csv`` is later in the order of paths."""
    for name in order:
        drop(plant, *TWICE[name])
        Ingestor(plant.lake).run()
    assert counting(plant) == "OMEGA-90"


@pytest.mark.parametrize("between", ["refused and let in", "a link"])
def test_a_correction_stands_in_its_place_whatever_came_in_between(plant: Plant, between: str) -> None:
    """Of ``lots.csv``, whose first bytes count as ``z.csv``: its correction is refused at first, or a link lies there for a while."""
    for name in ("lims/z.csv", "lims/lots.csv"):
        drop(plant, name, LOTS)
        Ingestor(plant.lake).run()
    path = plant.inbox / "lims/lots.csv"
    if between == "a link":
        path.unlink()
        path.symlink_to("z.csv")
        Ingestor(plant.lake).run()
        path.unlink()
        drop(plant, "lims/lots.csv", CORRECTION)
    else:
        drop(plant, "lims/lots.csv", CORRECTION)
        plant.ingest_whole(STRICT_SOURCES='["lims"]')
        path.touch()
    Ingestor(plant.lake).run()
    assert plant.states()["lims/lots.csv"] == "committed"
    assert counting(plant) == "BETA-20"


@pytest.mark.parametrize("order", ["strict after copy", "strict copy after", "copy strict after"])
def test_what_was_refused_and_given_up_stays_behind_what_took_its_place(plant: Plant, order: str) -> None:
    """A strict folder refuses the first export and reads its correction; the first lies in another folder too, under a later name."""
    plain = CORRECTION.replace(",shift", "").replace(",night", "")
    drops = {"strict": ("a strict/lots.csv", LOTS), "after": ("a strict/lots.csv", plain), "copy": ("lax/z.csv", LOTS)}
    for name in order.split():
        drop(plant, *drops[name])
        plant.ingest_whole(STRICT_SOURCES=STRICT)
    assert plant.lake.polars(LIMS_LOTS).height == 2
    assert counting(plant) == "BETA-20"


@pytest.mark.parametrize("first", ["lims/z.csv", "lims/lots.csv"])
def test_what_is_let_in_stands_behind_a_copy_that_took_its_place(plant: Plant, first: str) -> None:
    """``lots.csv`` is refused, then holds what counts as ``z.csv``: let in, its first bytes are still those that were given up."""
    plain = CORRECTION.replace(",shift", "").replace(",night", "")
    for name in sorted(("lims/z.csv", "lims/lots.csv"), key=lambda name: name != first):
        drop(plant, name, LOTS if name == "lims/lots.csv" else plain)
        plant.ingest_whole(STRICT_SOURCES='["lims"]')
    drop(plant, "lims/lots.csv", plain)
    plant.ingest_whole(STRICT_SOURCES='["lims"]')
    quarantine = Quarantine(plant.lake.ledger.engine)
    with writing(quarantine.engine) as connection:
        assert quarantine.retry(connection, [row.arrival_id for row in quarantine.waiting()], by="a", reason="let in") == 1
    Ingestor(plant.lake).run()
    assert plant.lake.polars(LIMS_LOTS).height == 2
    assert counting(plant) == "BETA-20"


def archive_of(lots: str) -> bytes:
    return crate(entry(hasPart=[{"@id": "./a/lots.csv"}]), files={"a/lots.csv": lots.encode()})


@pytest.mark.parametrize("order", [("z.eln", "a.eln"), ("a.eln", "z.eln")])
def test_a_corrected_archive_replaces_its_files_under_whatever_name_they_count(plant: Plant, order: tuple[str, ...]) -> None:
    for name in order:
        drop(plant, f"lims/{name}", archive_of(LOTS))
        Ingestor(plant.lake).run()
    drop(plant, "lims/a.eln", archive_of(CORRECTION))
    Ingestor(plant.lake).run()
    assert counting(plant) == "BETA-20"


def test_files_of_an_archive_that_is_read_after_its_correction_stay_behind_it(plant: Plant) -> None:
    """The first archive's original is lost and found again: it is refused, its correction is read, then it is."""
    drop(plant, "lims/a.eln", archive_of(LOTS))
    plant.ingest(FAILPOINT="after_ledger_row")
    (original,) = [path for path in plant.settings.raw.rglob("*") if path.is_file() and len(path.name) >= 60]
    aside = original.rename(plant.inbox.parent / "aside")
    Ingestor(plant.lake).run()
    drop(plant, "lims/a.eln", archive_of(CORRECTION))
    Ingestor(plant.lake).run()
    original.parent.mkdir(exist_ok=True)
    aside.rename(original)
    quarantine = Quarantine(plant.lake.ledger.engine)
    with writing(quarantine.engine) as connection:
        assert quarantine.retry(connection, [row.arrival_id for row in quarantine.waiting()], by="a", reason="found") == 1
    Ingestor(plant.lake).run()
    assert plant.lake.polars(LIMS_LOTS).height == 2
    assert counting(plant) == "BETA-20"


def test_what_is_in_the_tables_is_not_read_again_by_a_retry(plant: Plant) -> None:
    """A lost ledger learns a refusal from ``bronze.files`` whose file was let in since."""
    drop(plant, "lims/lots.csv", LOTS)
    plant.ingest_whole(STRICT_SOURCES='["lims"]')
    for _ in range(2):
        quarantine = Quarantine(plant.lake.ledger.engine)
        with writing(quarantine.engine) as connection:
            quarantine.retry(connection, [row.arrival_id for row in quarantine.waiting()], by="a", reason="let in")
        Ingestor(plant.lake).run()
        (plant.settings.home / "lab.db").unlink()
        give_up(plant.settings, Kept.DATABASE)
        Ingestor(plant.lake).run()
    assert plant.lake.polars(LIMS_LOTS).height == 1


@pytest.mark.parametrize("times", [1, 2])
def test_what_is_read_later_than_its_correction_stays_behind_it(plant: Plant, times: int) -> None:
    """A strict folder refuses the first export for its unknown column; its correction is read, and then the first, once it is let in."""
    drop(plant, "lims/lots.csv", LOTS)
    plant.ingest_whole(STRICT_SOURCES='["lims"]')
    drop(plant, "lims/lots.csv", CORRECTION.replace(",shift", "").replace(",night", ""))
    plant.ingest_whole(STRICT_SOURCES='["lims"]')
    quarantine = Quarantine(plant.lake.ledger.engine)
    for strict in ('["lims"]', "[]")[-times:]:
        with writing(quarantine.engine) as connection:
            assert quarantine.retry(connection, [row.arrival_id for row in quarantine.waiting()], by="a", reason="let in") == 1
        plant.ingest_whole(STRICT_SOURCES=strict)
    assert plant.lake.polars(LIMS_LOTS, ["product", "path_revision"]).sort("path_revision").rows() == [("ALPHA-10", 1), ("BETA-20", 2)]
    assert counting(plant) == "BETA-20"


@pytest.mark.parametrize("products", list(permutations(("ALPHA-10", "BETA-20", "GAMMA-30"))), ids=" ".join)
def test_bytes_waiting_together_count_in_the_order_of_their_path(plant: Plant, products: tuple[str, ...]) -> None:
    """A run is killed before it puts what it recorded into a batch; the file is corrected meanwhile, and all are read in one batch."""
    for product in products:
        drop(plant, "lims/lots.csv", LOTS.replace("ALPHA-10", product))
        plant.ingest(FAILPOINT="after_ledger_row")
    plant.ingest_whole()
    assert plant.lake.polars(LIMS_LOTS, ["ingest_batch"])["ingest_batch"].to_list() == [1, 1, 1]
    assert counting(plant) == products[-1]


def test_a_retry_before_a_restored_ledger_is_looked_at_loses_nothing(plant: Plant) -> None:
    """The number that the retry gets is that of a file which the tables know and the ledger that was put back does not."""
    drop(plant, "lims/lots.csv", LOTS)
    plant.ingest_whole(STRICT_SOURCES='["lims"]')
    backup = copy_of(plant, "backup.db")
    drop(plant, "lims/m.csv", CORRECTION.replace("L-1", "L-2").replace(",shift", "").replace(",night", ""))
    plant.ingest_whole(STRICT_SOURCES='["lims"]')
    put_back(plant, backup)
    quarantine = Quarantine(plant.lake.ledger.engine)
    with writing(quarantine.engine) as connection:
        assert quarantine.retry(connection, [row.arrival_id for row in quarantine.waiting()], by="a", reason="let in") == 1
    Ingestor(plant.lake).run()
    assert sorted(plant.lake.polars(LIMS_LOTS, ["lot_id", "source_file"]).rows()) == [("L-1", "lots.csv"), ("L-2", "m.csv")]
    assert plant.lake.ledger.counts() == {"committed": 2, "discarded": 1}
    assert reconciliation(plant.lake) == {}


LOGGER = """\
name: gx
match: {file_name: "GX-*.csv"}
separator: ","
dates: iso
zone: Europe/Berlin
time: {columns: Time}
logger: {id: GX-1}
table: chamber_readings
columns:
  Temp: {column: temperature_c, unit: degC}
  RH: {column: humidity_pct, unit: "%"}
"""
READINGS = "Time,Temp (°C),RH (%)\n2025-01-01 00:00,25.0,60\n2025-01-01 01:00,25.1,60\n"


@pytest.mark.parametrize("order", [("GX-1.csv", "1.csv"), ("1.csv", "GX-1.csv")])
@pytest.mark.parametrize("together", [False, True])
def test_the_name_that_a_loggers_description_asks_for_is_read(plant: Plant, order: tuple[str, ...], together: bool) -> None:
    plant.settings.formats.mkdir(parents=True)
    (plant.settings.formats / "gx.yaml").write_text(LOGGER)
    for name in order:
        plant.drop(name, READINGS, source="chambers")
        if not together:
            plant.ingest_whole()
    plant.ingest_whole()
    assert plant.lake.polars(CHAMBER_READINGS, ["chamber_id", "source_file"]).rows() == [("GX-1", "GX-1.csv")] * 2
