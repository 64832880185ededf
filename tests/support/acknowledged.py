"""What the threads of a load share: what was acknowledged, what went wrong, a log, a gate."""

import contextlib
import itertools
import math
import re
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from jettison.demo.images import Content, Image, Index
from jettison.model.digest import Digest
from tests.support.registry import DockerRegistry

_OBJECT = re.compile(
    r".*/v2/(?:blobs/sha256/../(?P<blob>[0-9a-f]{64})/data"
    r"|repositories/(?P<repo>.+)/(?P<kind>_layers|_manifests/revisions)"
    r"/sha256/(?P<hex>[0-9a-f]{64})/link)"
)
TAKEN = "needed object deleted"
"""A kind of failure: a collection deleted what an acknowledged push relies on."""
MOST_FAILURES = 40
"""The load stops at so many."""


@dataclass(frozen=True)
class Failure:
    kind: str
    text: str


class Log:
    """The last requests and collections, to tell what led to a failure."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._events: deque[tuple[float, str, str]] = deque(maxlen=300_000)

    def add(self, who: str, text: str) -> None:
        self._events.append((time.monotonic() - self._began, who, text))

    def about(self, digests: set[Digest], most: int = 60) -> str:
        """What was done with any of these, and the collections, in the last 15 seconds."""
        events = list(self._events)
        since = events[-1][0] - 15 if events else 0.0
        wanted = re.compile("|".join(digest.hex for digest in digests))
        lines = [
            f"    {at:9.4f} {who:10} {_shortened(text, digests)}"
            for at, who, text in events
            if at > since and (who == "gc" or wanted.search(text))
        ]
        return "\n".join(lines[-most:])


class Model:
    """What the registry has acknowledged; used by all threads.

    A tag or manifest is settled since a moment (of `now`) when no write that concerns it was under
    way then or began later.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self._changed: dict[tuple[str, str], float] = {}
        self._locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
        self._pins: Counter[tuple[str, Digest]] = Counter()
        self._tags: dict[tuple[str, str], Digest] = {}
        self._live: set[tuple[str, Digest]] = set()
        self._deleted: set[tuple[str, Digest]] = set()
        self._all_parts: dict[Digest, frozenset[str]] = {}
        self.contents: dict[Digest, Image | Index] = {}
        """All that was ever to be pushed, by the digest of its manifest."""

    def know(self, content: Image | Index) -> None:
        with self._lock:
            self.contents[content.digest] = content

    def lock(self, repo: str, what: str = "") -> threading.Lock:
        """For the writes of manifests in a repository, or for uploads of one blob to it."""
        with self._lock:
            return self._locks[repo, what]

    @property
    def now(self) -> int:
        with self._lock:
            return self._now

    def settled(self, repo: str, ref: str, since: int) -> bool:
        with self._lock:
            return self._changed.get((repo, ref), 0) <= since

    def begin(self, repo: str, *refs: str) -> None:
        with self._lock:
            self._changed.update({(repo, ref): math.inf for ref in refs})

    def _end(self, repo: str, *refs: str) -> None:
        self._now += 1
        self._changed.update({(repo, ref): self._now for ref in refs})

    def put(self, repo: str, ref: str, digest: Digest | None) -> None:
        """The manifest was put; None: it was refused, and nothing is changed."""
        with self._lock:
            if digest is not None:
                self._live.add((repo, digest))
                if ref != digest:
                    self._tags[repo, ref] = digest
            if ":" not in ref:
                self._end(repo, ref)

    def deleted(self, repo: str, digest: Digest) -> None:
        with self._lock:
            tags = [tag for (where, tag), to in self._tags.items() if (where, to) == (repo, digest)]
            for tag in tags:
                del self._tags[repo, tag]
            self._live.discard((repo, digest))
            self._deleted.add((repo, digest))
            self._end(repo, digest, *tags)

    def tags(self, repo: str | None = None) -> dict[tuple[str, str], Digest]:
        with self._lock:
            return {key: to for key, to in self._tags.items() if repo in {None, key[0]}}

    def live(self) -> set[tuple[str, Digest]]:
        with self._lock:
            return set(self._live)

    def gone(self) -> set[tuple[str, Digest]]:
        """What was deleted, and not put again."""
        with self._lock:
            return self._deleted - self._live

    @contextlib.contextmanager
    def pinned(self, repo: str, content: Image | Index) -> Iterator[None]:
        """Nobody deletes the children while their index is being pushed."""
        keys = [(repo, child.digest) for child in content.manifests()]
        with self._lock:
            self._pins.update(keys)
        try:
            yield
        finally:
            with self._lock:
                self._pins.subtract(keys)

    def deletable(self, repo: str) -> list[Digest]:
        """Live manifests of which no live index is made."""
        with self._lock:
            mine = [digest for where, digest in self._live if where == repo]
            children = {
                child.digest
                for digest in mine
                for child in self.contents[digest].manifests()
                if child.digest != digest
            }
            return sorted(d for d in mine if d not in children and not self._pins[repo, d])

    def sources(self, blob: Digest) -> list[str]:
        """Repositories with a live image that has this blob."""
        with self._lock:
            live = [(repo, self.contents[digest]) for repo, digest in self._live]
        return sorted(
            {repo for repo, found in live if any(one.digest == blob for one in found.blobs())}
        )

    def relying(self, key: str) -> dict[tuple[str, Digest], float]:
        """Live manifests that rely on the object at a key, and about which nothing is under way.

        Each with when it was last changed: one that was deleted and put again meanwhile has
        another.
        """
        found = _OBJECT.fullmatch(key)
        if found is None:
            return {}
        repo, hexadecimal = found["repo"], found["blob"] or found["hex"]
        with self._lock:
            live = [one for one in self._live if repo in {None, one[0]}]
            changed = {one: self._changed.get(one, 0) for one in live}
        revision = found["kind"] == "_manifests/revisions"
        return {
            one: changed[one]
            for one in live
            if changed[one] < math.inf
            and (
                one[1].hex == hexadecimal
                if revision
                else hexadecimal in self._parts(self.contents[one[1]])
            )
        }

    def that_need(
        self, key: str, pool: Collection[Image | Index]
    ) -> list[tuple[str | None, Image | Index]]:
        """What of `pool` would rely on the object at a key, and where (None for anywhere)."""
        found = _OBJECT.fullmatch(key)
        if found is None:
            return []
        hexadecimal = found["blob"] or found["hex"]
        with self._lock:
            return [(found["repo"], one) for one in pool if hexadecimal in self._parts(one)]

    def _parts(self, content: Image | Index) -> frozenset[str]:
        found = self._all_parts.get(content.digest)
        if found is None:
            found = frozenset(one.digest.hex for one in everything(content))
            self._all_parts[content.digest] = found
        return found

    def blobs(self) -> dict[Digest, int]:
        """The size of every blob, manifests included, that something live needs."""
        return {
            one.digest: one.size
            for _, digest in self.live()
            for one in everything(self.contents[digest])
        }


