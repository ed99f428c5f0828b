"""Bronze contracts of images, documents and notebook entries.

Belongs here: metadata, text, small measured features. Does not belong here: pixels and attachments, which stay in the raw store.
"""

from __future__ import annotations

from lab_assets.contracts.bronze_core import PROVENANCE, RESCUED
from lab_assets.contracts.core import Column, TableContract

IMAGES = TableContract(
    layer="bronze",
    name="images",
    version=2,
    grain="one page or plane of one image file",
    description="Microscope images: metadata and a thumbnail; the pixels stay in the raw store.",
    owner="team:microscopy",
    columns=(
        Column(name="image_name", kind="string", meaning="name of the image file without folders", nullable=False),
        Column(name="page", kind="int64", meaning="page or plane, from 1", nullable=False, minimum=1),
        Column(name="width_px", kind="int64", meaning="width", unit="px", nullable=False, minimum=1),
        Column(name="height_px", kind="int64", meaning="height", unit="px", nullable=False, minimum=1),
        Column(name="channels", kind="int64", meaning="samples per pixel", nullable=False, minimum=1),
        Column(name="dtype", kind="string", meaning="type of one sample, numpy name", nullable=False),
        Column(name="pixel_size_um", kind="float64", meaning="edge of one pixel where the file states it", unit="um", minimum=0),
        Column(name="acquired_at_text", kind="string", meaning="time stated in the file"),
        Column(name="instrument_name", kind="string", meaning="microscope or camera stated in the file"),
        Column(name="description", kind="string", meaning="description stated in the file"),
        Column(name="intensity_mean", kind="float64", meaning="mean sample value"),
        Column(name="intensity_sd", kind="float64", meaning="standard deviation of sample values", minimum=0),
        Column(name="software", kind="string", meaning="software that wrote the image, as stated"),
        Column(name="channel_names", kind="array<string>", meaning="names of the file's channels, where it states them"),
        Column(name="saturated_share", kind="float64", meaning="share of samples at the largest value of their type", minimum=0, maximum=1),
        Column(name="focus_score", kind="float64", meaning="variance of the Laplacian over the mean: larger is sharper", minimum=0),
        Column(name="particle_count", kind="int64", meaning="connected objects brighter or darker than the background", minimum=0),
        Column(name="thumbnail_png", kind="binary", meaning="PNG of at most 128 px"),
        RESCUED,
        *PROVENANCE,
    ),
)

DOCUMENTS = TableContract(
    layer="bronze",
    name="documents",
    version=2,
    grain="one page of one document",
    description="Text of certificates and reports.",
    owner="team:quality",
    columns=(
        Column(name="document_name", kind="string", meaning="name of the file without folders", nullable=False),
        Column(name="page", kind="int64", meaning="page, from 1", nullable=False, minimum=1),
        Column(name="n_pages", kind="int64", meaning="pages of the document", nullable=False, minimum=1),
        Column(name="title", kind="string", meaning="title in the document's metadata"),
        Column(name="author", kind="string", meaning="author in the document's metadata", tags=("personal_name",)),
        Column(name="created_at_text", kind="string", meaning="creation time in the document's metadata"),
        Column(name="software", kind="string", meaning="software that wrote the document, as stated"),
        Column(name="text", kind="string", meaning="text of the page", tags=("personal_name", "customer", "patient", "formulation")),
        Column(
            name="tables_json",
            kind="string",
            meaning="tables of the page, as JSON: a list of tables, each a list of rows, each a list of cells",
            tags=("personal_name", "customer", "patient", "formulation"),
        ),
        *PROVENANCE,
    ),
)

ELN_ENTRIES = TableContract(
    layer="bronze",
    name="eln_entries",
    grain="one entry of one notebook export",
    description="Notebook entries of RO-Crate archives (.eln): text, authors, dates and the files they link.",
    owner="team:quality",
    columns=(
        Column(name="entry_id", kind="string", meaning="identifier of the entry inside of the archive", nullable=False),
        Column(name="title", kind="string", meaning="title"),
        Column(name="entry_type", kind="string", meaning="kind of entry as stated, such as experiment"),
        Column(name="text", kind="string", meaning="body as plain text", tags=("personal_name", "customer", "patient", "formulation")),
        Column(name="authors", kind="array<string>", meaning="authors", tags=("personal_name",)),
        Column(name="created_at_text", kind="string", meaning="creation time, the file's own text"),
        Column(name="created_at_utc", kind="timestamp_utc", meaning="creation time in UTC"),
        Column(name="modified_at_text", kind="string", meaning="time of the last change, the file's own text"),
        Column(name="modified_at_utc", kind="timestamp_utc", meaning="time of the last change in UTC"),
        Column(name="zone_known", kind="bool", meaning="whether the file states a zone", nullable=False),
        Column(name="keywords", kind="array<string>", meaning="keywords"),
        Column(name="files", kind="array<string>", meaning="files of the entry, paths inside of the archive"),
        Column(name="links", kind="array<string>", meaning="other entries and addresses the entry names"),
        Column(name="software", kind="string", meaning="notebook software and version"),
        RESCUED,
        *PROVENANCE,
    ),
)
