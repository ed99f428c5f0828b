"""While a table waits to be made anew, what is scored says so and gives no verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import orjson
import pytest
from click.testing import Result

from lab_assets.service import stored_features
from lab_assets.state.station_work import EVERYTHING, Attention, StationWork
from lab_assets_tests.service.laboratory import Laboratory, chromatogram

REASON = "restored to version 0"
Command = Callable[..., Result]


def mark(lab: Laboratory, name: str) -> None:
    StationWork(lab.engine).call_attention([Attention(station=name, kind=EVERYTHING, reason=REASON)])


def made_anew(lab: Laboratory) -> None:
    work = StationWork(lab.engine)
    for name in work.to_make_anew():
        work.attended(name, [(EVERYTHING, "")])


def words(name: str) -> str:
    return f"{name} waits to be made anew ({REASON}): what rests on it may be wrong until the next run"


@pytest.fixture
def marked(client) -> Iterator[Callable[[str], None]]:
    yield lambda name: mark(client.lab, name)
    made_anew(client.lab)


def stored(command: Command) -> dict[str, object]:
    scored = command("score", "--injection", "SEQ-1_002", "--checkpoint", "50", "--json")
    assert scored.exit_code == 0, scored.output
    return orjson.loads(scored.stdout)


@pytest.mark.parametrize("name", ["features.injection_progress", "silver.injections", "silver.peaks"])
def test_a_stored_run_is_scored_with_a_warning_and_no_verdict(command: Command, marked: Callable[[str], None], name: str) -> None:
    """Also where the table that waits is further up; the warning is kept with the decision."""
    before = stored(command)
    assert before["warnings"] == []
    marked(name)
    answered = stored(command)
    assert (answered["warnings"], answered["verdict"], answered["risk"]) == ([words(name)], "cannot_tell_yet", before["risk"])
    assert words(name) in answered["decision"]["reasons"]
    shown = command("score", "--injection", "SEQ-1_002").output
    assert f"warning: {words(name)}" in " ".join(shown.split())


def test_a_table_that_the_risk_does_not_rest_on_is_no_matter(command: Command, marked: Callable[[str], None]) -> None:
    marked("gold.lot_disposition")
    marked("ml.predictions")
    assert stored(command)["warnings"] == []


def test_a_run_that_the_table_has_lost_for_now_is_not_called_unknown_without_a_word(
    command: Command, marked: Callable[[str], None]
) -> None:
    marked("silver.injections")
    refused = command("score", "--injection", "SEQ-1_999")
    assert refused.exit_code == 1
    assert f"no injection 'SEQ-1_999' in silver.injections; {words('silver.injections')}" in refused.output


def test_a_table_set_back_while_it_is_read_is_noticed(
    client, command: Command, marked: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marked after the first look; and made anew before the second."""
    find_run = stored_features.find_run

    def meanwhile(*args: object, **more: object) -> object:
        marked("silver.injections")
        return find_run(*args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(stored_features, "find_run", meanwhile)
        assert stored(command)["warnings"] == [words("silver.injections")]

    def mended(*args: object, **more: object) -> object:
        made_anew(client.lab)
        return find_run(*args, **more)

    monkeypatch.setattr(stored_features, "find_run", mended)
    assert stored(command)["warnings"] == [words("silver.injections")]
    assert stored(command)["warnings"] == []


def test_a_posted_trace_is_answered_with_the_warning(client, marked: Callable[[str], None]) -> None:
    """Standards and histories around the run come from tables too."""
    x, y = chromatogram(3.0)
    run = {"injection_name": "i-new", "instrument_id": "HPLC-1", "method_id": "ASSAY-01"}
    body = {**run, "x_min": x.tolist(), "y": y.tolist(), "y_unit": "mAU"}

    def posted() -> dict[str, object]:
        answer = client.post("/v1/runs/i-new/trace", user="analyst", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    before = posted()
    assert not [line for line in before["warnings"] if "made anew" in line]
    marked("silver.peaks")
    answered = posted()
    assert words("silver.peaks") in answered["warnings"]
    assert (answered["verdict"], answered["risk"]) == ("cannot_tell_yet", before["risk"])
