"""How to reach a registry."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jettison.client import Credentials, RemoteRegistry
    from jettison.manifest_cache import ManifestCache

__all__ = ["Connection"]


@dataclass(frozen=True)
class Connection:
    """How to reach a registry.

    ``plain_http``: without TLS, or with it; None: without for loopback hosts alone. ``insecure``:
    the certificate is not verified. ``ca_file``, ``cert`` and ``key`` are PEM files, ``authfile``
    is a credentials file instead of those of Docker and Podman. ``jobs`` is the number of requests
    at once, ``timeout`` how long to wait for an answer (seconds).
    """

    plain_http: bool | None = None
    insecure: bool = False
    ca_file: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    authfile: Path | None = None
    jobs: int = 8
    timeout: float = 30.0

    @asynccontextmanager
    async def open(
        self, host: str, credentials: "Credentials | None" = None
    ) -> AsyncIterator["RemoteRegistry"]:
        """Yield the registry, with ``credentials`` or those of the user's files.

        Nothing is sent before it is used.
        """
        from jettison.client import (  # noqa: PLC0415 - loads the HTTP client
            ClientOptions,
            CredentialStore,
            Proxies,
            RemoteRegistry,
        )

        options = ClientOptions(
            plain_http=self.plain_http,
            insecure=self.insecure,
            ca_file=self.ca_file,
            cert=self.cert,
            key=self.key,
            jobs=self.jobs,
            timeout=self.timeout,
            proxies=Proxies.of_environment(os.environ),
        )
        source = credentials or CredentialStore.of_user(self.authfile)
        async with RemoteRegistry(host, options, source) as registry:
            yield registry

    def cache(self) -> "ManifestCache":
        """Return the local cache of manifests; close it, or use it as a context manager."""
        from jettison.manifest_cache import (  # noqa: PLC0415 - as above
            ManifestCache,
            cache_directory,
        )

        return ManifestCache(cache_directory(os.environ, Path.home()))
