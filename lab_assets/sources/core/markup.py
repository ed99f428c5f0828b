# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
# (lxml has no types)
"""HTML and Markdown of notebooks as plain text, with the addresses they link.

Belongs here: paragraphs, list items and table cells kept apart in plain text. Does not belong here: layout, scripts, images.

lxml's HTML parser takes linear time on broken markup, loads nothing and knows no entities of its own; the one of the standard
library takes quadratic time on some.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

MAX_MARKUP_CHARS: Final = 4_000_000
"""Longest markup that is parsed, characters; longer text is kept as it is."""
MAX_MARKDOWN_CHARS: Final = 200_000

_SILENT: Final = frozenset({"script", "style", "head", "title", "template", "noscript"})
# fmt: off
_BLOCKS: Final = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "div", "dl", "dt", "fieldset",
    "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main",
    "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul",
})
# fmt: on
_TAG: Final = re.compile(r"</?(?:[a-zA-Z][a-zA-Z0-9]*)(?:\s[^<>]*)?/?>|&(?:[a-zA-Z]+|#[0-9]+);")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class PlainText:
    """Text without markup.

    Attributes:
        text: Paragraphs and list items on lines of their own, table cells separated by tabs.
        links: Addresses of its hyperlinks, in order, each once.
    """

    text: str
    links: tuple[str, ...] = ()


def plain_text(source: str, encoding_format: str | None = None) -> PlainText:
    """Return the plain text of HTML, Markdown or text.

    Args:
        source: The text as the notebook stores it.
        encoding_format: Media type as stated; without one, text that holds tags or character references is HTML.

    Returns:
        Text and links; markup too long or too deep to be parsed is returned as it is, so that nothing is lost.
    """
    source = _CONTROLS.sub("", source)
    kind = (encoding_format or "").casefold()
    if "markdown" in kind and len(source) <= MAX_MARKDOWN_CHARS:
        return _from_html(_markdown_to_html(source))
    stated_other = kind.startswith("text/") and "html" not in kind
    if stated_other or len(source) > MAX_MARKUP_CHARS or not _TAG.search(source):
        return PlainText(text=source.strip())
    return _from_html(source)


def _markdown_to_html(source: str) -> str:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").render(source)


def _from_html(source: str) -> PlainText:
    from lxml import etree

    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=True)
    root = etree.fromstring(source.encode("utf-8", errors="replace"), parser)
    if any("depth" in entry.message for entry in parser.error_log):
        return PlainText(text=source.strip())
    if root is None:
        return PlainText(text="")
    pieces, links = _walk(etree.iterwalk(root, events=("start", "end")))
    return PlainText(text=_tidy("".join(pieces)), links=tuple(dict.fromkeys(links)))


def _walk(events: Any) -> tuple[list[str], list[str]]:
    """Collect text and links; a loop, because the depth of markup is not ours to choose."""
    pieces: list[str] = []
    links: list[str] = []
    silent = kept = 0
    for event, element in events:
        tag = element.tag
        entering = event == "start"
        if tag in _SILENT:
            silent += 1 if entering else -1
        if tag == "pre":
            kept += 1 if entering else -1
        if not silent:
            if border := _border(tag, entering=entering):
                pieces.append(border)
            if entering and tag == "a" and element.get("href"):
                links.append(element.get("href").strip())
            if not (text := (element.text if entering else element.tail) or ""):
                continue
            begins_line = not pieces or pieces[-1].endswith(("\n", "\t", "- "))
            if shown := text if kept else _flowing(text, begins_line=begins_line):
                pieces.append(shown)
    return pieces, links


def _flowing(text: str, *, begins_line: bool) -> str:
    """Return text with its line breaks and runs of blanks as one blank, none at the beginning of a line."""
    text = re.sub(r"[ \t\r\n\f]+", " ", text)
    return text.lstrip(" ") if begins_line else text


def _border(tag: str, *, entering: bool) -> str:
    """Return what stands in plain text for the begin or end of an element."""
    if tag == "br":
        return "\n" if entering else ""
    if tag in {"td", "th"}:
        return "" if entering else "\t"
    if tag == "li":
        return "\n- " if entering else ""
    if tag == "p":
        return "\n" if entering else "\n\n"
    return "\n" if tag in _BLOCKS else ""


def _tidy(text: str) -> str:
    """Remove blanks at line ends and all but one of successive empty lines; an item's first paragraph joins its dash."""
    lines = [line.replace("\u00a0", " ").rstrip() for line in text.split("\n")]
    text = re.sub(r"^-\n+(?!-)", "- ", "\n".join(lines), flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")
