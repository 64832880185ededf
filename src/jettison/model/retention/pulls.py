"""The book of pulls: when each tag and each manifest was last pulled, and since when all is known.

*Never pulled* and *not known* differ, and only the first lets anything go. So the book says from
when on (``since``) each pull is in it, and moves that forward whenever one may be missing:

- A **keeper** is a process that writes the book: a worker of our server, or ``jettison listen``. It
  says every few seconds that it has written down all it knows. One that ends in good order takes
  its leave. One that does not, and is not heard of for :data:`EXPIRES` seconds, was killed with
  what it had not written yet: nothing from before is complete any more.
- Between the last keeper's leave and the next one's start another program may have served the
  storage. Only its operator knows that this is not so, and says it (``across_restarts``).
- A **source** is a registry that tells a listener what happens in it, by the id that each of its
  processes has. A process tells its events in order and repeats each until it is taken: if it is
  heard again, nothing before is missing, however long either was silent. One that is new may have
  served pulls before; one that is not heard of may be silent because it tells nobody any more, so
  what it serves is not known meanwhile.
- A book that is full drops its oldest pulls, and then begins after them.

Everything here is pure: the time is an argument, and the book changes in the caller's hands.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import msgspec

from jettison.errors import InvalidDigest, InvalidName
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.evidence import NO_TIMES, Evidence, Moment, Times
from jettison.model.times import moment as written

__all__ = [
    "EXPIRES",
    "Batch",
    "KnownPulls",
    "PullBook",
    "Pulls",
    "Source",
    "Terms",
    "with_pulls",
]

EXPIRES: Final = 300.0
"""Seconds after which a keeper that is not heard of has ended; it writes far more often."""

FORGET: Final = 86_400.0
"""Seconds after which a registry that is not heard of, while others are, is gone."""

MOST_ENTRIES: Final = 300_000
MOST_SOURCES: Final = 64
_LAST: Final = 253402300799
_SOURCE: Final = "book of pulls"
_PUSHED: Final = "notification"

Seconds = Annotated[int, msgspec.Meta(ge=0, le=_LAST)]
"""Whole seconds since the epoch, rounded up: the later, the longer something stays."""


class Pulls(msgspec.Struct, omit_defaults=True):
    """What is known of one repository: last pulls by tag and by digest, last pushes by digest."""

    tags: dict[str, Seconds] = {}
    digests: dict[str, Seconds] = {}
    pushed: dict[str, Seconds] = {}

    def maps(self) -> tuple[dict[str, int], ...]:
        """Return all entries."""
        return self.tags, self.digests, self.pushed


class Source(msgspec.Struct):
    """A registry's process: where it runs, and when it was last heard of."""

    address: str
    heard: float


class Terms(msgspec.Struct, frozen=True):
    """On which terms a keeper writes.

    ``silence`` is how long (seconds) a registry may tell a listener nothing before its pulls are
    not known; None for a keeper that serves the pulls itself. ``across_restarts``: nothing is
    pulled while it is down.
    """

    across_restarts: bool = False
    silence: float | None = None


class Batch(msgspec.Struct):
    """What a keeper has learnt since it last wrote; times in seconds since the epoch.

    ``pulls`` are by repository, tag ("" without one) and digest, ``pushes`` by repository and
    digest. ``heard`` is by source: its address, and when it was first and last heard of. ``lost``:
    there was more, and it is gone.
    """

    pulls: dict[tuple[str, str, str], float] = {}
    pushes: dict[tuple[str, str], float] = {}
    heard: dict[str, tuple[str, float, float]] = {}
    lost: bool = False


