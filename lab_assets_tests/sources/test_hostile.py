"""Files made to harm: each is refused by a stable rule, quickly and in little memory, and none of them brings a reader down."""

from __future__ import annotations

import io
import json
import random
import resource
import struct
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest

from lab_assets.ingest.sandbox import Limits, guarded
from lab_assets.sources.all_readers import read_file
from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.rules import MEND
from lab_assets_tests.sources import agilent_builders, allotrope_builders, animl_builders, gaml_builders, logger_builders, waters_builders
from lab_assets_tests.sources.andi_builders import packed as packed_andi
from lab_assets_tests.sources.builders import andi, arw, chromeleon, labsolutions, labsolutions_trace, read
from lab_assets_tests.sources.mutations import mutated
from lab_assets_tests.sources.one_of_each import ONE_OF_EACH
from lab_assets_tests.sources.text_tables import LINES, LONG, LOTS, UTC_LOG

pytestmark = pytest.mark.forks

CPU_SECONDS = 20.0
MEMORY_MB = 300
NOT_OURS = {"tiff_image", "raster_image", "pdf_document", "eln_crate"}
"""Formats whose own tests damage them."""

LAUGHS = "<!DOCTYPE l [<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n} '" + f"&a{n - 1};" * 10 + "'>" for n in range(1, 10)) + "]>"
DECLARATIONS = {
    "laughs": (LAUGHS, "&a9;"),
    "quadratic": ("<!DOCTYPE l [<!ENTITY a '" + "x" * 100_000 + "'>]>", "&a;" * 10_000),
    "file": ('<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>', "&a;"),
    "parameter": ('<!DOCTYPE l [<!ENTITY % a SYSTEM "http://127.0.0.1:9/a.dtd">%a;]>', ""),
    "outside": ('<!DOCTYPE l SYSTEM "http://127.0.0.1:9/l.dtd">', ""),
}


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Import what readers import at first use, so that no child pays for it."""
    for data in ONE_OF_EACH.values():
        read_file(data, ReadContext(file_name="x"))


def _measured(items: Sequence[Any], begin: Callable[[int], None]) -> tuple[str, str, float, float]:
    """Rule, its text, seconds of CPU and megabytes beyond what the process had."""
    begin(0)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    rule = text = ""
    try:
        read_file(items[0], ReadContext(file_name="x"))
    except UnreadableFileError as error:
        rule, text = error.rule, str(error)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return rule, text, time.process_time() - started, more / 1024


def outcome(data: bytes | str) -> tuple[str, str]:
    """Read in a child, hold it to the limits, and return the rule and the text of the refusal."""
    raw = data.encode() if isinstance(data, str) else data
    answer, blamed = guarded([raw], _measured, Limits(seconds=60, memory_bytes=1 << 30))
    assert blamed == {}
    rule, text, seconds, megabytes = answer
    assert seconds < CPU_SECONDS
    assert megabytes < MEMORY_MB
    assert rule == "" or rule in MEND
    assert len(text) < 2000
    return rule, text


def archive(members: Mapping[str, bytes] | Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, data in members.items() if isinstance(members, Mapping) else members:
            made.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        return {name: made.read(name) for name in made.namelist()}


def changed(data: bytes, path: str, change: Callable[[bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """The archive with one member changed; ``a!b`` is a member of the archive that is a member."""
    name, _, inner = path.partition("!")
    members = members_of(data)
    members[name] = changed(members[name], inner, change) if inner else change(members[name])
    return archive(members, method)


def with_more(format_name: str, more: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    return archive({**members_of(ONE_OF_EACH[format_name]), **more}, method)


def declared(document: bytes, declaration: str, use: str, encoding: str = "utf-8") -> bytes:
    """The document with a declaration before its root element and its entity in it."""
    text = document.decode("utf-8-sig")
    text = text[text.index("?>") + 2 :] if "?>" in text else text
    at = text.index(">") + 1
    while text[at - 2] == "/":
        at = text.index(">", at) + 1
    said = "" if encoding == "utf-8" else '<?xml version="1.0" encoding="utf-16"?>'
    return f"{said}{declaration}{text[:at]}{use}{text[at:]}".encode(encoding)


# XML

XML_PARTS = (
    *(("animl_xml", ""), ("gaml_xml", ""), ("agilent_dx", "injection.acmd"), ("openlab_rslt", "set.acaml")),
    *(("openlab_rslt", "run-01.dx!injection.acmd"), ("openlab_rslt", "run-01.rx!1.InjectionACAML")),
    *(("unicorn_zip", name) for name in ("Result.xml", "Chrom.1.Xml", "EvaluationLog.xml", "SystemData!Xml")),
    *(
        (name, part)
        for name in ("lims_xlsx", "pharmspec")
        for part in ("[Content_Types].xml", "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml", "xl/worksheets/sheet1.xml")
    ),
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("kind", DECLARATIONS)
@pytest.mark.parametrize(("format_name", "part"), XML_PARTS)
def test_declarations_in_xml_are_refused_unread(format_name: str, part: str, kind: str, encoding: str) -> None:
    def declare(document: bytes) -> bytes:
        return declared(document, *DECLARATIONS[kind], encoding)

    data = ONE_OF_EACH[format_name]
    rule, text = outcome(changed(data, part, declare) if part else declare(data))
    # in another encoding than usual, or behind a long declaration, some formats are not recognised
    assert rule == "hostile_xml" or (rule == "unknown_format" and (encoding == "utf-16" or kind == "quadratic"))
    assert "root:" not in text


def test_entities_in_html_are_refused() -> None:
    text = allotrope_builders.hiac_html().replace("<body>", f"{LAUGHS}<body>").replace("LOT-7", "&a9;")
    assert outcome(text)[0] == "hostile_xml"


def test_xml_beside_good_channels_is_passed_over() -> None:
    for declaration, use in DECLARATIONS.values():
        info = f"{declaration}<SampleInfo><Field><Name>Sample Name</Name><Value>{use}</Value></Field></SampleInfo>".encode()
        result = read(agilent_builders.folder({"DAD1A.ch": agilent_builders.ch179([1, 2]), "AcqData/sample_info.xml": info}), "a.d")
        assert "declares a document type" in result.warnings[0]
        assert "root:" not in repr(result)


DEEP = b"<a>" * 1_000_000 + b"</a>" * 1_000_000


@pytest.mark.parametrize(("format_name", "part"), XML_PARTS)
def test_endless_nesting_is_refused(format_name: str, part: str) -> None:
    def nest(document: bytes) -> bytes:
        at = document.rindex(b"</") if b"</" in document else 0
        return document[:at] + DEEP + document[at:]

    data = ONE_OF_EACH[format_name]
    if format_name == "unicorn_zip" and part == "SystemData!Xml":
        data = changed(data, part, lambda text: text.replace(b"/></", b"></InstrumentConfiguration></"))
    assert outcome(changed(data, part, nest) if part else nest(data))[0] == "hostile_xml"


# Archives

INNER = {
    "agilent_d": "run 7.D/DAD1A.ch",
    "agilent_dx": "injection.acmd",
    "waters_raw": "_HEADER.TXT",
    "openlab_rslt": "set.acaml",
    "unicorn_zip": "Result.xml",
    "lims_xlsx": "xl/worksheets/sheet1.xml",
    "pharmspec": "xl/worksheets/sheet1.xml",
}
BLANKS = b" " * 1_000_000


@pytest.mark.parametrize("format_name", INNER)
def test_bombs_of_archives(format_name: str) -> None:
    """One member that unpacks to a thousand times its size, many that do, and ten thousand that are the same bytes."""
    data = ONE_OF_EACH[format_name]
    assert outcome(changed(data, INNER[format_name], lambda part: part + BLANKS * 30, zipfile.ZIP_DEFLATED))[0] == "zip_bomb"
    assert outcome(with_more(format_name, {f"m{number}.xml": BLANKS for number in range(100)}))[0] == "zip_bomb"
    assert outcome(overlapping(data, 10_000))[0] == "zip_bomb"


def overlapping(data: bytes, count: int, *, size: int | None = None) -> bytes:
    """The archive with a directory that names its first member ``count`` times more."""
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    length, extra, note = struct.unpack_from("<3H", data, start + 28)
    first = bytearray(data[start : start + 46 + length + extra + note])
    if size is not None:
        struct.pack_into("<I", first, 24, size)
    more = b"".join(bytes(first[:46]) + f"{number:0{length}d}".encode()[:length] + bytes(first[46 + length :]) for number in range(count))
    entries = min(0xFFFF, data.count(b"PK\x01\x02", start, end) + count)
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, entries, entries, end - start + len(more), start, 0)
    return data[:start] + more + data[start:end] + tail


def test_too_many_members() -> None:
    assert outcome(with_more("agilent_dx", {f"m{number}": b"" for number in range(20_001)}))[0] == "zip_bomb"


def test_a_few_members_of_the_same_bytes() -> None:
    """Far below any ratio: only that they overlap tells."""
    assert outcome(overlapping(ONE_OF_EACH["agilent_dx"], 2))[0] == "zip_bomb"


@pytest.mark.parametrize(
    ("at", "value", "rule"),
    [
        *((20, 0xFFFFFFF0, "zip_bomb"), (24, 0xFFFFFFF0, "zip_bomb"), (24, 0, "truncated"), (24, 10, "truncated")),
        *((42, 0x7FFFFFFF, "truncated"), (8, 0x00000001, "encrypted"), (10, 0x0000000E, "unsupported")),
    ],
)
def test_lying_directories(at: int, value: int, rule: str) -> None:
    """Packed size, size, offset, flag of encryption and way of compression of the manifest, as the directory states them."""
    data = bytearray(archive(members_of(ONE_OF_EACH["agilent_dx"])))
    struct.pack_into("<I" if at > 10 else "<H", data, data.index(b"PK\x01\x02") + at, value)
    assert outcome(bytes(data))[0] == rule


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_compression_are_refused(method: int) -> None:
    assert outcome(with_more("agilent_dx", {}, method))[0] == "unsupported"


NAMES = ("../x", "/etc/passwd", "a/../../x", "..\\..\\x", "\\\\server\\share", "C:\\x", "C:x", ".")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("format_name", ["agilent_dx", "openlab_rslt", "unicorn_zip", "lims_xlsx"])
def test_names_that_lead_out_of_an_archive(format_name: str, name: str) -> None:
    assert outcome(with_more(format_name, {name: b"x"}))[0] == "unsafe_name"


def test_inner_archives_are_held_to_the_same_limits() -> None:
    bomb = archive({"CoordinateData.Volumes": BLANKS * 50}, zipfile.ZIP_DEFLATED)
    assert outcome(with_more("unicorn_zip", {"Chrom.1_9_True": bomb}))[0] == "zip_bomb"
    noise = random.Random(1).randbytes(100_000)
    mild = archive({"a.CH": b"".join(bytes(99) + noise[at : at + 1] for at in range(100_000))}, zipfile.ZIP_DEFLATED)
    assert outcome(with_more("unicorn_zip", {f"Chrom.1_{number}_True": mild for number in range(60)}))[0] == "too_large"
    assert (
        outcome(changed(ONE_OF_EACH["openlab_rslt"], "run-01.dx", lambda dx: archive({**members_of(dx), "../x": b""})))[0] == "unsafe_name"
    )
    data = ONE_OF_EACH["openlab_rslt"]
    for _ in range(50):
        data = archive({"a.rslt": data})
    assert outcome(data)[0] == "missing_section"


def test_names_of_dropped_files_leave_nothing_of_their_folders() -> None:
    for name in ("../../etc/passwd", "/etc/passwd", "C:\\temp\\passwd", "a\nb/passwd", "passwd"):
        tables = read_file(arw().encode(), ReadContext(file_name=name)).tables
        assert tables["chromatograms"][0]["injection_name"] == "passwd"


# Workbooks and HTML


def sheet(change: Callable[[bytes], bytes], format_name: str = "lims_xlsx") -> bytes:
    return changed(ONE_OF_EACH[format_name], "xl/worksheets/sheet1.xml", change)


def cells(*references: str) -> Callable[[bytes], bytes]:
    rows = "".join(f'<row r="{text.lstrip("ABCDXFZ")}"><c r="{text}" t="n"><v>1</v></c></row>' for text in references).encode()
    return lambda part: part.replace(b"</sheetData>", rows + b"</sheetData>")


@pytest.mark.parametrize("format_name", ["lims_xlsx", "pharmspec"])
def test_a_cell_far_out_does_not_fill_the_memory(format_name: str) -> None:
    assert outcome(sheet(cells("XFD1048576"), format_name))[0] == "too_large"
    assert outcome(sheet(cells(*(f"XFD{row}" for row in range(20, 3000))), format_name))[0] == "too_large"
    assert outcome(sheet(cells("A1000000000"), format_name))[0] in {"too_large", "truncated"}


def test_sheets_of_empty_cells() -> None:
    """4,000 columns are a table's; 2,000 rows of them with one value each are 8,000,000 empty cells."""
    assert outcome(sheet(cells(*(f"DZZ{row}" for row in range(20, 2020)))))[0] == "too_large"


