"""Messages about a registry's descriptor cache, before and after a removal.

A registry that remembers blobs (``storage.cache.blobdescriptor``, which packaged configurations
switch on) says that a removed blob exists; a push leaves it out, and the image is broken. Only its
own configuration says whether it does, unless variables override it.
"""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from jettison.cli.output import bold, dim, note, yellow
from jettison.errors import JettisonError

if TYPE_CHECKING:
    from jettison.configuration import Configuration
    from jettison.model.journal import CollectionEntry
    from jettison.storage.protocol import Storage

__all__ = ["remembers", "tell_after_collection", "warn_before_removal"]

_KEY: Final = "storage.cache.blobdescriptor"
_PATIENCE: Final = 5.0
"""Seconds to wait for a connection, and for each answer."""


def remembers(configuration: "Configuration | None") -> str | None:
    """Return ``inmemory``, ``redis``, None for no cache, or ``unknown`` without a configuration."""
    return "unknown" if configuration is None else configuration.storage.cache


def warn_before_removal(configuration: "Configuration | None") -> None:
    """Warn that a running registry will remember what goes."""
    kind = remembers(configuration)
    if kind == "unknown":
        note(
            dim(f"Whether the registry remembers blobs ({_KEY}) is not known without its")
            + dim(" configuration. If it does, restart it afterwards: until then a push that")
            + dim(" relies on a removed blob makes a broken image.")
        )
    elif kind == "redis":
        note(
            yellow("warning: the registry remembers blobs (redis): what is removed is removed ")
            + yellow("from its Redis too, but until then a push that relies on it makes a broken ")
            + yellow("image.")
        )
    elif kind is not None:
        note(
            yellow(f"warning: the registry remembers blobs ({kind}): a push that relies on a ")
            + yellow("removed blob is accepted and makes a broken image, until it is restarted: ")
            + yellow("restart it afterwards.")
        )


def tell_after_collection(
    configuration: "Configuration | None",
    storage: "Storage",
    run: "CollectionEntry",
    addresses: Sequence[str],
    *,
    resumed: bool = False,
) -> None:
    """Ask the registry, if it can be reached, whether it still promises what went.

    Ends with one sentence about what to restart. ``resumed``: a command has just started it, so it
    remembers nothing.
    """
    if not run.blobs:
        return
    kind = remembers(configuration)
    asked = [name for name in dict.fromkeys(addresses) if _listens(name)]
    stale = [name for name in asked if _is_stale(name, storage, run)]
    if stale:
        names = " and ".join(stale)
        _next(f"Restart the registry at {names} now: it still promises blobs that are gone, and")
    elif resumed or kind in {None, "redis"}:
        return
    elif kind == "unknown" and asked:
        names = " and ".join(asked)
        note(dim(f"{names} was asked, and promises none of what is gone."))
    else:
        where = f" at {' and '.join(asked)}" if asked else ""
        sure = "" if kind == "unknown" else f", which remembers blobs ({kind})"
        _next(f"If the registry{where} was running, restart it now{sure}: else")


def _next(text: str) -> None:
    note(f"{bold(' next:')} {text} a push that relies on them makes a broken image.")


def _listens(name: str) -> bool:
    host, colon, port = name.rpartition(":")
    if not colon or not port.isdecimal():
        host, port = name, "443"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE):
            return True
    except (OSError, OverflowError):
        return False


def _is_stale(name: str, storage: "Storage", run: "CollectionEntry") -> bool:
    import asyncio

    from jettison.cli.options import Connection
    from jettison.jobs.verify_collection import verify_collection

    async def ask() -> bool:
        async with Connection(timeout=_PATIENCE).open(name) as registry:
            findings = await verify_collection(registry, storage, run)
        return not all(finding.ok for finding in findings)

    try:
        return asyncio.run(ask())
    except JettisonError as error:
        note(dim(f"{name} cannot be asked whether it remembers what went: {error.message}"))
        return False
