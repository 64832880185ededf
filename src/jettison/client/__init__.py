"""A registry over HTTP: any that speaks the OCI distribution API."""

from jettison.client.cache import ConfigFacts, ManifestCache, cache_directory
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
    "ConfigFacts",
    "CredentialSource",
    "CredentialStore",
    "Credentials",
    "FixedCredentials",
    "ManifestCache",
    "Proxies",
    "RemoteRegistry",
    "Timing",
    "cache_directory",
    "is_loopback",
]
