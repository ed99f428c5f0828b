"""Experiment steps of AnIML: which steps belong to one injection, and what they say about it.

Belongs here: samples, references between steps, methods, devices, times. Does not belong here: values (``animl_series.py``) and
rows (``animl_xml.py``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from lab_assets.sources.base import ReadContext
from lab_assets.sources.core.decoding import is_secret, stem
from lab_assets.sources.core.trace_rows import InjectionHeader, injection_time
from lab_assets.sources.core.xml_text import child, children, local, text_of, without_folders
from lab_assets.sources.standards.animl_series import NUMERIC_TAGS, TEXT_TAGS, unit_of

_CHROMATOGRAPHY: Final = re.compile(r"chromatogra|\b(?:U?HPLC|UPLC|LC|GC|IC|SFC|FPLC)\b", re.IGNORECASE)
_DETECTION: Final = re.compile(r"detector|[- ]trace\b", re.IGNORECASE)
_PEAKS: Final = re.compile(r"peak", re.IGNORECASE)
_SAMPLE_ROLE: Final = re.compile(r"test|sample|analy|inject", re.IGNORECASE)
_GENERIC: Final = re.compile(
    r"(?:chromatogra\w*|detector|peaks?|peak table|u?hplc|uplc|lc|gc|run|injection|experiment|step)?", re.IGNORECASE
)
_MAX_RESCUED: Final = 300


@dataclass(frozen=True, kw_only=True)
class Step:
    """One experiment step.

    Attributes:
        number: Ordinal in the document, from 1.
        element: The element.
        step_id: Its identifier, empty when it has none.
        name: Its name.
        technique: Name and address of its technique.
        samples: Identifiers of its samples.
        sources: Identifiers of the steps whose data it uses, and of the step it is nested in.
        at_text: Its time, verbatim.
    """

    number: int
    element: Element
    step_id: str
    name: str
    technique: str
    samples: tuple[str, ...]
    sources: tuple[str, ...]
    at_text: str | None

    @property
    def is_peak_table(self) -> bool:
        """Whether the technique is that of peak tables."""
        return _PEAKS.search(self.technique) is not None

    @property
    def is_run(self) -> bool:
        """Whether the step is a chromatographic run, to which detectors and peak tables belong."""
        return _CHROMATOGRAPHY.search(self.technique) is not None and not self.is_peak_table

    @property
    def is_chromatographic(self) -> bool:
        """Whether its series over time are traces of a chromatograph."""
        return self.is_run or self.is_peak_table or _DETECTION.search(self.technique) is not None


def steps_of(root: Element) -> list[Step]:
    """Return every step of a document, nested ones behind the step they are in."""
    steps: list[Step] = []
    for holder in children(root, "ExperimentStepSet"):
        _collect(holder, "", steps)
    return steps


def _collect(holder: Element, parent: str, steps: list[Step]) -> None:
    for element in children(holder, "ExperimentStep"):
        infrastructure, technique = child(element, "Infrastructure"), child(element, "Technique")
        references = child(infrastructure, "SampleReferenceSet")
        uses = children(child(infrastructure, "ExperimentDataReferenceSet"), "ExperimentDataReference")
        step = Step(
            number=len(steps) + 1,
            element=element,
            step_id=(element.get("experimentStepID") or element.get("id") or f"#{len(steps) + 1}").strip(),
            name=(element.get("name") or "").strip(),
            technique="" if technique is None else " ".join((technique.get("name") or "", technique.get("uri") or "")),
            samples=_samples(references),
            sources=tuple(source for source in (parent, *(item.get("experimentStepID") or "" for item in uses)) if source),
            at_text=text_of(infrastructure, "Timestamp"),
        )
        steps.append(step)
        for result in children(element, "Result"):
            for nested in children(result, "ExperimentStepSet"):
                _collect(nested, step.step_id, steps)


def _samples(references: Element | None) -> tuple[str, ...]:
    """Return the samples a step names; beside solvents and standards, the one whose role is that of the sample."""
    named = [(item.get("sampleID", ""), item.get("role", "")) for item in children(references, "SampleReference", "SampleInheritance")]
    analysed = {sample for sample, role in named if sample and _SAMPLE_ROLE.search(role)}
    return tuple(analysed) if len(analysed) == 1 else tuple(sorted({sample for sample, _ in named if sample}))


def injections(steps: Sequence[Step]) -> list[list[Step]]:
    """Group the steps of a document into injections.

    A document with one chromatographic run is one injection. With several, a step belongs to the run whose data it uses, to the
    only run of its sample, or to the run before it; runs of the same sample at the same time are one injection. Without a run,
    steps of the same sample belong together.
    """
    runs = [step for step in steps if step.is_run]
    by_id = {step.step_id: step for step in steps}
    groups: dict[object, list[Step]] = {}
    for step in steps:
        run = _run_of(step, runs, by_id)
        key: object = step.samples if run is None else (run.samples, run.at_text) if run.at_text else run.number
        groups.setdefault(key, []).append(step)
    return list(groups.values())


def _run_of(step: Step, runs: Sequence[Step], by_id: dict[str, Step]) -> Step | None:
    if step.is_run or len(runs) <= 1:
        return step if step.is_run else runs[0] if runs else None
    seen, open_ids = {step.step_id}, list(step.sources)
    while open_ids:
        source = by_id.get(open_ids.pop(0))
        if source is None or source.step_id in seen:
            continue
        if source.is_run:
            return source
        seen.add(source.step_id)
        open_ids += source.sources
    same_sample = [run for run in runs if run.samples and run.samples == step.samples]
    before = [run for run in runs if run.number < step.number] or list(runs)
    return same_sample[0] if len(same_sample) == 1 else before[-1]


def injection_header(root: Element, steps: Sequence[Step], name: str, context: ReadContext, warnings: list[str]) -> InjectionHeader:
    """Collect what the steps of one injection say about it; the run speaks first."""
    ordered = sorted(steps, key=lambda step: (not step.is_run, step.number))
    sample = sample_attributes(root, ordered)
    at_text = next((step.at_text for step in ordered if step.at_text), None)
    at_utc, zone_known = injection_time(at_text, context, warnings)
    methods = [method for step in ordered if (method := child(step.element, "Method")) is not None]
    device = next((found for method in methods if (found := child(method, "Device")) is not None), None)
    software = next((found for method in methods if (found := child(method, "Software")) is not None), None)
    version = " ".join(part for part in (text_of(software, "Name"), text_of(software, "Version")) if part)
    return InjectionHeader(
        injection_name=name,
        sample_name=sample.get("name"),
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=zone_known,
        instrument_name=text_of(device, "Name") or text_of(device, "DeviceIdentifier"),
        software=version or None,
        method_name=next((stem(method.get("name") or "") for method in methods if method.get("name")), None),
        operator=next((author for method in methods if (author := _person(method))), None),
        rescued=_rescued(ordered, device, sample),
    )


def _person(method: Element) -> str | None:
    """Return the author of a method where it is a person."""
    author = child(method, "Author")
    return None if author is None or author.get("userType", "human") != "human" else text_of(author, "Name")


def injection_names(groups: Sequence[Sequence[Step]], context: ReadContext) -> list[str]:
    """Name the injections of a document: by the data file they came from, else by their run, else by the file itself."""
    names = [_stated_name(group) or "" for group in groups]
    counts = Counter(names)
    plain = stem(context.file_name)
    result: list[str] = []
    for group, name in zip(groups, names, strict=True):
        unique = bool(name) and counts[name] == 1
        result.append(name if unique else plain if len(groups) == 1 else f"{name or plain} {group[0].step_id}")
    return result


def _stated_name(group: Sequence[Step]) -> str | None:
    places = {stem(place) for step in group if (place := (step.element.get("sourceDataLocation") or "").strip())}
    if len(places) == 1:
        return places.pop()
    run = next((step for step in group if step.is_run), group[0])
    return None if _GENERIC.fullmatch(run.name) else run.name


def sample_attributes(root: Element, steps: Sequence[Step]) -> dict[str, str]:
    """Return the attributes of the sample of one injection: the one its steps name, or the only one of the document."""
    samples = list(children(child(root, "SampleSet"), "Sample"))
    wanted = next((step.samples for step in steps if step.samples), ())
    chosen = [sample for sample in samples if sample.get("sampleID") in wanted] or (samples if not wanted else [])
    if len(chosen) != 1:
        return {}
    return {key: value.strip() for key in ("name", "sampleID", "barcode", "comment") if (value := chosen[0].get(key) or "").strip()}


def parameters(element: Element, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, Element, str]]:
    """Yield path, name, value element and unit of the parameters in the categories below an element; credentials are left out."""
    for category in children(element, "Category"):
        inner = (*path, (category.get("name") or "").strip())
        for parameter in children(category, "Parameter"):
            name = (parameter.get("name") or "").strip()
            value = next(children(parameter, *NUMERIC_TAGS, *TEXT_TAGS), None)
            if name and value is not None and not is_secret(name) and text_of(value):
                yield inner, name, value, unit_of(parameter)
        yield from parameters(category, inner)


def _rescued(steps: Sequence[Step], device: Element | None, sample: dict[str, str]) -> dict[str, str]:
    """Return device, sample and parameters of method and results, as text."""
    rescued = {f"sample {key}": value for key, value in sample.items() if key != "name"}
    rescued |= {
        f"device {local(item)}": text for item in (() if device is None else device) if local(item) != "Name" and (text := text_of(item))
    }
    for step in steps:
        for holder in children(step.element, "Method", "Result"):
            for path, name, value, unit in parameters(holder):
                if len(rescued) < _MAX_RESCUED:
                    text = without_folders((value.text or "").strip())
                    rescued.setdefault(" / ".join((*filter(None, path), name)), f"{text} {unit}".strip())
    return rescued
