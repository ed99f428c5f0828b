"""XML that Agilent's data systems lay beside their binary files: parsed without entities, elements found by local name.

Belongs here: safe parsing and look-up. Does not belong here: what an element means (``agilent_d.py``, ``agilent_dx.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from lab_assets.sources.base import UnreadableFileError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_XML_BYTES: Final = 16 << 20


def parse_xml(data: bytes, place: str) -> Element:
    """Parse one document; entities and document types are refused, since no data system writes them.

    Args:
        data: The whole document.
        place: Its name, for the message.

    Raises:
        UnreadableFileError: ``unsupported`` for declared entities, ``truncated`` for a document that is not well-formed.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise UnreadableFileError(
            "unsupported", "the XML declares a document type or entities, which is not safe to read", place
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise UnreadableFileError("truncated", f"the XML is cut or damaged ({error}); transfer it again", place) from error


def named(element: Element, name: str) -> Iterator[Element]:
    """Return all elements below (and including) one that have this name in any namespace."""
    return (found for found in element.iter() if found.tag.rpartition("}")[2] == name)


def texts(element: Element) -> dict[str, str]:
    """Return the stripped text of the direct children by local name, without the empty ones; the first of a name counts."""
    found: dict[str, str] = {}
    for child in element:
        if child.text and child.text.strip():
            found.setdefault(child.tag.rpartition("}")[2], child.text.strip())
    return found
