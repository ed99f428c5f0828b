"""One chromatography file per reader built on Allotrope's parsers."""

from __future__ import annotations

import json
from collections.abc import Callable

from lab_assets.sources.base import Reader
from lab_assets.sources.vendors.agilent.openlab_rslt import OpenLabRsltReader
from lab_assets.sources.vendors.cytiva.unicorn_zip import UnicornZipReader
from lab_assets.sources.vendors.thermo.chromeleon_json import ChromeleonJsonReader
from lab_assets.sources.vendors.waters.empower_json import EmpowerJsonReader
from lab_assets_tests.sources import allotrope_builders as build

READERS: tuple[Reader, ...] = (EmpowerJsonReader(), ChromeleonJsonReader(), OpenLabRsltReader(), UnicornZipReader())
FILES: dict[str, Callable[[], bytes]] = {
    "empower_json": lambda: json.dumps(build.empower()).encode(),
    "chromeleon_json": lambda: build.chromeleon_sequence(build.chromeleon_injection(1)).encode(),
    "openlab_rslt": build.openlab,
    "unicorn_zip": build.unicorn,
}
