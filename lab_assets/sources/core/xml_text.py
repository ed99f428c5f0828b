# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
# (lxml has no types)
"""XML documents of instruments: safe parsing, and numbers packed as base64.

Belongs here: the limits against hostile documents (entities, document types, depth, size), finding elements whatever their
namespace, and arrays of numbers as text. Does not belong here: the meaning of any element (one file a format).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element, ParseError, fromstring

import numpy as np

from lab_assets.sources.core.decoding import base_name, peek_lines, shorten
from lab_assets.sources.core.quantities import NumberError, parse_number
from lab_assets.sources.core.read_result import UnreadableFileError
from lab_assets.sources.core.trace_rows import FloatArray

MAX_BYTES: Final = 256 << 20
"""Largest document, bytes."""
MAX_DEPTH: Final = 64
"""Deepest nesting of elements; real documents stay below 20."""
MAX_ELEMENTS: Final = 2_000_000
"""Most elements of a document; a trace of 100,000 points written value by value has 200,000."""
MAX_POINTS: Final = 20_000_000
"""Most points of one series: a few bytes of XML may state any length."""

MAX_VALUE_CHARS: Final = 4000
"""Longest value kept in ``rescued``; some data systems put whole reports into one parameter."""

_DECLARES: Final = "the document declares a document type or entities, which instruments do not need; export it without them"
_PROLOGUE_BYTES: Final = 1 << 14
_NAMESPACE: Final = re.compile(rb"xmlns[^=\s<>]{0,100}+\s*+=\s*+[\"']([^\"']*+)")
_MAX_NAME_BYTES: Final = 200_000_000
"""The parser writes the namespace out in the name of every element: a long one makes a small document fill the memory."""
_NEVER_ENDLESS: Final = 256
"""A document with so few tags is not looked at for nesting before it is parsed."""
_CUT: Final = ("no element found", "unclosed token", "unclosed CDATA")
_ROOT: Final = re.compile(r"<(?:[^\W\d][\w.-]*:)?([^\W\d][\w.-]*)")
_PATH: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?[\\/]{1,3}(?:[^\\/\r\n]+[\\/])*[^\\/\r\n]+")


def parse_xml(data: bytes, place: str = "") -> Element:
    """Parse a document that nobody vouches for.

    Args:
        data: The whole document.
        place: Its name where it is a part of a file, for the message.

    Returns:
        Its root element.

    Raises:
        UnreadableFileError: ``hostile_xml`` for entities, document type declarations and deep nesting, ``too_large``,
            ``truncated`` for a document that ends too early or is not well-formed, ``encoding``.
    """
    if len(data) > MAX_BYTES:
        raise UnreadableFileError("too_large", f"the document has {len(data)} bytes; {MAX_BYTES} are accepted", place)
    n_elements = data.count(b"<") - data.count(b"</")
    if n_elements > MAX_ELEMENTS:
        raise UnreadableFileError("too_large", f"more than {MAX_ELEMENTS} elements; export fewer runs into one file", place)
    refuse_declarations(data, place)
    refuse_endless(data, place)
    longest = max((len(value) for value in _NAMESPACE.findall(data.replace(b"\x00", b""))), default=0)
    if longest * n_elements > _MAX_NAME_BYTES:
        raise UnreadableFileError("hostile_xml", f"a namespace of {longest} characters; no instrument writes that", place)
    try:
        root = fromstring(data)  # noqa: S314 - without declarations there is nothing to expand or fetch; defusedxml's is ten times as slow
    except ParseError as error:
        line, column = error.position
        what = "ends too early" if str(error).startswith(_CUT) else "is damaged"
        reason = f"the XML {what} ({str(error).partition(':')[0]}); transfer the file again"
        spot = f"line {line}, column {column + 1}"
        raise UnreadableFileError("truncated", reason, f"{place}, {spot}" if place else spot) from error
    except (LookupError, UnicodeError, ValueError) as error:
        raise UnreadableFileError("encoding", "the encoding the document declares is not known; export it as UTF-8", place) from error
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise UnreadableFileError("hostile_xml", f"elements are nested more than {MAX_DEPTH} deep; no instrument writes that", place)
        level = [element for parent in level for element in parent]
    return root


def refuse_declarations(data: bytes, place: str = "") -> None:
    """Refuse a document that declares a document type, before another library parses it; whatever its encoding.

    Only what stands before the root element is looked at, since nothing may be declared behind it. What is no XML is left to the
    parser that expects it.

    Args:
        data: The whole document.
        place: Its name, for the message.

    Raises:
        UnreadableFileError: ``hostile_xml``.
    """
    from xml.parsers.expat import ExpatError, ParserCreate

    def refuse(*_: object) -> None:
        raise UnreadableFileError("hostile_xml", _DECLARES, place)

    def stop(*_: object) -> None:
        raise StopIteration

    parser = ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = stop
    try:
        for at in range(0, len(data), _PROLOGUE_BYTES):
            parser.Parse(data[at : at + _PROLOGUE_BYTES], False)  # noqa: FBT003 - takes no keywords
    except UnreadableFileError:
        raise
    except (ExpatError, LookupError, ValueError, StopIteration):
        return


def refuse_endless(data: bytes, place: str = "") -> None:
    """Refuse a document nested thousands deep, before another library keeps all of it; libxml2 tells without building anything.

    Args:
        data: A document without declarations.
        place: Its name, for the message.

    Raises:
        UnreadableFileError: ``hostile_xml``.
    """
    from lxml import etree

    class Nothing:
        def close(self) -> None: ...

    if data.count(b"<") <= _NEVER_ENDLESS:
        return
    try:
        etree.fromstring(data, etree.XMLParser(target=Nothing(), resolve_entities=False, no_network=True, huge_tree=True))
    except etree.XMLSyntaxError as error:
        if "depth" in str(error):
            raise UnreadableFileError("hostile_xml", "elements are nested thousands deep; no instrument writes that", place) from None
    except (ValueError, LookupError):
        return


def root_name(head: bytes) -> str:
    """Return the local name of a document's root element from its first bytes, or an empty text when it is no XML."""
    text = "\n".join(peek_lines(head))
    at = 0
    while True:
        at += len(text[at:]) - len(text[at:].lstrip("\ufeff \t\r\n"))
        if text.startswith("<?", at):
            end = text.find("?>", at)
        elif text.startswith("<!--", at):
            end = text.find("-->", at)
        elif text.startswith("<!", at):
            end = _doctype_end(text, at)
        else:
            match = _ROOT.match(text, at)
            return match[1] if match else ""
        if end < 0:
            return ""
        at = text.index(">", end) + 1


