"""What a store does and enforces, as far as it was tried: plain data."""

import msgspec

__all__ = ["StoreProbe", "UnfinishedUploads"]


class StoreProbe(msgspec.Struct, frozen=True):
    """What a store of objects was seen to do; None is what could not be tried.

    ``untried`` says why nothing was, or not all. In ``stale`` of ``rounds`` a listing did not show
    what was written, or showed what was removed. ``creates``: an object is stored only if there is
    none, where that is asked for. ``expires``: a signed DELETE is refused when its time is over.
    ``unsigned`` is why no DELETE can be signed. ``versions``: what is removed is kept. ``left`` is
    what was written and could not be removed.
    """

    untried: str = ""
    rounds: int = 0
    stale: int = 0
    creates: bool | None = None
    expires: bool | None = None
    unsigned: str | None = None
    versions: bool | None = None
    left: str = ""


class UnfinishedUploads(msgspec.Struct, frozen=True):
    """Uploads in parts that were begun and never ended, which no listing of objects shows.

    ``bytes`` is what their parts take, and ``since`` when the first was begun (seconds since the
    epoch); None without any. If not ``all_seen``, there is more.
    """

    count: int = 0
    bytes: int = 0
    since: float | None = None
    all_seen: bool = True
