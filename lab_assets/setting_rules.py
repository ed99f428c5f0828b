"""What a setting may be, in words that name the allowed values.

Belongs here: rules of single values, and how a broken one is named. Does not belong here: the settings themselves (``settings.py``),
rules that need to look at a home or a server (``lab_assets.ops.setting_checks``).
"""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any, Final

LEAST_HEAP_MIB: Final = 512
"""Spark refuses to start with less than 450 MiB."""
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LAKE_SCHEMES: Final = ("file", "s3", "s3a", "gs", "az", "abfs", "abfss")
_MIB: Final = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}
_REMOTE: Final = re.compile(r"sc://(?P<host>\[[0-9a-fA-F:]+\]|[^\s/;:\[\]]+)(:(?P<port>[0-9]+))?(/(;[^\s;=]+=[^\s;]*)*;?)?")
_HOST: Final = re.compile(r"[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_DATABASE: Final = re.compile(r"(?P<backend>sqlite|postgresql)(\+(?P<driver>\w+))?://\S*")
_DRIVERS: Final = {"": "psycopg2", "psycopg": "psycopg", "psycopg2": "psycopg2"}
_UNPLAIN: Final = re.compile(r"""[^!-~]|["#%<>?\\^`{|}]""", re.ASCII)
"""What is written otherwise in an address than in a path; the libraries that read tables do not agree on which of both they are given."""


def require_plain_path(path: str) -> None:
    """Refuse a folder in which no table could be read: a space is enough.

    Raises:
        ValueError: the path holds such a character.
    """
    if found := _UNPLAIN.search(path):
        raise ValueError(f"the path {path} holds {found[0]!r}: choose a folder whose path has letters of ASCII, digits, . _ - and / only")


def require_zone(zone: str) -> None:
    """Refuse what is no IANA time zone.

    Raises:
        ValueError: there is no such zone.
    """
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = nearest(zone, zoneinfo.available_timezones())
        raise ValueError(
            f"{zone!r} is no IANA time zone such as UTC or Europe/Berlin{f'; did you mean {near}?' if near else ''}"
        ) from error


def require_source(name: str) -> None:
    """Refuse what cannot be the name of a drop folder.

    Raises:
        ValueError: no folder can have the name, or it would never be looked at.
    """
    if not name or "/" in name or name.startswith(".") or not name.isprintable():
        raise ValueError(
            f"{name!r} is no name of a drop folder: the name of one folder below inbox/, without / and not beginning with a dot"
        )


def require_heap(size: str) -> None:
    """Refuse a size of memory that Java does not understand, or with which Spark does not start.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"([1-9][0-9]*)([kmgt])", size, re.IGNORECASE)
    if found is None:
        raise ValueError("allowed are a whole number and k, m, g or t, such as 1g or 1536m")
    if int(found[1]) * _MIB[found[2].lower()] < LEAST_HEAP_MIB:
        raise ValueError(f"Spark needs at least {LEAST_HEAP_MIB}m")


def require_remote(address: str) -> None:
    """Refuse what is no address of a Spark Connect server.

    Raises:
        ValueError: it is none; the address is not repeated, since it may hold a token.
    """
    found = _REMOTE.fullmatch(address)
    if found is None or (found["port"] is not None and not 1 <= int(found["port"]) <= 65535):
        raise ValueError("allowed is sc://HOST:PORT/;NAME=VALUE;..., such as sc://spark.example.org:15002/;token=SECRET")


def require_lake(uri: str) -> None:
    """Refuse a place for tables that no engine could open.

    Raises:
        ValueError: the scheme is unknown, no bucket is named, or the path holds what cannot be read.
    """
    scheme, mark, rest = uri.partition("://")
    if not mark or scheme == "file":
        require_plain_path(rest if mark else uri)
        return
    if scheme not in LAKE_SCHEMES:
        raise ValueError(f"allowed are a folder and addresses that begin with {', '.join(f'{each}://' for each in LAKE_SCHEMES)}")
    if not rest.strip("/"):
        raise ValueError(f"no bucket or container is named behind {scheme}://")


def require_database(url: str) -> None:
    """Refuse an address of a database that is not supported, or whose driver is not there.

    Raises:
        ValueError: so it is; the address is not repeated, since it may hold a password.
    """
    found = _DATABASE.fullmatch(url)
    if found is None:
        raise ValueError("allowed are sqlite:///PATH and postgresql+psycopg://USER:PASSWORD@HOST/DATABASE")
    if found["backend"] == "sqlite":
        return
    driver = _DRIVERS.get(found["driver"] or "")
    if driver is None:
        raise ValueError(f"the driver {found['driver']!r} is not supported: allowed are postgresql+psycopg and postgresql+psycopg2")
    if find_spec(driver) is None:
        raise ValueError(f"the driver {driver} is not installed: write postgresql+psycopg:// and run 'uv pip install psycopg[binary]'")


def require_mlflow(uri: str) -> None:
    """Refuse an address by which MLflow would keep models in the wrong place.

    With the address of a database MLflow itself chooses where artefacts lie: in the working directory of whoever trains.

    Raises:
        ValueError: it is one; the address is not repeated, since it may hold a password.
    """
    scheme = uri.partition(":")[0].partition("+")[0]
    if uri.startswith("sqlite:///") or scheme in {"http", "https", "databricks"} or uri == "databricks":
        return
    if scheme in {"postgresql", "postgres", "mysql", "mssql"}:
        raise ValueError(
            "models would be kept in the working directory of whoever trains: start 'mlflow server --backend-store-uri DATABASE "
            "--artifacts-destination PLACE' and set the http address of that server"
        )
    raise ValueError("allowed are sqlite:///PATH, http://HOST:PORT, https://HOST and databricks")


def require_host(host: str) -> None:
    """Refuse what is no address to listen on.

    Raises:
        ValueError: it is none.
    """
    if _HOST.fullmatch(host) is None:
        raise ValueError("allowed is the name or the IP address of an interface of this machine, without a port: 127.0.0.1, 0.0.0.0 or ::")


def require_log_level(level: str) -> None:
    """Refuse a level of the log that there is not.

    Raises:
        ValueError: there is none of that name.
    """
    if level.upper() not in LOG_LEVELS:
        raise ValueError(f"allowed are {', '.join(LOG_LEVELS)}")


def range_of(metadata: Iterable[Any]) -> str:
    """Return which numbers the constraints of a field allow; empty where it has none."""
    limits = {name: getattr(each, name) for each in metadata for name in ("ge", "gt", "le", "lt") if getattr(each, name, None) is not None}
    low = f"from {limits['ge']}" if "ge" in limits else f"above {limits['gt']}" if "gt" in limits else ""
    high = f"to {limits['le']}" if "le" in limits else f"below {limits['lt']}" if "lt" in limits else ""
    return " ".join(each for each in (low, high) if each)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like another; empty where none is like it."""
    folded = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.75)
    return folded[found[0]] if found else ""
