"""Addresses of artefacts hold wherever a home stands, and lead to no other home."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lab_assets.modeling.bundle_info import BundleError
from lab_assets.registry.artifact_places import ROOT, ArtifactPlaceError, folder_of, make_portable
from lab_assets.registry.mlflow_registry import ModelRegistry

_MODEL = "models/m-1/artifacts"
_TABLES = {
    "experiments": "experiment_id INTEGER PRIMARY KEY, artifact_location TEXT",
    "runs": "run_uuid TEXT PRIMARY KEY, artifact_uri TEXT",
    "model_versions": "version INTEGER PRIMARY KEY, source TEXT, storage_location TEXT",
}


def _as_before(home: Path, *, place: Path) -> None:
    """Write a registry as earlier versions of the product did: absolute paths of the place at which it was made."""
    root = f"file://{place}/mlflow/artifacts"
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db", isolation_level=None)) as connection:
        for table, columns in _TABLES.items():
            connection.execute(f"CREATE TABLE {table} ({columns})")
        connection.executemany("INSERT INTO experiments VALUES (?, ?)", [(0, "/somewhere/mlruns/0"), (1, root)])
        connection.executemany("INSERT INTO runs VALUES (?, ?)", [("r1", f"{root}/r1/artifacts"), ("r2", "s3://bucket/r2")])
        versions = [(1, f"{root}/{_MODEL}", f"{root}/{_MODEL}"), (2, "/other/place/model", None)]
        connection.executemany("INSERT INTO model_versions VALUES (?, ?, ?)", versions)


def _column(home: Path, query: str) -> list[object]:
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as connection:
        return [row[0] for row in connection.execute(query)]


@pytest.mark.parametrize(
    "address",
    [
        f"{ROOT}{_MODEL}",
        f"file:///former/place/mlflow/artifacts/{_MODEL}",
        f"/former/mlflow/artifacts/lab/mlflow/artifacts/{_MODEL}",
        f"file:///home/now/mlflow/artifacts/{_MODEL}",
    ],
)
def test_an_address_leads_below_the_present_home(address: str) -> None:
    root = Path("/home/now/mlflow/artifacts")
    assert folder_of(address, root) == root / "models" / "m-1" / "artifacts"


@pytest.mark.parametrize(
    "address",
    [
        "file:///other/place/model",
        "/etc",
        "s3://bucket/model",
        f"{ROOT}../../lab.db",
        "mlflow-artifacts://host/model",
        "file:///a/mlflow/artifacts/../x",
    ],
)
def test_an_address_that_leads_elsewhere_is_refused(address: str) -> None:
    with pytest.raises(ArtifactPlaceError, match="no place below"):
        folder_of(address, Path("/home/now/mlflow/artifacts"))


def test_addresses_of_a_former_place_are_made_portable(tmp_path: Path) -> None:
    """Of seven addresses five are below an artefact root or MLflow's own; a bucket and a folder of somebody else stay as they are."""
    home = tmp_path / "now"
    (home / "mlflow").mkdir(parents=True)
    _as_before(home, place=tmp_path / "former")
    database, root = home / "mlflow" / "mlflow.db", home / "mlflow" / "artifacts"
    assert make_portable(database, root) == 5
    assert _column(home, "SELECT artifact_location FROM experiments ORDER BY 1") == [ROOT, f"{ROOT}0"]
    assert _column(home, "SELECT artifact_uri FROM runs ORDER BY run_uuid") == [f"{ROOT}r1/artifacts", "s3://bucket/r2"]
    assert _column(home, "SELECT source FROM model_versions") == [f"{ROOT}{_MODEL}", "/other/place/model"]
    assert make_portable(database, root) == 0
    assert make_portable(tmp_path / "none.db", root) == 0


def test_a_copied_home_reads_its_own_models_and_none_of_the_original(tmp_path: Path) -> None:
    """Registered in one place with absolute addresses, then copied; the original's bytes are others by now, and must not be seen."""
    from mlflow import MlflowClient

    original, copy = tmp_path / "original", tmp_path / "copy"
    root = original / "mlflow" / "artifacts"
    (root / _MODEL / "bundle").mkdir(parents=True)
    (root / _MODEL / "bundle" / "model.txt").write_text("the laboratory's own")
    uri = f"sqlite:///{original}/mlflow/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.create_experiment("oos_risk", artifact_location=root.as_uri())
    client.create_registered_model("oos_risk")
    client.create_model_version("oos_risk", source=f"{root.as_uri()}/{_MODEL}")
    with closing(sqlite3.connect(original / "mlflow" / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(original, copy)
    (root / _MODEL / "bundle" / "model.txt").write_text("the other laboratory's")

    registry = ModelRegistry(f"sqlite:///{copy}/mlflow/mlflow.db", copy / "mlflow" / "artifacts")
    fetched = registry._fetch(registry._version("1").source or "", "bundle", tmp_path / "fetched")
    assert (fetched / "model.txt").read_text() == "the laboratory's own"
    assert not [each for each in _column(copy, "SELECT artifact_location FROM experiments") if "/original/" in str(each)]
    shutil.rmtree(copy / "mlflow" / "artifacts" / _MODEL)
    with pytest.raises(BundleError, match="cannot be read"):
        registry.download_bundle("1", tmp_path / "bundle", expected_digest=None)
