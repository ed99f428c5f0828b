"""Every mask method says the same as SQL and as a function, and hides what it is given."""

from __future__ import annotations

import duckdb
import pytest

from lab_assets.governance.mask_methods import INNER_KEY, MASK_METHODS, OUTER_KEY, MaskKey
from lab_assets.governance.masking import masked_value

KEY = MaskKey.from_secret(b"0123456789abcdef0123456789abcdef")
TEXTS = ("Acme", "Müller & Söhne", "", "O'Brien", "x" * 100)


@pytest.mark.parametrize("method", list(MASK_METHODS))
@pytest.mark.parametrize("tag", ["personal_name", "customer"])
def test_sql_and_function_agree(method: str, tag: str) -> None:
    sql = masked_value("who", "string", tag=tag, method=method)
    given = {name: value for name, value in ((INNER_KEY, KEY.inner), (OUTER_KEY, KEY.outer)) if f"${name}" in sql}
    with duckdb.connect() as connection:
        for text in TEXTS:
            quoted = text.replace("'", "''")
            (found,) = connection.execute(f"SELECT {sql} FROM (SELECT '{quoted}' AS who)", given).fetchone() or (None,)  # noqa: S608 - its own SQL
            assert found == MASK_METHODS[method].value(text, tag, KEY)
            assert found is None or not text or text not in found


@pytest.mark.parametrize("method", [*MASK_METHODS, "of a later release"])
def test_numbers_are_hidden_by_null_whatever_the_method(method: str) -> None:
    assert masked_value("age", "int64", tag="patient", method=method) == "CAST(NULL AS BIGINT)"


def test_the_strictest_method_stands_first() -> None:
    assert next(iter(MASK_METHODS)) == "null"


def test_a_pseudonym_by_hand() -> None:
    """HMAC-SHA-256 of RFC 2104, its first ten digits."""
    import hashlib
    import hmac

    digest = hmac.new(b"0123456789abcdef0123456789abcdef", b"Acme", hashlib.sha256).hexdigest()
    assert MASK_METHODS["pseudonym"].value("Acme", "customer", KEY) == f"customer-{digest[:10]}"
