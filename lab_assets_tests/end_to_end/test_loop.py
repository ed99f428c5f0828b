"""The whole loop on one simulated laboratory, seen through the commands a person uses."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from lab_assets.home_identity import Kept
from lab_assets.ops.dagster_home import dagster_instance
from lab_assets_tests.end_to_end.laboratory import LOTS, Laboratory
from lab_assets_tests.samples import needs_samples, samples_dir

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def _table(laboratory: Laboratory, name: str) -> pl.DataFrame:
    layer, table = name.split(".")
    return pl.read_delta(laboratory.settings.table_uri(layer, table))


def test_every_file_is_in_one_final_state(laboratory: Laboratory) -> None:
    files = _table(laboratory, "bronze.files")
    inbox = [path for path in laboratory.settings.inbox.rglob("*") if path.is_file() and path.name != Path(Kept.INBOX_MARK).name]
    assert files.height == len(inbox)
    assert files["state"].is_in(["committed", "duplicate"]).all()


def test_runs_tell_in_their_tags_how_many_files_they_took(laboratory: Laboratory) -> None:
    with dagster_instance(laboratory.settings) as instance:
        answer = [run.tags["lab/files"] for run in instance.get_runs() if "lab/files" in run.tags]
    matches = [re.fullmatch(r"(\d+) of \1 file\(s\), \d+\.\d files/s", line) for line in answer]
    assert sum(int(match[1]) for match in matches if match) == _table(laboratory, "bronze.files").height


def test_outcomes_agree_with_the_simulated_truth(laboratory: Laboratory) -> None:
    """The pipeline integrates and calibrates on its own; its verdicts are those of the simulator's own quantification.

    Results within the noise of integration of a limit may fall on either side: at most 1 % may differ.
    """
    truth = pl.read_parquet(laboratory.settings.run / "demo_truth.parquet").filter(pl.col("checkpoint_pct") == 50)
    labels = _table(laboratory, "ml.labels").join(
        _table(laboratory, "silver.injections").select("injection_id", "injection_name"), on="injection_id"
    )
    combined = labels.join(truth.select("injection_name", pl.col("is_oos").alias("truly_oos")), on="injection_name")
    assert combined.height == truth.height
    assert (combined["is_oos"] != combined["truly_oos"]).mean() <= 0.01


def test_every_lot_has_a_disposition(laboratory: Laboratory) -> None:
    lots = _table(laboratory, "gold.lot_disposition")
    assert lots.height == LOTS
    assert lots["lot_id"].n_unique() == LOTS
    failing = lots.filter(pl.col("state") == "fail")
    assert failing["failing_tests"].list.len().min() >= 1


def test_the_model_beats_base_rate_and_baseline_on_later_lots(laboratory: Laboratory) -> None:
    metrics = laboratory.report["metrics"]
    assert metrics["model"]["log_loss"] < metrics["base_rate"]["log_loss"]
    assert metrics["model"]["brier_skill"] > 0
    assert metrics["attainable"]["log_loss"] < metrics["model"]["log_loss"]


def test_no_lot_is_in_two_parts_of_the_training_set(laboratory: Laboratory) -> None:
    sets = _table(laboratory, "ml.training_sets")
    assert sets.group_by("training_set_id", "lot_id").agg(pl.col("part").n_unique())["part"].max() == 1


def test_every_prediction_has_a_decision_and_names_its_evidence(laboratory: Laboratory) -> None:
    predictions, decisions = _table(laboratory, "ml.predictions"), _table(laboratory, "ml.decisions")
    assert predictions["prediction_id"].n_unique() == predictions.height > 0
    assert set(predictions["prediction_id"]) == set(decisions["prediction_id"])
    assert predictions["model_digest"].str.len_chars().unique().to_list() == [64]
    assert {len(versions) for versions in predictions["table_versions"].to_list()} == {5}


def test_running_it_again_adds_no_row(laboratory: Laboratory) -> None:
    again = laboratory.json("demo", "--lots", str(LOTS))
    grown = {
        name: (laboratory.report["rows"].get(name), count)
        for name, count in again["rows"].items()
        if laboratory.report["rows"].get(name) != count
    }
    # the record of the work grows, the laboratory's tables do not
    assert set(grown) <= {"governance.lineage", "governance.audit", "governance.access"}


def test_the_summary_shows_a_decision_of_each_path_with_its_drivers(laboratory: Laboratory) -> None:
    shown = laboratory.report["decisions"]
    assert [row["path"] for row in shown] == ["mandatory_checks", "standard", "fast_track"]
    assert {len(row["drivers"]) for row in shown} == {3}


def test_masks_follow_the_person(laboratory: Laboratory) -> None:
    query = "select injection_name, analyst from silver.injections where analyst is not null order by injection_name limit 5"
    masked = laboratory.json("query", query, "--as", "analyst")
    clear = laboratory.json("query", query, "--as", "qa")
    names = [row["analyst"] if isinstance(row, dict) else row[1] for row in clear["rows"]]
    hidden = [row["analyst"] if isinstance(row, dict) else row[1] for row in masked["rows"]]
    assert len(names) == 5
    assert not set(names) & set(hidden)


def test_an_unknown_person_is_refused_and_it_is_on_record(laboratory: Laboratory) -> None:
    refused = laboratory.lab("query", "select * from silver.injections limit 5", "--as", "nobody")
    assert refused.returncode == 1
    assert "nobody" in refused.stderr
    shown = laboratory.lab("audit", "show", "--json")
    assert "nobody" in shown.stdout
    assert laboratory.lab("audit", "verify").returncode == 0


def test_a_batch_prediction_is_explained_and_reproduced(laboratory: Laboratory) -> None:
    wanted = laboratory.report["decisions"][0]["prediction_id"]
    explained = laboratory.json("explain", wanted, "--as", "qa")
    assert explained["drivers"]
    reproduced = laboratory.lab("reproduce", wanted, "--json")
    assert reproduced.returncode == 0, reproduced.stdout + reproduced.stderr


def test_every_table_opens_without_spark(laboratory: Laboratory) -> None:
    from deltalake import DeltaTable

    from lab_assets.contracts.all_contracts import contracts

    for table in contracts().values():
        opened = DeltaTable(laboratory.settings.table_uri(table.layer, table.name))
        assert "deletionVectors" not in (opened.protocol().reader_features or [])


@needs_samples
def test_a_real_sequence_matches_its_published_areas_and_concentrations(laboratory: Laboratory) -> None:
    """Published by the authors of actolonen/Analysis_Lab for A1-A3: 24 areas and concentrations on two detectors."""
    samples = samples_dir()
    assert samples is not None
    shutil.copytree(samples / "hplc_sequence", laboratory.settings.inbox / "hplc_sequence", copy_function=shutil.copyfile)
    done = laboratory.lab("ingest", "--json", timeout_s=600)
    assert done.returncode == 0, done.stderr[-3000:]
    injections = (
        _table(laboratory, "silver.injections").filter(pl.col("source") == "hplc_sequence").select("injection_id", "injection_name")
    )
    assert injections.height == 13
    peaks = _table(laboratory, "silver.peaks").join(injections, on="injection_id").select("injection_id", "analyte", "channel", "area")
    values = _table(laboratory, "silver.results").select("injection_id", "analyte", "channel", "value", "sample_name")
    published = pl.read_csv(samples / "hplc_sequence" / "compound_concentrations.tsv", separator="\t")
    combined = published.join(
        values.join(peaks, on=["injection_id", "analyte", "channel"]),
        left_on=["Sample", "Compound", "Detector"],
        right_on=["sample_name", "analyte", "channel"],
    )
    assert combined.height == published.height == 24
    assert ((combined["area"] / combined["Area"] - 1).abs() < 1e-9).all()
    assert ((combined["value"] / combined["Concentration"] - 1).abs() < 1e-9).all()
