"""AnIML documents, element by element."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence

NAMESPACE = "urn:org:astm:animl:schema:core:draft:0.90"


def packed(code: str, values: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}{code}", *values)).decode()


def series(name: str, body: str, *, kind: str = "Float64", dependency: str = "dependent", unit: str = "", quantity: str = "") -> str:
    stated = f'<Unit label="{unit}" quantity="{quantity}"/>' if unit else ""
    return f'<Series name="{name}" dependency="{dependency}" seriesID="s" seriesType="{kind}">{body}{stated}</Series>'


def individual(tag: str, values: Sequence[object]) -> str:
    return "<IndividualValueSet>" + "".join(f"<{tag}>{value}</{tag}>" for value in values) + "</IndividualValueSet>"


def incremented(start: float, step: float, end: int) -> str:
    head = f'<AutoIncrementedValueSet startIndex="0" endIndex="{end}">'
    return f"{head}<StartValue><D>{start}</D></StartValue><Increment><D>{step}</D></Increment></AutoIncrementedValueSet>"


def result(name: str, length: object, *columns: str, more: str = "") -> str:
    return f'<Result name="{name}"><SeriesSet name="{name}" length="{length}">{"".join(columns)}</SeriesSet>{more}</Result>'


def step(technique: str, body: str, *, step_id: str = "a", name: str = "Run 7", infrastructure: str = "", method: str = "") -> str:
    return (
        f'<ExperimentStep name="{name}" experimentStepID="{step_id}"><Technique name="{technique}" uri="http://x.org/t.atdd"/>'
        f"<Infrastructure>{infrastructure}</Infrastructure>{method}{body}</ExperimentStep>"
    )


def document(*steps: str, samples: str = '<Sample name="LOT-1" sampleID="S1"/>', namespace: str = f' xmlns="{NAMESPACE}"') -> str:
    body = "".join(steps)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<AnIML{namespace} version="0.90"><SampleSet>{samples}</SampleSet><ExperimentStepSet>{body}</ExperimentStepSet></AnIML>'


SAMPLE = '<SampleReferenceSet><SampleReference sampleID="S1" role="Test Sample" samplePurpose="consumed"/></SampleReferenceSet>'
METHOD = (
    '<Method name="ASSAY-01"><Author userType="human"><Name>A. Analyst</Name><Email>a@x.org</Email></Author>'
    "<Device><Manufacturer>Maker</Manufacturer><Name>HPLC-4</Name><SerialNumber>SN9</SerialNumber></Device>"
    "<Software><Name>CDS</Name><Version>2.1</Version></Software>"
    '<Category name="Pump"><Parameter name="Flow" parameterType="Float64"><D>1.5</D><Unit label="mL/min"/></Parameter>'
    '<Parameter name="Password" parameterType="String"><S>hunter2</S></Parameter></Category></Method>'
)
TIME = series("Time", incremented(0.0, 0.5, 3), dependency="independent", unit="min", quantity="Time")
SIGNAL = series(
    "UV 254", f"<EncodedValueSet>{packed('f', [1, 2.5, -3, 0.25])}</EncodedValueSet>", kind="Float32", unit="mAU", quantity="Absorbance"
)
TRACE = result("Chromatogram", 4, TIME, SIGNAL)
PEAKS = result(
    "Peak Table",
    2,
    series("Number", individual("I", [1, 2]), kind="Int32", dependency="independent"),
    series("Name", individual("S", ["API", "IMP-A"]), kind="String"),
    series("Retention Time", individual("D", [0.5, 1.25]), unit="min", quantity="Time"),
    series("Start Time", individual("D", [0.25, 1.0]), unit="min", quantity="Time"),
    series("End Time", individual("D", [0.75, 1.5]), unit="min", quantity="Time"),
    series("Area", individual("D", ["1234.5", "1e-3"]), unit="mAU*min", quantity="Area"),
    series("Retention Factor", individual("D", [0, 1.5])),
)


def run(*, infrastructure: str = SAMPLE + "<Timestamp>2024-03-04T05:06:07.5+01:00</Timestamp>") -> str:
    return document(
        step("Chromatography", TRACE, infrastructure=infrastructure, method=METHOD),
        step("Chromatography Peak Table", PEAKS, step_id="p", name="Peaks"),
    )
