"""Runs the service: ``python -m lab_assets.service``.

Belongs here: the server's options. Does not belong here: the application.
"""

from __future__ import annotations

import gc

import uvicorn

from lab_assets.service.app import create_app
from lab_assets.settings import get_settings


def main() -> None:
    """Serve on the configured address with one worker until stopped."""
    settings = get_settings()
    app = create_app(settings)
    gc.collect()
    gc.freeze()  # what is loaded now lives as long as the process; collections need not walk it
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.service_port,
        workers=1,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level=settings.log_level.lower(),
        server_header=False,
        limit_concurrency=1024,
        backlog=512,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=16 * 1024,
    )
