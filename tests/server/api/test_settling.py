"""A request waits for a link that another program rewrites in place, and not for ever."""

import asyncio
import os
from pathlib import Path

import pytest

from jettison.errors import SweptMeanwhile, Unsettled
from jettison.model.digest import Digest
from jettison.server.api import settling
from jettison.server.api.settling import settled
from tests.support.trees import Tree, repo, tag


@pytest.mark.parametrize("half", [b"", b"sha256:12"], ids=["empty", "half"])
async def test_a_writer_that_waits_for_a_processor_is_waited_for(
    tmp_path: Path, half: bytes
) -> None:
    tree = Tree(tmp_path / "registry")
    digest = tree.image("app", "1", [b"layer"])
    found = tree.open().serving()
    for link in (tree.tag_path("app", "1"), tree.revision_path("app", digest)):
        whole = link.read_bytes()
        tree.write(link, half)
        os.utime(link, (1, 1))

        async def look() -> bool:
            pointed = found.tag(repo("app"), tag("1"))
            return pointed == digest and found.has_revision(repo("app"), digest)

        with pytest.raises(Unsettled):
            await look()
        asyncio.get_running_loop().call_later(0.2, link.write_bytes, whole)
        assert await settled(look)


async def test_a_link_that_stays_broken_is_an_error_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "_SETTLE_SECONDS", 0.1)
    tree = Tree(tmp_path / "registry")
    tree.image("app", "1", [b"layer"])
    found = tree.open().serving()
    tree.write(tree.tag_path("app", "1"), b"")

    async def look() -> Digest | None:
        return found.tag(repo("app"), tag("1"))

    with pytest.raises(Unsettled):
        await settled(look)


class Swept:
    """What fails so often because of a collection, then once because of a writer, and goes well."""

    def __init__(self, times: int, *, writer: bool = False) -> None:
        self.asked = 0
        self._left = times
        self._writer = writer

    async def look(self) -> str:
        self.asked += 1
        if self._left:
            self._left -= 1
            if self._writer:
                await asyncio.sleep(0.3)
            raise SweptMeanwhile("a collection has taken what is relied on")
        if self._writer:
            self._writer = False
            raise Unsettled("half written")
        return "done"


async def test_what_was_swept_is_done_again_however_long_that_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "_SETTLE_SECONDS", -1.0)
    swept = Swept(10)
    assert await settled(swept.look) == "done"
    assert swept.asked == 11


async def test_after_a_collection_there_is_time_for_a_writer_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "_SETTLE_SECONDS", 0.2)
    swept = Swept(1, writer=True)
    assert await settled(swept.look) == "done"
    assert swept.asked == 3


async def test_what_is_swept_again_and_again_is_an_error() -> None:
    swept = Swept(100)
    with pytest.raises(SweptMeanwhile):
        await settled(swept.look)
    assert swept.asked == 11
