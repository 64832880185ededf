"""Measures both servers with the same requests, in turn, and looks at the answers."""

import hashlib
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPMessage
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import report
from bench.listings import LISTINGS, Listing, expected_names, listed, names, paged
from bench.options import say
from bench.programs import BenchError, clean_environment, removed
from bench.pushes import MANIFEST, Pushes, push_load
from bench.report import Row, Series, Target
from bench.servers import Server
from bench.traffic import Load, Request, get_load, head_load
from bench.transfer import UPLOADS, Client, Upload, download, source
from bench.trees import Shape, make_tree
from jettison.demo import images

__all__ = ["FULL", "QUICK", "SECTIONS", "Bench", "Figure", "Scale", "Settings", "verify_and_remove"]

MB: Final = 1_000_000
REPOSITORY: Final = "bench/app"
TAG: Final = "1.0"
SMALL: Final = 10 * 1024
WARM_UP: Final = 1
REST_SECONDS: Final = 3

Ratio = Callable[[str, Series, Series, Target | None], Row]


class Scale(NamedTuple):
    """How much of everything."""

    seconds: int
    """Of each load of small requests."""
    upload: int
    """Bytes."""
    download: int
    """Bytes."""
    tags: int
    repositories: int
    page: int


FULL: Final = Scale(10, 400 * MB, 100 * MB, 10_000, 5_000, 1_000)
QUICK: Final = Scale(1, 8 * MB, 4 * MB, 200, 40, 50)

SECTIONS: Final = {
    "manifest": "GET and HEAD of a manifest by tag, 32 connections",
    "blob": "GET of a blob of 10 KB, 32 connections",
    "push": "images of three small blobs, 16 clients",
    "upload": "one large blob up, in each of the ways that clients have",
    "download": "one large blob down",
    "memory": "after all of the above that was measured",
    "list": "tags of one repository, and the catalog of many: whole, and page by page",
    "start": "from the start of the process to its first answer",
}


class Settings(NamedTuple):
    """What to measure, on which servers, how often, and on what."""

    scale: Scale
    runs: int
    sections: frozenset[str]
    names: tuple[str, ...]
    settle: bool = True
    """Let the disk come to rest before each transfer."""


class Figure(NamedTuple):
    """One line of the table: what each server's runs gave, by its name."""

    measure: str
    unit: str
    found: Mapping[str, Series]
    ratio: Ratio
    target: Target | None

    @property
    def row(self) -> Row:
        """The line; a server that was left out has a dash."""
        ours = self.found.get("Jettison")
        theirs = next((one for name, one in self.found.items() if name != "Jettison"), None)
        if theirs is not None and ours is not None:
            return self.ratio(self.measure, theirs, ours, self.target)
        first, second = ("–" if one is None else str(one) for one in (theirs, ours))
        return Row(self.measure, first, second, target=self.target)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        row = self.row
        return {
            "measure": self.measure,
            "unit": self.unit,
            "values": {name: one.times for name, one in self.found.items()},
            "medians": {name: one.median for name, one in self.found.items()},
            "ratio": row.ratio,
            "judged": row.judged,
            "target": None if self.target is None else str(self.target),
            "met": {"yes": True, "no": False}.get(row.met),
        }


