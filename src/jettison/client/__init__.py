"""A registry over HTTP: any that speaks the OCI distribution API.

A name is loaded on first use: code that works on a storage alone may import one, and the HTTP
client takes longer to load than a small storage takes to collect.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jettison.client.credentials import (
        Credentials,
        CredentialSource,
        CredentialStore,
        FixedCredentials,
    )
    from jettison.client.proxies import Proxies, is_loopback
    from jettison.client.registry import RemoteRegistry
    from jettison.client.transport import ClientOptions, Timing

__all__ = [
    "ClientOptions",
    "CredentialSource",
    "CredentialStore",
    "Credentials",
    "FixedCredentials",
    "Proxies",
    "RemoteRegistry",
    "Timing",
    "is_loopback",
]

_PLACES = {
    "credentials": ("CredentialSource", "CredentialStore", "Credentials", "FixedCredentials"),
    "proxies": ("Proxies", "is_loopback"),
    "registry": ("RemoteRegistry",),
    "transport": ("ClientOptions", "Timing"),
}


def __getattr__(name: str) -> object:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(name)
