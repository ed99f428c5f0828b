"""``python -m lab_assets.service``."""

from __future__ import annotations

if __name__ == "__main__":  # processes of queries load this module too, under another name
    from lab_assets.service.main import main

    main()
