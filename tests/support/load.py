"""Clients that push, move, delete and pull without a pause, while collections run back to back.

    load = Load(registry, jettison, grace=None)
    load.seed()
    load.run(seconds=15, check_every=7)
    load.finish()
    assert not load.failures, load.report()

What the clients do is noted in a `Model` once the registry has acknowledged it; what it says must
be there has to come in full, with the right digests. Requests that would meet in docker-registry
itself (it rewrites its links in place, unlocked) are kept apart, so that whatever goes wrong is the
collector's doing: writes of manifests one at a time in a repository, uploads and mounts of one blob
too, and a manifest from those of its blobs. (Of 1,199 manifests put beside mounts of their blobs it
refused 11, as their links were empty just then.) Nothing keeps a collection apart from any of them.
"""

import contextlib
import http.client
import itertools
import json
import os
import random
import re
import subprocess
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from jettison.demo.images import Content, Image, Index, image, index, layer, random_bytes
from jettison.model.digest import Digest
from jettison.model.mediatypes import ACCEPT
from tests.support.acknowledged import Failure, Shared, everything
from tests.support.cli import Jettison, Result
from tests.support.registry import DockerRegistry, Response

DAY = 86_400.0
LOCKED = 12
KILLED = -9
GRACE = {None: 3600.0, "1s": 1.0, "2s": 2.0}
WORKERS = 6
REPOSITORIES = ["team/a", "team/b", "team/b/inner", "team/c", "d", "e"]
RETIRED = ["old/one", "old/two"]
"""Repositories in which images grow old: clients pull from them, and one thread deletes there."""
TAGS = [f"t{number}" for number in range(8)]
MOMENT = "image broken for a moment"
"""A kind of failure: the blobs that a pull missed were there when it looked again."""
MET_A_REMOVAL = "uploads answered 500, whose gateway met a removal"
PUT_OFF = "collections that left something to the next (exit 3)"
PUSHED_AGAIN = "images pushed that were about to go"
TRIES = 2
TRIES_BESIDE_KILLS = 10
COLLECTION_SECONDS = 240.0
KILLED_EACH = 3
"""Each third collection of a collector is killed, if it takes long enough."""
PATIENCE = 120.0
"""Seconds within which a request that a kill has cut off is answered by a server."""

OLD_BASE = layer({"base": random_bytes("old base", 2000)})
_BASES = [OLD_BASE, *(layer({"base": random_bytes(f"base {n}", 3000)}) for n in range(5))]
_MIDDLES = [layer({"middle": random_bytes(f"middle {n}", 800)}) for n in range(15)]
_TOPS = [
    layer({"top": random_bytes(f"top {n}", 200_000 if n % 12 == 0 else 400 + n)}) for n in range(48)
]
_IMAGES: list[Image] = [
    image([_BASES[n % len(_BASES)], _MIDDLES[n * 7 % len(_MIDDLES)], top], labels={"n": str(n)})
    for n, top in enumerate(_TOPS)
]
POOL: list[Image | Index] = [
    *_IMAGES,
    *(index([_IMAGES[4 * n], _IMAGES[(4 * n + 5) % len(_IMAGES)]]) for n in range(12)),
]
"""What clients push: 48 images that share layers, 12 indexes of two of them each."""


class CutOffError(Exception):
    """The server was killed before it had answered."""


