"""Which model answers: the approved version from the signed ledger, loaded by digest, switched without a gap.

Belongs here: watching the ledger and holding the current bundle. Does not belong here: approvals (``lab_assets.governance``),
fetching bundles (``lab_assets.registry``).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from lab_assets.features.inputs import described
from lab_assets.modeling.bundle import ModelBundle
from lab_assets.modeling.bundle_info import BundleError
from lab_assets.modeling.training_range import TrainingRange
from lab_assets.service.fetch import cached_bundle
from lab_assets.service.plausibility import PlausibleRanges
from lab_assets.service.repeating import Repeating
from lab_assets.settings import Settings

POLL_S: Final = 0.5
MODEL_NAME: Final = "oos_risk"
_LOG: Final = logging.getLogger(__name__)


class Loader(Protocol):
    """Returns the verified bundle of a digest, or raises ``BundleError``."""

    def __call__(self, settings: Settings, digest: str, *, version: str) -> ModelBundle:
        """Load one bundle."""
        ...


class NoModelError(Exception):
    """No approved model is there to score with."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One approved version, loaded and checked.

    Attributes:
        name: Registered model.
        version: Its version.
        bundle: The model; its digest is the approved one.
    """

    name: str
    version: str
    bundle: ModelBundle

    @cached_property
    def plausible(self) -> PlausibleRanges:
        """What feature values need no word about."""
        info = self.bundle.info
        return PlausibleRanges.of(
            TrainingRange.from_model_text(self.bundle.model_text), described(info.feature_set_version, info.feature_names)
        )


class ModelWatch:
    """Holds the model that serves. A version whose bytes differ from the approved digest never replaces the one that serves."""

    def __init__(self, settings: Settings, engine: Engine, *, model_name: str = MODEL_NAME, load: Loader = cached_bundle) -> None:
        self._settings = settings
        self._engine = engine
        self._name = model_name
        self._load = load
        self._model: ServedModel | None = None
        self._repeating = Repeating("model-watch", self.refresh, every_s=POLL_S, failed=self._keep)
        self.alarm: str | None = None

    def start(self) -> None:
        """Load what should serve and keep watching in a thread."""
        self._repeating.start()

    def stop(self) -> None:
        """End the watch; the model stays loaded."""
        self._repeating.stop()

    @property
    def current(self) -> ServedModel:
        """The model that serves.

        Raises:
            NoModelError: none was ever approved, or none could be loaded.
        """
        model = self._model
        if model is None:
            raise NoModelError(self.alarm or f"no version of {self._name} is approved and promoted: see 'lab model list'")
        return model

    def refresh(self) -> None:
        """Compare with the ledger once and switch when it names another version; on any failure the old version stays."""
        from lab_assets.registry.serving import NotApprovedError, current_serving

        try:
            wanted = current_serving(self._engine, model_name=self._name)
            if wanted is None or (self._model is not None and self._is_current(wanted.version, wanted.digest)):
                self.alarm = None
                return
            bundle = self._load(self._settings, wanted.digest, version=wanted.version)
            self._model = ServedModel(name=self._name, version=wanted.version, bundle=bundle)
            self.alarm = None
            _LOG.info("model switched: %s version %s, digest %s", self._name, wanted.version, wanted.digest)
        except (BundleError, NotApprovedError, OSError, SQLAlchemyError) as error:
            self._keep(error)

    def _keep(self, error: Exception) -> None:
        alarm = f"{type(error).__name__}: {error}"
        if alarm != self.alarm:
            _LOG.error("model not switched, the old version stays: %s", alarm)
        self.alarm = alarm

    def _is_current(self, version: str, digest: str) -> bool:
        return self._model is not None and (self._model.version, self._model.bundle.digest) == (version, digest)
