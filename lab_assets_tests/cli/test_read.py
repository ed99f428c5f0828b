"""``lab read`` with a reader that has a fault: one line, in the words of ingestion, and no other file suffers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lab_assets.ingest.parsing import parse_one
from lab_assets.sources import all_readers
from lab_assets.sources.base import ReadContext, ReadResult
from lab_assets.sources.core.quantities import parse_number
from lab_assets_tests.cli.commands import Lab
from lab_assets_tests.sources.builders import arw

FILE = b"BROKEN 1\n"
Reading = Callable[[bytes], Any]
ROW = {"document_name": "a", "page": 1, "n_pages": 1, "text": "t", "source_row": 1}


class BrokenReader:
    """Reader of files that begin with ``BROKEN``; what it does with them is the test's."""

    format: str = "broken"
    tables: tuple[str, ...] = ("documents",)

    def __init__(self, reading: Reading, sniffing: Callable[[], int] = lambda: 100) -> None:
        self.reading = reading
        self.sniffing = sniffing

    def sniff(self, name: str, head: bytes) -> int:
        return self.sniffing() if head.startswith(b"BROKEN") else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        return self.reading(data)


def missing_key(data: bytes) -> ReadResult:
    return {}["Weight"]  # the fault


def division(data: bytes) -> ReadResult:
    return ReadResult(format="broken", tables={"documents": [{"page": 1 / data.count(b"!")}]})  # the fault


def below(data: bytes) -> ReadResult:
    parse_number(None)  # type: ignore[arg-type]  # the fault: raised by the product's own helper, on the reader's account
    raise AssertionError


def many_lines(data: bytes) -> ReadResult:
    raise RuntimeError("one\n  two\x20\udcff")  # the fault


