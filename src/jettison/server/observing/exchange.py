"""One request and its answer: what the access log, the metrics and the notifications tell of."""

from typing import Final

import msgspec

__all__ = ["ROUTES", "Exchange"]

ROUTES: Final = (*("base", "catalog", "tags", "manifest", "blob", "upload", "referrers", "other"),)
"""The kinds of address that there are; ``other`` is whatever none of the rest is."""


class Exchange(msgspec.Struct, gc=False):
    """A request and what came of it.

    ``target`` is the raw path with its query, as it came. ``route`` is one of :data:`ROUTES`.
    ``received`` and ``sent`` are bytes of the bodies. ``started`` is in seconds since the epoch,
    ``seconds`` how long the request took. ``client`` is an address without its port, ``user`` is
    empty where nobody logged in, ``version`` is that of HTTP. What a client wrote is in here as it
    came; whoever prints it escapes it.
    """

    request_id: str
    method: str
    target: str
    route: str = "other"
    repository: str = ""
    status: int = 0
    received: int = 0
    sent: int = 0
    started: float = 0.0
    seconds: float = 0.0
    client: str = ""
    user: str = ""
    agent: str = ""
    referer: str = ""
    host: str = ""
    version: str = "1.1"
