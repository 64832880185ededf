"""When the images of a repository were pushed, untagged, created and pulled, and who says so.

These are four different things, and none stands for another. What is not known is never old.
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from jettison.model.digest import Digest
from jettison.model.graph import AnyDigest
from jettison.model.names import Tag

__all__ = [
    "NO_TIMES",
    "Evidence",
    "Moment",
    "Times",
    "are_times_of_a_copy",
    "known_created",
    "pushed_within_an_hour",
]

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
"""Builders that want the same bytes each time write 1970, 1980 or the year 1."""

COPY_SECONDS: Final = 3600.0
COPIED_IMAGES: Final = 2
"""One image has no order, and a copy only makes it younger."""
PUSHED_AFTER_SECONDS: Final = 24 * 3600.0
"""Who builds an image pushes it within a day."""
CLOCKS_SECONDS: Final = 3600.0
"""How far the clock of a builder may be ahead of a registry's."""


class Moment(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A time (seconds since the epoch), and where it was had from, in a few words."""

    seconds: float
    source: str


class Times(msgspec.Struct, frozen=True, omit_defaults=True):
    """The times of a tag, or of a manifest in its repository; each None if it is not known.

    ``untagged`` is when a manifest lost its last tag. A tag has ``pushed`` and ``pulled`` only.
    """

    pushed: Moment | None = None
    untagged: Moment | None = None
    created: Moment | None = None
    pulled: Moment | None = None


NO_TIMES: Final = Times()


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """The times of a repository.

    ``watching_since`` (seconds since the epoch): every pull from then on is known; None if pulls
    are not known at all. ``copied``: the times of pushes look like those of a copy, and are left
    out for that reason. ``unknown``: why times are missing that the registry could tell, for
    people ("Harbor's API refuses the login (401)"); "" if nothing failed.
    """

    tags: Mapping[Tag, Times] = {}
    manifests: Mapping[Digest, Times] = {}
    watching_since: float | None = None
    unwatched: str = "nobody watches them"
    copied: bool = False
    unknown: str = ""


def known_created(
    created: Mapping[Digest, Moment], now: float, images: int | None = None
) -> dict[Digest, Moment]:
    """Return the times of creation that mean something, by digest.

    One before 2000 or after ``now`` (seconds since the epoch) does not, nor one that more than half
    of a repository's ``images`` share.
    """
    plausible = {
        digest: moment for digest, moment in created.items() if EARLIEST <= moment.seconds <= now
    }
    most = len(created) if images is None else images
    shared: dict[float, int] = {}
    for moment in plausible.values():
        shared[moment.seconds] = shared.get(moment.seconds, 0) + 1
    usual = {seconds for seconds, count in shared.items() if count > 1 and count * 2 > most}
    return {digest: moment for digest, moment in plausible.items() if moment.seconds not in usual}


def pushed_within_an_hour(pushed: Mapping[AnyDigest, float]) -> list[AnyDigest]:
    """Return the images that came within one hour, sorted, if they are more than half; else none.

    A copy of a storage that does not keep times (``cp`` without ``-p``, ``aws s3 sync``) looks so,
    and so does a busy day: :func:`are_times_of_a_copy` tells which it was.
    """
    if len(pushed) < COPIED_IMAGES:
        return []
    found = sorted(pushed, key=lambda digest: (pushed[digest], digest))
    times = [pushed[digest] for digest in found]
    half = len(times) // 2
    for first in range(len(times) - half):
        if times[first + half] - times[first] <= COPY_SECONDS:
            end = bisect_right(times, times[first] + COPY_SECONDS)
            return sorted(found[first:end])
    return []


def are_times_of_a_copy(
    images: Collection[AnyDigest],
    pushed: Mapping[AnyDigest, float],
    created: Mapping[AnyDigest, float],
) -> bool:
    """Whether images that came within one hour were copied, and not pushed, at that time.

    They were pushed if at least half of them had been created within the day before. When one was
    created that says nothing, or something from before that day, speaks for a copy.
    """
    timely = sum(
        -CLOCKS_SECONDS <= pushed[digest] - created[digest] <= PUSHED_AFTER_SECONDS
        for digest in images
        if digest in created
    )
    return timely * 2 < len(images)
