"""``python -m lab_assets.service``."""

from __future__ import annotations

from lab_assets.service.main import main

main()
