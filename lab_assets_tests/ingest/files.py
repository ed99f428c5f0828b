"""Small files for ingestion tests, each readable by hand."""

from __future__ import annotations

from pathlib import Path

from lab_assets_tests.sources.builders import labsolutions


def drop(inbox: Path, source: str, name: str, data: str | bytes) -> Path:
    """Put a file into a drop folder."""
    path = inbox / source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def chromatogram(sample: str) -> str:
    """A LabSolutions export of two detectors with two vendor peaks, under a sample name."""
    return labsolutions().replace("Sample Name\tSTD 1", f"Sample Name\t{sample}")


SPECIFICATIONS = (
    "spec_id,product,method_id,analyte,spec_low,spec_high,unit,effective_from_utc,recorded_at_utc\n"
    "SPEC-1,ALPHA-10,ASSAY-01,API,95,105,%,2023-07-02T00:00:00Z,2023-07-02T00:00:00Z\n"
    "SPEC-2,ALPHA-10,RS-01,IMP-A,,zero point five,%,2023-07-02T00:00:00Z,2023-07-02T00:00:00Z\n"
)
"""Two specifications; the second has words where a number belongs."""
