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
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

import numpy as np

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.decoding import base_name, peek_lines, shorten
from lab_assets.sources.quantities import NumberError, parse_number
from lab_assets.sources.traces import FloatArray

MAX_BYTES: Final = 256 << 20
"""Largest document, bytes."""
MAX_DEPTH: Final = 64
"""Deepest nesting of elements; real documents stay below 20."""
MAX_ELEMENTS: Final = 4_000_000
"""Most elements of a document; a trace of 100,000 points written value by value has 200,000."""
MAX_POINTS: Final = 20_000_000
"""Most points of one series: a few bytes of XML may state any length."""

MAX_VALUE_CHARS: Final = 4000
"""Longest value kept in ``rescued``; some data systems put whole reports into one parameter."""

_CUT: Final = ("no element found", "unclosed token", "unclosed CDATA")
_ROOT: Final = re.compile(r"<(?:[^\W\d][\w.-]*:)?([^\W\d][\w.-]*)")
_PATH: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?[\\/]{1,3}(?:[^\\/\r\n]+[\\/])*[^\\/\r\n]+")


class _BoundedBuilder(TreeBuilder):
    """Builds the tree of a document within the limits."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0
        self._elements = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        """Count before the element is made."""
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableFileError("hostile_xml", f"elements are nested more than {MAX_DEPTH} deep; no instrument writes that")
        if self._elements > MAX_ELEMENTS:
            raise UnreadableFileError("too_large", f"more than {MAX_ELEMENTS} elements; export fewer runs into one file")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        """Leave one level."""
        self._depth -= 1
        return super().end(tag)


def parse_xml(data: bytes) -> Element:
    """Parse a document that nobody vouches for.

    Args:
        data: The whole file.

    Returns:
        Its root element.

    Raises:
        UnreadableFileError: ``hostile_xml`` for entities, document type declarations and deep nesting, ``too_large``,
            ``truncated`` for a document that ends too early or is not well-formed, ``encoding``.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    if len(data) > MAX_BYTES:
        raise UnreadableFileError("too_large", f"the document has {len(data)} bytes; {MAX_BYTES} are accepted")
    parser = DefusedXMLParser(target=_BoundedBuilder(), forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        parser.feed(data)
        root: Element = parser.close()
    except DefusedXmlException as error:
        reason = "the document declares a document type or entities, which instruments do not need; export it without them"
        raise UnreadableFileError("hostile_xml", reason) from error
    except ParseError as error:
        line, column = error.position
        what = "ends too early" if str(error).startswith(_CUT) else "is damaged"
        reason = f"the XML {what} ({str(error).partition(':')[0]}); transfer the file again"
        raise UnreadableFileError("truncated", reason, f"line {line}, column {column + 1}") from error
    except (LookupError, UnicodeError, ValueError) as error:
        if isinstance(error, UnreadableFileError):
            raise
        raise UnreadableFileError("encoding", "the encoding the document declares is not known; export it as UTF-8") from error
    return root


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
    joined = "".join(texts)
    if joined.isascii() and "_" not in joined:
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
    raise UnreadableFileError("not_a_number", f"the values are not plain numbers, such as {shorten(joined)}", place)


def require_finite(values: FloatArray, place: str) -> FloatArray:
    """Return the values, refusing NaN and infinities.

    Raises:
        UnreadableFileError: ``not_finite``.
    """
    finite = np.isfinite(values)
    if not finite.all():
        raise UnreadableFileError("not_finite", f"value {int(np.argmin(finite)) + 1} is not finite", place)
    return values
