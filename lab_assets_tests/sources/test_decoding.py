"""Names that promise a credential, and names that only look like one."""

from __future__ import annotations

import pytest

from lab_assets.sources.core.decoding import is_secret


@pytest.mark.parametrize(
    "key",
    """Password|passwd|Passwort|Pass phrase|Passcode|Kennwort|Mot de passe|Login|Login name|User name|UserName|user_name|User ID
    Anmeldename|Benutzername|Benutzerkennung|API key|apiKey|x-api-key|Access code|Access key|Token|Client secret|PIN|PIN:|User PIN|user_pin
    PIN code""".replace("\n    ", "|").split("|"),
)
def test_credentials(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize(
    "key",
    """User|Operator|Bediener|Method|Pump pin hole|Pin position|Guide pin|Pinhole|Spinning|Capping|Accessory code|Access|Product code
    Key|Sample key|Anmeldung|Passage|Benutzer|Pass""".replace("\n    ", "|").split("|"),
)
def test_no_credentials(key: str) -> None:
    assert not is_secret(key)