@pytest.mark.parametrize("value", ["9" * 100_000, "NaN", "1e309"])
def test_cells_that_are_no_numbers(value: str) -> None:
    data = sheet(lambda part: part.replace(b"<v>120.5</v>", f"<v>{value}</v>".encode()))
    rule, _ = outcome(data)
    assert rule == "unsupported" or [row.rule for row in read(data).rejected] == ["not_finite"]


@pytest.mark.parametrize("span", ['colspan="1000000000"', 'rowspan="65535" colspan="999"', 'colspan="-1"', 'colspan="1e9"'])
def test_spans_of_html(span: str) -> None:
    assert outcome(allotrope_builders.hiac_html().replace("<td>Run2</td>", f"<td {span}>Run2</td>"))[0] == "too_large"


# Binary counts


def ch(at: int, code: str, value: float, base: bytes | None = None) -> bytes:
    data = bytearray(base or agilent_builders.ch179([1, 2, 3]))
    struct.pack_into(code, data, at, value)
    return agilent_builders.folder({"x.D/a.ch": bytes(data)})


def uv(at: int, code: str, value: int) -> bytes:
    data = bytearray(agilent_builders.uv(2))
    struct.pack_into(code, data, at, value)
    return agilent_builders.folder({"x.D/a.ch": agilent_builders.ch179([1, 2]), "x.D/a.uv": bytes(data)})


