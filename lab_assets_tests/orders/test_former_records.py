"""Records that were corrected keep counting for what was known before: also when what belongs to the former ones comes last."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from lab_assets.contracts.silver import RESULTS
from lab_assets_tests.orders.laboratory import File, Home, contents, differences, model, rows_of, simulated, table_of

LATER = "2025-10-01T00:00:00Z"
MUCH_LATER = "2025-11-01T00:00:00Z"
Rows = list[dict[str, str]]
Case = Callable[[list[File]], tuple[list[File], list[File]]]
"""From the laboratory's files to those that come first and those that come after them."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[File]:
    return list(simulated(tmp_path_factory.mktemp("simulated") / "files", 11, 4))


def _corrected(name: str, rows: Rows, **values: str) -> File:
    return File(f"lims/{name}.csv", table_of([{**row, **values, "recorded_at_utc": LATER} for row in rows]))


def _split(files: list[File], prefix: str) -> tuple[list[File], list[File]]:
    return [file for file in files if not file.path.startswith(prefix)], [file for file in files if file.path.startswith(prefix)]


def _a_sample(files: list[File]) -> tuple[str, str, Rows]:
    """A sample that a worklist names, another one, and its worklist rows."""
    plans = [row for row in rows_of(files, "sequences") if row["sample_role"] == "sample"]
    name = plans[0]["sample_name"]
    other = next(row["sample_name"] for row in rows_of(files, "samples") if row["sample_name"] != name)
    return name, other, [row for row in plans if row["sample_name"] == name]


def _sample_of_a_moved_run(files: list[File]) -> tuple[list[File], list[File]]:
    name, other, plans = _a_sample(files)
    late = [file for file in files if file.path.startswith("lims/samples_") and file.path.endswith(f"_{name}.csv")]
    assert late
    return [*(file for file in files if file not in late), _corrected("moved", plans, sample_name=other)], late


def _lot_of_a_moved_run(files: list[File]) -> tuple[list[File], list[File]]:
    name, other, plans = _a_sample(files)
    lot = next(row["lot_id"] for row in rows_of(files, "samples") if row["sample_name"] == name)
    late = [file for file in files if file.path.startswith("lims/lots_") and file.path.endswith(f"_{lot}.csv")]
    assert late
    return [*(file for file in files if file not in late), _corrected("moved", plans, sample_name=other)], late


def _limits_of_the_former_product(files: list[File]) -> tuple[list[File], list[File]]:
    first, limits = _split(files, "lims/specifications")
    return [*first, _corrected("product", rows_of(files, "lots"), product="OTHER-1")], limits


def _limits_of_the_former_method(files: list[File]) -> tuple[list[File], list[File]]:
    first, limits = _split(files, "lims/specifications")
    plans = [row for row in rows_of(files, "sequences") if row["sample_role"] == "sample"]
    return [*first, _corrected("method", plans, method_id="XX-01")], limits


def _windows_of_the_former_method(files: list[File]) -> tuple[list[File], list[File]]:
    first, windows = _split(files, "lims/processing_methods")
    plans = [row for row in rows_of(files, "sequences") if row["sample_role"] == "sample"]
    return [*first, _corrected("method", plans, method_id="XX-01")], windows


def _windows_recorded_before(files: list[File]) -> tuple[list[File], list[File]]:
    """The same windows as those in force now, recorded before the runs; these come first, recorded after them."""
    first, (windows,) = _split(files, "lims/processing_methods")
    lines = windows.data.decode().replace("\r", "").splitlines()

    def recorded(name: str, at: str) -> File:
        return File(f"lims/{name}.csv", "\n".join([lines[0], *(line.rstrip(",") + f",{at}" for line in lines[1:])]).encode() + b"\n")

    assert lines[0].endswith("recorded_at_utc")
    return [*first, recorded("processing_methods_august", "2025-08-01T00:00:00Z")], [
        recorded("processing_methods_january", "2025-01-02T00:00:00Z")
    ]


def _worklists_recorded_late(files: list[File]) -> tuple[list[File], list[File]]:
    """Half of the worklists are recorded long after their runs: until then these were measured against the instrument's standards."""
    first, worklists = _split(files, "lims/sequences_")
    late = [File(file.path, table_of([{**row, "recorded_at_utc": LATER} for row in rows_of([file], "sequences")])) for file in worklists]
    return [*first, *late[1::2]], worklists[::2]


