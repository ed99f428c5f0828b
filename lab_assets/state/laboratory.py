"""Whose a database is: the laboratory that made it, and what else there may be only one of.

Belongs here: the table ``laboratory`` and refusing a second laboratory. Does not belong here: which home is which
(``lab_assets.home_identity``), locks within one laboratory.

Two homes on one database corrupt its ledger: the second takes the first's open batch for one that was interrupted. So a database that
lies outside of the home says whose it is. One inside of it moves and is copied with it, and needs no such word.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, String, Table, Text, insert, select, update

from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.home_identity import Place, place_of, record_path
from lab_assets.settings import Settings
from lab_assets.state.metadata import METADATA

LABORATORY: Final = Table(
    "laboratory",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""Facts there is one of in a laboratory, by name."""

_HOME: Final = "home"
_MASK_KEY: Final = "mask_key"


def is_owner(connection: Connection, settings: Settings) -> bool:
    """Return whether a database is noted as that of this home in this place."""
    return _fact(connection, _HOME) == _written(place_of(settings))


def claim(connection: Connection, settings: Settings) -> None:
    """Note a database as that of this home, unless it is another's.

    Args:
        connection: A write transaction.
        settings: Whose home.

    Raises:
        EnvironmentFaultError: it is another laboratory's, or that of a home this one is a copy of and that still stands.
    """
    place = place_of(settings)
    known = json.loads(_fact(connection, _HOME) or "null")
    if known is not None and not _may_take(known, place, settings):
        where = connection.engine.url.render_as_string(hide_password=True)
        owner = f"belongs to the home {known['path']} ({known['home_id'][:8]}), and this is {place.path} ({place.home_id[:8]})"
        raise EnvironmentFaultError(Kind.OTHER_HOME, where, owner)
    _note(connection, _HOME, _written(place))


def digest_of_key(secret: bytes) -> str:
    """Return by what a key of pseudonyms is known, without saying anything of it."""
    return hashlib.sha256(b"lab mask key " + secret).hexdigest()


def noted_key(connection: Connection) -> str | None:
    """Return the digest of the key that this laboratory's pseudonyms are made with; ``None`` before the first was made."""
    return _fact(connection, _MASK_KEY)


def note_key(connection: Connection, digest: str) -> str:
    """Note the first key, in a write transaction, and return the digest of the one that is noted."""
    if (known := noted_key(connection)) is not None:
        return known
    _note(connection, _MASK_KEY, digest)
    return digest


def _may_take(known: dict[str, str], place: Place, settings: Settings) -> bool:
    """Return whether a home may have a database that another place is noted in: the same home, moved here."""
    if known["home_id"] != place.home_id:
        return False
    return known["path"] == place.path or not (Path(known["path"]) / record_path(settings).name).exists()


def _written(place: Place) -> str:
    return json.dumps({"home_id": place.home_id, "path": place.path}, sort_keys=True)


def _fact(connection: Connection, name: str) -> str | None:
    return connection.execute(select(LABORATORY.c.value).where(LABORATORY.c.name == name)).scalar()


def _note(connection: Connection, name: str, value: str) -> None:
    if connection.execute(update(LABORATORY).where(LABORATORY.c.name == name).values(value=value)).rowcount == 0:
        connection.execute(insert(LABORATORY).values(name=name, value=value))
