"""``silver.images`` and ``silver.documents``: media with the lot, certificate and instrument they speak of.

Belongs here: finding identifiers in names, descriptions and texts. Does not belong here: reading files (``lab_assets.sources``),
looking at pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lab_assets.contracts.bronze import CALIBRATIONS
from lab_assets.contracts.bronze import DOCUMENTS as BRONZE_DOCUMENTS
from lab_assets.contracts.bronze import IMAGES as BRONZE_IMAGES
from lab_assets.contracts.silver import DOCUMENTS, IMAGES
from lab_assets.engine.delta import Lakehouse
from lab_assets.pipeline.reference import batch_key, new_batches, news, settle

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

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
    since, newest = new_batches(lake, DOCUMENTS, BRONZE_DOCUMENTS)
    rows = _with_certificate(lake, _whole_documents(lake.read_since(BRONZE_DOCUMENTS, since)))
    if lake.row_count(DOCUMENTS) == 0:
        version = lake.append(DOCUMENTS, rows)
    else:
        unlinked = lake.read(DOCUMENTS).where("certificate_id is null").drop("certificate_id", "instrument_id")
        linked = _with_certificate(lake, unlinked).where("certificate_id is not null")
        changed = rows.unionByName(linked, allowMissingColumns=True)
        version = lake.version(DOCUMENTS) if changed.isEmpty() else lake.merge(DOCUMENTS, changed)
    settle(lake, DOCUMENTS, versions | {batch_key(BRONZE_DOCUMENTS): newest})
    return version


def _whole_documents(pages: DataFrame) -> DataFrame:
    """Return one row a document, its pages' texts in order; a file arrives whole, so its pages are of one batch."""
    from pyspark.sql import functions as sf

    in_order = sf.sort_array(sf.collect_list(sf.struct("page", sf.coalesce("text", sf.lit("")).alias("text"))))
    return pages.groupBy(sf.col("source_sha256").alias("document_id")).agg(
        sf.first("document_name").alias("document_name"),
        sf.max("n_pages").alias("n_pages"),
        sf.first("title", ignorenulls=True).alias("title"),
        sf.array_join(sf.transform(in_order, lambda page: page["text"]), "\n\n").alias("text"),
    )


def _with_certificate(lake: Lakehouse, documents: DataFrame) -> DataFrame:
    """Add the known certificate whose number stands in the text by itself; of several, the one named first."""
    from pyspark.sql import functions as sf

    known = lake.read(CALIBRATIONS).groupBy("certificate_id").agg(sf.max("instrument_id").alias("instrument_id"))
    alone = sf.concat(sf.lit(r"(?<![A-Za-z0-9-])\Q"), sf.col("certificate_id"), sf.lit(r"\E(?![A-Za-z0-9]|-[A-Za-z0-9])"))
    found = (
        documents.select("document_id", "text")
        .join(sf.broadcast(known), sf.contains("text", "certificate_id"))
        .where(sf.regexp_like("text", alone))
        .groupBy("document_id")
        .agg(sf.min_by(sf.struct("certificate_id", "instrument_id"), sf.regexp_instr("text", alone)).alias("_found"))
    )
    linked = documents.join(found, on="document_id", how="left")
    return linked.select(
        *documents.columns, sf.col("_found.certificate_id").alias("certificate_id"), sf.col("_found.instrument_id").alias("instrument_id")
    )