def cdf(mark: bytes, delta: int, value: int, base: bytes | None = None) -> bytes:
    data = bytearray(base or andi())
    struct.pack_into(">I", data, data.index(mark) + delta, value)
    return bytes(data)


def waters(**files: bytes) -> bytes:
    return waters_builders.folder({**waters_builders.with_functions(12), **{name.replace("__", "."): data for name, data in files.items()}})


COUNTS: dict[str, tuple[bytes, set[str]]] = {
    **{f"dimension {n}": (cdf(b"point_number", 12, n), {"truncated"}) for n in (4, 1 << 28, 4_000_000_000, 0xFFFFFFFF)},
    **{f"list at {at} {n}": (cdf(b"CDF", at, n), {"truncated"}) for at in (12, 40) for n in (0, 2, 0x7FFFFFFF, 0xFFFFFFFF)},
    **{f"variables {n}": (cdf(b"\0\0\0\x0b\0\0\0\x03", 4, n), {"truncated"}) for n in (4, 0xFFFFFFFF)},
    **{f"name {n}": (cdf(b"point_number", -4, n), {"truncated"}) for n in (0x80000000, 0xFFFFFFFF)},
    "records": (cdf(b"CDF", 4, 0x7FFFFFF0, packed_andi(record=True)), {"truncated"}),
    **{f"times {n}": (ch(0x11A, ">f", n), {"not_finite"}) for n in (float("nan"), float("inf"), 1e30)},
    **{f"scale {n}": (ch(0x127C, ">d", n), {"not_finite"}) for n in (float("nan"), float("-inf"), 0.0, 1e308)},
    "differences": (agilent_builders.folder({"x.D/a.ch": bytes(agilent_builders.header("81", 0, 1)) + b"\x7f\xfe" * (4 << 20)}), {"too_large"}),
    "overflow": (agilent_builders.folder({"x.D/a.ch": bytes(agilent_builders.header("81", 0, 1)) + b"\x7f\xfe" * (1 << 20)}), {"truncated"}),
    "spectra": (uv(0x116, ">I", 0xFFFFFFFF), {"truncated"}),
    "spectrum": (uv(0x1002, "<H", 0), {"truncated"}),
    "scans": (waters(_FUNC001__IDX=waters_builders.scans(3, 64)), {"truncated"}),
    "channels": (waters(_CHROMS__INF=waters_builders.chroms([("a", "AU")] * 100_000)), {"too_large"}),
    **{f"points {n}": (changed(ONE_OF_EACH["agilent_dx"], "injection.acmd", lambda text, n=n: text.replace(b">3<", b">%d<" % n)), {"truncated"})
       for n in (0, 4, 10**12, 10**30)},
    **{f"step {n}": (animl_builders.run().replace('endIndex="3"', f'endIndex="{n}"').encode(), {"too_large", "not_a_number", "truncated"})
       for n in (10_000, 19_999_999, 10**12, 2**63, 10**40, -1)},
    **{f"length {n}": (animl_builders.run().replace('length="4"', f'length="{n}"').encode(), {"truncated", "not_a_number"})
       for n in (5, 10**12, 10**40, -4)},
    **{f"values {n}": (gaml_builders.plain().replace('numvalues="4"', f'numvalues="{n}"').encode(), {"truncated", "too_large"})
       for n in (5, 10**11, 10**40, -4)},
    "base64": (animl_builders.run().replace(animl_builders.packed("f", [1, 2.5, -3, 0.25]), "A" * 16_000_000).encode(), {"truncated"}),
    "lines": (labsolutions().replace("# of Points\t3", f"# of Points\t{10**12}").encode(), {"truncated", "not_a_number"}),
    "rate": (ONE_OF_EACH["ezchrom_asc"].replace(b"4\t3\tPts", b"999999999999\t3\tPts"), {"truncated", "not_a_number"}),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_counts_that_lie(name: str) -> None:
    data, rules = COUNTS[name]
    assert outcome(data)[0] in rules


def test_many_series_stated_by_increment() -> None:
    series = animl_builders.series
    body = "".join(series(f"s{n}", animl_builders.incremented(0, 1, 19_999_999)) for n in range(50))
    time_axis = series("Time", animl_builders.incremented(0, 1, 19_999_999), dependency="independent", unit="min")
    table = f'<Result name="x"><SeriesSet name="x" length="20000000">{time_axis}{body}</SeriesSet></Result>'
    assert outcome(animl_builders.document(animl_builders.step("Chromatography", table)))[0] == "too_large"


# Sizes of text

MANY = 1_000_000
SIZES: dict[str, tuple[Callable[[], str | bytes], set[str]]] = {
    "columns": (
        lambda: "lot_id,product,customer," + ",".join(f"c{n}" for n in range(140_000)) + "\n" + "1," * 140_002 + "1\n",
        {"too_large"},
    ),
    "long columns": (lambda: ",".join(f"c{n}" for n in range(MANY)) + "\n", {"unknown_format", "long_line"}),
    "chamber columns": (lambda: UTC_LOG.replace("Door", ",".join(f"d{n}" for n in range(100_000))), {"too_large"}),
    "one field": (lambda: LOTS.replace("Acme", "A" * 200_000), {"truncated"}),
    "one line": (lambda: LOTS + "x" * (2 * MANY), {"long_line"}),
    "ragged rows": (lambda: LOTS + "L,P\n" * MANY, {"field_count"}),
    "open quote": (lambda: LOTS + '"' + "a\n" * MANY, {"truncated"}),
    "traces": (lambda: LONG + "".join(f'0.1\t1\t"A{n}.lcd"\t"UV"\n' for n in range(50_000)), {"too_large"}),
    "samples": (lambda: "Sample Name,500 nm   [A]\n" + "1,0.1\n" * 300_000, {"too_large"}),
    "spectrum": (lambda: "s.csv,x,A,1/1/2024 1:00:00 AM,E,1,1\nnm,A\n" + "".join(f"{n},0.1\n" for n in range(300_000)), {"too_large"}),
    "wells": (lambda: ONE_OF_EACH["gen5_image"].decode().rstrip() + "\n" + "C\t1\t2\tCell Count\n" * 60_000, {"too_large"}),
    "injections": (lambda: (chromeleon() + "\n") * 3000, {""}),
    "repeated traces": (lambda: labsolutions() + labsolutions_trace("Chromatogram (Ch1)", [("0.1", "1"), ("0.2", "2")]) * 3000, {""}),
    "wide points": (lambda: labsolutions().replace("0.01833\t2\r", "0.01833\t2" + "\t1" * 400_000 + "\r"), {""}),
    "elements": (lambda: animl_builders.run().replace("<SampleSet>", "<SampleSet>" + "<a/>" * (3 * MANY)), {"too_large"}),
    "attributes": (
        lambda: animl_builders.run().replace("<SampleSet>", "<SampleSet " + " ".join(f"a{n}='1'" for n in range(200_000)) + ">"),
        {""},
    ),
    "namespace": (
        lambda: animl_builders.run().replace(
            "<SampleSet>", "<x:q xmlns:x='" + "u" * 100_000 + "'>" + "".join(f"<x:a{n}/>" for n in range(20_000)) + "</x:q><SampleSet>"
        ),
        {"hostile_xml"},
    ),
    "steps": (
        lambda: animl_builders.document(
            *(animl_builders.step("Chromatography", animl_builders.TRACE, step_id=f"r{n}") for n in range(2)),
            *(
                animl_builders.step(
                    "Detector",
                    animl_builders.TRACE,
                    step_id=f"s{n}",
                    infrastructure=f'<ExperimentDataReferenceSet><ExperimentDataReference experimentStepID="s{n + 1}"/></ExperimentDataReferenceSet>',
                )
                for n in range(1000)
            ),
        ),
        {""},
    ),
    "loop of steps": (
        lambda: animl_builders.document(
            *(
                animl_builders.step(
                    technique,
                    animl_builders.TRACE,
                    step_id=own,
                    infrastructure=f'<ExperimentDataReferenceSet><ExperimentDataReference experimentStepID="{other}"/></ExperimentDataReferenceSet>',
                )
                for technique, own, other in (
                    ("Detector", "a", "b"),
                    ("Detector", "b", "a"),
                    ("Chromatography", "c", "c"),
                    ("LC", "d", "a"),
                )
            )
        ),
        {""},
    ),
    "channel files": (lambda: archive({f"x.D/a{n}.ch": agilent_builders.ch179([1, 2]) for n in range(1500)}, zipfile.ZIP_DEFLATED), {""}),
    "function files": (lambda: waters(**{f"_FUNC{n:05d}__DAT": b"" for n in range(10_000)}), {"missing_section"}),
    "endless number": (lambda: waters(**{f"_CHRO{'9' * 5000}__DAT": b""}), {""}),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str) -> None:
    make, rules = SIZES[name]
    assert outcome(make())[0] in rules


# JSON

BOTH = pytest.mark.parametrize("format_name", ["empower_json", "chromeleon_json"])


@BOTH
@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ('"z":' + "[" * MANY + "]" * MANY, "too_large"),
        ('"z":' + '{"a":' * 100_000 + "1" + "}" * 100_000, "too_large"),
        ('"z":[' + "{}," * (2 * MANY) + "{}]", "too_large"),
        (",".join(f'"k{n}":1' for n in range(MANY + 1)), "too_large"),
        ('"z":' + '"\\' * MANY, "truncated"),
        ('"z":1,"z":2', "duplicate_key"),
        ('"z":{"a":[{"b":1,"b":1}]}', "duplicate_key"),
        ('"z":' + "9" * 5000, "not_a_number"),
        ('"z":"\udc80"', "encoding"),
    ],
    ids=["lists", "objects", "wide", "fields", "quotes", "twice", "inner twice", "digits", "surrogate"],
)
def test_hostile_json(format_name: str, more: str, rule: str) -> None:
    text = ONE_OF_EACH[format_name].decode()
    assert outcome(f"{text[:-1]},{more}}}".encode("utf-8", "surrogateescape"))[0] == rule


