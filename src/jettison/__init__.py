"""Jettison deletes images from container registries, gets the disk space back, and proves it.

From Python::

    import jettison

    with jettison.open_registry("localhost:5000") as registry:
        plan = registry.plan_removal("app:1.0")
        print(plan.plan.estimate.freed_bytes)
        entry = registry.remove(plan)

    storage = jettison.open_storage("/var/lib/registry")
    print(storage.collect().receipt.blobs.bytes)

``connect`` is ``open_registry`` for code with an event loop. Every error is a
:class:`JettisonError`, with ``message``, ``hint`` and the exit code of the command line. More is in
docs/python.md. A name is loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jettison.api.connection import Connection
    from jettison.api.registry import AsyncRegistrySession, RegistrySession
    from jettison.api.storage import StorageSession
    from jettison.client.credentials import Credentials
    from jettison.collector.options import CollectOptions
    from jettison.configuration.policy_file import parse_policy, read_policy
    from jettison.errors import Cancelled, JettisonError
    from jettison.fsck.check import CheckOptions
    from jettison.jobs.discover import Extent
    from jettison.jobs.remove import RemovalSettings
    from jettison.model.plausibility import Consent
    from jettison.model.retention.decide import Held
    from jettison.model.retention.in_use import read_in_use
    from jettison.model.retention.policy import Policy
    from jettison.model.retention.prune_plan import Allowed
    from jettison.progress import Progress

    connect = AsyncRegistrySession
    open_registry = RegistrySession
    open_storage = StorageSession

__version__ = "0.1.0"

__all__ = [
    "Allowed",
    "AsyncRegistrySession",
    "Cancelled",
    "CheckOptions",
    "CollectOptions",
    "Connection",
    "Consent",
    "Credentials",
    "Extent",
    "Held",
    "JettisonError",
    "Policy",
    "Progress",
    "RegistrySession",
    "RemovalSettings",
    "StorageSession",
    "__version__",
    "connect",
    "open_registry",
    "open_storage",
    "parse_policy",
    "read_in_use",
    "read_policy",
]

_PLACES = {
    "Allowed": ("model.retention.prune_plan", "Allowed"),
    "AsyncRegistrySession": ("api.registry", "AsyncRegistrySession"),
    "Cancelled": ("errors", "Cancelled"),
    "CheckOptions": ("fsck.check", "CheckOptions"),
    "CollectOptions": ("collector.options", "CollectOptions"),
    "Connection": ("api.connection", "Connection"),
    "Consent": ("model.plausibility", "Consent"),
    "Credentials": ("client.credentials", "Credentials"),
    "Extent": ("jobs.discover", "Extent"),
    "Held": ("model.retention.decide", "Held"),
    "JettisonError": ("errors", "JettisonError"),
    "Policy": ("model.retention.policy", "Policy"),
    "Progress": ("progress", "Progress"),
    "RegistrySession": ("api.registry", "RegistrySession"),
    "RemovalSettings": ("jobs.remove", "RemovalSettings"),
    "StorageSession": ("api.storage", "StorageSession"),
    "connect": ("api.registry", "AsyncRegistrySession"),
    "open_registry": ("api.registry", "RegistrySession"),
    "open_storage": ("api.storage", "StorageSession"),
    "parse_policy": ("configuration.policy_file", "parse_policy"),
    "read_in_use": ("model.retention.in_use", "read_in_use"),
    "read_policy": ("configuration.policy_file", "read_policy"),
}


if not TYPE_CHECKING:  # for a type checker there is nothing but the names above

    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, attribute = _PLACES[name]
        return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
