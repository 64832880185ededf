"""What each kind of push writes anew in a storage, and what is said of it afterwards.

Registries are asked through HTTP and the tree is looked at as files.
"""

import asyncio
import time
from collections.abc import Callable

import pytest

from jettison.demo.images import Image, image, layer
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.evidence import Evidence
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.registry import StorageRegistry
from tests.support.registry import SERVERS, DockerRegistry

APP = RepoName("team/app")
DAY = 24 * 3600.0

pytestmark = pytest.mark.parametrize("program", SERVERS)


def an_image(text: str) -> Image:
    return image([layer({"file": text.encode()})])


def links(registry: DockerRegistry) -> dict[str, float]:
    """When each link of the repository was written, by its path in it."""
    top = registry.tree / "repositories" / APP
    return {str(path.relative_to(top)): path.stat().st_mtime for path in top.rglob("link")}


def evidence(registry: DockerRegistry) -> Evidence:
    # Images here are of no time, and so would look like a copy's.
    tree = StorageRegistry(StorageTree(registry.root), trust_times=True)
    found = asyncio.run(tree.evidence(APP))
    assert found is not None
    return found


def moved(registry: DockerRegistry, act: Callable[[], object]) -> set[str]:
    """The links of manifests and tags that ``act`` writes anew, when all else is a day older."""
    registry.age(DAY)
    before = links(registry)
    act()
    after = links(registry)
    return {
        path
        for path, when in after.items()
        if before.get(path) != when and not path.startswith("_layers")
    }


def tag_paths(tag: str, digest: Digest) -> set[str]:
    top = f"_manifests/tags/{tag}"
    return {f"{top}/current/link", f"{top}/index/sha256/{digest.hex}/link"}


def revision_path(digest: Digest) -> str:
    return f"_manifests/revisions/sha256/{digest.hex}/link"


def test_which_links_a_push_writes_anew(registry: DockerRegistry) -> None:
    one, two = an_image("one"), an_image("two")
    first = registry.push(APP, "latest", one)
    raw, kind = one.manifest.raw, one.manifest.media_type

    # The same again under the same tag; by its digest alone; and under a second tag.
    again = moved(registry, lambda: registry.push(APP, "latest", one))
    assert again == {revision_path(first), *tag_paths("latest", first)}
    by_digest = moved(registry, lambda: registry.put_manifest(APP, first, raw, kind))
    assert by_digest == {revision_path(first)}
    retagged = moved(registry, lambda: registry.put_manifest(APP, "v1", raw, kind))
    assert retagged == {revision_path(first), *tag_paths("v1", first)}

    # Another image under the tag: of the first one nothing moves.
    replaced = moved(registry, lambda: registry.push(APP, "latest", two))
    assert replaced == {revision_path(two.digest), *tag_paths("latest", two.digest)}

    # Reading moves nothing.
    assert moved(registry, lambda: registry.manifest(APP, "latest")) == set()
    assert moved(registry, lambda: registry.manifest(APP, first)) == set()


def days_ago(seconds: float) -> int:
    return round((time.time() - seconds) / DAY)


def untagged(registry: DockerRegistry, digest: Digest) -> tuple[int, str]:
    found = evidence(registry).manifests[digest].untagged
    assert found is not None
    return days_ago(found.seconds), found.source


def test_an_overwritten_tag_tells_since_when(registry: DockerRegistry) -> None:
    digests = []
    for number in range(3):
        digests.append(registry.push(APP, "latest", an_image(str(number))))
        registry.age(10 * DAY)
    # The first was replaced 20 days ago, though the tag was pushed since.
    assert untagged(registry, digests[0]) == (20, "next push of the tag latest")
    assert untagged(registry, digests[1]) == (10, "next push of the tag latest")
    told = evidence(registry)
    assert told.manifests[digests[2]].untagged is None
    pushed = told.tags[Tag("latest")].pushed
    assert pushed is not None
    assert days_ago(pushed.seconds) == 10
    times = told.manifests[digests[0]].pushed
    assert times is not None
    assert days_ago(times.seconds) == 30

    # Pushed once more without a tag, it is as young as that.
    image_ = an_image("0")
    registry.put_manifest(APP, digests[0], image_.manifest.raw, image_.manifest.media_type)
    assert untagged(registry, digests[0]) == (0, "link of the manifest")


def test_a_tag_that_was_removed_leaves_no_history(registry: DockerRegistry, program: str) -> None:
    one = an_image("one")
    digest = registry.push(APP, "latest", one)
    registry.put_manifest(APP, "v1", one.manifest.raw, one.manifest.media_type)
    registry.age(100 * DAY)
    registry.push(APP, "latest", an_image("two"))
    registry.age(50 * DAY)
    if program == "jettison":
        assert registry.request("DELETE", f"/v2/{APP}/manifests/v1").status == 202
    else:
        # docker-registry 2 has no way to remove a tag alone, but what others do is this.
        folder = registry.tree / "repositories" / APP / "_manifests" / "tags"
        (folder / "v1").rename(registry.base / "v1")
    registry.age(3 * DAY)
    # Its other tag was replaced 53 days ago; this one was removed 3 days ago.
    days, source = untagged(registry, digest)
    assert days == 3
    assert "not kept" in source
