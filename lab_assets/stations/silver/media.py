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
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.silver.reference import batch_key, new_batches, news, settle

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Row = Mapping[str, Any]

LOT_PATTERN: Final = r"(?<![A-Za-z0-9])([A-Z]{3}[0-9]{2}-[0-9]{4})(?![0-9])"
"""A lot number: the product's three letters, the year, four digits, such as ``NEB25-0007``."""


def update_images(lake: Lakehouse) -> int:
    """Bring ``silver.images`` up to date by a Delta stream: each new page once.

    Returns:
        Version of the table afterwards.
    """
    versions = news(lake, IMAGES, (BRONZE_IMAGES,))
    if not versions:
        return lake.version(IMAGES)
    version = lake.stream(_with_lot(lake.read_stream(BRONZE_IMAGES)), IMAGES, name=IMAGES.full_name)
    settle(lake, IMAGES, versions)
    return version


def _with_lot(pages: DataFrame) -> DataFrame:
    from pyspark.sql import functions as sf

    lot = sf.coalesce(_lot_in("image_name"), _lot_in("description"))
    return pages.withColumns({"image_id": sf.concat_ws("-", "source_sha256", "page"), "lot_id": lot})


def _lot_in(name: str) -> Column:
    from pyspark.sql import functions as sf

    return sf.nullif(sf.regexp_extract(name, LOT_PATTERN, 1), sf.lit(""))


def update_documents(lake: Lakehouse) -> int:
    """Bring ``silver.documents`` up to date: new documents, and earlier ones whose certificate has become known since.

    Returns:
        Version of the table afterwards.
    """
    versions = news(lake, DOCUMENTS, (BRONZE_DOCUMENTS, CALIBRATIONS))
    if not versions:
        return lake.version(DOCUMENTS)
    import polars as pl

    since, newest = new_batches(lake, DOCUMENTS, BRONZE_DOCUMENTS)
    fresh = whole_documents(lake.polars(BRONZE_DOCUMENTS, where=pl.col("ingest_batch") > since).to_dicts())
    unlinked = lake.polars(DOCUMENTS, where=pl.col("certificate_id").is_null()).to_dicts()
    certificates = lake.polars(CALIBRATIONS, ["certificate_id", "instrument_id"]).drop_nulls("certificate_id")
    known = dict(certificates.sort("instrument_id", nulls_last=False).iter_rows())
    named = [document | linked for document in unlinked if (linked := certificate_in(document["text"], known))["certificate_id"]]
    rows = [document | certificate_in(document["text"], known) for document in fresh] + named
    if rows:
        made = lake.local_rows(DOCUMENTS, rows)
        version = lake.merge(DOCUMENTS, made) if lake.row_count(DOCUMENTS) else lake.append(DOCUMENTS, made)
    else:
        version = lake.version(DOCUMENTS)
    settle(lake, DOCUMENTS, versions | {batch_key(BRONZE_DOCUMENTS): newest})
    return version


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
