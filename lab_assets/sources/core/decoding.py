"""Bytes to text: encodings, line ends and the signs of a file that was cut.

Belongs here: decoding with the exact place of the first bad byte, line splitting, file and path names found in headers.
Does not belong here: the meaning of any line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lab_assets.sources.core.read_result import UnreadableFileError

MAX_LINE_CHARS: Final = 1 << 20
"""Longest line that is still taken for text, characters."""

_CONTROL: Final = bytes(code for code in range(32) if code not in b"\t\n\r\f\v\x1a") + b"\x7f"
_NOT_CONTROL: Final = bytes(code for code in range(256) if code not in _CONTROL)
_LEGACY_SYMBOLS: Final = frozenset("µ°º²³¹±×·÷©®™€£§«»‘’“”–—…‰½¼¾ \u00a0")
_SECRET_KEY: Final = re.compile(
    r"passw|pwd|pass ?phrase|pass ?code|kennwort|mot[ _-]de[ _-]passe|secret|token|credential"
    r"|login|user[ _-]?(?:name|id)|benutzer[ _-]?(?:name|kennung)|anmelde[ _-]?(?:name|kennung)"
    r"|(?:api|private|access)[ _-]?key|(?:access|zugangs)[ _-]?code"
    r"|^\W*pin\W*$|(?<![^\W_])(?:user|access|operator)[ _-]?pin(?![^\W_])|(?<![^\W_])pin[ _-]?(?:code|number)(?![^\W_])",
    re.IGNORECASE,
)
"""``pin`` alone or with a word that makes it a credential: pins are parts of pumps and plugs as well."""


@dataclass(frozen=True, kw_only=True)
class DecodedText:
    r"""Text of a file with uniform line ends.

    Attributes:
        lines: Lines without their ends; line ``n`` of the file is ``lines[n - 1]``.
        encoding: Encoding that was found.
        last_line_ended: Whether the last line has a line end; without one it may have been cut.
    """

    lines: list[str]
    encoding: str
    last_line_ended: bool


def decode(data: bytes) -> DecodedText:
    """Decode a text file.

    A byte order mark decides; otherwise UTF-8, and Windows-1252 only where every other byte is a letter or a symbol that
    laboratories write (micro, degree ...) and no byte pair forms valid UTF-8, so that damaged files are not taken for it.
    Line ends may be LF, CRLF or CR.

    Args:
        data: The whole file.

    Returns:
        Its lines.

    Raises:
        UnreadableFileError: ``empty`` for a file without text, ``encoding`` with the offset of the first bad byte,
            ``long_line`` for a line beyond ``MAX_LINE_CHARS``.
    """
    if not data.strip(b"\x00 \t\r\n\f\v\xef\xbb\xbf"):
        raise UnreadableFileError("empty", "the file holds no text; export it again")
    text, encoding = _to_text(data)
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a")
    ended = text.endswith("\n")
    lines = text.split("\n")
    if ended:
        lines.pop()
    if len(text) > MAX_LINE_CHARS and (longest := max(map(len, lines))) > MAX_LINE_CHARS:
        raise UnreadableFileError("long_line", f"a line of {longest} characters is not text of an instrument or LIMS")
    return DecodedText(lines=lines, encoding=encoding, last_line_ended=ended)


def _to_text(data: bytes) -> tuple[str, str]:
    """Return the text and the encoding's name, line ends as they are."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _strictly(data, "utf-16"), "utf-16"
    if control := data.translate(None, delete=_NOT_CONTROL):
        offset = data.index(control[:1])
        raise UnreadableFileError("encoding", f"byte 0x{control[0]:02x} does not belong into a text file", f"byte {offset}")
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError as error:
        shift = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        return _legacy(data, error.start + shift), "cp1252"


def _strictly(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableFileError("encoding", f"not valid {encoding}: {error.reason}", f"byte {error.start}") from error
    if (nul := text.find("\x00")) >= 0:
        raise UnreadableFileError("encoding", "a NUL character does not belong into a text file", f"byte {2 + 2 * nul}")
    return text


def _legacy(data: bytes, first_bad: int) -> str:
    """Decode as Windows-1252 where that is plausible."""
    message = f"byte 0x{data[first_bad]:02x} is neither UTF-8 nor plain Windows-1252 text; export the file as UTF-8"
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise UnreadableFileError("encoding", message, f"byte {first_bad}") from error
    foreign = {char for char in text if ord(char) > 127}
    mixed = re.search(rb"[\xc3-\xdf][\x80-\xbf]|\xc2[\xa0-\xbf]|[\xe0-\xef][\x80-\xbf]{2}", data)
    if mixed or not all(char.isalpha() or char in _LEGACY_SYMBOLS for char in foreign):
        raise UnreadableFileError("encoding", message, f"byte {first_bad}")
    return text


@lru_cache(maxsize=4)
def peek_lines(head: bytes) -> tuple[str, ...]:
    """Return the first lines of a file leniently, for recognising its format only; every reader asks for those of the same file.

    Args:
        head: The first bytes of a file.
    """
    head = head[:16384]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head[: len(head) // 2 * 2].decode("utf-16", errors="replace")
    else:
        text = head.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    return tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


def looks_cut(previous: Sequence[str], last: str) -> bool:
    """Judge whether the last value of a file without a final line end lost digits.

    Args:
        previous: The values above it, as text, nearest last.
        last: The last value, as text.

    Returns:
        ``True`` when all earlier values have the same number of decimals and the last has fewer, or, among whole numbers,
        fewer digits than the one above.
    """
    places = {len(text.partition(".")[2]) for text in previous}
    if len(places) != 1:
        return False
    wanted = places.pop()
    if wanted:
        return len(last.partition(".")[2]) < wanted
    return len(last) < len(previous[-1])


def base_name(path: str) -> str:
    r"""Return the last part of a path written with ``/`` or ``\``, so that folders and user names stay out of tables."""
    return re.split(r"[\\/]", path.strip().rstrip("\\/"))[-1]


def stem(path: str) -> str:
    """Return the last part of a path without its extension."""
    name = base_name(path)
    head, dot, extension = name.rpartition(".")
    return head if dot and head and re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,5}", extension) else name


@lru_cache(maxsize=4096)
def is_secret(key: str) -> bool:
    """Tell whether a header field's name promises a credential, whose value must reach no table and no message."""
    return _SECRET_KEY.search(key) is not None


def shorten(text: str, limit: int = 60) -> str:
    """Return text for a message: quoted, bounded, with control characters escaped."""
    return repr(text if len(text) <= limit else f"{text[:limit]}...")