def _doctype_end(text: str, at: int) -> int:
    """Return where the ``>`` of a document type declaration is looked for; behind its internal subset when it has one."""
    close, subset = text.find(">", at), text.find("[", at)
    return text.find("]", subset) if 0 <= subset < close else close


def local(element: Element) -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def children(element: Element | None, *names: str) -> Iterator[Element]:
    """Yield the children with one of these local names, in order."""
    if element is not None:
        yield from (child for child in element if local(child) in names)


def child(element: Element | None, *path: str) -> Element | None:
    """Return the first descendant along a path of local names."""
    for name in path:
        element = next(children(element, name), None)
    return element


def text_of(element: Element | None, *path: str) -> str | None:
    """Return the text of an element, or of the one along a path; ``None`` when it is absent or says nothing."""
    found = child(element, *path) if path else element
    return ("" if found is None else found.text or "").strip() or None


def without_folders(value: str) -> str:
    """Return a value that goes to ``rescued``: of a path only its last part, and never more than ``MAX_VALUE_CHARS``."""
    return base_name(value) if _PATH.fullmatch(value) else value[:MAX_VALUE_CHARS]


def unpack_base64(text: str, dtype: str, place: str) -> FloatArray:
    """Return the numbers packed into base64.

    Args:
        text: Base64, blanks and line ends anywhere.
        dtype: numpy type of one number with its byte order, such as ``<f4``.
        place: Where it is, for the message.

    Returns:
        Finite numbers, shape ``(n,)``.

    Raises:
        UnreadableFileError: ``not_a_number`` for text that is not base64, ``truncated`` for a part of a number, ``not_finite``.
    """
    bare = "".join(text.split())
    try:
        packed = base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError) as error:
        rule = "truncated" if len(bare) % 4 else "not_a_number"
        raise UnreadableFileError(rule, f"the values are not whole base64 ({error}); transfer the file again", place) from error
    size = np.dtype(dtype).itemsize
    if len(packed) % size:
        raise UnreadableFileError("truncated", f"{len(packed)} bytes are not a whole number of values of {size} bytes", place)
    return require_finite(np.frombuffer(packed, dtype=dtype).astype(np.float64), place)


def parse_values(texts: list[str], place: str) -> FloatArray:
    """Return numbers written one by one.

    Raises:
        UnreadableFileError: ``not_a_number`` or ``not_finite``, with the ordinal of the value.
    """
    together = "".join(texts)
    if together.isascii() and "_" not in together:
        try:
            fast = np.fromiter(map(float, texts), dtype=np.float64, count=len(texts))
        except ValueError:
            pass
        else:
            return require_finite(fast, place)
    for number, text in enumerate(texts, start=1):
        try:
            parse_number(text)
        except NumberError as error:
            raise UnreadableFileError(error.rule, f"value {number}: {error}", place) from error
    raise UnreadableFileError("not_a_number", f"the values are not plain numbers, such as {shorten(together)}", place)


def require_finite(values: FloatArray, place: str) -> FloatArray:
    """Return the values, refusing NaN and infinities.

    Raises:
        UnreadableFileError: ``not_finite``.
    """
    finite = np.isfinite(values)
    if not finite.all():
        raise UnreadableFileError("not_finite", f"value {int(np.argmin(finite)) + 1} is not finite", place)
    return values
