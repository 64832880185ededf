"""Who may do what: logins by password file or token, and the rules of ``jettison.access``."""

from jettison.server.access.grant import (
    AccessAction,
    Grant,
    Guard,
    TooManyLogins,
    Unauthorized,
    Wanted,
)
from jettison.server.access.guards import make_guard

__all__ = [
    "AccessAction",
    "Grant",
    "Guard",
    "TooManyLogins",
    "Unauthorized",
    "Wanted",
    "make_guard",
]
