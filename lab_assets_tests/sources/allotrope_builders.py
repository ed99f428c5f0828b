"""Files in the layouts that ``allotropy`` reads, written by hand for tests: small enough to check every number."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from lab_assets.sources.base import ArchiveReader, ReadContext, Reader, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import Archive, open_archive


def run(reader: Reader, data: bytes | str, name: str = "drop/file.bin", *, zone: str = "UTC") -> ReadResult:
    return reader.read(data.encode() if isinstance(data, str) else data, ReadContext(file_name=name, zone=zone))


def rule(reader: Reader, data: bytes | str) -> str:
    """Rule of the rejection of a whole file; empty when it is read."""
    try:
        run(reader, data)
    except UnreadableFileError as error:
        return error.rule
    return ""


def sureness(reader: Reader, name: str, data: bytes) -> int:
    if data.startswith(b"PK\x03\x04"):
        archive: Archive = open_archive(data)
        return reader.sniff_archive(name, archive) if isinstance(reader, ArchiveReader) else 0
    return reader.sniff(name, data[: 1 << 16])


def packed(members: Mapping[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


# Empower ---------------------------------------------------------------------------------------------------------------------------


def empower_fields(number: int, **fields: Any) -> dict[str, Any]:
    stated = {"InjectionId": number, "SampleName": f"Std {number}", "Vial": "2", "Injection": 1, "SampleType": "Standard"}
    return {**stated, "DateAcquired": "2017-01-04T08:44:56", "SystemName": "237", "AcquiredBy": "Ana", "SampleSetId": 9, **fields}


def empower_channel(number: int, name: str = "UV 220", *, unit: str | None = "AU", **fields: Any) -> dict[str, Any]:
    stated = empower_fields(number, Channel=name, ChannelId=f"{number}-{name}", DetUnits=unit, AcqSWVersion="Empower 3", **fields)
    return {"fields": stated, "chrom": [[0.5, 1.0, 1.5], [0.001, 0.25, 0.002]]}


def empower_result(number: int, channel: str = "UV 220", *, area: float = 120000.0, **fields: Any) -> dict[str, Any]:
    first = {"Name": "A", "PeakType": "Found", "Area": area, "Height": 5000.0, "RetentionTime": 1.0, "StartTime": 0.9, "EndTime": 1.2}
    second = {
        "Name": "B",
        "PeakType": "Found",
        "Area": 60000.0,
        "Height": -50000.0,
        "RetentionTime": 1.4,
        "USPTailing": 1.25,
        "Amount": 3.5,
    }
    gone = {"Name": "C", "PeakType": "Missing"}
    stated = {"InjectionId": number, "ChannelId": f"{number}-{channel}", "ResultId": 1, "ResultSuperseded": False, **fields}
    return {"fields": stated, "peaks": [{"fields": first}, {"fields": second}, {"fields": gone}]}


def empower(
    channels: Sequence[Any] | None = None, results: Sequence[Any] | None = None, injections: Sequence[Any] | None = None
) -> dict[str, Any]:
    return {
        "metadata": {"username": "hplc-robot", "password": "hunter2", "project": "P7", "auth_token": "t0ps3cret"},
        "values": {
            "fields": {"SampleSetName": "set 9", "SampleSetId": 9, "SystemName": "237", "SampleSetAcquiredBy": "Ana"},
            "channels": [empower_channel(1)] if channels is None else list(channels),
            "injections": [{"fields": empower_fields(1)}] if injections is None else list(injections),
            "results": [empower_result(1)] if results is None else list(results),
        },
    }


# Chromeleon ------------------------------------------------------------------------------------------------------------------------


def chromeleon_peak(**values: Any) -> dict[str, Any]:
    stated = {"name": "A", "identifier": "1", "start time": 0.5, "end time": 1.5, "retention time": 1.0, "area": 2.0, "height": 8.0}
    stated |= {"number of theoretical plates by peak width at half height": 312.0, "asymmetry factor measured at 5 % height": 1.25}
    return {**stated, "chromatographic peak resolution": None, "start value baseline": 0.25, "stop value baseline": 0.5, **values}


def chromeleon_injection(number: int, name: str = "SST", **fields: Any) -> dict[str, Any]:
    signal = {
        "signal name": "UV_VIS_1",
        "wavelength setting": 230.0,
        "chromatogram": {"x": [0.0, 0.5, 1.0], "y": [0.0, 8.0, 1.0]},
        "peaks": [chromeleon_peak()],
    }
    stated = {"injection number": number, "injection name": name, "injection identifier": f"urn-{number}", "sample identifier": ""}
    stated |= {"injection time": "2011-07-15T16:28:24+01:00", "last update user name": "Ana", "location identifier": "RA2"}
    return {**stated, "custom variables": {"Stability": "12M"}, "signals": [signal], **fields}


def chromeleon_sequence(*injections: Any) -> str:
    root = {"device information": {"pump model number": "P1", "sampler model number": "S1"}, "sequence": {"sequence name": "CU stage 1"}}
    return json.dumps({**root, "injections": list(injections)})


# UNICORN ---------------------------------------------------------------------------------------------------------------------------


def unicorn_points(values: Sequence[float], *, framed: bool) -> bytes:
    floats = struct.pack(f"<{len(values)}f", *values)
    return b"h" * 47 + floats + b"t" * 48 if framed else floats


def unicorn(
    *,
    framed: bool = True,
    volumes: Sequence[float] = (0.0, 0.5, 1.0, 1.5),
    name: str = "Run 7",
    criteria: str = "",
    cond_peaks: bool = False,
) -> bytes:
    """A result with a UV curve with one peak, conductivity and system pressure."""
    curves = {"UV 1_280": ("1", "mAU", (1.0, 40.0, 2.0, 1.0)), "Cond": ("2", "mS/cm", (10.0, 20.0, 30.0, 40.0))}
    curves["System pressure"] = ("3", "MPa", (0.25, 0.5, 0.5, 0.25))
    members: dict[str, bytes | str] = {}
    described = ""
    for curve, (number, unit, amplitudes) in curves.items():
        described += (
            f"<Curve CurveDataType='x'><Name>{curve}</Name><MethodStartTime>2025-07-15T10:00:00.000</MethodStartTime>"
            f"<MethodStartTimeUtcOffsetMinutes>120</MethodStartTimeUtcOffsetMinutes><AmplitudeUnit>{unit}</AmplitudeUnit>"
            f"<CurveNumber>{number}</CurveNumber><CurvePoints><CurvePoint><BinaryCurvePointsFileName>Chrom.1_{number}_True"
            "</BinaryCurvePointsFileName></CurvePoint></CurvePoints></Curve>"
        )
        points = {"CoordinateData.Volumes": unicorn_points(volumes, framed=framed)}
        points |= {"CoordinateData.Amplitudes": unicorn_points(amplitudes[: len(volumes)], framed=framed)}
        kinds = {f"{key}DataType": b"System.Single[]" for key in points}
        members[f"Chrom.1_{number}_True"] = packed({**points, **kinds})
    peak = (
        "<Peak><Name>IgG</Name><StartPeakRetention>0.25</StartPeakRetention><EndPeakRetention>1.25</EndPeakRetention>"
        "<MaxPeakRetention>0.5</MaxPeakRetention><Area>20.5</Area><Height>40</Height><Assymetry>1.5</Assymetry><Resolution>2.25</Resolution></Peak>"
    )
    on = "2" if cond_peaks else "1"
    table = f"<PeakTable><DataCurve><CurveNumber>{on}</CurveNumber></DataCurve><Peaks>{peak}</Peaks></PeakTable>"
    members["Chrom.1.Xml"] = (
        f"<Chromatogram><ChromatogramName>Chrom.1</ChromatogramName><Curves>{described}</Curves><PeakTables>{table}</PeakTables></Chromatogram>"
    )
    members["Result.xml"] = (
        f"<ResultData UNICORNVersion='7.7'><SystemName>AKTA 5</SystemName><Name>{name}</Name><CreatedBy>Ana</CreatedBy>"
        f"<ResultSearchCriterias>{criteria}</ResultSearchCriterias></ResultData>"
    )
    members["EvaluationLog.xml"] = "<AuditTrails></AuditTrails>"
    system = "<SystemData><System><InstrumentConfiguration Description='AKTA pure'/></System></SystemData>"
    members["SystemData"] = packed({"Xml": system})
    members["InstrumentConfigurationData"] = packed({"Xml": "<InstrumentConfiguration/>"})
    members["ColumnTypeData"] = packed({"Xml": "<ColumnTypes/>"})
    return packed(members)


def unicorn_criterion(keyword: str, value: str) -> str:
    return f"<ResultSearchCriteria><Keyword1>{keyword}</Keyword1><Keyword2>{value}</Keyword2></ResultSearchCriteria>"


# OpenLab ---------------------------------------------------------------------------------------------------------------------------


def agilent_ch(signal: str, values: Sequence[int], *, factor: float = 0.5, last_ms: int = 60_000) -> bytes:
    """A channel file of version 130: times from 0 to ``last_ms``, values times ``factor``."""
    data = bytearray(0x1800)
    data[0:4] = b"\x03130"
    struct.pack_into(">ii", data, 0x11A, 0, last_ms)
    struct.pack_into(">d", data, 0x127C, factor)
    encoded = signal.encode("utf-16-le")
    data[0x1075 : 0x1076 + len(encoded)] = bytes([len(signal)]) + encoded
    data += bytes([0x10, len(values)]) + b"".join(struct.pack(">hi", -0x8000, value) for value in values)
    return bytes(data) + b"\x00"


def openlab_dx(sample: str, *, at: str = "2023-09-01T07:52:57-04:00") -> bytes:
    info = (
        f"<ACMD><InjectionInfo><Signals/><SampleName>{sample}</SampleName><Location>P1-A2</Location><Replicate>1</Replicate>"
        f"<RunDateTime>{at}</RunDateTime><InjectionVolume>2.0</InjectionVolume><AcquisitionMethod>Assay 38.amx</AcquisitionMethod>"
        "</InjectionInfo></ACMD>"
    )
    detector = agilent_ch("DAD1A,Sig=210.0,4.0  Ref=off", [2, 80, 4])
    pump = agilent_ch("PMP1A, Pressure", [400, 410, 420], factor=0.5)
    return packed({"injection.acmd": info, "t1.CH": detector, "trace-9.IT": pump})


def openlab_rx() -> bytes:
    peak = (
        '<Peak id="p1"><BeginTime val="0.25"/><EndTime val="0.75"/><RetentionTime val="0.5"/><Area val="12.5" unit="mAU*s"/>'
        '<Height val="40" unit="mAU"/><AreaPercent val="100"/><Resolution_USP val="2.5"/><TheoreticalPlates_USP val="5000"/>'
        '<Width_50Perc val="0.1"/></Peak>'
    )
    result = f'<Result><SignalResult><Signal_ID id="s1"/>{peak}</SignalResult></Result>'
    return packed({"1.InjectionACAML": f"<ACAML><Doc><Content><Injections>{result}</Injections></Content></Doc></ACAML>"})


def openlab(samples: Mapping[str, str] | None = None, *, dx: Mapping[str, bytes] | None = None, folder: str = "") -> bytes:
    """A result set: one injection for each sample, whose type is given."""
    samples = samples or {"ACN": "Blank"}
    injections, setups, measured = "", "", ""
    members: dict[str, bytes | str] = {}
    for number, (sample, kind) in enumerate(samples.items(), start=1):
        item = f"<BinaryData><DataItem><Name>run-{number:02}.dx</Name></DataItem></BinaryData>"
        injections += (
            f'<MeasData id="i{number}"><AcquisitionApplication><AgilentApp><Name>OpenLabCDS</Name><Version>2.5</Version></AgilentApp>'
            f'</AcquisitionApplication><Signal id="s1"><Name>DAD1A</Name><Description>DAD1A,Sig=210</Description><TraceID>t1</TraceID>{item}'
            f'</Signal><Signal id="s2"><Name>PMP1A</Name><Description>PMP1A, Pressure</Description><TraceID>trace-9</TraceID>{item}</Signal>'
            "</MeasData>"
        )
        ident = f"<IdentParam><Name>{sample}</Name></IdentParam>"
        setups += f"<Setup>{ident}<DAParam><Type>{kind}</Type></DAParam></Setup>"
        measured += f'<MeasData>{ident}<InjectionMeasData_ID id="i{number}"/></MeasData>'
        members[f"{folder}run-{number:02}.dx"] = openlab_dx(sample)
        members[f"{folder}run-{number:02}.rx"] = openlab_rx()
    module = '<Module id="m"><Name>DAD</Name><Type>Detector</Type><PartNo>G7117C</PartNo><SerialNo>D1</SerialNo></Module>'
    members[f"{folder}set.acaml"] = (
        "<ACAML><Doc><DocInfo><CreatedByUser>Ana</CreatedByUser><CreationDate>2023-09-01T11:52:46Z</CreationDate></DocInfo><Content>"
        f'<Injections>{injections}</Injections><Resources><Instrument id="x"><Name>Luxo HPLC</Name>{module}</Instrument></Resources>'
        f"<Samples>{setups}{measured}</Samples><Method><Name>Quant.pmx</Name></Method></Content></Doc></ACAML>"
    )
    return packed({**members, **{f"{folder}{name}": data for name, data in (dx or {}).items()}})


# Other instruments -----------------------------------------------------------------------------------------------------------------

GEN5_HEAD = (
    "\n\nSoftware Version\t3.12.08\n\n\n\nExperiment File Path:\tY:\\Documents\\Ana\\Cells.xpt\n"
    "Protocol File Path:\tY:\\Documents\\Ana\\Count.prt\n\n\n\nPlate Number\tPlate 1\nDate\t3/15/2020\nTime\t8:23:01 AM\n"
    "Reader Type:\tCytation7\nReader Serial Number:\t172EM-02\nReading Type\tReader\n\nProcedure Details\n\n"
    "Plate Type\tCorning 96 well\nEject plate on completion\t\nRead\tImage Montage\n\tFull Plate\n\tObjective: 4x\n"
)
GEN5_CHANNELS = (
    "\tChannel 1:  DAPI 377,447\n\t    LED intensity: 10, Integration time: 10 msec, Camera gain: 24\n\t    Autofocus with optional scan\n",
    "\tChannel 2:  GFP 469,525\n\t    LED intensity: 10, Integration time: 78 msec, Camera gain: 24\n",
)
GEN5_RESULTS = (
    "Results\n\t1\t2\nA\t12087\t13478\tCell Count\n\t20.2\tOVRFLW\tObject Size\nB\t8528\t\tCell Count\n\t22.9\t3.45E+06\tObject Size\n\n"
)


def gen5(*, channels: int = 2, results: str = GEN5_RESULTS) -> str:
    return f"{GEN5_HEAD}{''.join(GEN5_CHANNELS[:channels])}\tMontage rows: 2, columns: 2\n\n{results}"


VISIONLITE = {
    "fixed": "Sample Name,500 nm   [A],280 nm   [A],Result\n1,0.027, 0.029, 0.056\n2,0.047, 0.049, 0.096\n",
    "quant": "Sample Name,Dilution factor,Ordinate [A],Concentration [mg/L],Error\nx,1,0.02505,2.235,\ny,1,0.03505,3.127,\n",
    "scan": "scan.csv,x,LAB\\Ana,10/7/2024 11:09:36 AM,Evolution 350,12345,1.00\nnm,A\n400,0.043\n401,0.044\n",
    "rate": "rate.csv,x,LAB\\Ana,10/7/2024 11:09:36 AM,Evolution 350,12345,1.00\nmin,A\n0,0.026\n0.083,0.026\n",
}

PHARMSPEC_HEAD = (
    ("PharmSpec v3.4 Run Counter Test",),
    ("Probe", ":", "LOT-7", "Sensor Model", ":", "HRLD-400"),
    ("Ro-Nr", ":", "-", "Sensor Serial Number", ":", "123"),
    ("Batch-Nr", ":", "B7", "Operator Name", ":", "Ana"),
    ("Sample Date", ":", "12.08.2022 07:51:50", "View Volume", ":", "100"),
    ("Sample Volume (mL)", ":", "0.2", "No Of Runs", ":", "2"),
    ("Dilution Factor", ":", "1", "Container ID", ":", "-"),
)
PHARMSPEC_COUNTS = (
    ("Run No.", "Particle Size(µm)", "Cumulative Count", "Differential Count", "Cumulative Counts/mL", "Differential Counts/mL"),
    ("Run1", "2.000", "48", "47", "240", "235"),
    (None, "5.000", "1", "1", "5", "5"),
    ("Run2", "2.000", "24", "15", "120", "75"),
    (None, "5.000", "9", "9", "45", "45"),
    ("Average", "2.000", "36", "31", "180", "155"),
    (None, "5.000", "5", "5", "25", "25"),
)
HIAC_HEAD = (
    ("Run Counter Test",),
    ("Sample Name", ": LOT-7", "Sensor Model", ": HRLD150"),
    ("Container ID", ": V-1", "Sensor Serial Number", ": 231"),
    ("Project ID / Study", ": P", "Operator Name", ": Ana"),
    ("", "", "Sample Date", ": 5/6/2026 2:28:58 PM"),
    ("", "", "View Volume (%)", ": 100.00"),
    ("Sample Volume (mL)", ": 0.2", "No Of Runs", ": 2"),
    ("Tare Volume (mL)", ": 0.2", "Dilution Factor", ": 1"),
    ("Run1", ": Discarded"),
)


def workbook(*rows: Sequence[str | None]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(list(row))
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def pharmspec() -> bytes:
    return workbook(*PHARMSPEC_HEAD, *PHARMSPEC_COUNTS, ("Approver_1",))


def hiac() -> bytes:
    return workbook(*HIAC_HEAD, *PHARMSPEC_COUNTS)


def hiac_html() -> str:
    def table(rows: Sequence[Sequence[str | None]], width: int) -> str:
        lines = ("".join(f"<td>{cell or ''}</td>" for cell in (*row, *[""] * (width - len(row)))) for row in rows)
        return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"

    names = "".join(f"<th>{name}</th>" for name in PHARMSPEC_COUNTS[0])
    body = "".join("<tr>" + "".join(f"<td>{cell or ''}</td>" for cell in row) + "</tr>" for row in PHARMSPEC_COUNTS[1:])
    counts = f"<table><thead><tr>{names}</tr></thead>{body}</table>".replace("µ", "&#181;")
    return f" <html>\n<body>{table(HIAC_HEAD[:6], 4)}{table(HIAC_HEAD[6:], 4)}{counts}</body></html>"
