"""Servers on buckets of their own: requests to the store of a push and a pull, and many pushes.

A push is of a layer, a config and a manifest by tag, as most clients send it: HEAD, POST, PATCH and
PUT of each blob, then PUT of the manifest. A pull is GET of a manifest by tag: cold is the first
one after the server has started, warm the next one.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.buckets import Gateway
from bench.options import say
from bench.programs import BenchError
from bench.pushes import CLIENTS, CONFIG, LAYER, MANIFEST, push_load
from bench.report import Series, Target, digits
from bench.servers import Server
from bench.transfer import Client, Source, source, streamed

__all__ = [
    "COLD",
    "FULL",
    "PUSHES",
    "QUICK",
    "REQUESTS_OF_PUSH",
    "SERVERS",
    "WARM",
    "BucketServing",
    "Figure",
    "Scale",
    "document",
    "lines",
]

JETTISON: Final = "Jettison"
BESIDE: Final = "Distribution 3"
SERVERS: Final = ("docker-registry", BESIDE, JETTISON)
CONFIG_BYTES: Final = 2048
WARM_UP_SECONDS: Final = 1
TAG: Final = "1.0"
MIB: Final = 1 << 20

REQUESTS_OF_PUSH: Final = "requests of a push"
COLD: Final = "requests of a pull of a manifest by tag, cold"
WARM: Final = "requests of a pull of a manifest by tag, warm"
PUSHES: Final = f"pushes of small images, {CLIENTS} clients"

_QUIET_SECONDS: Final = 0.5
_SETTLED_SECONDS: Final = 30.0


class Scale(NamedTuple):
    """How much of everything."""

    layer: int
    """Bytes."""
    seconds: float
    """Of each load of pushes."""
    rounds: int


FULL: Final = Scale(25 * MIB, 10.0, 5)
QUICK: Final = Scale(MIB, 0.5, 1)


class Figure(NamedTuple):
    """What one server gave: requests by operation, or how many pushes a second in each round."""

    measure: str
    server: str
    requests: Counter[str] | None = None
    rates: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """The number of the requests, or the median of the rates."""
        return self.requests.total() if self.requests is not None else Series(self.rates).median


class BucketServing:
    """Measures servers on buckets of a gateway; their configurations and logs are in ``folder``."""

    def __init__(
        self, folder: Path, gateway: Gateway, environment: dict[str, str], scale: Scale
    ) -> None:
        self._folder = folder
        self._gateway = gateway
        self._environment = environment
        self._scale = scale
        self.found: list[Figure] = []

    def run(self) -> None:
        """Measure everything."""
        for name in SERVERS:
            self._count(name)
        self.found.sort(key=lambda one: (REQUESTS_OF_PUSH, COLD, WARM).index(one.measure))
        self._race()

    def _server(self, name: str, what: str) -> Server:
        bucket = _bucket(name, what)
        root = self._gateway.folder / bucket
        root.mkdir()
        driver = self._gateway.driver(bucket)
        return Server(name, self._folder / bucket, root, self._environment, driver)

    # Requests.

    def _count(self, name: str) -> None:
        say(f"requests of {name}")
        server = self._server(name, "requests")
        with server, _client(server) as client:
            pushed = self._counted(
                server, REQUESTS_OF_PUSH, lambda: _push(client, self._folder, self._scale.layer)
            )
        # Started again, it has nothing in memory.
        with server, _client(server) as client:
            for measure in (COLD, WARM):
                pulled = self._counted(server, measure, lambda: _pull(client))
                if pulled != pushed:
                    raise BenchError(f"{name} answers with another manifest than was pushed")

    def _counted(self, server: Server, measure: str, act: Callable[[], bytes]) -> bytes:
        before = self._settled(server)
        returned = act()
        found = self._settled(server) - before
        self.found.append(Figure(measure, server.name, found))
        return returned

    def _settled(self, server: Server) -> Counter[str]:
        """Count the requests about a server's bucket, when no more come."""
        end = time.monotonic() + _SETTLED_SECONDS
        found: Counter[str] | None = None
        while (now := self._gateway.requests(server.root.name)) != found:
            if time.monotonic() > end:
                raise BenchError(f"{server.name} does not stop asking its store")
            found = now
            time.sleep(_QUIET_SECONDS)
        return now

    # Pushes a second.

    def _race(self) -> None:
        say(f"pushes of {CLIENTS} clients, in turn")
        rates: dict[str, list[float]] = {name: [] for name in (BESIDE, JETTISON)}
        with ExitStack() as stack:
            servers = [stack.enter_context(self._server(name, "pushes")) for name in rates]
            for server in servers:
                push_load(server.address, WARM_UP_SECONDS)
            for number in range(self._scale.rounds):
                for server in servers if number % 2 == 0 else servers[::-1]:
                    done = push_load(server.address, self._scale.seconds)
                    rates[server.name].append(done.rate)
                    repository, tag, manifest = done.last
                    with _client(server) as client:
                        if _pull(client, repository, tag) != manifest:
                            raise BenchError(f"{server.name}: {tag} is not what was pushed")
        self.found += [Figure(PUSHES, name, None, tuple(many)) for name, many in rates.items()]


