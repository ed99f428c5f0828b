"""GAML documents, element by element."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<GAML version="1.20" name="SEQ_1"><integrity algorithm="SHA1">00</integrity>'
    '<parameter name="converter_name" label="Converter name" group="Data Conversion">Chromeleon</parameter>'
    '<parameter name="converter_input_source" group="Data Conversion">C:\\Users\\tom\\run.seq</parameter>'
)
PEAKS = (
    '<peaktable name="Peaks Table"><peak name="API" number="1">'
    '<parameter name="Peak_Area" alias="PeakArea" label="Area" group="Peak">1.817625</parameter>'
    '<parameter name="Peak_Height" alias="PeakHeight" label="Height" group="Peak">0.4955</parameter>'
    '<parameter name="area" alias="peak.area" label="Peak Area" group="Peak">0.03029375</parameter>'
    '<parameter name="amount" alias="peak.amount" label="Peak Amount" group="Peak">58.4 mg/L</parameter>'
    "<peakXvalue>0.5</peakXvalue><peakYvalue>-0.027</peakYvalue>"
    "<baseline><startXvalue>0.25</startXvalue><startYvalue>0</startYvalue><endXvalue>9.75E-01</endXvalue><endYvalue>0</endYvalue></baseline>"
    '</peak><peak name="" number="2"><parameter name="PK_AREA" group="Peak Parameters">74059.998896</parameter>'
    '<parameter name="PK_NAME" group="Peak Parameters">C15</parameter><parameter name="PK_RET_TIME">1</parameter>'
    "<peakXvalue>1.5</peakXvalue></peak></peaktable>"
)


def values(code: str, numbers: Sequence[float], *, count: int | None = None, wrap: int = 20) -> str:
    text = base64.b64encode(struct.pack(f"<{len(numbers)}{code}", *numbers)).decode()
    lines = "\n".join(text[at : at + wrap] for at in range(0, len(text), wrap))
    packing = {"f": "FLOAT32", "d": "FLOAT64"}[code]
    return f'<values byteorder="INTEL" format="{packing}" numvalues="{len(numbers) if count is None else count}">{lines}\n        </values>'


def y_data(label: str = "Signal", units: str = "MILLIVOLTS", numbers: Sequence[float] = (1, -2.5, 3, 0.25), more: str = "") -> str:
    return f'<Ydata label="{label}" units="{units}">{values("f", numbers)}{more}</Ydata>'


def trace(
    *ys: str, name: str = "UV_1", technique: str = "CHROM", label: str = "Minutes", units: str = "MINUTES", x: str = "", alt: str = ""
) -> str:
    return (
        f'<trace name="{name}" technique="{technique}"><parameter name="wavelength" group="Detector">254</parameter>'
        f'<Xdata label="{label}" units="{units}" valueorder="EVEN">{x or values("d", [0, 0.5, 1, 1.5])}{alt}{"".join(ys)}</Xdata></trace>'
    )


def experiment(*traces: str, name: str = "STD 1", when: str = "2024-01-25T17:33:51Z", more: str = "") -> str:
    return f'<experiment name="{name}"><collectdate>{when}</collectdate>{more}{"".join(traces)}</experiment>'


def document(*experiments: str) -> str:
    return f"{HEAD}{''.join(experiments)}</GAML>\n"


def plain() -> str:
    return document(experiment(trace(y_data(more=PEAKS))))
