"""Every mask method says the same as SQL and as a function, and hides what it is given."""

from __future__ import annotations

import duckdb
import pytest

from lab_assets.governance.mask_methods import INNER_KEY, MASK_METHODS, OUTER_KEY, MaskKey
from lab_assets.governance.masking import masked_value
from lab_assets.service.masks import mask_value

KEY = MaskKey.from_secret(b"0123456789abcdef0123456789abcdef")
TEXTS = (None, "", " ", "K", "Ö", "Ky", "Yu.", "Zoë", "Kim", "Acme", "Müller & Söhne", "O'Brien", "y\u0308", "x" * 100, "Zoë Kim",
         "Zoë\u00a0Kim", "Zoë\u2003Kim", "Zoë\tKim", "Zoë\nKim", "Zoë\x1fKim", "  Zoë  ", "\u212aim", "ßam", "👩‍🔬 Kim")  # fmt: skip
"""No text, an empty and a blank one, and short ones: the letters of these stand in no stand-in and in no digest by themselves.

Blanks of many kinds, for ``\\s`` is not the same in DuckDB and in Python; letters that change their number with their case.
"""


def stands_for(text: str | None, *, tag: str, method: str) -> str | None:
    """Return what stands for a text in an answer to SQL."""
    sql = masked_value("who", "string", tag=tag, method=method)
    given = {name: value for name, value in ((INNER_KEY, KEY.inner), (OUTER_KEY, KEY.outer)) if f"${name}" in sql}
    with duckdb.connect() as connection:
        asked = connection.execute(f"SELECT {sql} FROM (SELECT CAST($text AS VARCHAR) AS who)", {**given, "text": text})  # noqa: S608 - its own SQL
        (found,) = asked.fetchone() or (None,)
    return found


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("method", list(MASK_METHODS))
@pytest.mark.parametrize("tag", ["personal_name", "customer"])
def test_sql_and_function_agree(method: str, tag: str, text: str | None) -> None:
    """The same stands for a text, an empty one and none, in answers to SQL and in all others."""
    assert stands_for(text, tag=tag, method=method) == mask_value(text, kind="string", tag=tag, method=method, key=KEY)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("method", list(MASK_METHODS))
@pytest.mark.parametrize("tag", ["personal_name", "customer"])
def test_no_text_is_shown_whole_however_short(method: str, tag: str, text: str | None) -> None:
    """A method that shows the first letters hides a text that is no longer, and in whichever case it shows them."""
    for found in (stands_for(text, tag=tag, method=method), mask_value(text, kind="string", tag=tag, method=method, key=KEY)):
        if text is not None and found is not None:
            assert found != text
            assert not text.strip() or text.casefold() not in found.casefold()


@pytest.mark.parametrize("method", [*MASK_METHODS, "of a later release"])
def test_numbers_are_hidden_by_null_whatever_the_method(method: str) -> None:
    assert masked_value("age", "int64", tag="patient", method=method) == "CAST(NULL AS BIGINT)"
    assert mask_value(41, kind="int64", tag="patient", method=method, key=KEY) is None
    assert mask_value(["Ann"], kind="array<string>", tag="patient", method=method, key=KEY) is None


def test_the_strictest_method_stands_first() -> None:
    assert next(iter(MASK_METHODS)) == "null"


def test_a_pseudonym_by_hand() -> None:
    """HMAC-SHA-256 of RFC 2104, its first ten digits."""
    import hashlib
    import hmac

    digest = hmac.new(b"0123456789abcdef0123456789abcdef", b"Acme", hashlib.sha256).hexdigest()
    assert MASK_METHODS["pseudonym"].value("Acme", "customer", KEY) == f"customer-{digest[:10]}"
