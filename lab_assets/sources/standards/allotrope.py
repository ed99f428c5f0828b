# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
"""Allotrope Simple Model (ASM) documents as ``allotropy`` makes them from vendors' files, and JSON exports as input to it.

Belongs here: running one of its parsers so that nothing but ``UnreadableFileError`` comes out, and reading a document without trust
in its shape. Does not belong here: any vendor, or rows of any table.

What an ASM document states is not always what the vendor's file states. Each reader says in its module what it does not take over;
common to all are identifiers (new random ones at each parse), the path of the source, times of injection where the file has no zone
(labelled UTC), and the placeholders ``N/A`` and ``-0.0`` for what the file does not state.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core.decoding import base_name, is_secret, shorten
from lab_assets.sources.core.trace_rows import FloatArray

Node = Mapping[str, Any]
"""One object of a document."""

MAX_DEPTH: Final = 64
"""Deepest nesting of a JSON file that is still an export of a data system."""

MAX_OBJECTS: Final = 1_000_000
"""Most objects and lists, and most fields, of a JSON file; a sample set of thousands of injections has some 100,000."""

_WHOLE: Final = 1e15
"""Whole numbers below it are written without a fraction."""
_UNITLESS: Final = "(unitless)"
_PLACEHOLDERS: Final = frozenset({"", "n/a", "nan"})
_INSIDE: Final = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_STRING: Final = re.compile(rb'"' + _INSIDE + rb'(?:"|\\?\Z)', re.DOTALL)
_TOKEN: Final = re.compile(rb'"(' + _INSIDE + rb')(?:"|\\?\Z)\s*+(:?)|[{}\[\]]', re.DOTALL)
"""Texts end at the end of the file at the latest: looking for one that never ends from every quotation mark would take for ever."""
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
_PATH: Final = re.compile(r"(?:[A-Za-z]:)?[\\/].*[\\/].*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number with its unit.

    Attributes:
        value: The number; ``None`` when the document states none or states that it is not a number.
        unit: Unit as stated, empty for a number without one.
    """

    value: float | None
    unit: str


@dataclass(frozen=True, kw_only=True)
class Cube:
    """A data cube of one dimension and one measure.

    Attributes:
        label: Its name.
        concept: What was measured, Allotrope term.
        x: Abscissa, shape ``(n_points,)``.
        y: Readings, shape ``(n_points,)``.
        x_unit: Unit of x as stated.
        y_unit: Unit of y as stated.
    """

    label: str
    concept: str
    x: FloatArray
    y: FloatArray
    x_unit: str
    y_unit: str


PARSERS: Final[dict[str, tuple[str, str]]] = {
    "AGILENT_GEN5_IMAGE": ("agilent_gen5_image.agilent_gen5_image_parser", "AgilentGen5ImageParser"),
    "AGILENT_OPENLAB_CDS": ("agilent_openlab_cds.agilent_openlab_cds_parser", "AgilentOpenLabCDSParser"),
    "BECKMAN_PHARMSPEC": ("beckman_pharmspec.beckman_pharmspec_parser", "PharmSpecParser"),
    "BENCHLING_CHROMELEON": ("benchling_chromeleon.benchling_chromeleon_parser", "BenchlingChromeleonParser"),
    "BENCHLING_EMPOWER": ("benchling_empower.benchling_empower_parser", "BenchlingEmpowerParser"),
    "CYTIVA_UNICORN": ("cytiva_unicorn.cytiva_unicorn_parser", "CytivaUnicornParser"),
}
"""Module and class of each parser by allotropy's name of the vendor; its own table of parsers imports all fifty, which takes seconds."""


def _converted(data: bytes, vendor: str, name: str) -> Node:
    """Run one parser as allotropy's ``allotrope_from_io`` does."""
    from allotropy.allotrope.allotrope import serialize_and_validate_allotrope
    from allotropy.named_file_contents import NamedFileContents
    from allotropy.parsers.utils.timestamp_parser import TimestampParser

    module, parser = PARSERS[vendor]
    made = getattr(importlib.import_module(f"allotropy.parsers.{module}"), parser)(TimestampParser(None))
    return cast("Node", serialize_and_validate_allotrope(made.to_allotrope(NamedFileContents(io.BytesIO(data), name, None))))