class Client:
    """One client of the registry, with one connection that it keeps."""

    def __init__(self, shared: Shared, name: str) -> None:
        self.shared = shared
        self.name = name
        self.random = random.Random(name)
        self.pool: Sequence[Image | Index] = POOL
        self._cuts = 0
        self._connect()

    def _connect(self) -> None:
        port = next(self.shared.ports)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=180)

    def close(self) -> None:
        self._connection.close()

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """Send a request, and send it again to the next server where this one was killed."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._request_once(method, path, headers, body)
            except CutOffError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _request_once(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Response:
        try:
            return self._exchange(method, path, headers, body)
        except (ConnectionError, http.client.HTTPException) as error:
            if not self.shared.kills:
                raise
            self._cuts += 1
            self.shared.count("requests cut off by a kill")
            self.shared.log.add(self.name, f"{method} {path} cut off: {error!r}")
            self._connection.close()
            self._connect()
            raise CutOffError from error

    def _exchange(
        self, method: str, path: str, headers: dict[str, str] | None, body: bytes
    ) -> Response:
        began = time.monotonic()
        self._connection.request(method, path, body or None, headers or {})
        answer = self._connection.getresponse()
        response = Response(answer.status, answer.headers, answer.read())
        what = re.sub(r"_state=[^&]*&", "", path)
        if "/manifests/" in path and ":" not in path:
            what += f" ({Digest.of(body or response.body)})"
        took = (time.monotonic() - began) * 1000
        if method == "PUT":
            self.shared.longest_put = max(self.shared.longest_put, took / 1000)
        self.shared.log.add(self.name, f"{method} {what} {response.status} in {took:.0f} ms")
        return response

    def _read(self, path: str, method: str = "GET") -> Response:
        """GET or HEAD, again where docker-registry answers 500.

        It does where it reads a link that it was just writing itself. And it looks for a blob
        twice before it answers: if that goes in between, it says 500 where it means 404.
        """
        answer = self.request(method, path, {"Accept": ACCEPT})
        for _ in range(5):
            if answer.status != 500 or self.shared.registry.program == "jettison":
                break
            self.shared.count("reads answered 500, then tried again")
            time.sleep(0.02)
            answer = self.request(method, path, {"Accept": ACCEPT})
        return answer

    # -- pushing -------------------------------------------------------------------------------

    def push(
        self,
        repo: str,
        tag: str,
        content: Image | Index,
        pause: float = 0.0,
        source: str | None = None,
    ) -> bool:
        """Push as skopeo would: each image's blobs, then its manifest; at last the index.

        With a `source`, all blobs are mounted from that repository, and none is asked for.
        """
        with self.shared.model.pinned(repo, content):
            images = content.members if isinstance(content, Index) else [content]
            for one in images:
                if not all(self._bring(repo, blob, source) for blob in one.blobs()):
                    return False
                self.shared.gate.closing.wait(pause)
                ref = one.digest if isinstance(content, Index) else tag
                if not self._put(repo, ref, one):
                    return False
            return not isinstance(content, Index) or self._put(repo, tag, content)

    def _bring(self, repo: str, blob: Content, source: str | None = None) -> bool:
        with self.shared.model.lock(repo, blob.digest):
            while True:
                with contextlib.suppress(CutOffError):
                    return self._bring_once(repo, blob, source)

    def _bring_once(self, repo: str, blob: Content, source: str | None) -> bool:
        """Ask for the blob, then mount it or upload it."""
        if source is None:
            path = f"/v2/{repo}/blobs/{blob.digest}"
            answer = self._read(path, "HEAD")
            if answer.status == 200 and int(answer.headers["Content-Length"]) == blob.size:
                self.shared.count("blobs that were there")
                return True
            if answer.status != 404:
                return self._unexpected("HEAD", path, answer, blob.digest)
            sources = [name for name in self.shared.model.sources(blob.digest) if name != repo]
            if sources and self.random.random() < 0.5:
                source = self.random.choice(sources)
        path = f"/v2/{repo}/blobs/uploads/"
        if source is not None:
            path += f"?mount={quote(blob.digest)}&from={source}"
        answer = self.request("POST", path)
        if "mount" in path and answer.status == 201:
            self.shared.count("blobs mounted")
            return True
        if answer.status != 202:
            return self._unexpected_upload("POST", path, answer, blob.digest)
        upload = urlsplit(answer.headers["Location"])
        path = f"{upload.path}?{upload.query}&digest={quote(blob.digest)}"
        headers = {"Content-Type": "application/octet-stream"}
        # Cut off, it may be over: then there is no such upload, and the blob is asked for again.
        answer = self._request_once("PUT", path, headers, blob.raw)
        if answer.status != 201:
            return self._unexpected_upload("PUT", path, answer, blob.digest)
        self.shared.count("blobs uploaded")
        return True

    def _unexpected_upload(self, method: str, path: str, answer: Response, digest: Digest) -> bool:
        """Note it, unless it is what Distribution answers where versitygw met a removal beside.

        The gateway makes the folder of a new object while it removes that folder, which the removal
        of another has emptied, and says 409. Jettison tries again; Distribution says 500, and the
        push is to be done again.
        """
        registry = self.shared.registry
        if (
            registry.program != "jettison"
            and answer.status == 500
            and b'"s3aws"' in answer.body
            and registry.log.read_bytes().count(b"ExistingObjectIsDirectory")
            > self.shared.counts[MET_A_REMOVAL]
        ):
            self.shared.count(MET_A_REMOVAL)
            return False
        return self._unexpected(method, path, answer, digest)

    def _put(
        self, repo: str, ref: str, content: Image | Index, *, only_there: bool = False
    ) -> bool:
        """Put a manifest; True also where it should be `only_there` already, and is not."""
        model = self.shared.model
        path = f"/v2/{repo}/manifests/{ref}"
        headers = {"Content-Type": content.manifest.media_type}
        with model.lock(repo), self._apart(repo, content):
            if only_there and (repo, content.digest) not in model.live():
                return True
            if ":" not in ref:
                model.begin(repo, ref)
            answer = self.request("PUT", path, headers, content.manifest.raw)
            good = answer.status == 201
            model.put(repo, ref, content.digest if good else None)
        if good:
            self.shared.count("manifests put")
            return True
        if is_refusal(answer) and self._may_be_refused(content):
            self.shared.count("pushes refused with MANIFEST_BLOB_UNKNOWN")
            self.shared.refused.append(f"{path}: {answer.body.decode(errors='replace').strip()}")
            return False
        return self._unexpected("PUT", path, answer, *(one.digest for one in everything(content)))

    def _may_be_refused(self, content: Image | Index) -> bool:
        """Whether a push may be refused for what a collection takes just then.

        An index only where its image may be away just then.
        """
        return self.shared.refusals and (self._may_be_away or isinstance(content, Image))

    @property
    def _may_be_away(self) -> bool:
        """Whether an image whose push met a collection may be away for a moment."""
        return not self.shared.registry.reclaims

    @contextlib.contextmanager
    def _apart(self, repo: str, content: Image | Index) -> Iterator[None]:
        """Let nobody upload or mount what a manifest is made of where that rewrites links."""
        with contextlib.ExitStack() as stack:
            if self.shared.registry.program != "jettison" and isinstance(content, Image):
                for digest in sorted({one.digest for one in content.blobs()}):
                    stack.enter_context(self.shared.model.lock(repo, digest))
            yield

    def _unexpected(self, method: str, path: str, answer: Response, *digests: Digest) -> bool:
        body = answer.body.decode(errors="replace").strip()
        text = f"{self.name}: {method} {path}: {answer.status} {body}"
        where = re.sub(r"^/v2/.*/(manifests|blobs/uploads|blobs)/.*", r"\1", path)
        kind = f"{method} of {where} answered {answer.status}"
        self.shared.fail(kind, text, set(digests))
        return False

    # -- deleting ------------------------------------------------------------------------------

    def delete(self, repo: str, digest: Digest | None = None) -> Image | Index | None:
        """Delete a manifest, any if it is not given; return what it was."""
        model = self.shared.model
        with model.lock(repo):
            found = model.deletable(repo) if digest is None else [digest]
            if not found:
                return None
            digest = self.random.choice(found)
            tags = [tag for (_, tag), to in model.tags(repo).items() if to == digest]
            model.begin(repo, digest, *tags)
            path = f"/v2/{repo}/manifests/{digest}"
            cuts = self._cuts
            answer = self.request("DELETE", path)
            deadline = time.monotonic() + self.shared.patience
            while answer.status == 404 and self._may_be_away and time.monotonic() < deadline:
                self.shared.count("manifests that were away when they were to be deleted")
                time.sleep(0.5)
                answer = self.request("DELETE", path)
            # Cut off, the first one may have done it.
            if answer.status != 202 and not (answer.status == 404 and self._cuts > cuts):
                self._unexpected("DELETE", path, answer, digest)
                return None
            model.deleted(repo, digest)
        self.shared.count("manifests deleted")
        return model.contents[digest]

    # -- pulling -------------------------------------------------------------------------------

    def pull(self, repo: str, ref: str, expected: Digest) -> None:
        """Pull a tag or manifest in full; say if it is broken and nobody has deleted it."""
        model = self.shared.model
        since = model.now
        if (ref != expected) and model.tags(repo).get((repo, ref)) != expected:
            return  # moved or deleted since it was chosen
        path = f"/v2/{repo}/manifests/{ref}"
        answer = self._read(path)
        if answer.status != 200:
            if model.settled(repo, ref, since) and model.settled(repo, expected, since):
                text = f"GET manifest {answer.status} {answer.body.decode(errors='replace')}"
                self._broken(repo, ref, expected, text, {expected: path}, since)
            else:
                self.shared.count("pulls that met a deletion")
            return
        digest = Digest.of(answer.body)
        if digest != expected and model.settled(repo, ref, since):
            text = f"it has {digest} instead"
            self._broken(repo, ref, expected, text, {expected: path}, since)
            return
        content = model.contents.get(digest)
        if content is None:
            self.shared.fail("bytes", f"{repo}:{ref}: nobody pushed {digest}")
            return
        wrong = list(self._pull_blobs(repo, content))
        if not wrong:
            self.shared.count("pulls in full")
        elif model.settled(repo, digest, since):
            text = "; ".join(f"GET {path}: {text}" for _, path, text in wrong)
            more = {one: path for one, path, _ in wrong}
            self._broken(repo, ref, digest, text, more, since)
        else:
            self.shared.count("pulls that met a deletion")

    def _pull_blobs(self, repo: str, content: Image | Index) -> Iterator[tuple[Digest, str, str]]:
        below = content.manifests()[:-1]
        for kind, contents in (("manifests", below), ("blobs", content.blobs())):
            for one in contents:
                path = f"/v2/{repo}/{kind}/{one.digest}"
                answer = self._read(path)
                if answer.status != 200 or answer.body != one.raw:
                    text = f"{answer.status}, {len(answer.body)} of {one.size} bytes"
                    if answer.status != 200:
                        text += f" {answer.body.decode(errors='replace').strip()}"
                    yield one.digest, path, text

    def _broken(
        self, repo: str, ref: str, digest: Digest, text: str, more: dict[Digest, str], since: int
    ) -> None:
        """Note it, with whether it comes back: a collection may hide a blob until it ends.

        `more` has the paths by what was to come from them. What a tag that moves after `since`, the
        beginning of the pull, led to is asked for by digest, and of what is deleted after that
        nobody knows.
        """
        model = self.shared.model
        story = self.shared.log.about({digest, *more})
        self._wait_for_what_is_hidden()
        if not model.settled(repo, ref, since):
            by_tag, by_digest = (f"/v2/{repo}/manifests/{one}" for one in (ref, digest))
            more = {one: by_digest if path == by_tag else path for one, path in more.items()}
        again = {one: Digest.of(self._read(path).body) for one, path in more.items()}
        back = bool(again) and all(one == found for one, found in again.items())
        kind = MOMENT if back or not model.settled(repo, digest, since) else "image broken"
        what = f"{self.name}: {repo} {ref} = {digest}: {text}"
        self.shared.fail(kind, f"{what}\n{story}")

    def age(self, repo: str, made: Image) -> None:
        """Set the times of its files and folders to a day ago, behind the registry's back.

        The place of its revision comes last. It says that the manifest is no newcomer, whose time
        of arrival would count, which nothing can set back; and a collection takes it when it is old
        and empty, also one that looks at the rest too early.
        """
        tree = self.shared.registry.tree
        folder = tree / "repositories" / repo
        when = time.time() - DAY
        places = [folder / "_layers" / "sha256" / blob.digest.hex for blob in made.blobs()]
        places += [
            tree / "blobs" / "sha256" / one.digest.hex[:2] / one.digest.hex
            for one in everything(made)
        ]
        places.append(folder / "_manifests" / "revisions" / "sha256" / made.digest.hex)
        for place in places:
            for path in (place / "data", place / "link", place):
                with contextlib.suppress(FileNotFoundError):
                    os.utime(path, (when, when))

    def _wait_for_what_is_hidden(self) -> None:
        patience, counts = self.shared.patience, self.shared.counts
        running, deadline = counts["collections"], time.monotonic() + 10 * patience
        time.sleep(patience)
        while counts["collections"] == running and time.monotonic() < deadline:
            if self.shared.ended.wait(0.1):
                break

    # -- all of it -----------------------------------------------------------------------------

    def work(self) -> None:
        """One operation after the other until the end."""
        while not self.shared.ended.is_set():
            with self.shared.gate.passed():
                self._operate()

    def _operate(self) -> None:
        chance = self.random.random()
        repo = self.random.choice(REPOSITORIES)
        if self.shared.wanted and self.random.random() < 0.5:
            self._push_wanted(repo)
            return
        if chance < 0.25:
            self._push_again(repo, self.random.choice(self.pool))
        elif chance < 0.3:
            self._copy(repo)
        elif chance < 0.35:
            self._tag_again(repo)
        elif chance < 0.6:
            gone = self.delete(repo)
            if gone is not None and self.random.random() < 0.6:
                # Just what has become garbage.
                self._push_again(repo, gone)
        else:
            tags = sorted(self.shared.model.tags().items())
            if tags:
                (repo, tag), digest = self.random.choice(tags)
                self.pull(repo, tag, digest)

    def _push_wanted(self, anywhere: str) -> None:
        """Push what a collection is about to take."""
        with contextlib.suppress(IndexError):  # another client was faster
            repo, content = self.shared.wanted.pop()
            if repo is None or repo in REPOSITORIES:
                self.push_twice(repo or anywhere, self.random.choice(TAGS), content, 0.0)
                self.shared.count(PUSHED_AGAIN)

    def _copy(self, repo: str) -> None:
        """Copy an image of another repository, all of whose blobs are there to be mounted."""
        live = self.shared.model.live()
        there = sorted((d, name) for name, d in live if name != repo and name in REPOSITORIES)
        if there:
            digest, source = self.random.choice(there)
            content = self.shared.model.contents[digest]
            self.push_twice(repo, self.random.choice(TAGS), content, 0.0, source)
            self.shared.count("images copied")

    def _tag_again(self, repo: str) -> None:
        """Give an image that is there one more tag, without a look at what it is made of."""
        there = sorted(digest for name, digest in self.shared.model.live() if name == repo)
        if not there:
            return
        tag = self.random.choice(TAGS)
        content = self.shared.model.contents[self.random.choice(there)]
        with self.shared.model.pinned(repo, content):
            if self._put(repo, tag, content, only_there=True):
                self.shared.count("tags moved")
                return
        self.push_twice(repo, tag, content, 0.0)

    def _push_again(self, repo: str, content: Image | Index) -> None:
        chance = self.random.random()
        if chance < 0.85:
            pause = self.random.uniform(0, 0.005)
        elif chance < 0.97:
            pause = self.random.uniform(0, 0.5)
        else:
            pause = self.random.uniform(2, 3)
        tag = self.random.choice(TAGS)
        self.push_twice(repo, tag, content, pause)

    def push_twice(
        self,
        repo: str,
        tag: str,
        content: Image | Index,
        pause: float,
        source: str | None = None,
    ) -> None:
        """Push; if that was refused, again and without a pause."""
        tries = TRIES_BESIDE_KILLS if self.shared.kills else TRIES
        if self.push(repo, tag, content, pause, source):
            self.shared.count("pushes")
        elif any(self.push(repo, tag, content) for _ in range(tries - 1)):
            self.shared.count("pushes that needed a second try")
        elif self.shared.kills:
            self.shared.fail("push refused each time", f"{repo}:{tag}", {content.digest})


class Retirer(Client):
    """Pushes, deletes, and sets back the times of what nobody will ask for again.

    So a collection has something to take whatever its grace period is. What is aged is never what
    a client was told is there: that would not be old.
    """

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared, "retirer")
        self.at_once = True
        """Whether that is done at once, and not before the next collection."""
        self._number = 0
        self._deleted: deque[tuple[str, Image]] = deque()
        self._serving: deque[tuple[str, Image]] = deque()
        self._retired: list[tuple[str, Image]] = []
        self.garbage: set[Digest] = set()
        """What a collection must have taken at the end."""

    def one(self) -> tuple[str, Image] | None:
        """A new image with a layer of its own and one that all share, in one of the old places."""
        self._number += 1
        made = image([OLD_BASE, layer({"own": random_bytes(f"old {self._number}", 500)})])
        self.shared.model.know(made)
        repo = RETIRED[self._number % len(RETIRED)]
        return (repo, made) if self.push(repo, f"r{self._number}", made) else None

    def retire(self, repo: str, made: Image) -> None:
        if self.delete(repo, made.digest) is not None:
            self._deleted.append((repo, made))
            if self.at_once:
                self.age_deleted()

    def age_deleted(self) -> None:
        """Set back the times of what was deleted since.

        A collection that looked at its blobs before that, and at the place of its revision after
        it, would take the place and leave the blobs, which then count from their arrival.
        """
        while self._deleted:
            repo, made = self._deleted.popleft()
            self.age(repo, made)
            self._retired.append((repo, made))
            self.garbage |= {one.digest for one in everything(made)} - {OLD_BASE.digest}

    def age_again(self) -> None:
        """For what a registry still wrote after its answer, which a slow disk makes it do."""
        self.age_deleted()
        for repo, made in self._retired:
            self.age(repo, made)

    def seed(self) -> None:
        """What there is from yesterday: 6 images that stay for ever, 9 that were deleted."""
        made = [found for _ in range(15) if (found := self.one())]
        for repo, old in made[6:]:
            self.retire(repo, old)
        self.age_deleted()
        self.shared.registry.age(DAY)

    def work(self) -> None:
        while not self.shared.ended.is_set():
            with self.shared.gate.passed():
                if made := self.one():
                    self._serving.append(made)
                if len(self._serving) > 8:
                    self.retire(*self._serving.popleft())
            self.shared.ended.wait(0.25)


class Returner(Client):
    """Pushes images, and when they are a day old deletes them and pushes them again at once.

    Every other one comes with a new manifest, which docker-registry writes and syncs after it has
    looked whether the blobs are there, and before it links it. It answers that all of them are,
    leaves their times as they are, and at that moment a collection may be taking them.
    """

    def work(self) -> None:
        kept: list[tuple[str, str, Image, Image]] = []
        for batch in itertools.count():
            if self.shared.ended.is_set():
                break
            with self.shared.gate.passed():
                for repo, _, *both in kept:
                    for one in both:
                        if (repo, one.digest) in self.shared.model.live():
                            self.delete(repo, one.digest)
                kept = [new for number in range(6) if (new := self._new(batch, number))]
            # What a collection has seen coming cannot be old.
            seen = self.shared.counts["collections"] + 2
            while self.shared.counts["collections"] < seen and not self.shared.ended.wait(0.05):
                pass
            for repo, tag, made, again in kept:
                self.shared.ended.wait(self.random.uniform(0, 0.3))
                with self.shared.gate.passed():
                    self.age(repo, made)
                    self.delete(repo, made.digest)
                    pause = self.random.uniform(0, 0.5 if self.random.random() < 0.2 else 0.005)
                    one = self.random.choice([made, again])
                    self.push_twice(repo, tag, one, pause)
                    self.pull(repo, tag, one.digest)

    def _new(self, batch: int, number: int) -> tuple[str, str, Image, Image] | None:
        seed = f"{self.name} {batch} {number}"
        layers = [OLD_BASE, *(layer({"own": random_bytes(f"{seed} {n}", 300)}) for n in "ab")]
        made, again = image(layers), image(layers, annotations={"again": seed})
        self.shared.model.know(made)
        self.shared.model.know(again)
        repo, tag = self.random.choice(REPOSITORIES), f"{self.name}-{number}"
        return (repo, tag, made, again) if self.push(repo, tag, made) else None


class Collector:
    """Runs `jettison gc` back to back, and looks after each run whether all files are there."""

    def __init__(
        self,
        shared: Shared,
        jettison: Jettison,
        grace: str | None,
        *more: str,
    ) -> None:
        self._shared = shared
        self._jettison = jettison
        self._random = random.Random(0)
        self._runs = 0
        self.kills = False
        """Whether some collections are killed."""
        self.before: Callable[[], None] = lambda: None
        """What is done before each."""
        options = [*(["--grace", grace] if grace else []), *more]
        # Most of so small a registry may be garbage at one time.
        options += ["--max-removal", "100%", "--yes", "-o", "json"]
        self._command = ["gc", str(shared.registry.config), *options]

    def collect(self) -> None:
        shared = self._shared
        self.before()
        shared.count("collections")
        number = shared.counts["collections"]
        before = self._blobs()
        shared.log.add("gc", f"collection {number} starts")
        done = self._run()
        gone = before - self._blobs()
        shared.log.add("gc", f"collection {number}: exit {done.code}, gone: {' '.join(gone)}")
        shared.count("blobs seen to be gone", len(gone))
        if done.code in {0, 3}:
            receipt = json.loads(done.stdout)["collection"]
            shared.count("blobs collected", receipt["removed"]["blobs"]["count"])
            shared.count("blobs put back", receipt["put_back"]["count"])
        if done.code == KILLED:
            shared.count("collections killed")
        elif done.code == 3 and all(map(self._passing, receipt["problems"])):
            if any(map(_is_put_off, receipt["problems"])):
                shared.count(PUT_OFF)
            else:
                shared.count("collections that met a write under way (exit 3)")
        elif done.code == LOCKED and "is locked: " in done.stderr + done.stdout:
            shared.count("collections that met another (exit 12)")
            shared.ended.wait(0.2)
        elif done.code != 0:
            text = f"collection {number}: exit {done.code}\n{done.stdout}\n{done.stderr}"
            shared.fail(f"gc: exit {done.code}", text)
        self.check_files(number)

    def _run(self) -> Result:
        process = self._jettison.start(*self._command)
        try:
            self._runs += 1
            killed = self.kills and self._runs % KILLED_EACH == KILLED_EACH - 1
            seconds = self._random.uniform(0.8, 4.0) if killed else COLLECTION_SECONDS
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            assert killed, f"{self._command} does not end:\n{stdout}\n{stderr}"
        return Result(stdout, stderr, process.returncode)

    def work(self) -> None:
        while not self._shared.ended.is_set():
            self.collect()

    def _passing(self, problem: dict[str, str]) -> bool:
        """Whether this is about a link that docker-registry was just making, removing, rewriting.

        It makes a tag's folder before the link in it, and removes them in any order; it empties a
        link before it writes it. On a slow disk that takes longer than a collection waits. Or, in a
        bucket, about a manifest that its push is going to write again.
        """
        if _is_put_off(problem):
            return True
        link = self._shared.registry.root / problem["path"]
        missing = link.name == "data" and problem["message"].endswith("is missing")
        if missing and self._shared.registry.in_bucket:
            return self._comes_back(link)
        if link.name != "link":
            return False
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            folder = link.parent.parent if link.parent.name == "current" else link
            with contextlib.suppress(FileNotFoundError):
                if re.fullmatch("sha256:[0-9a-f]{64}", link.read_text()):
                    return True
            if not folder.exists():
                return True
            time.sleep(0.05)
        return False

    def _comes_back(self, path: Path) -> bool:
        """Whether a manifest is written again: its push saw at the end that it was taken."""
        deadline = time.monotonic() + PATIENCE
        while not self._shared.registry.is_there(path) and time.monotonic() < deadline:
            time.sleep(0.1)
        return self._shared.registry.is_there(path)

    def _blobs(self) -> set[str]:
        folders = (self._shared.registry.tree / "blobs" / "sha256").glob("*/*")
        there = self._shared.registry.is_there
        return {folder.name for folder in folders if there(folder / "data")}

    def check_files(self, number: int) -> None:
        """What was acknowledged before and not deleted meanwhile is there, link by link."""
        model, tree = self._shared.model, self._shared.registry.tree
        since = model.now
        live = model.live()
        checked: dict[Digest, bool] = {}
        for repo, digest in live:
            content = model.contents[digest]
            folder = tree / "repositories" / repo
            missing: dict[Digest, str] = {}
            there = self._shared.registry.is_there
            if not there(folder / "_manifests/revisions/sha256" / digest.hex / "link"):
                missing[digest] = "revision link"
            for one in content.blobs():
                if not there(folder / "_layers" / "sha256" / one.digest.hex / "link"):
                    missing[one.digest] = "layer link"
            for one in everything(content):
                if one.digest not in checked:
                    path = tree / "blobs" / "sha256" / one.digest.hex[:2] / one.digest.hex / "data"
                    checked[one.digest] = there(path) and path.stat().st_size == one.size
                if not checked[one.digest]:
                    missing[one.digest] = "blob"
            if missing and model.settled(repo, digest, since):
                text = f"after collection {number}, {repo}@{digest} misses {missing}"
                self._shared.fail("files missing after a collection", text, {digest, *missing})


class Load:
    """All of it against one registry; `grace` is an option of the collections.

    `returning`: images are deleted and pushed again when they are a day old, and nothing else.
    `pool`: these are pushed alone, so that more often what is being collected is wanted again.
    `killing`: with these commands one collects each, and collections and servers are killed.
    `options` are more of the collections'.
    `calm`: nothing is killed, and nothing grows old: clients and collections meet more often.
    """

    def __init__(
        self,
        registry: DockerRegistry,
        jettison: Jettison | None,
        grace: str | None = None,
        *,
        returning: bool = False,
        beside: Sequence[DockerRegistry] = (),
        collectors: int = 1,
        clients: int = WORKERS,
        killing: Sequence[Jettison] = (),
        pool: Sequence[Image | Index] = POOL,
        options: Sequence[str] = (),
        calm: bool = False,
    ) -> None:
        self.shared = Shared(registry, GRACE[grace], refusals=returning or grace is not None)
        self._calm = calm
        self.shared.kills = bool(killing) and not calm
        self._servers = [registry, *beside]
        self.shared.ports = itertools.cycle([registry.port, *(one.port for one in beside)])
        for content in POOL:
            self.shared.model.know(content)
        self._grace = grace
        self._retirer = Retirer(self.shared)
        self._checker = Client(self.shared, "checker")
        kind = Returner if returning else Client
        self._clients = [kind(self.shared, f"client-{n}") for n in range(clients)]
        for client in self._clients:
            client.pool = pool
        self._collector = Collector(self.shared, jettison, grace, *options) if jettison else None
        self._collectors = [self._collector] * collectors if self._collector else []
        for one in killing:
            # Whether a server of ours runs just now says nothing here.
            self._collector = Collector(self.shared, one, grace, "--served-by-jettison")
            self._collector.kills = not calm
            self._collectors.append(self._collector)
        if len(self._collectors) == 1:
            self._retirer.at_once = False
            self._collectors[0].before = self._retirer.age_deleted
        self._seconds: Counter[str] = Counter()

    @property
    def failures(self) -> list[Failure]:
        return self.shared.failures

    @property
    def counts(self) -> Counter[str]:
        return self.shared.counts

    def seed(self) -> None:
        """Yesterday's images, and a first few of today's."""
        if not self._calm:
            self._retirer.seed()
        for number, content in enumerate(POOL[::5]):
            repo = REPOSITORIES[number % len(REPOSITORIES)]
            self.push(repo, TAGS[number % len(TAGS)], content)

    def push(self, repo: str, tag: str, content: Image | Index) -> None:
        """Push one more image before or after the load."""
        assert self._checker.push(repo, tag, content), self.report()

    def run(self, seconds: float, check_every: float, wanted: Sequence[str] = ()) -> None:
        """Let all threads go, and stop the clients now and then to look at everything.

        It goes on until each of `wanted` was counted, up to six times as long: a machine may be
        slow.
        """
        jobs: list[tuple[str, Callable[[], None]]] = [(c.name, c.work) for c in self._clients]
        if not self._calm:
            jobs.append(("retirer", self._retirer.work))
        jobs += [("gc", one.work) for one in self._collectors]
        if self.shared.kills:
            jobs.append(("killer", self._kill_servers))
        threads = [
            threading.Thread(target=self._guarded, args=job, name=job[0], daemon=True)
            for job in jobs
        ]
        for thread in threads:
            thread.start()
        start = time.monotonic()
        deadline = start + seconds
        while not self.shared.ended.wait(min(check_every, deadline - time.monotonic())):
            if deadline - time.monotonic() <= 0.1:
                if all(self.counts[what] for what in wanted) or deadline > start + 5 * seconds:
                    break
                deadline += seconds
            with self.shared.gate.shut():
                self.check(untagged=False)
        self.shared.ended.set()
        for thread in threads:
            thread.join(300)
            assert not thread.is_alive(), f"{thread.name} does not end"

    def _kill_servers(self) -> None:
        """Kill one after the other; most live longer than a push waits for a killed collection."""
        chance = random.Random(0)
        while not self.shared.ended.wait(chance.uniform(4.0, 14.0)):
            server = chance.choice(self._servers)
            self.shared.log.add("killer", f"kills the server on port {server.port}")
            server.kill()
            self.shared.count("servers killed")
            self.shared.ended.wait(chance.uniform(0.0, 1.5))
            server.start()

    def check(self, *, untagged: bool = True) -> None:
        """While no client is at it: every tag is listed, no other is, and each pulls in full."""
        model = self.shared.model
        self.shared.count("checks of all tags")
        done: set[tuple[str, Digest]] = set()
        for repo in [*REPOSITORIES, *RETIRED]:
            wanted = {tag for _, tag in model.tags(repo)}
            answer = self._checker.request("GET", f"/v2/{repo}/tags/list")
            listed = set(answer.json["tags"] or []) if answer.status == 200 else set()
            if listed != wanted:
                text = f"{repo} has {sorted(listed)}, not {sorted(wanted)}"
                self.shared.fail("tags", text)
            for (_, tag), digest in model.tags(repo).items():
                if (repo, digest) in done:
                    continue
                self._checker.pull(repo, tag, digest)
                done.add((repo, digest))
        if untagged:
            for repo, digest in sorted(model.live() - done):
                self._checker.pull(repo, digest, digest)

    def finish(self) -> None:
        """Check everything, collect once more when all garbage is idle, and check again."""
        self.check(untagged=self._collector is None)
        if self._collector is None:
            return
        model = self.shared.model
        for one in self._collectors:
            one.kills = False
        for _ in range(3):
            if self._grace is not None:
                time.sleep(self.shared.grace + 0.5)
            self._retirer.age_again()
            put_off = self.counts[PUT_OFF]
            self._collector.collect()
            if self.counts[PUT_OFF] == put_off:
                break
        self.check()
        self._check_deleted()
        there, needed = self.shared.registry.blob_files(), model.blobs()
        if lost := needed.keys() - there.keys():
            self.shared.fail("blobs lost", f"{sorted(lost)}")
        if left := self._retirer.garbage & there.keys():
            self._left(left)
        if self._grace is not None and (more := there.keys() - needed.keys()):
            self._left(more)

    def _left(self, garbage: Collection[Digest]) -> None:
        """Note garbage that a collection has left, with what in the tree is named by it."""
        now, tree = time.time(), self.shared.registry.tree
        wanted = {digest.hex for digest in garbage}
        named = [
            f"{now - one.stat().st_mtime:9.1f} s old: {one.relative_to(tree)}"
            for one in sorted(tree.rglob("*"))
            if not wanted.isdisjoint(one.parts)
        ]
        text = "\n    ".join([f"{len(garbage)} blobs", *named])
        self.shared.fail("garbage left", text, set(garbage))

    def _check_deleted(self) -> None:
        """While no client is at it: what was deleted, and not pushed again, is not there."""
        for repo, digest in sorted(self.shared.model.gone()):
            path = f"/v2/{repo}/manifests/{digest}"
            answer = self._checker.request("HEAD", path, {"Accept": ACCEPT})
            if answer.status != 404:
                text = f"HEAD {path} answered {answer.status}"
                self.shared.fail("a deleted manifest is there", text, {digest})

    def close(self) -> None:
        self.shared.ended.set()
        for client in [self._retirer, self._checker, *self._clients]:
            client.close()

    def report(self) -> str:
        """What was done, and what went wrong with what led to it."""
        lines = [f"{number:8,} {what}" for what, number in sorted(self.counts.items())]
        kinds = Counter(failure.kind for failure in self.failures)
        lines += [f"FAILED {number:,} times {kind}" for kind, number in kinds.most_common()]
        shown: Counter[str] = Counter()
        for failure in self.failures:
            shown[failure.kind] += 1
            if shown[failure.kind] <= 4:
                lines.append(f"{failure.kind}: {failure.text}")
        return "\n".join(lines)

    def _guarded(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 - whatever it is, it belongs into the report
            self.shared.fail(f"{name} ended", traceback.format_exc())


def _is_put_off(problem: dict[str, str]) -> bool:
    """Whether a delete in a bucket had too little time, or an answer came too late."""
    told = problem["message"]
    return "the time of its sweep is over" in told or "whether it was removed is not known" in told


def is_refusal(answer: Response) -> bool:
    """Whether a manifest was refused because blobs are not there, and for nothing else."""
    if answer.status != 400:
        return False
    return {error["code"] for error in answer.json["errors"]} == {"MANIFEST_BLOB_UNKNOWN"}
