"""What stations still have to do: progress and attention."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, event

from lab_assets.state.database import utc_text, writing
from lab_assets.state.ledger import DataFile, Ledger
from lab_assets.state.ledger_tables import DATA_FILES
from lab_assets.state.station_work import EVERYTHING, Attention


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return Ledger(engine)


def statements_of(engine: Engine) -> list[str]:
    """Return a list that fills with each statement sent to the database from now on; one for many rows counts once."""
    sent: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    return sent


def lot(name: str, reason: str = "an interrupted write") -> Attention:
    return Attention(station="silver.results", kind="lot_id", key=name, reason=reason)


def test_a_station_sees_only_what_is_asked_of_it(ledger: Ledger) -> None:
    other = Attention(station="gold.lot_disposition", kind=EVERYTHING, reason="restored to version 3")
    ledger.call_attention([lot("L-2"), lot("L-1"), other])
    assert ledger.attention("silver.results") == [("lot_id", "L-1"), ("lot_id", "L-2")]
    assert ledger.attention("gold.lot_disposition") == [("everything", "")]
    assert ledger.attention("silver.peaks") == []


def test_what_is_asked_twice_is_one_row_and_attended_once(ledger: Ledger) -> None:
    ledger.call_attention([lot("L-1"), lot("L-2")])
    ledger.call_attention([lot("L-1", "a restore")])
    ledger.attended("silver.results", [("lot_id", "L-1"), ("injection_id", "L-2")])
    assert ledger.attention("silver.results") == [("lot_id", "L-2")]
    ledger.attended("silver.results", [])
    ledger.attended("silver.peaks", [("lot_id", "L-2")])
    assert ledger.attention("silver.results") == [("lot_id", "L-2")]


def test_what_is_asked_again_while_a_station_works_stays(ledger: Ledger) -> None:
    ledger.call_attention([lot("L-1"), lot("L-2")])
    read_at, seen = utc_text(), ledger.attention("silver.results")
    ledger.call_attention([lot("L-2", "restored meanwhile")])
    ledger.attended("silver.results", seen, asked_by=read_at)
    assert ledger.attention("silver.results") == [("lot_id", "L-2")]


def test_attention_is_called_with_the_transaction_that_needs_it_or_not_at_all(ledger: Ledger) -> None:

    def fail_after_asking() -> None:
        with writing(ledger.engine) as connection:
            ledger.call_attention([lot("L-1")], connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_asking()
    assert ledger.attention("silver.results") == []
    with writing(ledger.engine) as connection:
        ledger.call_attention([lot("L-1")], connection)
    assert ledger.attention("silver.results") == [("lot_id", "L-1")]


def test_nothing_to_ask_writes_nothing(ledger: Ledger) -> None:
    sent = statements_of(ledger.engine)
    ledger.call_attention([])
    ledger.attended("silver.peaks", [])
    assert sent == []


def test_files_of_a_commit_are_noted_by_one_statement(ledger: Ledger) -> None:
    sent = statements_of(ledger.engine)
    files = [DataFile(path=f"part-{number}.parquet", version=1, size=number, sha256="a" * 64) for number in range(50)]
    ledger.note_table_commit("silver.peaks", 1, files)
    assert len([statement for statement in sent if "data_files" in statement]) == 1
    ledger.note_table_commit("silver.peaks", 2, [DataFile(path="part-7.parquet", version=2, size=8, sha256="b" * 64)])
    assert ledger.noted_version("silver.peaks") == 2
    with ledger.engine.connect() as connection:
        rows = {row.path: (row.version, row.size) for row in connection.execute(DATA_FILES.select())}
    assert len(rows) == 50
    assert (rows["part-7.parquet"], rows["part-8.parquet"]) == ((2, 8), (1, 8))
