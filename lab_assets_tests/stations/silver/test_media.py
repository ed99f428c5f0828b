"""Images find their lot, documents their certificate, also when it becomes known later."""

from __future__ import annotations

from typing import Any

from lab_assets.contracts.bronze import CALIBRATIONS
from lab_assets.contracts.bronze import DOCUMENTS as BRONZE_DOCUMENTS
from lab_assets.contracts.bronze import IMAGES as BRONZE_IMAGES
from lab_assets.contracts.silver import DOCUMENTS, IMAGES
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.runner import update
from lab_assets.stations.silver.media import DOCUMENTS_STATION, IMAGES_STATION
from lab_assets_tests.stations.rows import Put, at


def page(name: str, number: int = 1, **more: Any) -> dict[str, Any]:
    row = {"image_name": name, "source_sha256": f"sha-{name}", "page": number, "width_px": 256, "height_px": 256, "channels": 1}
    return {**row, "dtype": "uint16", **more}


def test_each_page_comes_once_with_the_lot_named_in_name_or_description(lakehouse: Lakehouse, put: Put) -> None:
    put(
        BRONZE_IMAGES,
        page("IMG_NEB25-0007_a.tif", description="lot ORS25-0001"),
        page("b.tif", description="lot ORS25-0012; tablet surface"),
        page("ST25-0001-40-M03.tif", description="stability pull"),
        page("d.tif", 1),
        page("d.tif", 2),
    )
    first = update(lakehouse, IMAGES_STATION).version
    assert update(lakehouse, IMAGES_STATION).version == first
    put(BRONZE_IMAGES, page("ORS25-0099.tif"), batch=2)
    assert update(lakehouse, IMAGES_STATION).version > first
    assert {row["image_id"]: row["lot_id"] for row in lakehouse.polars(IMAGES).to_dicts()} == {
        "sha-IMG_NEB25-0007_a.tif-1": "NEB25-0007",
        "sha-b.tif-1": "ORS25-0012",
        "sha-ST25-0001-40-M03.tif-1": None,
        "sha-d.tif-1": None,
        "sha-d.tif-2": None,
        "sha-ORS25-0099.tif-1": "ORS25-0099",
    }
    assert lakehouse.row_count(IMAGES) == 6


def test_documents_are_whole_and_linked_when_their_certificate_becomes_known(lakehouse: Lakehouse, put: Put) -> None:
    def sheet(name: str, number: int, text: str | None) -> dict[str, Any]:
        return {"document_name": name, "source_sha256": f"sha-{name}", "page": number, "n_pages": 2, "text": text}

    def certificate(number: str, instrument: str) -> dict[str, Any]:
        row = {"certificate_id": number, "instrument_id": instrument, "parameter": "flow", "deviation": 0.0, "tolerance": 1.0}
        return {**row, "unit": "%", "outcome": "pass", "performed_at_utc": at(1), "valid_until_utc": at(30)}

    put(CALIBRATIONS, certificate("CAL-LC-1", "LC-1"))
    put(
        BRONZE_DOCUMENTS,
        sheet("a.pdf", 2, "second page"),
        sheet("a.pdf", 1, "Certificate: CAL-LC-1."),
        sheet("b.pdf", 1, "Certificate: CAL-LC-12"),
        sheet("b.pdf", 2, None),
    )
    first = update(lakehouse, DOCUMENTS_STATION).version
    found = {row["document_name"]: row for row in lakehouse.polars(DOCUMENTS).to_dicts()}
    assert found["a.pdf"]["text"] == "Certificate: CAL-LC-1.\n\nsecond page"
    assert (found["a.pdf"]["certificate_id"], found["a.pdf"]["instrument_id"]) == ("CAL-LC-1", "LC-1")
    assert found["b.pdf"]["certificate_id"] is None
    assert update(lakehouse, DOCUMENTS_STATION).version == first
    put(CALIBRATIONS, certificate("CAL-LC-12", "LC-12"), batch=2)
    assert update(lakehouse, DOCUMENTS_STATION).version > first
    found = {row["document_name"]: row for row in lakehouse.polars(DOCUMENTS).to_dicts()}
    assert (found["b.pdf"]["certificate_id"], found["b.pdf"]["instrument_id"]) == ("CAL-LC-12", "LC-12")
    assert found["a.pdf"]["certificate_id"] == "CAL-LC-1"
    assert lakehouse.row_count(DOCUMENTS) == 2
    put(CALIBRATIONS, {**certificate("CAL-LC-12", "LC-11"), "recorded_at_utc": at(5)}, batch=3)
    update(lakehouse, DOCUMENTS_STATION)
    found = {row["document_name"]: row for row in lakehouse.polars(DOCUMENTS).to_dicts()}
    assert found["b.pdf"]["instrument_id"] == "LC-11", "recorded last, though its name sorts first"