def _instruments_that_only_worklists_name(files: list[File]) -> tuple[list[File], list[File]]:
    """Exports without the instrument's name, and worklists recorded long after their runs: until then nobody knew the instrument."""
    first, last = _worklists_recorded_late(files)
    bare = [File(file.path, re.sub(rb"Instrument Name[^\n]*\n", b"", file.data)) for file in first]
    assert sum(file not in first for file in bare) > 40
    return bare, last


def _standards_of_late_worklists(files: list[File]) -> tuple[list[File], list[File]]:
    """The same, and the standards that those runs were measured against come last."""
    early, worklists = _worklists_recorded_late(files)
    standards = {row["injection_name"] for row in rows_of(worklists, "sequences") if row["sample_role"] == "standard"}
    last = [file for file in early if any(name in file.data.decode("latin-1") for name in standards)]
    assert last
    return [*(file for file in early if file not in last), *worklists], last


def _standards_that_became_samples(files: list[File]) -> tuple[list[File], list[File]]:
    """Standards are corrected to samples, and another sequence's worklist, recorded late, comes after that."""
    early, worklists = _worklists_recorded_late(files)
    standards = [row for row in rows_of(worklists, "sequences") if row["sample_role"] == "standard"]
    return [*worklists, *early], [_corrected("roles", standards[1:], sample_role="sample")]


def _windows_of_standards_with_a_method_of_their_own(files: list[File]) -> tuple[list[File], list[File]]:
    """Every standard is run by a method of its own, whose windows are revised after the runs: the samples' results follow."""
    planned = [
        File(
            file.path,
            table_of([{**row, "method_id": "STD-01"} if row["sample_role"] == "standard" else row for row in rows_of([file], "sequences")]),
        )
        if file.path.startswith("lims/sequences_")
        else file
        for file in files
    ]
    first, (windows,) = _split(planned, "lims/processing_methods")
    rows = rows_of([windows], "processing_methods")
    own = [{**row, "method_name": "STD-01"} for row in rows if row["method_name"] == "ASSAY-01"]
    assert own
    revised = [{**row, "integration": "fixed_window", "recorded_at_utc": LATER} for row in own]
    return [*first, File(windows.path, table_of([*rows, *own]))], [File("lims/processing_methods_revised.csv", table_of(revised))]


def _a_sample_that_moved_twice(files: list[File]) -> tuple[list[File], list[File]]:
    """A sample goes to another lot, and then to a third; the second move comes first, with everything else."""
    name, _, _ = _a_sample(files)
    (row,) = [row for row in rows_of(files, "samples") if row["sample_name"] == name]
    second, third = sorted({lot["lot_id"] for lot in rows_of(files, "lots")} - {row["lot_id"]})[:2]
    return [*files, _moved([row], "thirdly", lot_id=third, recorded_at_utc=MUCH_LATER)], [_moved([row], "secondly", lot_id=second)]


def _runs_of_one_name_on_two_systems(files: list[File]) -> tuple[list[File], list[File]]:
    """Data systems number their runs alike: the second one's pump works at twice the pressure, and its files come last."""
    own = sorted((file for file in files if file.path.startswith("hplc_shimadzu/")), key=lambda file: file.path)[:6]

    def of_other(data: bytes) -> bytes:
        text = data.decode("latin-1").replace("LC-01", "LC-07")
        before, section, after = text.partition("[LC Status Trace(Pump A Pressure)]")
        signal, following, rest = after.partition("[LC Status Trace(Column Oven)]")
        assert section
        assert following
        doubled = re.sub(r"Intensity Multiplier\t([0-9.]+)", lambda found: f"Intensity Multiplier\t{2 * float(found[1])}", signal)
        assert doubled != signal
        return f"{before}{section}{doubled}{following}{rest}".encode("latin-1")

    return files, [File(file.path.replace("hplc_shimadzu/", "hplc_shimadzu_2/"), of_other(file.data)) for file in own]


def _exports_of_one_name_in_two_folders(files: list[File]) -> tuple[list[File], list[File]]:
    """Two sites export under one name, recorded at the same time, and do not agree on a sample's lot."""
    name, _, _ = _a_sample(files)
    (row,) = [row for row in rows_of(files, "samples") if row["sample_name"] == name]
    one, two = sorted({lot["lot_id"] for lot in rows_of(files, "lots")} - {row["lot_id"]})[:2]
    first, second = (
        File(f"lims_site_{site}/samples.csv", table_of([{**row, "lot_id": lot, "recorded_at_utc": LATER}]))
        for site, lot in (("a", one), ("b", two))
    )
    return [*files, second], [first]