class Gate:
    """Clients pass for each of their operations; shut, it waits until none is inside."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside = 0
        self._shut = False
        self.closing = threading.Event()
        """To be waited for instead of sleeping inside."""

    @contextlib.contextmanager
    def passed(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: not self._shut)
            self._inside += 1
        try:
            yield
        finally:
            with self._condition:
                self._inside -= 1
                self._condition.notify_all()

    @contextlib.contextmanager
    def shut(self) -> Iterator[None]:
        with self._condition:
            self._shut = True
            self.closing.set()
            self._condition.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._condition:
                self._shut = False
                self.closing.clear()
                self._condition.notify_all()


@dataclass
class Shared:
    """What all threads of a load share."""

    registry: DockerRegistry
    grace: float
    refusals: bool
    """Whether a push may be refused since a blob that was there is gone."""
    kills: bool = False
    """Whether servers are killed, so that a request may have to be sent again."""
    ends_with: Collection[str] = ()
    """Kinds of failures of which the first ends the load."""
    patience: float = 3.0
    """Seconds after which a broken image is looked at again, to tell a moment from a loss."""
    longest_put: float = 0.0
    """In seconds: what a registry may have taken from looking to writing."""
    model: Model = field(default_factory=Model)
    log: Log = field(default_factory=Log)
    gate: Gate = field(default_factory=Gate)
    ended: threading.Event = field(default_factory=threading.Event)
    failures: list[Failure] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    wanted: deque[tuple[str | None, Image | Index]] = field(
        default_factory=lambda: deque(maxlen=24)
    )
    """What to push just now, and where (None for anywhere): a collection is about to take it."""
    ports: Iterator[int] = field(init=False)
    """Those of the servers, for one client after the other."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.ports = itertools.repeat(self.registry.port)

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number

    def want(self, keys: Collection[str], pool: Collection[Image | Index]) -> None:
        """Let clients push what of `pool` would rely on one of these objects.

        So pushes and the sweeps that name the objects meet.
        """
        for key in keys:
            self.wanted.extend(self.model.that_need(key, pool))

    def audit(self, key: str) -> Callable[[], None]:
        """Look who relies on an object before it is deleted; call what is returned after that.

        Before anything can heal: whoever relies on it both before and after has lost it.
        """
        before = self.model.relying(key)

        def deleted() -> None:
            self.log.add("gc", f"DELETE {key}")
            after = self.model.relying(key)
            broken = [one for one, changed in before.items() if after.get(one) == changed]
            if broken:
                told = ", ".join(f"{repo}@{digest}" for repo, digest in broken)
                self.fail(TAKEN, f"{key}, needed by {told}", {broken[0][1]})

        return deleted

    def fail(self, kind: str, text: str, digests: set[Digest] | None = None) -> None:
        story = f"\n{self.log.about(digests)}" if digests else ""
        with self._lock:
            self.failures.append(Failure(kind, text + story))
            if len(self.failures) >= MOST_FAILURES or kind in self.ends_with:
                self.ended.set()


def everything(content: Image | Index) -> list[Content]:
    """All that is stored for an image or index: configs, layers, manifests."""
    return [*content.blobs(), *content.manifests()]


def _shortened(text: str, digests: set[Digest]) -> str:
    """With the first 12 digits of each digest, and in long lists only those asked for."""
    head, colon, listed = text.partition("gone: ")
    if colon:
        wanted = {digest.hex for digest in digests}
        listed = " ".join(one for one in listed.split() if one in wanted)
    return re.sub(r"[0-9a-f]{64}", lambda found: found[0][:12], head + colon + listed)[:200]
