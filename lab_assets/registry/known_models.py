"""Whether the registry still holds what is known of it: every version that was submitted, each with the bytes of its digest.

Belongs here: holding MLflow against the approvals ledger. Does not belong here: mending (a backup does), aliases and stages, which
``serving.mirror_ledger`` puts right.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from lab_assets.modeling.bundle_info import BundleError
from lab_assets.registry.mlflow_registry import ModelRegistry, RegistryLostError
from lab_assets.state.database import file_fault
from lab_assets.state.governance_tables import APPROVALS


@dataclass(frozen=True, kw_only=True)
class ModelFault:
    """A registered version that is not what it was.

    Attributes:
        version: Its number in the registry; empty for the registry as a whole.
        digest: Digest of its bundle, as it was recorded.
        problem: What is wrong, for people; it names the place.
    """

    version: str
    digest: str
    problem: str


def known_versions(engine: Engine, model_name: str) -> dict[str, str]:
    """Return the digest of every version that was ever submitted, by its number."""
    with engine.connect() as connection:
        query = select(APPROVALS.c.model_version, APPROVALS.c.digest).where(APPROVALS.c.model_name == model_name)
        return dict(connection.execute(query.order_by(APPROVALS.c.approval_id)).tuples().all())


def require_known(registry: ModelRegistry, engine: Engine) -> None:
    """Refuse to speak for a registry that lacks versions which are known to have been in it.

    Raises:
        RegistryLostError: it does, or its file is gone.
    """
    known = known_versions(engine, registry.model_name)
    registry.require_kept()
    held = {each.version for each in registry.versions()} if known else set()
    if lost := sorted(known.keys() - held, key=int):
        raise RegistryLostError(_lacks(registry, lost))


def model_faults(registry: ModelRegistry, engine: Engine) -> list[ModelFault]:
    """Hold the registry against the ledger and each bundle against its digest; nothing is changed.

    Where no version was ever submitted and MLflow has no file yet, MLflow is not asked at all.
    """
    known = known_versions(engine, registry.model_name)
    path = registry.database_file
    try:
        registry.require_kept()
    except RegistryLostError as error:
        return [ModelFault(version="", digest="", problem=str(error))]
    if path is not None and not path.exists():
        return [ModelFault(version="", digest="", problem=_lacks(registry, sorted(known)))] if known else []
    if path is not None and (fault := file_fault(path)):
        return [ModelFault(version="", digest="", problem=f"{path} is damaged ({fault}): put it back from a backup with 'lab restore'")]
    return _version_faults(registry, known)


def _version_faults(registry: ModelRegistry, known: dict[str, str]) -> list[ModelFault]:
    from mlflow.exceptions import MlflowException

    try:
        digests = {each.version: each.digest for each in registry.versions()}
    except (MlflowException, SQLAlchemyError) as error:
        place = registry.database_file or registry.tracking_uri
        return [ModelFault(version="", digest="", problem=f"{place} cannot be used ({str(error).splitlines()[0]})")]
    faults: list[ModelFault] = []
    if lost := sorted(known.keys() - digests.keys(), key=int):
        faults.append(ModelFault(version=lost[0], digest=known[lost[0]], problem=_lacks(registry, lost)))
    for version, noted in digests.items():
        digest = known.get(version, noted)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                registry.download_bundle(version, Path(scratch) / "bundle", expected_digest=digest)
            except BundleError as error:
                problem = f"version {version} of {registry.model_name}: {error}; put mlflow/artifacts back from a backup with 'lab restore'"
                faults.append(ModelFault(version=version, digest=digest, problem=problem))
    return faults


def _lacks(registry: ModelRegistry, versions: list[str]) -> str:
    place = registry.database_file or registry.tracking_uri
    return (
        f"{place} lacks version {', '.join(versions)} of {registry.model_name}, which the approvals know: "
        "it is gone or older than the database; put it back from a backup with 'lab restore'"
    )
