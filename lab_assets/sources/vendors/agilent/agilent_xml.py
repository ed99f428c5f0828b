"""XML that Agilent's data systems lay beside their binary files: elements found by local name.

Belongs here: look-up. Does not belong here: safe parsing (``xml_text.py``), what an element means (``agilent_d.py``,
``agilent_dx.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_XML_BYTES: Final = 16 << 20


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
