"""A scripted server, a clock that a test turns, and registries that close themselves."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from jettison.client import ClientOptions, Credentials, CredentialSource, RemoteRegistry, Timing
from tests.client.scripted import Scripted


@dataclass
class Clock:
    """Time passes only by sleeping."""

    now: float = 1_700_000_000.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def timing(self) -> Timing:
        return Timing(lambda: self.now, lambda: self.now, self.sleep, lambda: 1.0)


Connect = Callable[..., RemoteRegistry]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as scripted:
        yield scripted


@pytest.fixture
async def elsewhere() -> AsyncIterator[Scripted]:
    """A second origin."""
    async with Scripted() as scripted:
        yield scripted


@pytest.fixture
async def connect(clock: Clock) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        def open_registry(
            host: str,
            options: ClientOptions | None = None,
            credentials: Credentials | CredentialSource | None = None,
        ) -> RemoteRegistry:
            registry = RemoteRegistry(host, options, credentials, timing=clock.timing)
            stack.push_async_callback(registry.aclose)
            return registry

        yield open_registry
