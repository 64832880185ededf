"""A storage that is as if far away: whoever asks it on the thread of an event loop fails.

It keeps the promises of its interface, and no more of them: what is appended to an upload is there
when it is flushed, and what was not flushed at the end of the block would have been waited for.

`python distant.py serve CONFIG.yml` serves it; what the file says of the storage's root directory
is not heeded.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from jettison.configuration import read_configuration
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.server.serving import serve
from jettison.storage.memory import MemoryStorage
from jettison.storage.memory.documents import MemoryDocuments
from jettison.storage.memory.monitoring import MemoryMonitoring
from jettison.storage.memory.serving import MemoryContent, MemoryServing
from jettison.storage.memory.state import Memory
from jettison.storage.memory.uploading import MemoryUpload, MemoryUploading
from jettison.storage.protocol import Features

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = {"serving", "uploading", "monitoring", "documents"}


def off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function, unless this is the thread of an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function(*args, **kwargs)
    raise AssertionError(f"{function!r} is called by an event loop")


class Distant:
    """All of whose methods wait for a network."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name in AT_ONCE or not callable(found):
            return found
        return partial(off_loop, found)


class DistantContent(Distant, MemoryContent):
    """Of which nothing is ever ready."""

    def ready(self, offset: int, length: int) -> bytes:  # noqa: ARG002 - of none at all
        raise AssertionError("nothing is ready far away")


class DistantServing(Distant, MemoryServing):
    """Whose blobs can be fetched at `origin`, if there is one."""

    def __init__(self, memory: Memory, origin: str | None) -> None:
        super().__init__(memory)
        self._origin = origin

    def open(self, digest: Digest) -> MemoryContent | None:
        content = self._content(digest)
        return None if content is None else DistantContent(content)

    def url(self, digest: Digest) -> str | None:  # type: ignore[override]
        return None if self._origin is None else f"{self._origin}/{digest.hex}?signature=1"


class DistantUpload(Distant, MemoryUpload):
    """One upload, which others see as far as it was flushed."""

    elsewhere = False

    def __init__(self, memory: Memory, repository: RepoName, name: str, content: bytearray) -> None:
        super().__init__(memory, repository, name, content)
        self._held: list[bytes] = []

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._held and error[:1] == (None,):
            raise AssertionError("something was not flushed")

    def append(self, pieces: Sequence[bytes]) -> None:
        self._held += pieces
        self.size += sum(map(len, pieces))

    def flush(self) -> None:
        held, self._held = self._held, []
        if held:
            super().append(held)

    def truncate(self, size: int) -> None:
        self.flush()
        super().truncate(size)

    def read(self, offset: int, length: int) -> bytes:
        self.flush()
        return super().read(offset, length)

    def commit(self, digest: Digest) -> None:
        self.flush()
        super().commit(digest)

    def discard(self) -> None:
        self._held = []
        super().discard()


class DistantUploading(Distant, MemoryUploading):
    """Knows which uploads another process, that is another of these, has written to."""

    def __init__(self, memory: Memory, writers: dict[str, object]) -> None:
        super().__init__(memory)
        self._writers = writers

    def open(self, repository: RepoName, upload: str, written: int | None = None) -> DistantUpload:
        found = super().open(repository, upload, written)
        opened = DistantUpload(self.memory, repository, upload, found._content)
        opened.elsewhere = self._writers.get(upload, self) is not self
        self._writers[upload] = self
        return opened


class DistantDocuments(Distant, MemoryDocuments):
    """Documents of ours."""


class DistantMonitoring(Distant, MemoryMonitoring):
    """How it is."""


class DistantStorage(Distant, MemoryStorage):
    """A storage in memory as if far away; `origin` is where its blobs can be fetched."""

    def __init__(self, origin: str | None = None, *, forks: bool = True) -> None:
        super().__init__("distant")
        self._origin = origin
        self._forks = forks
        self._uploads: dict[str, object] = {}

    @property
    def features(self) -> Features:
        return msgspec.structs.replace(super().features, local=False, forks=self._forks)

    def serving(self) -> DistantServing:
        return DistantServing(self.memory, self._origin)

    def uploading(self) -> DistantUploading:
        return DistantUploading(self.memory, self._uploads)

    def documents(self, collection: str) -> DistantDocuments:
        return DistantDocuments(self.memory, collection)

    def monitoring(self) -> DistantMonitoring:
        return DistantMonitoring()


if __name__ == "__main__":
    configuration = read_configuration(Path(sys.argv[2]), os.environ, "serving")
    serve(configuration, print, lambda _: DistantStorage())
