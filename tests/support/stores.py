"""The stores that tests of buckets run on: versitygw always, others in `make soak`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.azurite import Azurite
from tests.support.buckets import Bucket, Gateway
from tests.support.ceph import Ceph

STORES: Final = (
    "versitygw",
    pytest.param("ceph", marks=pytest.mark.soak),
    pytest.param("azure", marks=pytest.mark.soak),
)
ON_VERSITYGW: Final = pytest.mark.parametrize("bucket", ["versitygw"], indirect=True)
"""For what is counted by it, or planted in its folder."""
_SLOW: Final[dict[str, Any]] = {"ceph": Ceph, "azure": Azurite}


class SlowStores:
    """Those that take long to start: one of each, with a bucket for each test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._running: dict[str, Any] = {}
        self._numbers = count(1)

    def bucket(self, store: str) -> Bucket:
        if store not in self._running:
            opened = _SLOW[store](self._folder / store)
            self._running[store] = self._stack.enter_context(opened)
        found: Bucket = self._running[store].bucket(f"images-{next(self._numbers)}")
        return found


@contextmanager
def slow_stores(folder: Path) -> Iterator[SlowStores]:
    with ExitStack() as stack:
        yield SlowStores(folder, stack)


@contextmanager
def bucket_in(store: str, folder: Path, slow: SlowStores) -> Iterator[Bucket]:
    """A bucket of a store; of versitygw each has its own."""
    if store in _SLOW:
        yield slow.bucket(store)
        return
    with Gateway(folder) as gateway:
        yield gateway.bucket("images")