def _a_lot_known_before_the_runs_that_is_recorded_later(files: list[File]) -> tuple[list[File], list[File]]:
    """A record from before its runs says that a sample is of another lot; it comes when they are scored, and changes no feature of theirs."""
    name, _, _ = _a_sample(files)
    (row,) = [row for row in rows_of(files, "samples") if row["sample_name"] == name]
    other = next(lot["lot_id"] for lot in rows_of(files, "lots") if lot["lot_id"] != row["lot_id"])
    unjudged = [file for file in files if not file.path.startswith(("lims/results_", "lims/events_"))]
    later = (datetime.fromisoformat(row["recorded_at_utc"]) + timedelta(seconds=1)).isoformat()
    return unjudged, [_moved([row], "later", lot_id=other, recorded_at_utc=later)]


def _a_weight_corrected_and_put_back(files: list[File]) -> tuple[list[File], list[File]]:
    """The features are again those that were scored, as of a later moment."""
    _, _, plans = _a_sample(files)
    return files, [_corrected("weight", plans, weight_mg="251.5"), _moved(plans, "back", recorded_at_utc=MUCH_LATER)]


def _moved(rows: Rows, name: str, **values: str) -> File:
    return File(f"lims/{name}.csv", table_of([{**row, "recorded_at_utc": LATER, **values} for row in rows]))


@pytest.mark.parametrize(
    "case",
    [
        _runs_of_one_name_on_two_systems,
        _exports_of_one_name_in_two_folders,
        _a_sample_that_moved_twice,
        _a_lot_known_before_the_runs_that_is_recorded_later,
        _a_weight_corrected_and_put_back,
        _windows_of_standards_with_a_method_of_their_own,
        _sample_of_a_moved_run,
        _lot_of_a_moved_run,
        _limits_of_the_former_product,
        _limits_of_the_former_method,
        _windows_of_the_former_method,
        _windows_recorded_before,
        _worklists_recorded_late,
        _instruments_that_only_worklists_name,
        _standards_of_late_worklists,
        _standards_that_became_samples,
    ],
)
def test_what_belongs_to_former_records_may_come_last(case: Case, files: list[File], tmp_path: Path) -> None:
    home = Home(tmp_path / "lab", model())
    first, last = case(files)
    home.take(first)
    home.take(last)
    incremental = contents(home.lake)
    home.stations(rebuild=True)
    assert differences(incremental, contents(home.lake)) == {}
    other = Home(tmp_path / "other", model())
    other.take(last)
    other.take(first)
    assert differences(incremental, contents(other.lake)) == {}


def test_results_follow_the_windows_of_their_standards(files: list[File], tmp_path: Path) -> None:
    """The standards' own method is to integrate otherwise: from its record on the samples' values are others, and before not."""
    home = Home(tmp_path / "lab")
    first, last = _windows_of_standards_with_a_method_of_their_own(files)
    home.take(first)

    def results() -> pl.DataFrame:
        rows = home.lake.polars(RESULTS, where=(pl.col("method_id") == "ASSAY-01") & pl.col("injection_id").is_not_null())
        return rows.filter(pl.col("state") != "unjudged").sort("result_id", "result_version")

    before = results()
    home.take(last)
    after = results()
    own = ["result_id", "result_version", "value", "known_time_utc"]
    assert after.join(before, on=own, how="semi").height == before.height > 10
    revised = after.filter(pl.col("result_version") == 2)
    assert set(revised["result_id"]) == set(before["result_id"])
    assert revised["known_time_utc"].unique().to_list() == [datetime(2025, 10, 1, tzinfo=UTC)]
    assert (revised["value"] != before["value"]).all()


def test_results_by_the_former_method_stay_as_they_were_known(files: list[File], tmp_path: Path) -> None:
    """The worklist is corrected to a method without windows: what was measured by the former one was known, and stays."""
    home = Home(tmp_path / "lab")
    home.take(files)

    def known_before() -> pl.DataFrame:
        rows = home.lake.polars(RESULTS, where=pl.col("known_time_utc") < pl.lit(LATER).str.to_datetime(time_zone="UTC"))
        return rows.drop("is_current", "superseded_by", "withdrawn_at_utc").sort("result_id", "result_version")

    before = known_before()
    assert before.filter(pl.col("injection_id").is_not_null() & (pl.col("value") > 0)).height > 10
    plans = [row for row in rows_of(files, "sequences") if row["sample_role"] == "sample"]
    home.take([_corrected("method", plans, method_id="XX-01")])
    assert known_before().equals(before)
