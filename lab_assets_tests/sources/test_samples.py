"""What every format promises, held by the files in ``samples/``; a new format adds a folder there and no code here.

``docs/add-an-instrument.md`` says how a folder is made.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab_assets.cli.read import describe_file, to_json
from lab_assets.contracts.bronze import PROVENANCE, READER_TABLES
from lab_assets.ingest.row_rules import contract_failures
from lab_assets.sources.all_readers import READERS, recognise
from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core.archives import is_archive
from lab_assets_tests.sources.mutations import mutated
from lab_assets_tests.sources.sample_folders import bytes_of, context_of, expected, files_of, good_samples, sample_folders

SECRET = "hunter2"
"""Stands in samples wherever the format may hold a credential."""
CONTRACTS = {contract.name: contract for contract in READER_TABLES}
FOLDERS = pytest.mark.parametrize("folder", sample_folders(), ids=lambda folder: folder.name)
GOOD = pytest.mark.parametrize("sample", good_samples(), ids=lambda sample: f"{sample.parent.name}/{sample.name}")


def difference(expected: Any, found: Any, place: str = "") -> str:
    """Where two JSON values differ first, empty where they do not; floats may differ by 1e-12 of their value."""
    if isinstance(expected, dict) and isinstance(found, dict):
        if lacking := expected.keys() ^ found.keys():
            return f"{place}: {sorted(lacking)} on one side only"
        return next((first for key in expected if (first := difference(expected[key], found[key], f"{place}.{key}"))), "")
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return f"{place}: {len(expected)} expected, {len(found)} found"
        pairs = enumerate(zip(expected, found, strict=True))
        return next((first for at, (one, other) in pairs if (first := difference(one, other, f"{place}[{at}]"))), "")
    numbers = {type(expected), type(found)}
    if float in numbers and numbers <= {float, int}:
        return "" if math.isclose(expected, found, rel_tol=1e-12) else f"{place}: {expected!r} expected, {found!r} found"
    return "" if type(expected) is type(found) and expected == found else f"{place}: {expected!r} expected, {found!r} found"


@FOLDERS
def test_a_sample_is_read_as_expected(folder: Path) -> None:
    reports = [describe_file(folder / report["file"], context_of(folder / report["file"]), rows=True) for report in expected(folder)]
    found = json.loads(to_json(reports))
    for report in found:
        report["file"] = str(Path(report["file"]).relative_to(folder))
    assert difference(expected(folder), found) == ""


@FOLDERS
def test_every_sample_is_expected_and_has_the_format_of_its_folder(folder: Path) -> None:
    reports = expected(folder)
    assert sorted(report["file"] for report in reports) == [path.name for path in files_of(folder)]
    assert {report["format"].replace(":", "_") for report in reports if report["state"] == "ok"} == {folder.name}


@GOOD
def test_rows_keep_their_contract(sample: Path) -> None:
    """A column that is left out would be empty without a word, where its contract lets it."""
    context = context_of(sample)
    reader = recognise(sample.name, bytes_of(sample), context.loggers)
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    result = reader.read(bytes_of(sample), context)
    assert set(result.tables) <= set(reader.tables)
    for table, rows in result.tables.items():
        assert [set(row) for row in rows] == [set(CONTRACTS[table].column_names) - engine] * len(rows)
        assert contract_failures(CONTRACTS[table], [dict(row) for row in rows]) == {}


@GOOD
def test_one_reader_alone_is_surest_by_the_content(sample: Path) -> None:
    data, loggers = bytes_of(sample), context_of(sample).loggers
    assert recognise("x", data, loggers).format == recognise(sample.name, data, loggers).format
    if not is_archive(data):
        scores = sorted((reader.sniff("x", data), reader.format) for reader in READERS)
        assert scores[-1][0] == 0 or scores[-1][0] > scores[-2][0], scores[-2:]


@GOOD
def test_damage_is_read_or_refused_and_never_an_accident(sample: Path) -> None:
    data, context = bytes_of(sample), context_of(sample)
    reader = recognise(sample.name, data, context.loggers)
    damaged = [mutated(data, seed) for seed in range(200)]
    damaged += [data[: len(data) * part // 50] for part in range(50)]
    for each in damaged:
        reader.sniff(sample.name, each)
        with suppress(UnreadableFileError):
            reader.read(each, context)


@FOLDERS
def test_no_credential_is_read(folder: Path) -> None:
    assert SECRET not in json.dumps(expected(folder))


def test_differences_are_found() -> None:
    assert difference({"a": [1, 0.1]}, {"a": [1, 0.1 * (1 + 1e-13)]}) == ""
    assert difference({"a": [1, 0.1]}, {"a": [1, 0.1 * (1 + 1e-11)]}) == f".a[1]: 0.1 expected, {0.1 * (1 + 1e-11)!r} found"
    assert difference({"a": 1}, {"a": True}) == ".a: 1 expected, True found"
    assert difference({"a": 1}, {"b": 1}) == ": ['a', 'b'] on one side only"
    assert difference([1], [1, 2]) == ": 1 expected, 2 found"
    assert difference("1", 1) == ": '1' expected, 1 found"
