"""Figures about the server: counted here, written for Prometheus in ``exposition``.

:meth:`Metrics.observe` is on the path of every request, so it only adds to plain numbers. A method
chosen by a client never becomes a label: the series are fixed beforehand.

Several worker processes each count for themselves. In a common folder, each writes its figures
every second, and the one that is asked answers with the sum of all.
"""

import asyncio
import os
import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from jettison.errors import InvalidDocument
from jettison.model import strict_json
from jettison.server.observing.exchange import ROUTES, Exchange
from jettison.storage.protocol import Monitoring
from jettison.storage.scheduled_runs import ScheduledRun

__all__ = [
    "BOUNDS",
    "METHODS",
    "EndpointFigures",
    "Figures",
    "Metrics",
    "RetentionFigures",
    "Series",
]

METHODS: Final = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "OTHER")
BOUNDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Seconds: the upper bounds of the histogram's buckets, Distribution's among them."""

_SAVE_SECONDS: Final = 1.0
_SUFFIX: Final = ".figures"


class Series(msgspec.Struct, gc=False):
    """The outcomes of the requests of one route and method.

    ``begun`` less the sum of ``codes`` is how many are in flight. ``buckets`` are counts, not
    cumulative, one for each of :data:`BOUNDS` and one for longer requests. Sizes are in bytes.
    """

    begun: int = 0
    codes: dict[int, int] = {}
    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    received: int = 0
    sent: int = 0

    @property
    def finished(self) -> int:
        """How many requests were answered."""
        return sum(list(self.codes.values()))

    def add(self, other: "Series", *, alive: bool) -> None:
        """Add another process's series; one that ended has nothing in flight."""
        self.begun += other.begun if alive else other.finished
        for code, count in list(other.codes.items()):
            self.codes[code] = self.codes.get(code, 0) + count
        self.buckets = [one + two for one, two in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
        self.received += other.received
        self.sent += other.sent


class EndpointFigures(msgspec.Struct):
    """The outcomes of the notifications to one endpoint.

    ``accepted`` events entered its queue, ``queued`` are waiting in it. An attempt to send one
    ends as one of ``sent``, ``refused`` (an answer that is none of 2xx and 3xx) and ``errors`` (no
    answer). ``dropped`` events were never sent: the queue was full, or the server ended.
    """

    name: str
    accepted: int = 0
    queued: int = 0
    sent: int = 0
    refused: int = 0
    errors: int = 0
    dropped: int = 0
    statuses: dict[int, int] = {}

    def add(self, other: "EndpointFigures", *, alive: bool) -> None:
        """Add another process's figures; the queue of one that ended is lost."""
        self.accepted += other.accepted
        self.queued += other.queued if alive else 0
        self.sent += other.sent
        self.refused += other.refused
        self.errors += other.errors
        self.dropped += other.dropped + (0 if alive else other.queued)
        for status, count in list(other.statuses.items()):
            self.statuses[status] = self.statuses.get(status, 0) + count


class RetentionFigures(msgspec.Struct, frozen=True):
    """When the schedule of retention comes next (seconds since the epoch), and its last run."""

    next: float
    last: ScheduledRun | None = None


class Figures(msgspec.Struct):
    """All figures of one process, or of several."""

    series: dict[str, Series] = {}
    """By route and method, with a blank between them."""
    endpoints: dict[str, EndpointFigures] = {}
    lines_dropped: int = 0
    uploads: int = 0

    def add(self, other: "Figures", *, alive: bool) -> None:
        """Add another process's figures; ``alive`` tells whether it still runs."""
        for name, series in other.series.items():
            self.series.setdefault(name, Series()).add(series, alive=alive)
        for name, endpoint in other.endpoints.items():
            self.endpoints.setdefault(name, EndpointFigures(name)).add(endpoint, alive=alive)
        self.lines_dropped += other.lines_dropped
        self.uploads += other.uploads if alive else 0


class Metrics:
    """Counts requests, and renders the figures for Prometheus.

    ``storage`` tells on request how much room there is.
    ``endpoints`` returns the notifier's figures, ``lines_dropped`` the lines that the access log
    lost, ``uploads`` the uploads in progress in this process, ``retention`` what its schedule does,
    whichever process of whichever server did it. ``shared`` is the common folder of
    the worker processes of a server.
    """

    def __init__(
        self,
        storage: Monitoring | None = None,
        *,
        endpoints: Callable[[], Iterable[EndpointFigures]] | None = None,
        lines_dropped: Callable[[], int] | None = None,
        uploads: Callable[[], int] | None = None,
        retention: Callable[[], RetentionFigures] | None = None,
        shared: Path | None = None,
    ) -> None:
        self._storage = storage
        self._endpoints = endpoints
        self._lines_dropped = lines_dropped
        self._uploads = uploads
        self._retention = retention
        self._shared = shared
        self._file = f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        self._saving: asyncio.Task[None] | None = None
        self._series = {(route, method): Series() for route in ROUTES for method in METHODS}

    def begin(self, route: str, method: str) -> None:
        """Count a request as in flight, until :meth:`observe` gets it with the same route."""
        series = self._series.get((route, method))
        if series is None:
            series = self._unusual(route, method)
        series.begun += 1

    def observe(self, exchange: Exchange) -> None:
        """Count a request that was answered."""
        series = self._series.get((exchange.route, exchange.method))
        if series is None:
            series = self._unusual(exchange.route, exchange.method)
        codes = series.codes
        status = exchange.status
        codes[status] = codes.get(status, 0) + 1
        seconds = exchange.seconds
        series.buckets[bisect_left(BOUNDS, seconds)] += 1
        series.seconds += seconds
        series.received += exchange.received
        series.sent += exchange.sent

    def render(self) -> tuple[str, bytes]:
        """Return the media type and the text that Prometheus reads.

        It looks at the storage and at other workers' files: call it in a thread.
        """
        # Imported here: only a server that is asked for its metrics needs the memory for it.
        from jettison.server.observing.exposition import exposition  # noqa: PLC0415 - see above

        retention = None if self._retention is None else self._retention()
        return exposition(self.figures(), self._storage, retention)

    def figures(self) -> Figures:
        """Return all figures, those of the other workers included."""
        total = self._own()
        if self._shared is not None:
            for path in sorted(self._shared.glob(f"*{_SUFFIX}")):
                if path.name == self._file:
                    continue
                # A file that goes away, or one of another version, is left out.
                with suppress(OSError, InvalidDocument, ValueError):
                    other = strict_json.unpack(path.read_bytes(), Figures)
                    total.add(other, alive=_alive(int(path.name.partition("-")[0])))
        return total

    def save(self) -> None:
        """Write this process's figures for the other workers; does nothing without ``shared``."""
        if self._shared is None:
            return
        # Figures are no reason to stop serving: the next second tries again.
        with suppress(OSError):
            draft = self._shared / f"{self._file}.new"
            draft.write_bytes(msgspec.msgpack.encode(self._own()))
            draft.replace(self._shared / self._file)

    async def start(self) -> None:
        """Begin to write the figures for the other workers, every second."""
        if self._shared is not None:
            self.save()
            self._saving = asyncio.create_task(self._keep_saving())

    async def stop(self) -> None:
        """Write them a last time: the counts of an ended worker stay in the sum."""
        if self._saving is not None:
            self._saving.cancel()
            with suppress(asyncio.CancelledError):
                await self._saving
            self._saving = None
        self.save()

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_SECONDS)
            self.save()

    def _own(self) -> Figures:
        found = Figures()
        for (route, method), series in self._series.items():
            if series.begun or series.codes:
                found.series[f"{route} {method}"] = copy = Series()
                copy.add(series, alive=True)
        for endpoint in self._endpoints() if self._endpoints is not None else ():
            found.endpoints[endpoint.name] = endpoint
        found.lines_dropped = self._lines_dropped() if self._lines_dropped is not None else 0
        found.uploads = self._uploads() if self._uploads is not None else 0
        return found

    def _unusual(self, route: str, method: str) -> Series:
        return self._series[
            route if route in ROUTES else "other", method if method in METHODS else "OTHER"
        ]


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
