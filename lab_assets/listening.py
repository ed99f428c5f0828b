"""Whether this machine can listen at the address of a setting.

Belongs here: trying ``LAB_HOST``. Does not belong here: whether a port is free (``lab_assets.ops.components``, ``lab_assets.service.main``).
"""

from __future__ import annotations

import socket

from lab_assets.fault_kinds import EnvironmentFaultError, Kind

WAY_OUT = "set LAB_HOST to the name or the address of an interface of this machine: 127.0.0.1, 0.0.0.0 or ::"


def host_problem(host: str) -> str:
    """Return why nothing can listen at an address, whatever the port; empty where something can."""
    try:
        with socket.socket(family_of(host), socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except (OSError, UnicodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "no name of a machine"
        return f"LAB_HOST={host} is no address of this machine ({said})"
    return ""


def family_of(host: str) -> socket.AddressFamily:
    """Return the kind of address that a setting names; a name is taken for one of IPv4, as the server does."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def require_host(host: str) -> None:
    """Refuse an address at which nothing can listen.

    Raises:
        EnvironmentFaultError: it is one.
    """
    if problem := host_problem(host):
        raise EnvironmentFaultError(Kind.WRONG_SETTING, problem, what_to_do=WAY_OUT)
