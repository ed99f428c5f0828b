"""The chained trail: every way of tampering is seen, and nothing is done without an entry."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from lab_assets.settings import Settings
from lab_assets.state.audit_chain import GENESIS, AuditError, AuditLog, audited, clean, write_export
from lab_assets.state.database import open_engine, writing
from lab_assets_tests.state.tampering import tamper


def _fill(engine: Engine, count: int = 5) -> AuditLog:
    log = AuditLog(engine)
    for number in range(1, count + 1):
        log.append(actor="ann", action="test.do", target=f"thing:{number}", new={"n": number}, reason="because")
    return log


def test_an_entry_hashes_to_what_anyone_can_compute(engine: Engine) -> None:
    """The canonical form spelled out by hand: sorted keys, no blanks, then SHA-256."""
    entry = AuditLog(engine).append(actor="ann", action="test.do", target="thing:1", new={"b": 1, "a": 2}, reason="why")
    spelled = (
        '{"action":"test.do","actor":"ann","at_utc":"' + entry.at_utc + '","new":"{\\"a\\":2,\\"b\\":1}","object":"thing:1","old":null,'
        '"origin":"","prev_hash":"' + GENESIS + '","reason":"why","request_id":"","seq":1}'
    )
    assert entry.hash == hashlib.sha256(spelled.encode()).hexdigest()
    assert AuditLog(engine).head() == (1, entry.hash)


def test_a_whole_chain_verifies(engine: Engine) -> None:
    log = _fill(engine)
    result = log.verify()
    assert (result.ok, result.entries, result.first_bad_seq, result.anchored_seq) == (True, 5, None, 5)
    assert result.head_hash == log.head()[1]


def test_an_empty_chain_verifies(engine: Engine) -> None:
    assert AuditLog(engine).verify().ok


@pytest.mark.parametrize(
    ("statements", "first_bad", "word"),
    [
        (["UPDATE audit SET actor = 'eve' WHERE seq = 3"], 3, "changed"),
        (["DELETE FROM audit WHERE seq = 2"], 2, "missing"),
        (
            [
                "UPDATE audit SET seq = 99 WHERE seq = 2",
                "UPDATE audit SET seq = 2 WHERE seq = 4",
                "UPDATE audit SET seq = 4 WHERE seq = 99",
            ],
            2,
            "changed",
        ),
        (
            [
                "UPDATE audit SET seq = seq + 100 WHERE seq >= 3",
                "INSERT INTO audit SELECT 3, at_utc, 'eve', action, object, old, new, reason, origin, request_id, hash, hash FROM audit WHERE seq = 2",
                "UPDATE audit SET seq = seq - 99 WHERE seq > 100",
            ],
            3,
            "changed",
        ),
        (["DELETE FROM audit WHERE seq >= 4"], 4, "cut"),
        (["DELETE FROM audit"], 1, "cut"),
    ],
    ids=["edit", "delete", "reorder", "insert", "cut-tail", "wipe"],
)
def test_tampering_is_seen_and_the_first_bad_number_named(
    engine: Engine, settings: Settings, statements: list[str], first_bad: int, word: str
) -> None:
    log = _fill(engine)
    tamper(settings, *statements)
    result = log.verify()
    assert not result.ok
    assert result.first_bad_seq == first_bad
    assert word in result.reason


def test_a_chain_rehashed_from_the_edit_on_contradicts_its_anchors(engine: Engine, settings: Settings) -> None:
    log = _fill(engine)
    entries = log.entries()
    previous = entries[1].hash
    tamper(settings)
    connection = sqlite3.connect(settings.home / "lab.db")
    for entry in entries[2:]:
        forged = type(entry)(**{**entry.__dict__, "actor": "eve", "prev_hash": previous})
        previous = forged.computed_hash()
        change = ("eve", forged.prev_hash, previous, entry.seq)
        connection.execute("UPDATE audit SET actor = ?, prev_hash = ?, hash = ? WHERE seq = ?", change)
    connection.commit()
    connection.close()
    result = log.verify()
    assert (result.ok, result.first_bad_seq) == (False, 3)
    assert "anchor" in result.reason


def test_an_old_copy_put_back_is_seen(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    _fill(engine, 3)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    shutil.copy(settings.home / "lab.db", tmp_path / "old.db")
    _fill(engine, 2)
    engine.dispose()
    for leftover in settings.home.glob("lab.db*"):
        leftover.unlink()
    shutil.copy(tmp_path / "old.db", settings.home / "lab.db")
    result = AuditLog(open_engine(settings)).verify()
    assert (result.ok, result.first_bad_seq, result.anchored_seq) == (False, 4, 5)


def test_a_missing_or_garbled_anchor_is_told(engine: Engine, settings: Settings) -> None:
    log = _fill(engine, 2)
    anchor = settings.run / "audit_anchor.jsonl"
    anchor.write_text("nonsense\n" + anchor.read_text())
    assert "line 1" in log.verify().reason
    anchor.unlink()
    assert "missing" in log.verify().reason


def test_a_torn_anchor_line_is_mended_by_the_next_entry(engine: Engine, settings: Settings) -> None:
    log = _fill(engine, 2)
    with (settings.run / "audit_anchor.jsonl").open("ab") as file:
        file.write(b'{"at_utc":"2026')
    _fill(engine, 1)
    assert log.verify().ok
    assert log.verify().anchored_seq == 3


def test_no_entry_no_action(engine: Engine, settings: Settings) -> None:
    """The anchor's folder is replaced by a file, so it cannot be written: the action is rolled back with its entry."""
    shutil.rmtree(settings.run, ignore_errors=True)
    settings.run.write_text("not a folder")
    with pytest.raises(AuditError), audited(engine, actor="ann", action="test.do", target="t") as connection:
        connection.execute(text("UPDATE policy_state SET version = 77"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version FROM policy_state")).scalar() == 1


def test_a_refused_insert_stops_the_action(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("CREATE TRIGGER full_disk BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END"))
    with pytest.raises(AuditError, match="nothing was done"), audited(engine, actor="a", action="b.c", target="t") as connection:
        connection.execute(text("UPDATE policy_state SET version = 77"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version FROM policy_state")).scalar() == 1


def test_a_failed_action_leaves_no_entry_and_no_anchor(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), audited(engine, actor="a", action="b.c", target="t"):
        _ = 1 / 0
    assert AuditLog(engine).head() == (0, GENESIS)
    assert AuditLog(engine).verify().anchored_seq == 0


def test_there_is_no_switch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LAB_AUDIT", "LAB_AUDIT_ENABLED", "LAB_NO_AUDIT"):
        monkeypatch.setenv(name, "0")
    assert not [name for name in Settings.model_fields if "audit" in name]
    assert not hasattr(Settings(home=tmp_path), "audit")


def test_lines_and_colours_cannot_be_forged(engine: Engine) -> None:
    entry = AuditLog(engine).append(
        actor="eve\n2026 ann test.ok", action="test.do", target="\x1b[31mred\x1b[0m", reason="a\u202eb", origin="A" * 1_000_000
    )
    assert entry.actor == "eve\\u000a2026 ann test.ok"
    assert entry.object == "\\u001b[31mred\\u001b[0m"
    assert entry.reason == "a\\u202eb"
    assert len(entry.origin) <= 256
    assert "1000000 characters" in entry.origin
    assert AuditLog(engine).verify().ok


@given(st.text(), st.integers(min_value=1, max_value=300))
def test_cleaned_text_is_bounded_printable_and_stable(value: str, limit: int) -> None:
    cleaned = clean(value, limit)
    assert len(cleaned) <= limit
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in cleaned)
    assert clean(cleaned, limit) == cleaned


def _append_many(home: Path, count: int) -> None:
    log = AuditLog(open_engine(Settings(home=home)))
    for number in range(count):
        log.append(actor="worker", action="test.do", target=f"thing:{number}")


def test_four_processes_make_one_chain(engine: Engine, settings: Settings) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(settings.home, 15)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(90)
    assert [worker.exitcode for worker in workers] == [0] * 4
    result = AuditLog(engine).verify()
    assert (result.ok, result.entries, result.anchored_seq) == (True, 60, 60)


def test_entries_are_filtered_and_limited(engine: Engine) -> None:
    log = _fill(engine, 3)
    log.append(actor="bob", action="other.do", target="thing:1")
    assert [entry.seq for entry in log.entries(actor="ann", limit=2)] == [2, 3]
    assert [entry.seq for entry in log.entries(action="other")] == [4]
    assert [entry.seq for entry in log.entries(action="oth")] == []
    assert [entry.seq for entry in log.entries(target="thing:1")] == [1, 4]


def test_an_export_is_complete_and_digested(engine: Engine, tmp_path: Path) -> None:
    log = _fill(engine, 3)
    count, digest = write_export(log, tmp_path / "out.jsonl")
    data = (tmp_path / "out.jsonl").read_bytes()
    assert (count, digest) == (3, hashlib.sha256(data).hexdigest())
    assert [json.loads(line)["seq"] for line in data.splitlines()] == [1, 2, 3]
    with pytest.raises(FileExistsError):
        write_export(log, tmp_path / "out.jsonl")
