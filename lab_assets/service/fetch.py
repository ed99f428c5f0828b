"""Fetches one approved bundle from MLflow into the local verified cache, as a process of its own.

MLflow stays out of the service: its imports would double the memory, and a registry that hangs is ended by a time-out.

Belongs here: the child process and how it is started. Does not belong here: verification (``lab_assets.registry.serving``).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from lab_assets.modeling.bundle import ModelBundle
from lab_assets.modeling.bundle_info import BundleError
from lab_assets.settings import Settings

TIMEOUT_S: Final = 120.0


def cached_bundle(settings: Settings, digest: str, *, version: str) -> ModelBundle:
    """Return a bundle by digest: from the local cache, else fetched by a child process; verified either way.

    Raises:
        BundleError: it cannot be had, or its bytes are not those of the digest.
    """
    from lab_assets.registry.serving import CACHE_FOLDER

    folder = settings.run / CACHE_FOLDER / digest
    if folder.exists():
        try:
            return ModelBundle.load(folder, digest)
        except BundleError:
            pass  # the child sets the folder aside and fetches it anew
    command = [sys.executable, "-m", "lab_assets.service.fetch", digest, version, str(settings.home), settings.mlflow_uri]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise BundleError(f"the model registry did not answer within {TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise BundleError(f"version {version} cannot be fetched: {last[0][:300]}")
    return ModelBundle.load(folder, digest)


def main(digest: str, version: str, home: str, mlflow_uri: str) -> None:
    """Fetch one bundle into the cache of a ``LAB_HOME``."""
    from lab_assets.registry.serving import bundle_of

    bundle_of(Settings(home=Path(home), mlflow_tracking_uri=mlflow_uri), digest, version=version)


if __name__ == "__main__":
    main(*sys.argv[1:5])