@BOTH
@pytest.mark.parametrize("number", ["1e309", "-1e309", "Infinity", "-Infinity"])
def test_signals_of_json_are_finite(format_name: str, number: str) -> None:
    root = json.loads(ONE_OF_EACH[format_name])
    signal = root["values"]["channels"][0]["chrom"][1] if "values" in root else root["injections"][0]["signals"][0]["chromatogram"]["y"]
    signal[1] = 424242.0
    assert outcome(json.dumps(root).replace("424242.0", number))[0] in {"not_finite", "truncated", "not_a_number"}


# Values that no table may hold


@pytest.mark.parametrize("text", ["1e309", "-1e309", "NaN", "inf", "Infinity", "-Infinity"])
def test_numbers_that_are_not_finite(text: str) -> None:
    for data in (labsolutions().replace("1234", text), arw().replace("0.18279", text), LONG.replace("-0.6", text)):
        assert outcome(data)[0] == "not_finite"
    assert [row.rule for row in read(LOTS.replace("120.5", text)).rejected] == ["not_finite"]
    assert [row.rule for row in read(UTC_LOG.replace("25.1", text)).rejected] == ["not_finite"]
    assert [row.rule for row in read(LINES.replace("0.0729", text)).rejected] == ["not_finite"]


@pytest.mark.parametrize("text", ["0x10", "1_0", "１", "1e", "", "9" * 400, "1.2.3"])
def test_numbers_that_are_none(text: str) -> None:
    assert outcome(labsolutions().replace("\t1234\r", f"\t{text}\r"))[0] in {"not_a_number", "not_finite"}
    (row,) = read(UTC_LOG.replace("25.1", text or "x")).rejected
    assert row.rule in {"not_a_number", "not_finite"}


