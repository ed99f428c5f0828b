"""What one file may cost the others: nothing. And items that are more than a file: folders, archives, drifting tables."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from lab_assets.contracts.bronze import CHROMATOGRAMS, ELN_ENTRIES, FILES, LIMS_LOTS, SCHEMA_EVENTS, SENSOR_READINGS
from lab_assets.state.database import writing
from lab_assets.state.quarantine import Quarantine
from lab_assets.state.schema_proposals import SchemaProposals
from lab_assets.stations.quality import reconciliation
from lab_assets_tests.faults.ingestion import Plant, plant_at, run_of
from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.builders import LABSOLUTIONS_HEAD, labsolutions_trace


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return plant_at(tmp_path / "lab")


def long_run(n_points: int) -> str:
    """A run whose one trace has that many points."""
    points = [(f"{number / 1000:.5f}", f"{number % 977}") for number in range(n_points)]
    return LABSOLUTIONS_HEAD + labsolutions_trace("LC Chromatogram(Detector A-Ch1)", points)


def test_a_file_that_takes_too_long_or_too_much_costs_itself_alone(plant: Plant) -> None:
    """A million points do not fit into 0.2 s, nor 2 million into 256 MiB; the small runs beside them come in."""
    for number in range(3):
        plant.drop(f"{number}.txt", run_of(f"S-{number}"))
    plant.drop("slow.txt", long_run(1_000_000))
    plant.ingest_whole(PARSE_TIMEOUT_S="0.2")
    assert plant.arrivals()["hplc/slow.txt"]["rule"] == "parser_timeout"
    plant.drop("large.txt", long_run(2_000_000))
    plant.drop("3.txt", run_of("S-3"))
    plant.ingest_whole(PARSE_MEMORY_MB="256")
    assert plant.arrivals()["hplc/large.txt"]["rule"] in {"memory_limit", "parser_crashed"}
    assert {path: state for path, state in plant.states().items() if state == "committed"} == {
        f"hplc/{number}.txt": "committed" for number in range(4)
    }
    assert plant.lake.row_count(CHROMATOGRAMS) == 8
    assert reconciliation(plant.lake) == {}


@needs_samples
def test_a_folder_of_an_instrument_comes_in_as_one_item(plant: Plant) -> None:
    """The sample .D: one arrival, 9,000 points; its packed bytes do not depend on when they were packed."""
    folder = samples_dir()
    assert folder is not None
    original = (folder / "agilent_d" / "pink.D" / "DAD1A.ch").read_bytes()
    plant.drop("pink.D/DAD1A.ch", original)
    plant.ingest_whole()
    (row,) = plant.lake.polars(FILES).to_dicts()
    assert (row["file_name"], row["format"], row["state"]) == ("pink.D", "agilent_d", "committed")
    assert plant.lake.polars(CHROMATOGRAMS, ["n_points"])["n_points"].to_list() == [9000]
    plant.drop("copy of pink.D/DAD1A.ch", original)
    plant.ingest_whole()
    assert plant.states()["hplc/copy of pink.D"] == "duplicate"


def notebook() -> bytes:
    """An .eln with one entry and three attachments: a run, a certificate nobody knows, and a run known before."""
    files = {"run.txt": run_of("S-eln"), "note.xyz": "who knows", "known.txt": run_of("S-known")}
    entry = {"@id": "./1/", "@type": "Dataset", "name": "Assay of lot 7", "hasPart": [{"@id": f"./1/{name}"} for name in files]}
    graph = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        },
        {"@id": "./", "@type": "Dataset", "hasPart": [{"@id": "./1/"}]},
        entry,
        *({"@id": f"./1/{name}", "@type": "File", "name": name} for name in files),
    ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("eln/ro-crate-metadata.json", json.dumps({"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}))
        for name, text in files.items():
            archive.writestr(f"eln/1/{name}", text)
    return packed.getvalue()


def test_files_inside_of_a_notebook_find_their_own_readers(plant: Plant) -> None:
    plant.drop("known.txt", run_of("S-known"))
    plant.drop("export.eln", notebook(), "eln")
    plant.ingest_whole()
    states = {path.rsplit("/", 1)[-1]: (row["state"], row["rule"]) for path, row in plant.arrivals().items()}
    assert states["export.eln"] == ("committed", None)
    assert states["run.txt"] == ("committed", None)
    assert states["note.xyz"] == ("quarantined", "unknown_format")
    assert sorted(row["state"] for path, row in plant.arrivals().items() if path.endswith("known.txt")) == ["committed", "duplicate"]
    assert plant.lake.polars(ELN_ENTRIES, ["title"])["title"].to_list() == ["Assay of lot 7"]
    outer = plant.arrivals()["eln/export.eln"]["file_id"]
    members = [row for row in plant.arrivals().values() if row["member_of"] == outer]
    assert len(members) == 3
    assert all(row["file_name"].startswith("export.eln!/") for row in members)
    assert reconciliation(plant.lake) == {}


def test_a_notebook_killed_between_its_own_rows_and_its_files_brings_each_once(plant: Plant) -> None:
    plant.drop("export.eln", notebook(), "eln")
    plant.ingest(FAILPOINT="after_delta_commit")
    plant.ingest(FAILPOINT="after_ledger_commit")
    plant.ingest_whole()
    assert plant.lake.row_count(ELN_ENTRIES) == 1
    assert plant.lake.row_count(CHROMATOGRAMS) == 4
    assert reconciliation(plant.lake) == {}


RENAMED = "charge,product,site,batch_size_kg,recorded_at_utc\nL-1,ALPHA-10,Basel,10,2025-01-02T00:00:00Z\n"


def test_a_renamed_column_is_used_once_a_person_said_so(plant: Plant) -> None:
    """Refused, proposed with who wrote it, accepted, read again; the next file of the same source comes in at once."""
    plant.drop("lots.csv", "# software: LIMS 5.2\n# instrument: Export server 3\n" + RENAMED, "lims")
    plant.ingest_whole()
    assert plant.arrivals()["lims/lots.csv"]["rule"] == "missing_column"
    proposals = SchemaProposals(plant.lake.ledger.engine)
    (proposal,) = proposals.listed("proposed")
    assert (proposal.column_name, proposal.proposed_column, proposal.software) == ("charge", "lot_id", "LIMS 5.2")
    with writing(plant.lake.ledger.engine) as connection:
        proposals.decide(connection, [proposal.proposal_id], accept=True, by="shell:qa", reason="LIMS 5.2 names it so")
        Quarantine(plant.lake.ledger.engine).retry(connection, proposals.refused_files(proposal), by="shell:qa", reason="accepted")
    plant.drop("more.csv", RENAMED.replace("L-1", "L-2"), "lims")
    plant.drop("elsewhere.csv", RENAMED.replace("L-1", "L-3"), "other_lims")
    plant.ingest_whole()
    assert sorted(plant.lake.polars(LIMS_LOTS, ["lot_id"])["lot_id"].to_list()) == ["L-1", "L-2"]
    assert plant.states() == {"lims/lots.csv": "committed", "lims/more.csv": "committed", "other_lims/elsewhere.csv": "quarantined"}
    kinds = plant.lake.polars(SCHEMA_EVENTS, ["kind", "column_name", "instrument_name"]).rows()
    assert ("renamed_column", "charge", "Export server 3") in kinds


def test_a_strict_source_refuses_a_column_that_nobody_agreed_on(plant: Plant) -> None:
    text = RENAMED.replace("charge", "lot_id").replace("site", "shift")
    plant.drop("lots.csv", text, "lims")
    plant.drop("lots.csv", text.replace("L-1", "L-2"), "other_lims")
    plant.ingest_whole(STRICT_SOURCES='["lims"]')
    assert plant.arrivals()["lims/lots.csv"]["rule"] == "unknown_column"
    assert plant.states()["other_lims/lots.csv"] == "committed"


FREEZER = """
name: freezer
match: {columns: [Stamp, T1]}
separator: ";"
decimal: ","
dates: dmy
zone: Europe/Berlin
time: {columns: [Stamp]}
logger: {id: FREEZER-7}
columns:
  T1: {quantity: temperature, unit: degC}
