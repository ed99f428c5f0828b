"""Where Dagster keeps what it writes: below the laboratory's home, whichever process reads ``dagster.yaml``.

Belongs here: from a folder named in ``dagster.yaml`` to one of this laboratory. Does not belong here: what is kept there (Dagster's).
Imported by Dagster alone, by its name in ``dagster.yaml``.

A folder that is named there alone would lie where the process was started: ``dagster dev`` for a laboratory elsewhere would write its
history into the checkout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage, LocalArtifactStorageConfig

from lab_assets.settings import get_settings

if TYPE_CHECKING:
    from dagster._serdes import ConfigurableClassData


def below_home(folder: str) -> str:
    """Return a folder of ``dagster.yaml`` as it is in this laboratory; an absolute one stays what it is."""
    return str(get_settings().home / folder)


class HomeArtifactStorage(LocalArtifactStorage):
    """Dagster's folder for files of runs, below the laboratory's home."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: LocalArtifactStorageConfig) -> HomeArtifactStorage:
        """Open the folder that ``dagster.yaml`` names."""
        return cls(base_dir=below_home(config_value["base_dir"]), inst_data=inst_data)


class HomeComputeLogManager(LocalComputeLogManager):
    """Dagster's logs of steps in files, below the laboratory's home."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: dict[str, Any]) -> HomeComputeLogManager:
        """Open the folder that ``dagster.yaml`` names."""
        return cls(**{**config_value, "base_dir": below_home(config_value["base_dir"])}, inst_data=inst_data)
