"""A policy that rests on pulls, from the server's own book to the tags that go."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jettison.demo import images
from jettison.model.mediatypes import ACCEPT
from jettison.model.retention.pulls import PullBook
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.pulls import book_of
from tests.support.cli import Jettison
from tests.support.registry import JettisonRegistry

DAY = 86_400.0
POLICY = """
max_removal: 90%
rules:
- tags: ["*"]
  clock: created
  remove: {not_pulled_within: 30d}
"""
GET = {"Accept": ACCEPT, "User-Agent": "containerd/1"}


def image(seed: int) -> images.Image:
    """An image of two months ago."""
    created = (datetime.now(UTC) - timedelta(days=60, hours=seed)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return images.image([images.layer({"own": images.random_bytes(seed, 300)})], created=created)


def watched(registry: JettisonRegistry, days: float) -> None:
    """Let it have been watched for so many days; what was pulled until now was pulled before."""

    def older(book: PullBook) -> None:
        book.since = time.time() - days * DAY

    book_of(StorageTree(registry.root)).change(older)


def test_what_was_not_pulled_goes_once_that_is_known(tmp_path: Path, jettison: Jettison) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text(POLICY, encoding="utf-8")
    ours = {"immutable": ["v*"], "pulls": {"across_restarts": True}}
    registry = JettisonRegistry(tmp_path / "registry", delete=True, extra={"jettison": ours})
    with registry:
        index = images.index([image(4), image(5)])
        for number, tag in enumerate(("b1", "b2", "v1")):
            registry.push("team/app", tag, image(number))
        registry.push("team/app", "multi", index)
        for reference in ("b2", str(index.members[1].digest)):
            registry.request("GET", f"/v2/team/app/manifests/{reference}", GET)
        registry.stop()
        everything = ["b1", "b2", "multi", "v1"]

        def prune(*options: str) -> list[str]:
            jettison("prune", registry.config, "--policy", policy, "--yes", *options)
            with registry:
                return registry.tags("team/app")

        # Watched for a moment, so that nothing is known of thirty days.
        assert prune() == everything
        watched(registry, 29)
        assert prune() == everything
        watched(registry, 31)
        said = jettison("prune", registry.config, "--policy", policy, "-n")
        assert "not pulled for 30d" in said.stdout
        assert prune() == ["b2", "multi", "v1"]
        # Without the configuration nobody knows that v1 is immutable.
        jettison("prune", registry.storage, "--policy", policy, "--yes")
        with registry:
            assert registry.tags("team/app") == ["b2", "multi"]


def test_server_that_was_killed_keeps_everything(tmp_path: Path, jettison: Jettison) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text(POLICY, encoding="utf-8")
    registry = JettisonRegistry(tmp_path / "registry", delete=True)
    with registry:
        for number in range(3):
            registry.push("app", f"b{number}", image(number))
        assert registry._process is not None
        registry._process.kill()
        registry._process.wait()
        watched(registry, 90)

        def killed_long_ago(book: PullBook) -> None:
            book.keepers = dict.fromkeys(book.keepers, time.time() - 400)

        book_of(StorageTree(registry.root)).change(killed_long_ago)
        said = jettison("prune", registry.config, "--policy", policy, "--yes")
        assert "Nothing is to be removed" in said.stderr
        registry.start()
        assert len(registry.tags("app")) == 3
        # The next one to write notes that the killed one took pulls along.
        registry.stop()
        watched_since = book_of(StorageTree(registry.root)).read(time.time())
        assert watched_since is not None
        assert watched_since.watching_since is None
