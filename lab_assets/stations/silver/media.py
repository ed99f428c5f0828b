"""``silver.images`` and ``silver.documents``: media with the lot, certificate and instrument they speak of.

Belongs here: finding identifiers in names, descriptions and texts. Does not belong here: reading files (``lab_assets.sources``),
looking at pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CALIBRATIONS
from lab_assets.contracts.bronze import DOCUMENTS as BRONZE_DOCUMENTS
from lab_assets.contracts.bronze import IMAGES as BRONZE_IMAGES
from lab_assets.contracts.silver import DOCUMENTS, IMAGES
from lab_assets.domain.certificates import instruments_of_certificates
from lab_assets.domain.in_force import RECENCY, Row
from lab_assets.stations.station import Group, Input, Station, copied, keys_of, of

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader


LOT_PATTERN: Final = r"(?:^|[^A-Za-z0-9])([A-Z]{3}[0-9]{2}-[0-9]{4})(?:$|[^0-9])"
"""A lot number: the product's three letters, the year, four digits, such as ``NEB25-0007``."""


def _pages(_read: StationReader, changes: Changes) -> pl.DataFrame:
    return keys_of(_identified(changes.both), ["image_id"])


def _identified(pages: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return pages.with_columns(image_id=pl.concat_str("source_sha256", pl.lit("-"), "page"))


def _images(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Give each page the lot that its name or description names."""
    import polars as pl

    files = keys["image_id"].str.replace(r"-\d+$", "")
    pages = _identified(read.keyed(BRONZE_IMAGES, source_sha256=files)).unique("image_id", keep="first", maintain_order=True)
    lot = pl.coalesce(pl.col(name).str.extract(LOT_PATTERN, 1) for name in ("image_name", "description"))
    return pages.join(keys, on="image_id", how="semi").with_columns(lot_id=lot)


_PAGES: Final = Input(
    table=BRONZE_IMAGES,
    columns=tuple(
        dict.fromkeys(
            (*(name for name in IMAGES.column_names if name in BRONZE_IMAGES.column_names), "description", "source_sha256", "page")
        )
    ),
    touches=_pages,
)
IMAGES_STATION: Final = Station(
    target=IMAGES,
    inputs=(_PAGES,),
    make=_images,
    group=Group(columns=("image_id",)),
    feeds=copied(IMAGES, _PAGES)
    | {"image_id": of(BRONZE_IMAGES, "source_sha256", "page"), "lot_id": of(BRONZE_IMAGES, "image_name", "description")},
)


def _documents_of_pages(_read: StationReader, changes: Changes) -> pl.DataFrame:
    return keys_of(changes.both, {"source_sha256": "document_id"})


def _documents_that_name(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the documents in whose text a certificate is named that has become known or changed."""
    import polars as pl

    numbers = changes.both["certificate_id"].drop_nulls().unique().to_list()
    texts = read.rows(BRONZE_DOCUMENTS, ["source_sha256", "text"]).drop_nulls("text")
    if not numbers:  # no pattern has no type
        return keys_of(texts.clear(), {"source_sha256": "document_id"})
    return keys_of(texts.filter(pl.col("text").str.contains_any(numbers)), {"source_sha256": "document_id"})


def _documents(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Put the pages of each document together, and find the certificate it is."""
    import polars as pl

    pages = read.keyed(BRONZE_DOCUMENTS, source_sha256=keys["document_id"])
    documents = whole_documents(pages.to_dicts())
    # a number may hold any character, so texts are searched for those that are known: of all certificates only these are read
    numbers = read.rows(CALIBRATIONS, ["certificate_id"])["certificate_id"].drop_nulls().unique().to_list()
    named = _standing_in([document["text"] for document in documents], numbers)
    records = read.keyed(CALIBRATIONS, _CERTIFICATE, certificate_id={number for each in named for number in each})
    instruments = instruments_of_certificates(records.iter_rows(named=True))
    made = [
        document | certificate_in(document["text"], {number: instruments[number] for number in numbers})
        for document, numbers in zip(documents, named, strict=True)
    ]
    schema = {name: pl.Int64() if name == "n_pages" else pl.String() for name in DOCUMENTS.column_names}
    return pl.DataFrame(made, schema=schema)


_DOCUMENT_PAGES: Final = Input(
    table=BRONZE_DOCUMENTS,
    columns=("source_sha256", "document_name", "page", "n_pages", "title", "text"),
    touches=_documents_of_pages,
    reads="whole",
)
_CERTIFICATE: Final = ("certificate_id", "instrument_id", "parameter", "performed_at_utc", "recorded_at_utc", *RECENCY)
_CERTIFICATES: Final = Input(table=CALIBRATIONS, columns=_CERTIFICATE, touches=_documents_that_name, reads="whole")
DOCUMENTS_STATION: Final = Station(
    target=DOCUMENTS,
    inputs=(_DOCUMENT_PAGES, _CERTIFICATES),
    make=_documents,
    group=Group(columns=("document_id",)),
    version=3,
    feeds=copied(DOCUMENTS, _DOCUMENT_PAGES)
    | {
        "document_id": of(BRONZE_DOCUMENTS, "source_sha256"),
        "certificate_id": of(BRONZE_DOCUMENTS, "text") + of(CALIBRATIONS, "certificate_id"),
        "instrument_id": of(BRONZE_DOCUMENTS, "text") + of(CALIBRATIONS, "certificate_id", "instrument_id", "recorded_at_utc"),
    },
)


def whole_documents(pages: Sequence[Row]) -> list[dict[str, Any]]:
    """Return one row a document, its pages' texts in order; a file arrives whole, so its pages are of one batch."""
    by_document: dict[str, list[Row]] = {}
    for page in sorted(pages, key=lambda page: page["page"]):
        by_document.setdefault(page["source_sha256"], []).append(page)
    return [
        {
            "document_id": document_id,
            "document_name": found[0]["document_name"],
            "n_pages": max(page["n_pages"] for page in found),
            "title": next((page["title"] for page in found if page["title"] is not None), None),
            "text": "\n\n".join(page["text"] or "" for page in found),
        }
        for document_id, found in by_document.items()
    ]


def _standing_in(texts: Sequence[str], numbers: list[str]) -> list[list[str]]:
    """Return which of some numbers stand anywhere in each text: all of them are looked for in one pass, however many there are."""
    import polars as pl

    if not numbers:  # no pattern has no type
        return [[] for _ in texts]
    found = pl.Series(texts, dtype=pl.String).str.extract_many(numbers, overlapping=True)
    return found.to_list()


def certificate_in(text: str, known: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the known certificate whose number stands in a text by itself, with its instrument; of several, the one named first.

    Args:
        text: Text of a document.
        known: Instrument by number of each known certificate.
    """
    places = {}
    for number in known:
        if number in text and (match := re.search(rf"(?<![A-Za-z0-9-]){re.escape(number)}(?![A-Za-z0-9]|-[A-Za-z0-9])", text)):
            places[number] = match.start()
    first = min(places, key=places.__getitem__, default=None)
    return {"certificate_id": first, "instrument_id": known[first] if first is not None else None}
