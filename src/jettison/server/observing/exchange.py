"""One request and its answer, for the access log, the metrics and the notifications."""

from typing import Final

import msgspec

__all__ = ["ROUTES", "Exchange"]

ROUTES: Final = (
    *("base", "catalog", "tags", "manifest", "blob", "upload", "referrers", "images", "other"),
)
"""The kinds of address; ``other`` is everything else."""


class Exchange(msgspec.Struct, gc=False):
    """A request and its outcome.

    ``target`` is the raw path with its query, as it came. ``route`` is one of :data:`ROUTES`.
    ``received`` and ``sent`` are bytes of the bodies. ``started`` is in seconds since the epoch,
    ``seconds`` how long the request took. ``client`` is an address without its port, ``user`` is
    empty without a login, ``version`` is that of HTTP. Values from a client are unchanged here;
    code that prints them escapes them.
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
