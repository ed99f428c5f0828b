"""Training runs and model versions in MLflow.

Belongs here: the only code that speaks to MLflow. Does not belong here: what serves and why (``serving.py`` and the
approvals ledger), training (``lab_assets.modeling``).

Nothing here is evidence: whoever may edit a model in MLflow may move an alias, forge a tag or overwrite an artefact. What
was approved is bound by the bundle's digest in the approvals ledger. Models are logged as a LoggedModel with an ``MLmodel``
file that names a flavour of ours and no ``python_function``: MLflow cannot be made to run or unpickle anything for them.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from lab_assets.failpoints import failpoint
from lab_assets.home_identity import Kept, LostError, note_made, require_kept
from lab_assets.modeling.bundle import ModelBundle
from lab_assets.modeling.bundle_info import BundleError
from lab_assets.registry.artifact_places import ROOT, ArtifactPlaceError, folder_of, make_portable
from lab_assets.registry.model_records import (
    TAG,
    LoggedTraining,
    Stage,
    TrainingRecord,
    VersionInfo,
    metrics_of,
    milliseconds,
    params_of,
    signature_of,
    tags_of,
    version_info,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from lab_assets.settings import Settings

MODEL_NAME: Final = "oos_risk"
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
BUNDLE_FOLDER: Final = "bundle"
FLAVOR: Final = "lab_assets_bundle"


class RegistryError(BundleError):
    """The registry cannot give what was asked for; nothing of it may be served."""


class RegistryLostError(LostError, RegistryError):
    """What the registry held is gone, though it is known to have been there."""


class UnknownVersionError(RegistryError):
    """The registry holds no such version of the model."""


class ModelRegistry:
    """One registered model in one MLflow; importing MLflow and opening its database wait for the first use."""

    def __init__(self, tracking_uri: str, artifact_root: Path, *, model_name: str = MODEL_NAME, home: Settings | None = None) -> None:
        """Remember where MLflow is.

        Args:
            tracking_uri: Tracking and registry URI; the folder of an SQLite file is made when missing.
            artifact_root: Folder for artefacts of an embedded MLflow.
            model_name: Registered model, and name of its experiment.
            home: The laboratory whose record says whether MLflow's file was made before.
        """
        self._home = home
        self.tracking_uri = tracking_uri
        self.artifact_root = artifact_root
        self.model_name = model_name

    @property
    def database_file(self) -> Path | None:
        """The file of an embedded MLflow; ``None`` for one that another program serves."""
        return Path(self.tracking_uri.removeprefix("sqlite:///")) if self.tracking_uri.startswith("sqlite:///") else None

    def require_kept(self) -> None:
        """Refuse to go on, or to make a second one, where MLflow's file was made before and is gone or empty.

        Raises:
            RegistryLostError: that is so.
        """
        if self._home is None or (path := self.database_file) is None:
            return
        try:
            require_kept(self._home, Kept.MLFLOW, path)
        except LostError as error:
            raise RegistryLostError(str(error)) from error

    def log_training(self, record: TrainingRecord) -> LoggedTraining:
        """Log a training and register its model when the gate let it pass.

        Logged: parameters, metrics by candidate and slice, the reliability diagram, table versions (as dataset inputs and
        as tags, since MLflow drops version 0), commit, signature, and the bundle as a LoggedModel. The new version becomes
        ``challenger``. A bundle already registered is not registered again.

        One process logs at a time, so a run that is still open belongs to one that was killed and is settled first. The lock
        holds for one machine; between several, the orchestrator's limit of one run tagged ``lab/writes`` does.
        """
        self.artifact_root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.artifact_root.parent / "logging.lock"):
            self._settle_abandoned()
            return self._log_training(record)

    def _log_training(self, record: TrainingRecord) -> LoggedTraining:
        bundle = record.experiment.bundle
        if record.experiment.verdict.passed:
            for known in self.versions():
                if known.digest == bundle.digest:
                    return LoggedTraining(run_id=known.run_id, model_id=known.model_id, version=known.version, digest=known.digest)
        run = self._client.create_run(
            self._experiment_id,
            start_time=milliseconds(record.trained_at_utc),
            tags={"mlflow.user": record.trained_by, **tags_of(record)},
            run_name=f"{self.model_name}-{bundle.digest[:12]}",
        )
        failpoint("after_run_opened")
        status = "FAILED"
        try:
            model_id, location = self._log_model(record, run.info.run_id)
            self._log_numbers(record, run.info.run_id, model_id)
            self._log_datasets(record, run.info.run_id)
            failpoint("after_model_logged")
            version = self._register(record, run.info.run_id, model_id, location) if record.experiment.verdict.passed else None
            status = "FINISHED"
        finally:
            self._client.set_terminated(run.info.run_id, status=status)
        return LoggedTraining(run_id=run.info.run_id, model_id=model_id, version=version, digest=bundle.digest)

    def _settle_abandoned(self) -> None:
        """Finish the logging of each killed process whose version was registered; end the others, with their models as failed."""
        open_ones = self._client.search_runs([self._experiment_id], f"attributes.status = 'RUNNING' and tags.`{TAG}digest` != ''")
        registered = {each.run_id: str(each.version) for each in self._registered_versions()} if open_ones else {}
        for run in open_ones:
            version = registered.get(run.info.run_id)
            if version is not None and self.get_alias(CHAMPION) != version:
                self.set_alias(CHALLENGER, version)
            if version is None:
                of_run = f"source_run_id = '{run.info.run_id}'"
                for model in self._client.search_logged_models([self._experiment_id], of_run):
                    self._client.finalize_logged_model(model.model_id, "FAILED")
            self._client.set_terminated(run.info.run_id, status="KILLED" if version is None else "FINISHED")

    def _registered_versions(self) -> list[ModelVersion]:
        return list(self._client.search_model_versions(f"name='{self.model_name}'", max_results=1_000))

    def versions(self) -> list[VersionInfo]:
        """Return every registered version, newest first; none when the model is not registered yet."""
        found = self._registered_versions()
        if not found:
            return []
        aliases: dict[str, str] = dict(self._client.get_registered_model(self.model_name).aliases)
        newest_first = sorted(found, key=lambda each: int(each.version), reverse=True)
        return [version_info(each, self._client.get_run(each.run_id or ""), aliases) for each in newest_first]

    def version(self, version: str) -> VersionInfo:
        """Return one registered version.

        Raises:
            UnknownVersionError: the registry holds no such version.
        """
        found = self._version(version)
        aliases: dict[str, str] = dict(self._client.get_registered_model(self.model_name).aliases)
        return version_info(found, self._client.get_run(found.run_id or ""), aliases)

    def download_bundle(self, version: str, into: Path, *, expected_digest: str | None) -> ModelBundle:
        """Copy a version's bundle into a folder that does not exist yet and load it.

        Args:
            version: Registered version.
            into: Folder to make; absent after a failure.
            expected_digest: Digest that was approved; ``None`` takes the bytes as they are.

        Returns:
            The bundle; nothing of it was parsed before its digest was checked.

        Raises:
            UnknownVersionError: the registry holds no such version.
            lab_assets.modeling.bundle_info.BundleError: other bytes than approved, or not a bundle.
            FileExistsError: ``into`` exists.
        """
        from mlflow.exceptions import MlflowException

        if into.exists():
            raise FileExistsError(f"{into} exists")
        source = self._version(version).source or ""
        into.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into.parent, prefix=".download-") as scratch:
            try:
                copied = self._fetch(source, BUNDLE_FOLDER, Path(scratch))
            except (MlflowException, OSError, ArtifactPlaceError) as error:
                raise RegistryError(f"artefacts of {self.model_name} version {version} cannot be read: {error}") from error
            try:
                bundle = ModelBundle.load(copied, expected_digest)
            except BundleError as error:  # the copy is gone when this is read: what people can look at is where it came from
                raise type(error)(str(error).replace(str(copied), self._place(source, BUNDLE_FOLDER))) from error
            copied.rename(into)
        return bundle

    def get_alias(self, alias: str) -> str | None:
        """Return the version an alias points to, ``None`` when it is not set."""
        if not self._registered():
            return None
        version = dict(self._client.get_registered_model(self.model_name).aliases).get(alias)
        return None if version is None else str(version)

    def set_alias(self, alias: str, version: str | None) -> None:
        """Point an alias to a version; ``None`` removes it."""
        if version is None:
            if self.get_alias(alias) is not None:
                self._client.delete_registered_model_alias(self.model_name, alias)
            return
        self._client.set_registered_model_alias(self.model_name, alias, self._version(version).version)

    def set_stage(self, version: str, stage: Stage) -> None:
        """Tag the lifecycle state of a version."""
        self._client.set_model_version_tag(self.model_name, self._version(version).version, f"{TAG}stage", stage)

    def mirror(self, serving_version: str | None, stages: Mapping[str, Stage]) -> bool:
        """Make aliases and lifecycle states show what the ledger says; what shows it already is left alone.

        Args:
            serving_version: Version that serves and becomes ``champion``; ``None``: nothing serves.
            stages: Lifecycle state by version; other versions are ``None``.

        Returns:
            Whether anything was changed.
        """
        moved = self.get_alias(CHAMPION) != serving_version
        if moved:
            self.set_alias(CHAMPION, serving_version)
        challenged = serving_version is not None and self.get_alias(CHALLENGER) == serving_version
        if challenged:
            self.set_alias(CHALLENGER, None)
        wrong = [each.version for each in self.versions() if each.stage != stages.get(each.version, "None")]
        for version in wrong:
            self.set_stage(version, stages.get(version, "None"))
        return moved or challenged or bool(wrong)

    @cached_property
    def _client(self) -> MlflowClient:
        # MLflow reads these itself at import: no telemetry and no progress bars from a laboratory
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow import MlflowClient

        if (path := self.database_file) is not None:
            self.require_kept()
            _prepare_database(path)
            if self._home is not None:
                note_made(self._home, Kept.MLFLOW)
            self.make_portable()
        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    @cached_property
    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.model_name)
        if found is not None:
            return found.experiment_id
        if self.database_file is None:
            return self._client.create_experiment(self.model_name)  # a server keeps artefacts where its own settings say
        self.artifact_root.mkdir(parents=True, exist_ok=True)
        made = self._client.create_experiment(self.model_name, artifact_location=ROOT)
        self.make_portable()  # MLflow's own first experiment has come with it
        return made

    def make_portable(self) -> int:
        """Rewrite addresses of an embedded MLflow that hold for one path only; MLflow is not imported, and no database is made.

        Returns:
            How many addresses were rewritten.
        """
        return 0 if self.database_file is None else make_portable(self.database_file, self.artifact_root)

    def _keep(self, address: str, files: Path) -> None:
        """Put what a folder holds under an address of the embedded MLflow; its own client reads such addresses by a server only."""
        shutil.copytree(files, folder_of(address, self.artifact_root), dirs_exist_ok=True)

    def _fetch(self, address: str, name: str, into: Path) -> Path:
        """Copy a folder that lies under an address into another one, and return where it is."""
        from mlflow.artifacts import download_artifacts

        if self.database_file is None:
            return Path(download_artifacts(artifact_uri=self._place(address, name), dst_path=str(into), tracking_uri=self.tracking_uri))
        return Path(shutil.copytree(self._place(address, name), into / name))

    def _place(self, address: str, name: str) -> str:
        """Return where a folder lies under an address, for people."""
        return f"{address.rstrip('/')}/{name}" if self.database_file is None else str(folder_of(address, self.artifact_root) / name)

    def _registered(self) -> bool:
        return bool(self._client.search_registered_models(f"name='{self.model_name}'", max_results=1))

    def _version(self, version: str) -> ModelVersion:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version(self.model_name, version)
        except MlflowException as error:
            raise UnknownVersionError(f"{self.model_name} has no version {version!r} in the registry") from error

    def _log_model(self, record: TrainingRecord, run_id: str) -> tuple[str, str]:
        """Log the bundle with its ``MLmodel`` and signature; return the LoggedModel's id and artefact location."""
        from mlflow.models import Model

        bundle = record.experiment.bundle
        logged = self._client.create_logged_model(
            self._experiment_id,
            name=self.model_name,
            source_run_id=run_id,
            tags={f"{TAG}digest": bundle.digest},
            params={"feature_set_version": bundle.info.feature_set_version, "training_set_id": bundle.info.training_set_id},
            model_type="lightgbm",
        )
        described = Model(run_id=run_id, model_id=logged.model_id, signature=signature_of(bundle), metadata={"digest": bundle.digest})
        described.add_flavor(FLAVOR, path=BUNDLE_FOLDER, digest=bundle.digest)
        with tempfile.TemporaryDirectory() as scratch:
            bundle.save(Path(scratch) / BUNDLE_FOLDER)
            described.save(str(Path(scratch) / "MLmodel"))
            if self.database_file is None:
                self._client.log_model_artifacts(logged.model_id, scratch)
            else:
                self._keep(str(logged.artifact_location), Path(scratch))
        self._client.finalize_logged_model(logged.model_id, "READY")
        return logged.model_id, str(logged.artifact_location)

    def _log_numbers(self, record: TrainingRecord, run_id: str, model_id: str) -> None:
        from mlflow.entities import Metric, Param

        at = milliseconds(record.trained_at_utc)
        metrics = [Metric(key, value, at, 0, model_id=model_id) for key, value in metrics_of(record.experiment).items()]
        params = [Param(key, str(value)) for key, value in params_of(record.plan).items()]
        for start in range(0, len(metrics), 900):  # MLflow takes 1,000 a call
            self._client.log_batch(run_id, metrics=metrics[start : start + 900], params=params if start == 0 else [])
        verdict = record.experiment.verdict
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / "reliability.png").write_bytes(record.diagram)
            gate = json.dumps({"passed": verdict.passed, "reasons": list(verdict.reasons)}, indent=2)
            (Path(scratch) / "gate.json").write_text(gate)
            if self.database_file is None:
                self._client.log_artifacts(run_id, scratch)
            else:
                self._keep(str(self._client.get_run(run_id).info.artifact_uri), Path(scratch))

    def _log_datasets(self, record: TrainingRecord, run_id: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(
                    name=table,
                    digest=f"v{version}",
                    source_type="delta_table",
                    source=json.dumps({"path": record.table_uris.get(table, table), "delta_table_version": version}),
                ),
                tags=[InputTag("mlflow.data.context", "training")],
            )
            for table, version in sorted(record.table_versions.items())
        ]
        if inputs:
            self._client.log_inputs(run_id, inputs)

    def _register(self, record: TrainingRecord, run_id: str, model_id: str, location: str) -> str:
        if not self._registered():
            self._client.create_registered_model(self.model_name, description="Risk that an injection turns out out of specification.")
        version = self._client.create_model_version(
            self.model_name,
            source=location,
            run_id=run_id,
            model_id=model_id,
            tags={**tags_of(record), f"{TAG}stage": "None", f"{TAG}model_id": model_id},
            description="; ".join(record.experiment.verdict.reasons),
        ).version
        failpoint("after_version_registered")
        self.set_alias(CHALLENGER, str(version))
        return str(version)


def _prepare_database(path: Path) -> None:
    """Give a database that MLflow is about to make a write-ahead log, as the laboratory's own has.

    MLflow makes its tables by some seventy migrations with a commit each. With that log a commit is one flush to disk instead
    of four, and whoever looks at MLflow meanwhile is not locked out.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
