"""Which model serves, and its verified bytes.

Belongs here: reading the serving decision from the approvals ledger, the local cache of verified bundles, the mirror of the
ledger in MLflow and the watch over it. Does not belong here: deciding (``lab_assets.governance``), scoring (``lab_assets.modeling``).
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, select

from lab_assets.features.inputs import not_computed, resolve
from lab_assets.modeling.bundle import ModelBundle
from lab_assets.modeling.bundle_info import INFO_FILE, BundleError, BundleInfo
from lab_assets.registry.mlflow_registry import CHAMPION, MODEL_NAME, ModelRegistry
from lab_assets.registry.model_records import Stage
from lab_assets.settings import Settings
from lab_assets.state.governance_tables import APPROVALS, SERVING_HISTORY

CACHE_FOLDER: Final = "models"


class NothingServesError(BundleError):
    """No version of the model was promoted yet."""


class NotApprovedError(BundleError):
    """The ledger names a version whose approval does not hold for its digest."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """The version that serves, as the ledger has it.

    Attributes:
        model_name: Registered model.
        version: Its version.
        digest: Digest of the bundle that was approved.
        since_utc: When it was put into service, ISO 8601 in UTC.
        decided_by: Who decided it.
        reason: Why.
        seq: Row of the serving history; rises with every change.
    """

    model_name: str
    version: str
    digest: str
    since_utc: str
    decided_by: str
    reason: str
    seq: int


def current_serving(source: Engine | Connection, model_name: str = MODEL_NAME) -> Serving | None:
    """Return what serves according to the newest row of the serving history; ``None`` when nothing was promoted.

    Raises:
        NotApprovedError: the row's approval is not an approval of exactly this version and digest.
    """
    history = SERVING_HISTORY.c
    query = (
        select(SERVING_HISTORY, APPROVALS.c.state, APPROVALS.c.digest.label("approved_digest"), APPROVALS.c.model_version.label("approved"))
        .join(APPROVALS, APPROVALS.c.approval_id == history.approval_id)
        .where(history.model_name == model_name)
        .order_by(history.seq.desc())
        .limit(1)
    )
    if isinstance(source, Engine):
        with source.connect() as connection:
            row = connection.execute(query).mappings().first()
    else:
        row = source.execute(query).mappings().first()
    if row is None:
        return None
    if row["state"] != "approved" or row["approved_digest"] != row["digest"] or row["approved"] != row["model_version"]:
        raise NotApprovedError(
            f"serving row {row['seq']} of {model_name} names version {row['model_version']} without an approval that holds"
        )
    return Serving(
        model_name=str(row["model_name"]),
        version=str(row["model_version"]),
        digest=str(row["digest"]),
        since_utc=str(row["at_utc"]),
        decided_by=str(row["decided_by"]),
        reason=str(row["reason"]),
        seq=int(row["seq"]),
    )


def registry_of(settings: Settings, *, model_name: str = MODEL_NAME) -> ModelRegistry:
    """Return the registry the settings name; MLflow is not imported yet."""
    return ModelRegistry(settings.mlflow_uri, settings.mlflow_artifacts, model_name=model_name, home=settings)


def cache_bundle(settings: Settings, bundle: ModelBundle) -> Path:
    """Put a bundle into the local cache and return its folder; a bundle already there stays."""
    folder = settings.run / CACHE_FOLDER / bundle.digest
    if folder.exists():
        return folder
    scratch = folder.with_name(f".{uuid.uuid4().hex}")
    bundle.save(scratch)
    try:
        scratch.rename(folder)
    except OSError:  # another process was first; the name is the digest, so its bytes are the same
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def bundle_of(settings: Settings, digest: str, *, version: str, model_name: str = MODEL_NAME) -> ModelBundle:
    """Return the bundle of a digest: from the local cache, else from MLflow; its bytes are verified either way.

    A cached folder that no longer holds the bytes of its name is set aside and fetched anew.

    Args:
        settings: Where cache and MLflow are.
        digest: Digest that was approved or that a prediction recorded.
        version: Version to ask MLflow for.
        model_name: Registered model.

    Raises:
        lab_assets.modeling.bundle_info.BundleError: MLflow's bytes are not those of the digest.
        lab_assets.registry.mlflow_registry.UnknownVersionError: MLflow holds no such version.
    """
    folder = settings.run / CACHE_FOLDER / digest
    if folder.exists():
        try:
            return ModelBundle.load(folder, digest)
        except BundleError:
            folder.rename(folder.with_name(f"refused-{uuid.uuid4().hex}"))
    scratch = folder.with_name(f".{uuid.uuid4().hex}")
    bundle = registry_of(settings, model_name=model_name).download_bundle(version, scratch, expected_digest=digest)
    shutil.rmtree(scratch)
    cache_bundle(settings, bundle)
    return bundle


def uncomputed_features(info: BundleInfo, version: str) -> str:
    """Return what is said where this program does not compute the features of a model: new runs have no score; empty where it does."""
    if resolve(info.feature_set_version, info.feature_names) is not None:
        return ""
    return (
        f"new runs have no score: the model {info.model_name} {version} uses {not_computed(info.feature_set_version, info.feature_names)}"
    )


def serving_problem(settings: Settings, serving: Serving) -> str:
    """Return ``uncomputed_features`` of the model that serves; empty as well where its bytes were not fetched yet, or are no bundle."""
    try:
        info = BundleInfo.from_bytes((settings.run / CACHE_FOLDER / serving.digest / INFO_FILE).read_bytes())
    except (OSError, BundleError):
        return ""
    return uncomputed_features(info, serving.version)


def verified_bundle(settings: Settings, engine: Engine, *, model_name: str = MODEL_NAME) -> ModelBundle:
    """Return the bundle that serves according to the ledger, verified against the approved digest.

    Raises:
        NothingServesError: nothing was promoted yet.
        NotApprovedError: the ledger does not hold together.
        lab_assets.modeling.bundle_info.BundleError: the bytes found are not those that were approved.
    """
    serving = current_serving(engine, model_name=model_name)
    if serving is None:
        raise NothingServesError(f"no version of {model_name} serves; train, submit, approve and promote one")
    return bundle_of(settings, serving.digest, version=serving.version, model_name=model_name)


def mirror_ledger(registry: ModelRegistry, engine: Engine) -> bool:
    """Make MLflow show what the ledger says of every version: the one thing to do after any decision, and to do again at any time.

    A decision is complete once the ledger holds it. A process that is killed before MLflow shows it leaves the mirror behind;
    the next decision or the next check of the alias finishes it.

    Returns:
        Whether anything differed.

    Raises:
        NotApprovedError: the ledger does not hold together; nothing is mirrored.
    """
    serving = current_serving(engine, model_name=registry.model_name)
    stages: dict[str, Stage] = {}
    with engine.connect() as connection:
        submitted = select(APPROVALS.c.model_version, APPROVALS.c.state).where(APPROVALS.c.model_name == registry.model_name)
        for row in connection.execute(submitted.order_by(APPROVALS.c.approval_id)):
            stages[row.model_version] = "Archived" if row.state == "rejected" else "Staging"
        served = select(SERVING_HISTORY.c.model_version).where(SERVING_HISTORY.c.model_name == registry.model_name)
        stages |= dict.fromkeys(connection.execute(served).scalars(), "Archived")
    if serving is not None:
        stages[serving.version] = "Production"
    return registry.mirror(None if serving is None else serving.version, stages)


def check_alias(registry: ModelRegistry, engine: Engine, *, at_utc: datetime) -> dict[str, Any] | None:
    """Hold MLflow against the ledger; put right what differs, and return an alert when it was the alias.

    The alert is a warning where the alias is at the version that served before: a promotion that was cut off leaves it there.

    Args:
        registry: Where the alias is.
        engine: The ledger.
        at_utc: Time of the check.

    Returns:
        A row of ``ml.alerts`` when the alias was not where the ledger says, else ``None``.
    """
    found = registry.get_alias(CHAMPION)
    with engine.connect() as connection:
        of_model = select(SERVING_HISTORY.c.model_version).where(SERVING_HISTORY.c.model_name == registry.model_name)
        newest = [*connection.execute(of_model.order_by(SERVING_HISTORY.c.seq.desc()).limit(2)).scalars(), None, None]
    wanted, before = newest[:2]
    mirror_ledger(registry, engine)
    if found == wanted:
        return None
    subject = f"{registry.model_name}@{CHAMPION}"
    pointed, serves = (f"version {each}" if each else "nothing" for each in (found, wanted))
    message = f"alias {subject} pointed to {pointed} while {serves} serves; it was put back, serving did not follow"
    identity = hashlib.sha256(f"alias_moved|{subject}|{found}|{wanted}|{at_utc.isoformat()}".encode()).hexdigest()
    return {
        "alert_id": identity[:32],
        "kind": "alias_moved",
        "severity": "warning" if found == before else "critical",
        "subject": subject,
        "message": message,
        "raised_at_utc": at_utc,
    }
