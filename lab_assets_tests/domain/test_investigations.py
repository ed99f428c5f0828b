"""Investigations by sample: how many steps close them."""

from __future__ import annotations

import pytest

from lab_assets.domain.investigations import investigations


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["oos_opened"], "open"),
        (["oos_opened", "oos_closed"], "closed"),
        (["oos_opened", "oos_opened", "oos_closed"], "open"),
        (["oos_opened", "oos_closed", "oos_opened", "oos_closed"], "closed"),
        (["oos_closed"], "closed"),
        (["oos_closed", "sampled"], "closed"),
    ],
)
def test_as_many_closed_as_opened_close_an_investigation(steps: list[str], expected: str) -> None:
    events = [{"sample_name": "S1", "event": step} for step in steps]
    other = [{"sample_name": "S2", "event": "sampled"}, {"sample_name": None, "event": "oos_opened"}]
    assert investigations([*events, *other]) == {"S1": expected}