def _bucket(name: str, what: str) -> str:
    return f"{name.replace(' ', '-').lower()}-{what}"


@contextmanager
def _client(server: Server) -> Iterator[Client]:
    client = Client(server.address)
    try:
        yield client
    finally:
        client.close()


def _push(client: Client, folder: Path, size: int, repository: str = "bench/app") -> bytes:
    """Push an image of one layer that is new; return its manifest."""
    described = []
    for kind, length in ((LAYER, size), (CONFIG, CONFIG_BYTES)):
        with source(folder, length) as blob:
            _push_blob(client, repository, blob)
            described.append({"mediaType": kind, "digest": blob.digest, "size": length})
    layer, config = described
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    raw = json.dumps(document).encode()
    target = f"/v2/{repository}/manifests/{TAG}"
    client.ask("PUT", target, 201, {"Content-Type": MANIFEST}, raw)
    return raw


def _push_blob(client: Client, repository: str, blob: Source) -> None:
    blob.renew()
    client.ask("HEAD", f"/v2/{repository}/blobs/{blob.digest}", 404)
    streamed(client, repository, blob)


def _pull(client: Client, repository: str = "bench/app", tag: str = TAG) -> bytes:
    return client.ask("GET", f"/v2/{repository}/manifests/{tag}", 200, {"Accept": MANIFEST})[1]


# The table.

_AIMS: Final = {
    REQUESTS_OF_PUSH: Target(most=25, unit=""),
    COLD: Target(most=2, unit=""),
    WARM: Target(most=1, unit=""),
    PUSHES: Target(least=2),
}


def lines(found: Sequence[Figure]) -> list[str]:
    """Return the lines of a Markdown table; the aim is about Jettison's figure."""
    table = [
        "| measure | server | figure | aim | met? | kinds |",
        "|---|---|--:|--:|---|---|",
    ]
    for one in found:
        kinds = ", ".join(
            f"{count:,} {kind}" for kind, count in (one.requests or Counter()).most_common()
        )
        aim = met = ""
        shown = f"{one.value:,.0f}" if one.requests is not None else str(Series(one.rates, "/s"))
        if one.server == JETTISON:
            target, judged = _AIMS[one.measure], one.value
            if one.requests is None:
                judged = one.value / _other(found, one.measure)
                shown += f", {digits(judged)}×"
            aim, met = str(target), "yes" if target.met(judged) else "no"
        table.append(f"| {one.measure} | {one.server} | {shown} | {aim} | {met} | {kinds} |")
    return table


def _other(found: Sequence[Figure], measure: str) -> float:
    return next(one.value for one in found if (one.measure, one.server) == (measure, BESIDE))


def document(one: Figure) -> dict[str, Any]:
    """Return a figure for JSON."""
    return one._asdict() | {"value": one.value, "section": "serving"}
