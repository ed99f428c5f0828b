"""The same bytes under several names: a copy that comes later changes nothing, names that come together are chosen from, none is lost."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from lab_assets.contracts.bronze import CHAMBER_READINGS, CHROMATOGRAMS, LIMS_LOTS
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.stations.quality import reconciliation
from lab_assets_tests.faults.ingestion import Plant, plant_at, run_of
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


def test_a_correction_that_does_not_count_says_so(plant: Plant) -> None:
    """What ``lots.csv`` held before counts as ``z.csv``, which is later in the order of paths: the correction of ``lots.csv`` is behind it."""
    drop(plant, "lims/z.csv", LOTS)
    plant.ingest_whole()
    for product in ("ALPHA-10", "BETA-20"):
        drop(plant, "lims/lots.csv", LOTS.replace("ALPHA-10", product))
        said: list[str] = []
        Ingestor(plant.lake, say=said.append).run()
    assert any("warning: lims/lots.csv: what this path held before counts as lims/z.csv" in line for line in said)
    assert "counts as lims/z.csv" in plant.arrivals()["lims/lots.csv"]["warnings"][0]


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