DATES = ("0000-01-01", "9999-12-31T23:59:60", "99999", "99999-01-01", "2025-02-30", "-2025-01-01", "2025-01-01T25:00:00", "1e5")
OFFSETS = (
    "2025-01-01T00:00:00+99:99",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "١٢٣٤-01-01",
    "2025-01-01" + " " * 90_000 + "!",
)


@pytest.mark.parametrize("text", [*DATES, *OFFSETS])
def test_absurd_dates_are_reported_and_never_guessed(text: str) -> None:
    (row,) = read(LOTS.replace("2025-03-04T05:06:07Z", text)).rejected
    assert (row.rule, row.column) in {("bad_date", "recorded_at_utc"), ("implausible_date", "recorded_at_utc")}
    (reading,) = read(UTC_LOG.replace("2025-03-01 00:00:00", text)).rejected
    assert reading.rule in {"bad_date", "implausible_date"}
    kept = read(labsolutions().replace("02/08/2023 17:08:21", text)).tables["chromatograms"][0]
    assert (kept["injected_at_utc"], kept["zone_known"], kept["injected_at_text"]) == (None, False, text)


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A1", "+1+1", "@SUM(A1)", "-2+3", "\x0b=1", '=HYPERLINK("x")'])
def test_formulas_of_csv_are_kept_as_they_are(text: str) -> None:
    quoted = text.replace('"', '""')
    row = read(LOTS.replace("Acme", f'"{quoted}"')).tables["lims_lots"][0]
    assert row["customer"] == text.strip()