class Bench:
    """Measures, and collects figures for the table."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._scale = settings.scale
        self._environment = clean_environment(folder / "home")
        self.figures: list[Figure] = []

    def run(self) -> None:
        """Measure everything that was asked for."""
        wanted = self._settings.sections
        if wanted & {"manifest", "blob", "upload", "download", "memory"}:
            self._images()
        if "push" in wanted:
            self._pushes()
        if "list" in wanted:
            for listing in LISTINGS:
                self._list(listing)
        if "start" in wanted:
            self._start()

    # One image, small and large blobs.

    def _images(self) -> None:
        wanted = self._settings.sections
        with self._servers("images", {}) as servers:
            image = _image()
            digests = [_push(server, image) for server in servers]
            assert len(set(digests)) == 1
            if "manifest" in wanted:
                self._manifest(servers, image)
            if "blob" in wanted:
                self._blob(servers)
            if "upload" in wanted:
                for way, upload in UPLOADS.items():
                    self._upload(servers, way, upload)
            if "download" in wanted:
                self._download(servers)
            if "memory" in wanted:
                self._memory(servers)

    def _manifest(self, servers: Sequence[Server], image: images.Image) -> None:
        target = f"/v2/{REPOSITORY}/manifests/{TAG}"
        headers = {"Accept": image.manifest.media_type}
        size = len(image.manifest.raw)

        def got(request: Request) -> None:
            for method, length in (("GET", size), ("HEAD", 0)):
                told, body = _asked(request, method)
                found = told["Docker-Content-Digest"], told["Content-Length"], len(body)
                if found != (image.digest, str(size), length) or body not in image.manifest.raw:
                    raise BenchError(f"{method} {target}: {found} instead of {image.digest}")

        loads = self._load(servers, target, headers, got, get_load)
        self._rates("GET manifest by tag", loads, Target(least=10))
        p99 = {name: _series((1e3 * one.p99 for one in many), "ms") for name, many in loads.items()}
        target_p99 = Target(most=0.2)
        self._add("GET manifest by tag, p99", p99, report.share_row, target_p99)
        loads = self._load(servers, target, headers, got, head_load)
        self._rates("HEAD manifest by tag", loads, Target(least=10))

    def _blob(self, servers: Sequence[Server]) -> None:
        content = random.Random(1).randbytes(SMALL)
        for server in servers:
            with _client(server) as client:
                digest = client.push_blob(REPOSITORY, content)

        def got(request: Request) -> None:
            _, body = _asked(request, "GET")
            if body != content:
                raise BenchError(f"GET {request.target}: not the blob")

        loads = self._load(servers, f"/v2/{REPOSITORY}/blobs/{digest}", {}, got, get_load)
        self._rates("GET blob of 10 KB", loads, Target(least=25))

    def _load(
        self,
        servers: Sequence[Server],
        target: str,
        headers: Mapping[str, str],
        check: Callable[[Request], None],
        load: Callable[[Request, int], Load],
    ) -> dict[str, list[Load]]:
        say(f"{load.__name__} of {target}, {self._settings.runs} times each")
        found: dict[str, list[Load]] = {server.name: [] for server in servers}
        for server in self._in_turn(servers):
            request = Request(server.address, target, headers)
            check(request)
            load(request, WARM_UP)
            found[server.name].append(load(request, self._scale.seconds))
            check(request)
        return found

    def _rates(self, measure: str, loads: Mapping[str, list[Load]], target: Target) -> None:
        found = {name: _series((one.rate for one in many), "/s") for name, many in loads.items()}
        self._add(measure, found, report.rate_row, target)

    def _upload(self, servers: Sequence[Server], way: str, upload: Upload) -> None:
        size = self._scale.upload
        what = f"upload of {size // MB} MB, {way}"
        say(f"{what}, {self._settings.runs} times each")
        found: dict[str, list[float]] = {server.name: [] for server in servers}
        with source(self._folder, size) as blob:
            for server in self._in_turn(servers):
                blob.renew()
                self._settle()
                with _client(server) as client:
                    began = time.perf_counter()
                    upload(client, REPOSITORY, blob)
                    took = time.perf_counter() - began
                found[server.name].append(size / MB / took)
                verify_and_remove(server.root, blob.digest)
        rates = {name: _series(many, "MB/s") for name, many in found.items()}
        target = Target(least=2) if way == next(iter(UPLOADS)) else None
        self._add(what, rates, report.rate_row, target)

    def _download(self, servers: Sequence[Server]) -> None:
        size = self._scale.download
        what = f"download of {size // MB} MB"
        say(f"{what}, {self._settings.runs} times each")
        content = random.Random(2).randbytes(size)
        for server in servers:
            with _client(server) as client:
                digest = client.push_blob(REPOSITORY, content)
        into = bytearray(size)
        found: dict[str, list[float]] = {server.name: [] for server in servers}
        self._settle()
        for server in self._in_turn(servers):
            for number in range(3):
                with _client(server) as client:
                    took = download(client, REPOSITORY, digest, into)
                if number:  # the first of each turn is to warm up
                    found[server.name].append(size / MB / took)
        rates = {name: _series(many, "MB/s") for name, many in found.items()}
        self._add(what, rates, report.rate_row, Target(least=1))

    def _memory(self, servers: Sequence[Server]) -> None:
        usage = {server.name: server.usage() for server in servers}
        now = {name: _series([one.now / MB], "MB") for name, one in usage.items()}
        peak = {name: _series([one.peak / MB], "MB") for name, one in usage.items()}
        self._add("memory after the above", now, report.share_row, Target(most=1.2))
        self._add("memory at its peak", peak, report.share_row, None)

    # Many small pushes.

    def _pushes(self) -> None:
        say(f"pushes of small images, {self._settings.runs} times each")
        rates: dict[str, list[float]] = {name: [] for name in self._settings.names}
        costs: dict[str, list[float]] = {name: [] for name in self._settings.names}
        with self._servers("push", {}) as servers:
            for server in servers:
                push_load(server.address, WARM_UP)
            for server in self._in_turn(servers):
                self._settle()
                before = server.processor_seconds()
                done = push_load(server.address, self._scale.seconds)
                costs[server.name].append(1e3 * (server.processor_seconds() - before) / done.images)
                rates[server.name].append(done.rate)
                _check_pushed(server, done)
        found = {name: _series(many, "/s") for name, many in rates.items()}
        self._add("pushes of small images", found, report.rate_row, Target(least=1.5))
        found = {name: _series(many, "ms") for name, many in costs.items()}
        target = Target(most=8, unit=" ms")
        self._add("processor time of such a push", found, report.limit_row, target)

    # Long lists, and the start.

    def _list(self, listing: Listing) -> None:
        many = self._scale.tags if listing.tags else self._scale.repositories
        shape = Shape(1, many, 0, 0) if listing.tags else Shape(many, 1, 0, 0)
        what = f"{listing.what} of {many:,}"
        with self._tree(listing.what, shape) as tree:
            roots = dict.fromkeys(self._settings.names, tree)
            expected = expected_names(tree, listing)
            # Jettison keeps no list of a folder that was written to a moment ago.
            time.sleep(REST_SECONDS)
            with self._servers(listing.what, roots) as servers:
                whole = self._listed(servers, what, lambda client: listed(client, listing, many))
                self._check(whole, expected, what)
                self._add(what, _times(whole), report.speed_row, Target(least=3))
                page = self._scale.page
                what = f"{what}, pages of {page:,}"
                pages = self._listed(servers, what, lambda client: paged(client, listing, page))
                self._check(pages, expected, what)
                # Ten requests beside one: docker-registry answers the first with all tags.
                aimed_at = None if listing.tags else Target(least=3)
                self._add(what, _times(pages), report.speed_row, aimed_at)
            if not listing.tags and "start" in self._settings.sections:
                self._starts(f"start, {many:,} repositories", roots)

    def _listed(
        self, servers: Sequence[Server], what: str, ask: Callable[[Client], list[bytes]]
    ) -> dict[str, list[tuple[float, list[bytes]]]]:
        say(f"{what}, {self._settings.runs} times each")
        found: dict[str, list[tuple[float, list[bytes]]]] = {one.name: [] for one in servers}
        for server in servers:
            with _client(server) as client:
                ask(client)
        for server in self._in_turn(servers):
            with _client(server) as client:
                began = time.perf_counter()
                bodies = ask(client)
                found[server.name].append((time.perf_counter() - began, bodies))
        return found

    def _check(
        self,
        found: Mapping[str, list[tuple[float, list[bytes]]]],
        expected: Sequence[str],
        what: str,
    ) -> None:
        for name, many in found.items():
            for _, bodies in many:
                got = [one for body in bodies for one in names(body)]
                if sorted(got) != expected:
                    raise BenchError(f"{name}, {what}: {len(got)} of {len(expected)} names")

    def _start(self) -> None:
        roots = {}
        for name in self._settings.names:
            roots[name] = self._folder / "empty" / name
            roots[name].mkdir(parents=True)
        self._starts("start, nothing stored", roots)

    def _starts(self, what: str, roots: Mapping[str, Path]) -> None:
        say(f"{what}, {self._settings.runs} times each")
        found: dict[str, list[float]] = {name: [] for name in roots}
        with self._servers("start", roots, running=False) as servers:
            for server in self._in_turn(servers):
                found[server.name].append(server.start())
                server.stop()
        times = {name: _series(many, "s") for name, many in found.items()}
        self._add(what, times, report.limit_row, Target(most=1, unit=" s"))

    # Trees, servers, turns, figures.

    @contextmanager
    def _tree(self, name: str, shape: Shape) -> Iterator[Path]:
        tree = self._folder / name.replace("/", "-")
        try:
            say(f"making a tree of {shape.manifests:,} manifests")
            make_tree(tree, shape)
            yield tree
        finally:
            removed(tree)

    @contextmanager
    def _servers(
        self, what: str, roots: Mapping[str, Path], *, running: bool = True
    ) -> Iterator[list[Server]]:
        """Yield the servers, each on its root, or on a new one."""
        folder = self._folder / f"servers-{what.replace('/', '-')}"
        with ExitStack() as stack:
            stack.callback(removed, folder)
            servers = []
            for name in self._settings.names:
                below = folder / name
                root = roots.get(name, below / "storage")
                server = Server(name, below, root, self._environment)
                stack.callback(server.stop)
                if running:
                    server.start()
                servers.append(server)
            yield servers

    def _in_turn(self, servers: Sequence[Server]) -> Iterator[Server]:
        """Yield all of them so many times, each first every other time."""
        for number in range(self._settings.runs):
            yield from servers if number % 2 == 0 else servers[::-1]

    def _settle(self) -> None:
        if self._settings.settle:
            # What one has left to be written is not to slow down the other.
            subprocess.run(["sync", "-f", self._folder], check=True)

    def _add(
        self, measure: str, found: Mapping[str, Series], ratio: Ratio, target: Target | None
    ) -> None:
        unit = next(iter(found.values())).unit
        figure = Figure(measure, unit, found, ratio, target)
        self.figures.append(figure)
        # Now already: the whole takes long, and may be interrupted.
        print("   ", "   ".join(filter(None, figure.row.cells)), file=sys.stderr, flush=True)


def _series(values: Iterable[float], unit: str) -> Series:
    return Series(tuple(values), unit)


def _times(found: Mapping[str, list[tuple[float, list[bytes]]]]) -> dict[str, Series]:
    return {name: _series((took * 1e3 for took, _ in many), "ms") for name, many in found.items()}


@contextmanager
def _client(server: Server) -> Iterator[Client]:
    client = Client(server.address)
    try:
        yield client
    finally:
        client.close()


def _image() -> images.Image:
    layers = [images.layer({f"file-{n}": images.random_bytes(n, 1000)}) for n in range(8)]
    return images.image(layers)


def _push(server: Server, image: images.Image) -> str:
    with _client(server) as client:
        for blob in image.blobs():
            client.push_blob(REPOSITORY, blob.raw)
        target = f"/v2/{REPOSITORY}/manifests/{TAG}"
        kind = {"Content-Type": image.manifest.media_type}
        headers, _ = client.ask("PUT", target, 201, kind, image.manifest.raw)
        return str(headers["Docker-Content-Digest"])


def _check_pushed(server: Server, done: Pushes) -> None:
    repository, tag, manifest = done.last
    request = Request(server.address, f"/v2/{repository}/manifests/{tag}", {"Accept": MANIFEST})
    if _asked(request, "GET")[1] != manifest:
        raise BenchError(f"{server.name}: {request.target} is not what was pushed")


def _asked(request: Request, method: str) -> tuple[HTTPMessage, bytes]:
    client = Client(request.address)
    try:
        return client.ask(method, request.target, 200, request.headers)
    finally:
        client.close()


def verify_and_remove(root: Path, digest: str) -> None:
    """Look at what an upload left on the disk; then make room for the next."""
    encoded = digest.removeprefix("sha256:")
    file = root / "docker/registry/v2/blobs/sha256" / encoded[:2] / encoded / "data"
    with file.open("rb") as stored:
        found = hashlib.file_digest(stored, "sha256").hexdigest()
    if found != encoded:
        raise BenchError(f"{file}: its content is sha256:{found}")
    removed(file.parent)