class PullBook(msgspec.Struct, omit_defaults=True):
    """The book: see above. ``keepers`` are those who write it, with when each last did."""

    schema_version: int = 1
    since: float | None = None
    keepers: dict[str, float] = {}
    sources: dict[str, Source] = {}
    across_restarts: bool = False
    silence: float = 0.0
    repositories: dict[str, Pulls] = {}

    # Who keeps it.

    def join(self, keeper: str, now: float, terms: Terms) -> None:
        """Let a keeper begin, before it serves or receives anything."""
        self._expire(keeper, now)
        if terms.silence is None and (
            self.since is None or not (self.keepers or terms.across_restarts)
        ):
            self.since = now
        self._stay(keeper, now, terms)

    def note(self, keeper: str, now: float, batch: Batch, terms: Terms) -> None:
        """Write down what a keeper learnt until ``now``."""
        if keeper in self.keepers:
            self._expire(keeper, now)
            self._stay(keeper, now, terms)
        else:
            self.join(keeper, now, terms)
        if batch.lost:
            self._break(now)
        for source, (address, first, last) in batch.heard.items():
            self._hear(source, address, first, last)
        self._forget(now)
        for (repository, tag, digest), at in batch.pulls.items():
            found = self._of(repository)
            _latest(found.digests, digest, at)
            if tag:
                _latest(found.tags, tag, at)
        for (repository, digest), at in batch.pushes.items():
            _latest(self._of(repository).pushed, digest, at)
        self._trim()

    def leave(self, keeper: str, now: float, batch: Batch, terms: Terms) -> None:
        """Write down the last that a keeper learnt; it serves and receives nothing any more."""
        self.note(keeper, now, batch, terms)
        del self.keepers[keeper]

    def end_watch(self) -> None:
        """Note that pulls are served from now on that nobody writes down."""
        self.since = None
        self.keepers.clear()

    def _stay(self, keeper: str, now: float, terms: Terms) -> None:
        self.keepers[keeper] = now
        self.across_restarts = terms.across_restarts
        if terms.silence is not None:
            self.silence = terms.silence

    def _break(self, now: float) -> None:
        """Let the book begin anew: something from before may be missing."""
        if self.since is not None:
            self.since = max(self.since, now)

    def _expire(self, keeper: str, now: float) -> None:
        ended = [one for one, at in self.keepers.items() if at < now - EXPIRES and one != keeper]
        for one in ended:
            del self.keepers[one]
            self._break(now)

    # Whom a listener hears.

    def _hear(self, source: str, address: str, first: float, last: float) -> None:
        known = self.sources.get(source)
        if known is not None:
            known.heard = max(known.heard, last)
            return
        before = [one for one, other in self.sources.items() if other.address == address]
        for one in before:
            del self.sources[one]
        if self.since is None or not (before and self.across_restarts):
            self.since = max(self.since or 0.0, first)
        self.sources[source] = Source(address, last)
        if len(self.sources) > MOST_SOURCES:
            del self.sources[min(self.sources, key=lambda one: self.sources[one].heard)]

    def _forget(self, now: float) -> None:
        gone = [name for name, source in self.sources.items() if source.heard < now - FORGET]
        if len(gone) == len(self.sources):
            return  # a quiet weekend, as far as anybody can tell
        for name in gone:
            del self.sources[name]
            self._break(now)

    # What is in it.

    def _of(self, repository: str) -> Pulls:
        found = self.repositories.get(repository)
        if found is None:
            found = self.repositories[repository] = Pulls()
        return found

    def _maps(self) -> Iterator[dict[str, int]]:
        for pulls in self.repositories.values():
            yield from pulls.maps()

    def _trim(self) -> None:
        """Drop the oldest entries of a book that is full; it then begins after them."""
        if sum(map(len, self._maps())) <= MOST_ENTRIES:
            return
        times = sorted((at for entries in self._maps() for at in entries.values()), reverse=True)
        last = times[MOST_ENTRIES * 3 // 4]
        for entries in self._maps():
            for name in [name for name, at in entries.items() if at <= last]:
                del entries[name]
        for repository in [name for name, of in self.repositories.items() if not any(of.maps())]:
            del self.repositories[repository]
        self._break(last + 1.0)

    def known(self, now: float) -> "KnownPulls":
        """Return what can be relied on at a time."""
        why = self._unwatched(now)
        return KnownPulls(None if why else self.since, why, self.repositories)

    def _unwatched(self, now: float) -> str:
        """Say why pulls are not known; "" if they are."""
        if self.since is None:
            return "nobody watches them"
        if self.since > now:
            return f"the book of pulls begins {written(self.since)}, which is still to come"
        late = [at for at in self.keepers.values() if at < now - EXPIRES]
        if late:
            return f"the book of pulls is not kept since {written(min(late))}"
        if not self.keepers and (self.sources or not self.across_restarts):
            return "nobody keeps the book of pulls at present"
        silent = [one for one in self.sources.values() if one.heard < now - self.silence]
        if silent:
            longest = min(silent, key=lambda one: one.heard)
            return f"the registry at {longest.address} was last heard of {written(longest.heard)}"
        return ""


class KnownPulls(msgspec.Struct, frozen=True):
    """What can be relied on: from ``watching_since`` on every pull is known.

    It is None where pulls are not known, and ``unwatched`` says why.
    """

    watching_since: float | None
    unwatched: str = ""
    repositories: Mapping[str, Pulls] = {}


def with_pulls(evidence: Evidence, known: KnownPulls, repository: RepoName) -> Evidence:
    """Return the evidence of a repository with what the book tells.

    A push counts where the evidence has none, and only if every event since it is known: a later
    one may have been missed otherwise. Where the registry tells of pulls too, either source may
    be the one that has known them all for longer.
    """
    of = known.repositories.get(repository, Pulls())
    tags: dict[Tag, Times] = dict(evidence.tags)
    manifests: dict[Digest, Times] = dict(evidence.manifests)
    for name, at in of.tags.items():
        try:
            tag = Tag(name)
        except InvalidName:
            continue
        tags[tag] = _pulled(tags.get(tag, NO_TIMES), at)
    for digest, at in _digests(of.digests):
        manifests[digest] = _pulled(manifests.get(digest, NO_TIMES), at)
    since = known.watching_since
    for digest, at in _digests(of.pushed) if since is not None else ():
        times = manifests.get(digest, NO_TIMES)
        if times.pushed is None and since is not None and at >= since:
            pushed = Moment(float(at), _PUSHED)
            manifests[digest] = msgspec.structs.replace(times, pushed=pushed)
    watching = [one for one in (evidence.watching_since, since) if one is not None]
    return msgspec.structs.replace(
        evidence,
        tags=tags,
        manifests=manifests,
        watching_since=min(watching, default=None),
        unwatched=known.unwatched or evidence.unwatched,
    )


def _digests(entries: Mapping[str, int]) -> Iterator[tuple[Digest, int]]:
    for name, at in entries.items():
        try:
            yield Digest(name), at
        except InvalidDigest:
            continue


def _pulled(times: Times, at: int) -> Times:
    if times.pulled is not None and times.pulled.seconds >= at:
        return times
    return msgspec.structs.replace(times, pulled=Moment(float(at), _SOURCE))


def _latest(entries: dict[str, int], name: str, at: float) -> None:
    seconds = min(max(math.ceil(at), 0), _LAST)
    if entries.get(name, -1) < seconds:
        entries[name] = seconds
