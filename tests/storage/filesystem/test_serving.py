"""Reading links while another program writes them in place, as Distribution 2.x does."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jettison.errors import StorageError
from jettison.model.digest import Digest
from jettison.storage.filesystem import serving as contents
from tests.support.trees import Tree, repo, tag

if TYPE_CHECKING:
    from collections.abc import Callable


class Rewriting:
    """Takes the place of `time`: somebody writes the link while it is waited for."""

    def __init__(self, link: Path, raw: bytes | None, later_ns: int = 0) -> None:
        self.link = link
        self.raw = raw
        self.later_ns = later_ns
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == 3 and self.raw is not None:
            self.link.write_bytes(self.raw)

    def time_ns(self) -> int:
        return time.time_ns() + self.later_ns

    monotonic = staticmethod(time.monotonic)


@pytest.mark.parametrize("half", [b"", b"sha256:12"], ids=["empty", "half"])
def test_a_link_that_is_being_rewritten_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bytes
) -> None:
    tree = Tree(tmp_path / "registry")
    digest = tree.image("app", "1", [b"layer"])
    layer = Digest.of(b"layer")
    found = tree.open().serving()
    looks: list[tuple[Path, Callable[[], bool]]] = [
        (tree.layer_path("app", layer), lambda: found.layer(repo("app"), layer) == layer),
        (tree.tag_path("app", "1"), lambda: found.tag(repo("app"), tag("1")) == digest),
        (tree.revision_path("app", digest), lambda: found.has_revision(repo("app"), digest)),
        (tree.layer_path("app", layer), lambda: found.touch_layer(repo("app"), layer)),
        (tree.revision_path("app", digest), lambda: found.touch_revision(repo("app"), digest)),
    ]
    for link, look in looks:
        whole = link.read_bytes()
        tree.write(link, half)
        monkeypatch.setattr(contents, "time", Rewriting(link, whole))
        assert look()


def test_a_link_that_stays_broken_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(tmp_path / "registry")
    digest = tree.image("app", "1", [b"layer"])
    found = tree.open().serving()
    for link in (tree.tag_path("app", "1"), tree.revision_path("app", digest)):
        tree.write(link, b"")
        clock = Rewriting(link, None, later_ns=60_000_000_000)
        monkeypatch.setattr(contents, "time", clock)
        for _ in range(3):
            if link == tree.tag_path("app", "1"):
                with pytest.raises(StorageError):
                    found.tag(repo("app"), tag("1"))
            else:
                assert not found.has_revision(repo("app"), digest)
        assert 0 < sum(clock.pauses) < 0.02
