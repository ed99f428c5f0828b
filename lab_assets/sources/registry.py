"""Every reader, and which one a file belongs to.

Belongs here: the explicit list of formats and the choice among them by content. Does not belong here: any format, the search
for readers of other packages (``installed.py``).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from lab_assets.sources.base import ArchiveReader, ReadContext, Reader, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import Archive, is_archive, open_archive
from lab_assets.sources.core.channels import told_apart
from lab_assets.sources.core.decoding import is_secret, peek_lines, shorten
from lab_assets.sources.core.faults import refuse_uncontracted
from lab_assets.sources.core.installed import Installed, find_readers
from lab_assets.sources.core.long_table import LongTableReader
from lab_assets.sources.media.pdf_document import PdfDocumentReader
from lab_assets.sources.media.raster_image import RasterImageReader
from lab_assets.sources.media.tiff_image import TiffImageReader
from lab_assets.sources.standards.andi_netcdf import AndiNetcdfReader
from lab_assets.sources.standards.animl_xml import AnimlXmlReader
from lab_assets.sources.standards.eln_crate import ElnCrateReader
from lab_assets.sources.standards.gaml_xml import GamlXmlReader
from lab_assets.sources.tables.calibration_csv import CalibrationCsvReader
from lab_assets.sources.tables.chamber_csv import ChamberCsvReader
from lab_assets.sources.tables.lims_csv import LimsCsvReader
from lab_assets.sources.tables.logger_table import LoggerTableReader
from lab_assets.sources.tables.processing_table import ProcessingTableReader
from lab_assets.sources.tables.table_xlsx import XLSX_READERS
from lab_assets.sources.vendors.agilent.agilent_d import AgilentDReader
from lab_assets.sources.vendors.agilent.agilent_dx import AgilentDxReader
from lab_assets.sources.vendors.agilent.ezchrom_asc import EzchromAscReader
from lab_assets.sources.vendors.agilent.gen5_image import Gen5ImageReader
from lab_assets.sources.vendors.agilent.openlab_rslt import OpenLabRsltReader
from lab_assets.sources.vendors.beckman.pharmspec import PharmSpecReader
from lab_assets.sources.vendors.cytiva.unicorn_zip import UnicornZipReader
from lab_assets.sources.vendors.shimadzu.labsolutions_text import LabSolutionsTextReader
from lab_assets.sources.vendors.thermo.chromeleon_json import ChromeleonJsonReader
from lab_assets.sources.vendors.thermo.chromeleon_text import ChromeleonTextReader
from lab_assets.sources.vendors.thermo.visionlite import VisionliteReader
from lab_assets.sources.vendors.waters.arw import ArwReader
from lab_assets.sources.vendors.waters.empower_json import EmpowerJsonReader
from lab_assets.sources.vendors.waters.waters_raw import WatersRawReader

if TYPE_CHECKING:
    from lab_assets.sources.tables.logger_description import LoggerDescription

READERS: Final[tuple[Reader, ...]] = (
    LabSolutionsTextReader(),
    AndiNetcdfReader(),
    ArwReader(),
    ChromeleonTextReader(),
    LongTableReader(),
    ProcessingTableReader(),
    LimsCsvReader(),
    ChamberCsvReader(),
    CalibrationCsvReader(),
    TiffImageReader(),
    RasterImageReader(),
    ElnCrateReader(),
    PdfDocumentReader(),
    AgilentDReader(),
    AgilentDxReader(),
    WatersRawReader(),
    ChromeleonJsonReader(),
    EmpowerJsonReader(),
    Gen5ImageReader(),
    OpenLabRsltReader(),
    PharmSpecReader(),
    UnicornZipReader(),
    VisionliteReader(),
    *XLSX_READERS,
    AnimlXmlReader(),
    GamlXmlReader(),
    EzchromAscReader(),
)
"""The product's own formats; the order decides only between equally sure readers."""

HEAD_BYTES: Final = 1 << 16
"""How much of a file is looked at to recognise it."""


def recognise(name: str, data: bytes, loggers: tuple[LoggerDescription, ...] = ()) -> Reader:
    """Return the reader of a file, judged by its content first.

    Args:
        name: File name.
        data: The whole file; the members of an archive are listed at its end.
        loggers: Descriptions of the laboratory's own loggers.

    Returns:
        The surest reader.

    Raises:
        UnreadableFileError: ``empty`` for no bytes, ``unknown_format`` when no reader knows the content, or a rule of archives.
    """
    head = data[:HEAD_BYTES]
    if not head.strip(b"\x00 \t\r\n\f\v\xef\xbb\xbf\xff\xfe"):
        raise UnreadableFileError("empty", "the file is empty; export or transfer it again")
    archive = open_archive(data) if is_archive(head) else None
    surest, sureness = READERS[0], 0
    for reader in (*READERS, LoggerTableReader(loggers)) if loggers else READERS:
        answer = _ask(reader, name, head, archive)
        if answer > sureness:
            surest, sureness = reader, answer
        if sureness >= 100:
            return surest
    failures: list[str] = []
    for reader in installed().readers:
        try:
            answer = _ask(reader, name, head, archive)
        except Exception as error:  # noqa: BLE001 - a package that trips over a file must not cost it its own reader
            failures.append(f"reader {reader.format!r} failed to look at it: {type(error).__name__}: {error}")
            continue
        if answer > sureness:
            surest, sureness = reader, answer
    if sureness == 0:
        seen = _seen(head) if archive is None else f"an archive of {', '.join(map(shorten, archive.names[:5])) or 'nothing'}"
        left_out = "".join(f"; {problem}" for problem in (*failures, *installed().problems))
        raise UnreadableFileError("unknown_format", f"the file is {seen}, in no format known here ('lab doctor' names them){left_out}")
    return surest


@cache
def installed() -> Installed:
    """Return the readers that other packages bring, looked for once in a process."""
    return find_readers([reader.format for reader in READERS])


def _ask(reader: Reader, name: str, head: bytes, archive: Archive | None) -> int:
    """Return how surely a file is of a reader's format; only readers of archives are asked about archives."""
    if archive is None:
        return reader.sniff(name, head)
    return reader.sniff_archive(name, archive) if isinstance(reader, ArchiveReader) else 0


def read_file(data: bytes, context: ReadContext) -> ReadResult:
    """Recognise and read one file.

    Args:
        data: The whole file.
        context: What is known besides the bytes.

    Returns:
        Everything the file says, each trace of an injection under a name of its own.

    Raises:
        UnreadableFileError: the file as a whole is not usable.
    """
    return read_by(recognise(context.file_name, data, context.loggers), data, context)


def read_by(reader: Reader, data: bytes, context: ReadContext) -> ReadResult:
    """Read one file by the reader that it was recognised for.

    Args:
        reader: What ``recognise`` returned.
        data: The whole file.
        context: What is known besides the bytes.

    Returns:
        As of ``read_file``.

    Raises:
        UnreadableFileError: the file as a whole is not usable, or ``reader_error``: what was read fits no table.
    """
    return told_apart(refuse_uncontracted(reader.read(data, context), reader))


def _seen(head: bytes) -> str:
    """Describe the beginning of a file for people; a line that may hold a credential is not told."""
    if b"\x00" in head[:512] and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"unknown, beginning with the bytes {head[:8].hex(' ')}"
    shown = [line.strip() for line in peek_lines(head)[:20] if line.strip()][:3]
    return f"unknown, beginning with the text {shorten(' '.join('(not shown)' if is_secret(line) else line for line in shown))}"