def convert(data: bytes, vendor: str, name: str) -> Node:
    """Turn a vendor's file into an ASM document.

    Args:
        data: The whole file.
        vendor: A key of ``PARSERS``.
        name: File name without folders; its extension must be one of the parser's.

    Returns:
        The document.

    Raises:
        UnreadableFileError: ``unsupported`` for what the parser refuses, ``truncated`` for what it trips over.
    """
    from allotropy.exceptions import AllotropeConversionError

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # pandas and the parsers warn about the file's contents; reports go through ReadResult
            return _converted(data, vendor, name)
    except AllotropeConversionError as error:
        raise UnreadableFileError("unsupported", f"the export is not of a kind that can be read: {shorten(str(error), 120)}") from None
    except BaseException as error:
        # parsers of fifty formats raise whatever a damaged file provokes; no text of theirs is shown
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        reason = f"the file is cut, damaged or lacks a part ({type(error).__name__}); export or transfer it again"
        raise UnreadableFileError("truncated", reason) from None


def is_panic(error: BaseException) -> bool:
    """Tell whether a library written in Rust gave up; its exception is by intention none that ``except Exception`` catches."""
    return type(error).__name__ == "PanicException"


def load_json(data: bytes, keep: frozenset[str] = frozenset()) -> Node:
    """Read a JSON file whose root is an object.

    ``NaN``, which is not JSON but is written by some exporters for an empty field, becomes ``None``.

    Args:
        data: The whole file.
        keep: Names that sound like a credential and, in this format, are the person at the instrument.

    Returns:
        The root, without any field whose name promises a credential, at every level.

    Raises:
        UnreadableFileError: ``encoding``, ``too_large`` for hostile nesting, ``truncated`` for what is not JSON, ``duplicate_key``,
            ``unsupported`` for another root.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError("encoding", "a JSON file must be UTF-8; export it again", f"byte {error.start}") from None
    if data.count(b":") > MAX_OBJECTS:
        raise UnreadableFileError("too_large", f"the file has more than {MAX_OBJECTS} fields")
    if (depth := _depth(data)) > MAX_DEPTH:
        raise UnreadableFileError("too_large", f"objects are nested {depth} levels deep, more than {MAX_DEPTH}")
    try:
        root = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}"
        raise UnreadableFileError("truncated", f"the file is not JSON to its end ({error.msg}); transfer it again", place) from None
    except UnreadableFileError:
        raise
    except ValueError:
        raise UnreadableFileError("not_a_number", "a number has thousands of digits") from None
    if not isinstance(root, dict):
        raise UnreadableFileError("unsupported", "the file's root is not a JSON object")
    return cast("Node", _without_secrets(root, keep))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, whose names must differ: parsers do not agree on which of two values counts."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise UnreadableFileError("duplicate_key", f"a JSON object has {shorten(twice)} twice; export it again")
    return made


def _no_constant(name: str) -> None:
    del name


def _depth(data: bytes) -> int:
    """Return the deepest nesting of brackets, without parsing."""
    brackets = np.frombuffer(_STRING.sub(b"", data).translate(None, delete=_NOT_BRACKETS), dtype=np.uint8)
    if brackets.size == 0:
        return 0
    if brackets.size > 2 * MAX_OBJECTS:
        raise UnreadableFileError("too_large", f"the file has more than {MAX_OBJECTS} objects and lists")
    steps = np.where((brackets == ord("{")) | (brackets == ord("[")), np.int8(1), np.int8(-1))
    return int(np.cumsum(steps, dtype=np.int32).max())


def _without_secrets(node: Any, keep: frozenset[str]) -> Any:
    """Return a copy without the fields whose names promise a credential; lists of numbers are not copied."""
    if isinstance(node, dict):
        fields = cast("dict[str, Any]", node)
        return {key: _without_secrets(value, keep) for key, value in fields.items() if key in keep or not is_secret(key)}
    if isinstance(node, list):
        members = cast("list[Any]", node)
        plain = not members or isinstance(members[0], int | float)
        return members if plain else [_without_secrets(member, keep) for member in members]
    return node


def peek_keys(head: bytes, levels: int = 2) -> list[set[str]]:
    """Return the keys of a JSON file's first bytes, a set for each of the outermost levels.

    Args:
        head: The first bytes of a file.
        levels: How many levels.
    """
    keys: list[set[str]] = [set() for _ in range(levels)]
    if not head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return keys
    depth = 0
    for token in _TOKEN.finditer(head):
        if token[1] is None:
            depth += 1 if token[0] in b"{[" else -1
        elif token[2] and 1 <= depth <= levels:
            keys[depth - 1].add(token[1].decode("utf-8", errors="replace"))
    return keys


def child(node: Any, *path: str) -> Node:
    """Return the object at the end of a path, an empty one where there is none."""
    for key in path:
        node = cast("Node", node).get(key) if isinstance(node, dict) else None
    return cast("Node", node) if isinstance(node, dict) else {}


def children(node: Any, *path: str) -> list[Node]:
    """Return the objects of the list at the end of a path."""
    return [cast("Node", entry) for entry in entries(child(node, *path[:-1]).get(path[-1])) if isinstance(entry, dict)]


def entries(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def clean(value: Any) -> str | None:
    """Return a scalar as text for a table: placeholders of nothing are ``None``, folders of a path are left out."""
    if value is None or isinstance(value, dict | list):
        return None
    text = str(value).encode("utf-8", "replace").decode("utf-8").replace("\x00", "").strip()
    if text.casefold() in _PLACEHOLDERS:
        return None
    return base_name(text) or None if _PATH.fullmatch(text) else text


def quantity(node: Any) -> Quantity:
    """Read ``{"value": 1.5, "unit": "s"}``, or a bare number; ``-0.0`` stands for a value the file does not state."""
    value = cast("Node", node).get("value") if isinstance(node, dict) else node
    unit = clean(cast("Node", node).get("unit")) if isinstance(node, dict) else None
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is not None and number == 0 and math.copysign(1, number) < 0:
        number = None
    return Quantity(value=number, unit="" if unit in (None, _UNITLESS) else unit)


def stated(node: Any) -> str | None:
    """Return a scalar or quantity as text, such as ``5 mm^3``."""
    if not isinstance(node, dict):
        return clean(node)
    found = quantity(cast("Node", node))
    if found.value is None:
        return None
    whole = found.value.is_integer() and abs(found.value) < _WHOLE
    return f"{int(found.value) if whole else repr(found.value)} {found.unit}".strip()


def fields(node: Node, leave: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the scalars and quantities of an object and of its custom information, as text by name.

    Args:
        node: The object.
        leave: Names that are left out, as are credentials and identifiers of the converter.
    """
    found: dict[str, str] = {}
    for key, value in {**child(node, "custom information document"), **node}.items():
        text = stated(value)
        if text is not None and key not in leave and not is_secret(key):
            found[key] = text
    return found