TEXTS = ("labsolutions_text", "arw", "chromeleon_text", "long_table", "lims_csv", "chamber_csv", "calibration_csv", "processing_table")
TEXTS += ("gen5_image", "visionlite", "ezchrom_asc", "empower_json", "chromeleon_json", "animl_xml", "gaml_xml")  # fmt: skip


@pytest.mark.parametrize("format_name", TEXTS)
def test_wrong_encodings(format_name: str) -> None:
    text = ONE_OF_EACH[format_name].decode()
    for encoding in ("utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "cp500", "utf-7"):
        rule, _ = outcome(text.encode(encoding))
        assert rule or encoding == "utf-7", encoding  # UTF-7 is ASCII where a file has nothing else
    assert outcome(text.encode() + "ä".encode() + b"\xe4\n")[0]
    assert outcome(text.encode() + text.encode("utf-16"))[0]
    half = len(text) // 2
    assert outcome(text[:half].encode() + b"\x00" + text[half:].encode())[0]


# Patterns

ATOMS = (
    " ",
    "a",
    "1",
    "\t",
    '"',
    '""',
    "(",
    "[",
    "/",
    "\\",
    ".",
    ",",
    "-",
    ":",
    "#",
    "#a ",
    "<",
    "_",
    "temp",
    "set",
    "1,",
    "a.",
    "/a",
    "x ",
    "\\u",
)
VALUES = {
    "labsolutions_text": ("STD 1", "02/08/2023 17:08:21", "Glucose", "[Peak Table(Detector B)]", "HPLC RID"),
    "arw": ("LOT-1", "1/7/2022 3:22:48 PM GMT", "254nm", "0.18279"),
    "chromeleon_text": ("SEQ-9_003", "26.05.2017", "25.0", "chrom://pc-1", "-0.038750"),
    "long_table": ("A1.lcd", "Intensity", "-0.6"),
    "lims_csv": ("Acme", "customer", "2025-03-04T05:06:07Z", "120.5"),
    "chamber_csv": ("# chamber: CH-1", "Set RH [%]", "2025-03-01 00:00:00", "closed", "Door"),
    "processing_table": ("Formate", "Peak_start", "0.0729"),
    "gen5_image": ("Cytation7", "12087", "3/15/2020", "Cell Count"),
    "visionlite": ("280 nm   [A]", "0.027", "Result"),
    "ezchrom_asc": ("Ni5, run: 2", "6/29/2023 4:07:41 PM", "Sampling Rate:", "pA", "17502"),
    "animl_xml": ("LOT-1", "2024-03-04T05:06:07.5+01:00", "Chromatography", "mAU", "Area"),
    "gaml_xml": ("C:\\Users\\tom\\run.seq", "58.4 mg/L", "2024-01-25T17:33:51Z", "Peak_Area"),
    "empower_json": ("Std 1", "2017-01-04T08:44:56", "InjectionId"),
    "chromeleon_json": ("SST", "2011-07-15T16:28:24+01:00", "12M"),
}


def _slowest(items: Sequence[Any], begin: Callable[[int], None]) -> tuple[float, Any]:
    worst: tuple[float, Any] = (0.0, None)
    for position, (data, about) in enumerate(items):
        begin(position)
        started = time.process_time()
        with suppress(UnreadableFileError):
            read_file(data, ReadContext(file_name="x"))
        worst = max(worst, (time.process_time() - started, about))
    return worst


@pytest.mark.parametrize("format_name", VALUES)
def test_no_pattern_takes_more_than_linear_time(format_name: str) -> None:
    """30,000 times the same sign, in the place of a value and as a line of its own: quadratic time would be minutes."""
    text = ONE_OF_EACH[format_name].decode()
    items: list[tuple[bytes, str]] = []
    for atom in ATOMS:
        long = atom * (30_000 // len(atom))
        items += [((long + "!\n" + text).encode(), f"{atom!r} above"), ((text + "#a" + long + "\x01!").encode(), f"{atom!r} below")]
        for value in VALUES[format_name]:
            assert value.replace("\\", "\\\\") in text or value in text
            items += [(text.replace(value, f"{start}{long}!", 1).encode(), f"{atom!r} for {value!r}") for start in ("", value)]
    (seconds, about), blamed = guarded(items, _slowest, Limits(seconds=30, memory_bytes=1 << 30))
    assert blamed == {}
    assert seconds < 15.0, about


# Damage


@pytest.mark.parametrize("format_name", sorted(set(ONE_OF_EACH) - NOT_OURS))
def test_damaged_files_are_read_or_refused(format_name: str) -> None:
    """Twenty-five seeded copies of one file; only the one error may come out, and its rule is one that people can be advised on."""
    for seed in range(25):
        data = mutated(ONE_OF_EACH[format_name], seed)
        started = time.process_time()
        try:
            result = read_file(data, ReadContext(file_name="x"))
        except UnreadableFileError as error:
            assert error.rule in MEND, seed  # noqa: PT017 - both outcomes are fine
            assert len(str(error)) < 2000  # noqa: PT017
        else:
            assert isinstance(result, ReadResult)
        assert time.process_time() - started < CPU_SECONDS, seed


def test_damaged_logs_of_a_described_logger() -> None:
    loggers = (logger_builders.described(logger_builders.FREEZER),)
    for seed in range(25):
        try:
            read_file(mutated(logger_builders.FILE.encode(), seed), ReadContext(file_name="x", loggers=loggers))
        except UnreadableFileError as error:
            assert error.rule in MEND, seed  # noqa: PT017 - both outcomes are fine