def line_of(function: Callable[..., Any]) -> int:
    code = function.__code__
    lines = Path(code.co_filename).read_text().splitlines()
    return next(number for number in range(code.co_firstlineno, len(lines)) if "# the fault" in lines[number - 1])


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A file of a known format, one of the reader that has a fault, and again a good one."""
    for name, data in (("a.arw", arw().encode()), ("b.txt", FILE), ("c.arw", arw().encode())):
        (tmp_path / name).write_bytes(data)
    return [str(tmp_path / name) for name in ("a.arw", "b.txt", "c.arw")]


def register(monkeypatch: pytest.MonkeyPatch, reader: BrokenReader) -> None:
    monkeypatch.setattr(all_readers, "READERS", (*all_readers.READERS, reader))


@pytest.mark.parametrize(
    ("reading", "what"),
    [
        (missing_key, "KeyError: 'Weight'"),
        (division, "ZeroDivisionError: division by zero"),
        (below, "AttributeError: 'NoneType' object has no attribute 'strip'"),
        (many_lines, "RuntimeError: one two \\udcff"),
    ],
)
def test_a_fault_of_a_reader_costs_its_file_alone(
    lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch, reading: Reading, what: str
) -> None:
    register(monkeypatch, BrokenReader(reading))
    answer = lab("read", "--json", *files)
    first, broken, last = answer.document
    assert (answer.exit_code, answer.stderr) == (1, "")
    assert (first["state"], last["state"], last["format"]) == ("ok", "ok", "arw")
    assert (broken["file"], broken["format"], broken["state"], broken["tables"]) == (files[1], "broken", "rejected", {})
    assert broken["reason"] == f"reader_error: the reader of 'broken' has a fault: {what}, at test_read.py:{line_of(reading)}"


def test_the_table_for_people_has_it_in_the_files_row(lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, BrokenReader(missing_key))
    answer = lab("read", *files)
    assert answer.exit_code == 1
    assert "reader_error: the reader of 'broken' has a fault: KeyError" in answer.stdout
    assert "c.arw" in answer.stdout
    assert "Traceback" not in answer.stdout + answer.stderr


@pytest.mark.parametrize("arguments", [("read", "--traceback"), ("--traceback", "read")])
def test_whoever_mends_the_reader_sees_the_whole_traceback(
    lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    register(monkeypatch, BrokenReader(below))
    plain = lab("read", "--json", *files)
    answer = lab(*arguments, "--json", *files)
    assert (answer.exit_code, answer.stdout) == (1, plain.stdout)
    assert answer.stderr.startswith(f"{files[1]}:\nTraceback (most recent call last):\n")
    assert "quantities.py" in answer.stderr
    assert answer.stderr.rstrip().endswith("AttributeError: 'NoneType' object has no attribute 'strip'")
    assert answer.stderr.count("Traceback") == 1


def test_no_traceback_is_shown_of_a_file_that_is_refused(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x7fELF\x00")
    answer = lab("read", "--traceback", str(tmp_path / "a.bin"))
    assert (answer.exit_code, answer.stderr) == (1, "")


def test_the_option_is_in_the_help(lab: Lab) -> None:
    assert "--traceback" in lab("read", "--help").stdout


def no_memory(data: bytes) -> ReadResult:
    raise MemoryError


def panic(data: bytes) -> ReadResult:
    from polars.exceptions import PanicException

    raise PanicException("index out of bounds")


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (panic, "reader_error: the reader of 'broken' has a fault: PanicException: index out of bounds"),
        (missing_key, "reader_error: the reader of 'broken' has a fault: KeyError"),
        (no_memory, "memory_limit: "),
        (lambda _: None, "reader_error: the reader of 'broken' returns NoneType, not ReadResult"),
        (
            lambda _: ReadResult(format="broken", tables={"weights": [ROW]}),
            "reader_error: the reader of 'broken' fills 'weights', which is no table",
        ),
        (
            lambda _: ReadResult(format="broken", tables={"documents": [{**ROW, "pgae": 1}]}),
            "reader_error: the reader of 'broken' fills columns that documents does not have: pgae",
        ),
        (
            lambda _: ReadResult(format="broken", tables={"documents": [{**ROW, "page": "1"}]}),
            "reader_error: the reader of 'broken' gives documents str '1' for page, which is int64 (row 1)",
        ),
        (
            lambda _: ReadResult(format="broken", tables={"sensor_readings": [{"source_row": 3, "read_at_utc": datetime(2025, 1, 1)}]}),  # noqa: DTZ001 - that is the case
            "reader_error: the reader of 'broken' gives sensor_readings datetime '2025-01-01 00:00:00' without a zone for read_at_utc",
        ),
        (
            lambda _: ReadResult(format="broken", tables={"documents": [{name: ROW[name] for name in ROW if name != "source_row"}]}),
            "reader_error: the reader of 'broken' gives documents a row without source_row, its number in the file from 1",
        ),
    ],
)
def test_ingestion_says_the_same(lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch, reading: Reading, words: str) -> None:
    register(monkeypatch, BrokenReader(reading))
    (report,) = lab("read", "--json", files[1]).document
    task = {"arrival_id": 1, "file_id": "f", "source": "s", "file_name": "b.txt", "raw_path": files[1], "zone": "UTC"}
    staged = parse_one(task)
    assert report["reason"].startswith(words)
    assert report["reason"] == f"{staged.rule}: {staged.reason}"
    assert (staged.state, staged.place) == ("quarantined", "")


def test_a_value_that_has_no_json_is_a_fault_as_well(lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    register(
        monkeypatch,
        BrokenReader(lambda _: ReadResult(format="broken", tables={"measurements": [{"rescued": {"a": {1, 2}}, "source_row": 1}]})),
    )
    answer = lab("read", "--json", "--rows", *files)
    assert [report["state"] for report in answer.document] == ["ok", "rejected", "ok"]
    assert answer.document[1]["reason"].startswith("reader_error: the reader of 'broken' has a fault: ")


def test_a_reader_that_fails_to_look_at_a_file_is_found_by_its_line(lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, BrokenReader(missing_key, sniffing=lambda: 1 // 0))
    answer = lab("read", "--json", *files)
    assert [report["state"] for report in answer.document] == ["ok", "rejected", "ok"]
    broken = answer.document[1]
    assert broken["format"] is None
    assert broken["reason"].startswith("reader_error: a fault before a reader was chosen: ZeroDivisionError: ")
    assert f", at test_read.py:{BrokenReader.sniff.__code__.co_firstlineno + 1}" in broken["reason"]


def test_a_trace_without_a_stated_multiplier_is_no_fault(lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    trace = {"injection_name": "i", "channel": "c", "x": [0.0, 1.0], "y": [1.0, 3.0], "y_factor": None, "n_points": 2, "zone_known": False}
    register(monkeypatch, BrokenReader(lambda _: ReadResult(format="broken", tables={"chromatograms": [{**trace, "source_row": 1}]})))
    (report,) = lab("read", "--json", files[1]).document
    (channel,) = report["injections"][0]["channels"]
    assert (report["state"], channel["x_last"], channel["y_max"]) == ("ok", 1.0, 3.0)


def test_an_interrupt_ends_the_command(lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, BrokenReader(lambda _: sys.exit(7)))
    assert lab("read", *files).exit_code == 7


def test_lab_peaks_reports_a_fault_of_a_reader_and_integrates_the_other_files(
    lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, BrokenReader(missing_key))
    answer = lab("peaks", "--json", *files)
    assert answer.exit_code == 1
    assert (
        f"b.txt: reader_error: the reader of 'broken' has a fault: KeyError: 'Weight', at test_read.py:{line_of(missing_key)}"
        in answer.stderr
    )
    assert [Path(trace["file"]).name for trace in answer.document] == ["a.arw", "c.arw"]


def test_a_panic_of_a_library_costs_its_file_alone(lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a library written in Rust raises when it panics is no ``Exception``."""
    register(monkeypatch, BrokenReader(panic))
    words = "reader_error: the reader of 'broken' has a fault: PanicException: index out of bounds, at test_read.py:"
    shown = lab("read", "--json", *files)
    assert [report["state"] for report in shown.document] == ["ok", "rejected", "ok"]
    assert shown.document[1]["reason"].startswith(words)
    integrated = lab("peaks", "--json", *files)
    assert (integrated.exit_code, [Path(trace["file"]).name for trace in integrated.document]) == (1, ["a.arw", "c.arw"])
    assert f"b.txt: {words}" in integrated.stderr


def test_lab_peaks_goes_on_after_a_trace_that_lacks_its_name(lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, BrokenReader(lambda _: ReadResult(format="broken", tables={"chromatograms": [{"source_row": 1}]})))
    answer = lab("peaks", "--json", *files)
    assert (answer.exit_code, [Path(trace["file"]).name for trace in answer.document]) == (1, ["a.arw", "c.arw"])
    assert "b.txt: reader_error: the reader of 'broken' has a fault: KeyError: 'injection_name'" in answer.stderr


def test_an_interrupt_ends_lab_peaks(lab: Lab, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, BrokenReader(lambda _: sys.exit(7)))
    assert lab("peaks", *files).exit_code == 7