def measurements(document: Node) -> Iterator[tuple[Node, Node]]:
    """Walk the measurements of a document, whatever its technique.

    Yields:
        The object of the group (one well, sample or injection) and the measurement.
    """
    for group in groups(document):
        for measurement in children(group, "measurement aggregate document", "measurement document"):
            yield group, measurement


def groups(document: Node) -> list[Node]:
    """Return the groups of measurements, which lie under ``<technique> aggregate document``."""
    technique, aggregate = aggregate_of(document)
    return children(aggregate, f"{technique} document")


def aggregate_of(document: Node) -> tuple[str, Node]:
    """Return the technique a document is of, and the object of all its data."""
    for key in document:
        if key.endswith(" aggregate document"):
            return key.removesuffix(" aggregate document"), child(document, key)
    raise UnreadableFileError("missing_section", "the file holds no measurements")


def cube(node: Any) -> Cube | None:
    """Read a data cube of one dimension and one measure, ``None`` where there is none or it has no points.

    Raises:
        UnreadableFileError: ``truncated`` for lists of different lengths, ``not_finite``.
    """
    if not isinstance(node, dict):
        return None
    structure = child(cast("Node", node), "cube-structure")
    dimension, measure = children(structure, "dimensions")[:1], children(structure, "measures")[:1]
    label = clean(cast("Node", node).get("label")) or ""
    x, y = (_column(cast("Node", node), key, label) for key in ("dimensions", "measures"))
    if not dimension or not measure or (x.size == 0 and y.size == 0):
        return None
    if x.size != y.size:
        raise UnreadableFileError("truncated", f"{x.size} abscissas for {y.size} readings; export it again", label)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UnreadableFileError("not_finite", "a point of the trace is not a finite number", label)
    return Cube(
        label=label,
        concept=clean(measure[0].get("concept")) or "",
        x=x,
        y=y,
        x_unit=quantity(dimension[0]).unit,
        y_unit=quantity(measure[0]).unit,
    )


def _column(node: Node, key: str, label: str) -> FloatArray:
    columns = child(node, "data").get(key)
    first: Any = next(iter(entries(columns)), [])
    try:
        return np.array(first, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise UnreadableFileError("not_a_number", "a point of the trace is not a number", label) from None
