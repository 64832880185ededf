"""Addresses to listen on, as Go writes them."""

import ipaddress
import re
from typing import Final

from jettison.errors import ConfigurationError

__all__ = ["is_local", "parse_address"]

_ADDRESS: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<host>[\w.-]*)):(?P<port>[0-9]{1,5})", re.ASCII
)
_MAX_PORT: Final = 65535
HINT: Final = "It is HOST:PORT, such as 127.0.0.1:5000, [::1]:5000, or :5000 for every interface."


def parse_address(addr: str) -> tuple[str, int]:
    """Split ``HOST:PORT`` or ``[IPv6]:PORT``; an empty host means every interface.

    Port 0 lets the system choose. Raises :class:`~jettison.errors.ConfigurationError`.
    """
    found = _ADDRESS.fullmatch(addr)
    if found is not None and int(found["port"]) <= _MAX_PORT:
        if found["six"] is None:
            return found["host"], int(found["port"])
        try:
            return str(ipaddress.IPv6Address(found["six"])), int(found["port"])
        except ValueError:
            pass
    raise ConfigurationError(f"{addr[:80]!r} is no address to listen on", hint=HINT)


def is_local(addr: str) -> bool:
    """Whether only programs of this machine can connect to ``HOST:PORT``; names are not asked."""
    host, _ = parse_address(addr)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