"""


def test_a_new_logger_takes_only_a_description(plant: Plant) -> None:
    """05.01.2025 00:30 in Berlin is 23:30 UTC of the day before; -80,5 is minus eighty and a half."""
    log = "Stamp;T1;Alarm\n05.01.2025 00:30;-80,5;0\n05.01.2025 01:30;-79,9;0\n"
    plant.drop("before.csv", log, "freezers")
    plant.ingest_whole()
    assert plant.arrivals()["freezers/before.csv"]["rule"] == "unknown_format"
    plant.settings.formats.mkdir()
    (plant.settings.formats / "freezer.yaml").write_text(FREEZER)
    (plant.settings.formats / "broken.yaml").write_text("match: [")
    plant.drop("after.csv", log + "05.01.2025 02:30;-80,0;0\n", "freezers")
    plant.ingest_whole()
    rows = plant.lake.polars(SENSOR_READINGS).sort("read_at_utc").to_dicts()
    answer = [(row["logger_id"], row["quantity"], row["value"], row["unit"], row["read_at_utc"].isoformat()) for row in rows]
    assert answer[0] == ("FREEZER-7", "temperature", -80.5, "degC", "2025-01-04T23:30:00+00:00")
    assert len(answer) == 3
    assert plant.arrivals()["freezers/after.csv"]["format"] == "logger:freezer"
