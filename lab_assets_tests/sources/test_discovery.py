"""Readers are found by themselves: one file registers a format, and the order between equally sure readers is known."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from lab_assets.sources import all_readers
from lab_assets.sources.all_readers import FOLDERS, READERS, find_own_readers, recognise
from lab_assets.sources.base import Reader
from lab_assets.sources.tables.contract_reader import ContractTableReader
from lab_assets.sources.tables.logger_table import LoggerTableReader

ROOT = Path(all_readers.__file__).parent
READER = """
class {name}Reader:
    format = "{name}"
    tables = ("documents",)

    def sniff(self, name, head):
        return {score}

    def read(self, data, context):
        raise NotImplementedError

"""
Lay = Callable[[str, str], None]


@pytest.fixture
def lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lay]:
    """Lays modules of a package ``made_up`` on the path; folders have no ``__init__.py``."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(path: str, code: str) -> None:
        file = tmp_path / "made_up" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)

    write("__init__.py", "")
    yield write
    for module in [name for name in sys.modules if name.split(".")[0] == "made_up"]:
        del sys.modules[module]


def found(tmp_path: Path) -> tuple[Reader, ...]:
    return find_own_readers("made_up", tmp_path / "made_up")


def one(name: str, score: int = 50) -> str:
    return READER.format(name=name, score=score) + f"\nREADERS = ({name}Reader(),)\n"


def test_one_file_registers_a_format(lay: Lay, tmp_path: Path) -> None:
    lay("vendors/new_maker/scale.py", one("scale"))
    lay("vendors/new_maker/scale_parts.py", "PART = 1\n")
    assert [reader.format for reader in found(tmp_path)] == ["scale"]


def test_the_order_is_by_folder_then_path_then_as_listed(lay: Lay, tmp_path: Path) -> None:
    lay("tables/a.py", one("t"))
    lay("media/a.py", one("m"))
    lay("standards/a.py", one("s"))
    lay("vendors/b/a.py", one("vb"))
    lay("vendors/a/z.py", one("vaz"))
    lay(
        "vendors/a/b.py",
        f"{READER.format(name='second', score=1)}{READER.format(name='first', score=1)}READERS = (firstReader(), secondReader())\n",
    )
    assert [reader.format for reader in found(tmp_path)] == ["first", "second", "vaz", "vb", "s", "m", "t"]


@pytest.mark.parametrize(("first", "second", "winner"), [(50, 50, "first"), (50, 51, "second"), (100, 100, "first"), (51, 50, "first")])
def test_the_surest_reads_and_of_equally_sure_ones_the_first(  # noqa: PLR0917 - three parameters and three fixtures
    lay: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, second: int, winner: str
) -> None:
    lay("vendors/a.py", one("first", first))
    lay("vendors/b.py", one("second", second))
    monkeypatch.setattr(all_readers, "READERS", found(tmp_path))
    assert recognise("x", b"anything\n").format == winner


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("READERS = (object(),)\n", TypeError, "made_up.vendors.b: <object object .* is no reader"),
        (one("scale"), ValueError, "made_up.vendors.b: the format 'scale' is registered by made_up.vendors.a already"),
    ],
)
def test_what_cannot_be_registered_is_named(lay: Lay, tmp_path: Path, code: str, error: type[Exception], words: str) -> None:
    lay("vendors/a.py", one("scale"))
    lay("vendors/b.py", code)
    with pytest.raises(error, match=words):
        found(tmp_path)


def test_every_class_that_reads_is_registered() -> None:
    """A reader that somebody forgot to register would leave its files in no known format."""
    classes: set[type] = set()
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("[!_]*.py"):
            module = import_module(".".join(("lab_assets.sources", *file.relative_to(ROOT).with_suffix("").parts)))
            classes |= {each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__}
    readers = {each for each in classes if hasattr(each, "sniff") and hasattr(each, "read")}
    assert len(readers) > 25
    assert readers - {base for reader in READERS for base in type(reader).__mro__} == {LoggerTableReader}  # made of descriptions


def test_the_order_is_the_same_in_every_process() -> None:
    code = "from lab_assets.sources.all_readers import READERS; print(*[reader.format for reader in READERS])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [reader.format for reader in READERS]


TIED = (
    ("processing_table", "lims_csv"),
    ("lims_csv", "chamber_csv"),
    ("chamber_csv", "calibration_csv"),
    ("long_table", "processing_table"),
    ("arw", "lims_csv"),
    ("chromeleon_text", "lims_csv"),
    ("agilent_d", "openlab_rslt"),
    ("chromeleon_json", "empower_json"),
    ("lims_xlsx", "processing_xlsx"),
)


@pytest.mark.parametrize(("first", "second"), TIED)
def test_formats_that_one_file_may_fit_alike_keep_their_order(first: str, second: str) -> None:
    order = [reader.format for reader in READERS]
    assert order.index(first) < order.index(second)


def test_a_header_of_two_tables_belongs_to_the_first() -> None:
    """Every required column of an entry of the LIMS's events and of a certificate: both are equally sure."""
    readers = {reader.format: reader for reader in READERS}
    lims, certificates = readers["lims_csv"], readers["calibration_csv"]
    assert isinstance(lims, ContractTableReader)
    assert isinstance(certificates, ContractTableReader)
    events = next(contract for contract in lims.contracts if contract.name == "lims_events")
    required = [column.name for contract in (events, *certificates.contracts) for column in contract.columns if not column.nullable]
    head = ",".join(dict.fromkeys(required)).encode() + b"\n"
    assert certificates.sniff("x", head) == lims.sniff("x", head) == 90
    assert recognise("x.csv", head).format == "lims_csv"
