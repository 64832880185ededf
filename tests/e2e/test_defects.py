"""Where Distribution's own collector goes wrong, shown on the real program, and Jettison beside it.

Each situation is made once and collected twice: one copy by `docker-registry garbage-collect`,
which has to fail in the way that is known of it, the other by `jettison gc`.
"""

import copy
import http.client
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jettison.demo.images import Image, image, layer, random_bytes
from jettison.model.digest import Digest
from tests.support.cli import Jettison, Result
from tests.support.missing import need
from tests.support.registry import DockerRegistry, RegistryFactory
from tests.support.trees import NOW, Tree, index_document

pytestmark = pytest.mark.distribution

MONTH = 30 * 24 * 3600.0
UNTAGGED = ("--untagged", "0s")
# When something was written so long ago that no purge of uploads would spare it.
LONG_AGO = NOW - MONTH
CONFIG = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:5000"}}
"""


@pytest.fixture(autouse=True)
def _their_collector() -> None:
    need("docker-registry")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "ours")


def theirs(
    config: Path, *flags: str, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Collect as Distribution does."""
    return subprocess.run(
        [*prefix, "docker-registry", "garbage-collect", *flags, str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def twin(tree: Tree) -> tuple[Tree, Path]:
    """Another copy of a tree, with the same times, and a configuration that names it."""
    other = copy.copy(tree)
    other.root = tree.root.with_name("theirs")
    other.base = other.root / tree.base.relative_to(tree.root)
    shutil.copytree(tree.root, other.root, symlinks=True)
    config = tree.root.with_name("theirs.yml")
    config.write_text(CONFIG.format(root=other.root), encoding="utf-8")
    return other, config


def age_folders(tree: Tree, when: float = LONG_AGO) -> None:
    """No folder was changed lately either."""
    for folder, _, _ in os.walk(tree.root, topdown=False):
        os.utime(folder, (when, when))


def gc(jettison: Jettison, tree: Tree, *options: str, check: int = 0) -> Any:
    """Collect with Jettison; what it predicted, what it says and what the disk shows agree."""
    jettison = jettison.later()
    before = sum(tree.blobs().values())
    told = jettison("gc", tree.root, *options, "-n", "-o", "json", check=check).json["plan"]
    assert sum(tree.blobs().values()) == before
    done = jettison("gc", tree.root, *options, "--yes", "-o", "json", check=check)
    assert "Traceback" not in done.stderr
    receipt = done.json["run"]["receipt"]
    freed = before - sum(tree.blobs().values())
    assert told["bytes"] == receipt["predicted_bytes"] == receipt["freed_bytes"] == freed
    return done.json


def gone(before: dict[Digest, int], tree: Tree) -> set[Digest]:
    return before.keys() - tree.blobs().keys()


def of_image(digest: Digest, *layers: bytes) -> set[Digest]:
    """What `Tree.image` writes: manifest, config, layers."""
    config = Digest.of(b"config of " + b",".join(layers))
    return {digest, config, *map(Digest.of, layers)}


# 1


def test_1_a_child_deleted_in_one_repository_lives_in_the_other(
    tree: Tree, jettison: Jettison
) -> None:
    """The loss across repositories is that of 3.x, which follows children but each only once.

    2.x follows no child at all: without -m it keeps the child for the revision in the other
    repository, with -m it loses the layers of all children in both.
    """
    for name in ("aaa/app", "bbb/app"):
        arm, amd = tree.image(name, None, [b"arm"]), tree.image(name, None, [b"amd"])
        tree.index(name, "1", [arm, amd])
    tree.revision_path("aaa/app", arm).unlink()
    garbage = tree.blob(b"garbage")
    before = tree.blobs()
    other, config = twin(tree)

    assert theirs(config).returncode == 0
    assert gone(before, other) == {garbage}
    assert theirs(config, "-m").returncode == 0
    children = of_image(arm, b"arm") | of_image(amd, b"amd")
    assert gone(before, other) == {garbage} | (children - {arm, amd})
    assert not other.revision_path("bbb/app", arm).exists()

    gc(jettison, tree)
    assert gone(before, tree) == {garbage}
    gc(jettison, tree, *UNTAGGED)
    assert gone(before, tree) == {garbage}
    assert tree.revision_path("bbb/app", arm).exists()
    assert tree.layer_path("bbb/app", Digest.of(b"arm")).exists()


# 2


def test_2_a_vanished_link_ends_nothing(tree: Tree, jettison: Jettison, tmp_path: Path) -> None:
    need("strace")
    images = {
        tree.image("app", f"t{number}", [b"layer %d" % number]): b"layer %d" % number
        for number in range(10)
    }
    vanishing = sorted(images)[3]
    garbage = tree.blob(b"garbage")
    before = tree.blobs()
    other, config = twin(tree)
    log = tmp_path / "strace.log"

    def absent_once(path: Path) -> tuple[str, ...]:
        """Listed, and gone when it is read: what a DELETE does that goes on beside."""
        inject = "inject=openat,openat2:error=ENOENT:when=1"
        return ("strace", "-f", "-qq", "-o", str(log), "-P", str(path), "-e", inject)

    done = theirs(config, prefix=absent_once(other.revision_path("app", vanishing)))
    assert "INJECTED" in log.read_text(encoding="utf-8")
    assert done.returncode == 0
    lost = gone(before, other) - {garbage}
    assert len(lost) > 10
    # All its tags are still listed, and most images behind them are broken.
    assert len(list(other.repository("app").glob("_manifests/tags/*/current/link"))) == 10

    prefix = absent_once(tree.revision_path("app", vanishing))
    process = jettison.later().start("gc", tree.root, "--yes", prefix=prefix)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    assert gone(before, tree) == {garbage}

    # And when the DELETE has come no further than this: its tag is still there.
    tree.revision_path("app", vanishing).unlink()
    gc(jettison, tree, *UNTAGGED)
    assert gone(before, tree) == {garbage}


# 3


def test_3_a_missing_manifest_makes_nothing_deletable(tree: Tree, jettison: Jettison) -> None:
    lost = tree.image("app", "1", [b"precious"])
    tree.image("app", "2", [b"fine"])
    tree.data(lost).unlink()
    garbage = tree.blob(b"garbage", "other")
    before = tree.blobs()
    other, config = twin(tree)

    done = theirs(config)
    assert done.returncode == 0
    assert not done.stderr
    assert gone(before, other) == (of_image(lost, b"precious") - {lost}) | {garbage}

    receipt = gc(jettison, tree, check=3)["run"]["receipt"]
    assert gone(before, tree) == {garbage}
    assert any(lost in line for line in receipt["notes"])
    assert tree.layer_path("app", Digest.of(b"precious")).exists()


# 4


@pytest.mark.parametrize("damage", ["empty link", "empty tag", "empty manifest", "no JSON"])
def test_4_one_broken_file_does_not_end_the_collection(
    tree: Tree, jettison: Jettison, damage: str
) -> None:
    broken = tree.image("app", "1", [b"precious"])
    if damage == "empty link":
        path = tree.revision_path("app", broken)
        tree.write(path, b"")
    elif damage == "empty tag":
        path = tree.tag_path("app", "1")
        tree.write(path, b"")
    elif damage == "empty manifest":
        path = tree.data(broken)
        tree.write(path, b"")
    else:
        path = tree.data(tree.put_raw("app", b"{", "2"))
    loose = tree.blob(b"perhaps used by it", "app")
    garbage = tree.blob(b"garbage", "other")
    before = tree.blobs()
    other, config = twin(tree)

    done = theirs(config, "-m")
    assert done.returncode == 1
    assert "failed to garbage collect: failed to mark" in done.stderr
    assert not gone(before, other)

    done_by_us = gc(jettison, tree, check=3)
    assert gone(before, tree) == {garbage}
    assert tree.layer_path("app", loose).exists()
    relative = str(path.relative_to(tree.root))
    assert any(relative in line for line in done_by_us["run"]["receipt"]["notes"])


# 5


def test_5_children_and_referrers_of_what_is_tagged_stay(tree: Tree, jettison: Jettison) -> None:
    child = tree.image("app", None, [b"child"])
    inner = tree.put("app", index_document([child]))
    tree.index("app", "1", [inner])
    signed = tree.image("app", "2", [b"signed"])
    signature = tree.image("app", None, [b"signature"], subject=signed)
    untagged = tree.image("app", None, [b"untagged"])
    before = tree.blobs()
    other, config = twin(tree)

    assert theirs(config, "-m").returncode == 0
    garbage = of_image(untagged, b"untagged")
    lost = gone(before, other) - garbage
    # The index keeps the manifest inside it as if it were a blob, and nothing below that.
    assert lost >= of_image(child, b"child") | of_image(signature, b"signature")
    assert other.tag_path("app", "1").exists()

    gc(jettison, tree, *UNTAGGED)
    assert gone(before, tree) == garbage


# 6


@pytest.mark.parametrize("abandoned", ["aaa", "zzz"])
def test_6_a_blob_is_not_readable_through_a_repository_that_no_longer_uses_it(
    registry: DockerRegistry, jettison: Jettison, abandoned: str
) -> None:
    """2.x never removes a layer link. In 3.x it depends on the order of the repositories."""
    made = image([layer({"app": random_bytes(1, 2000)})])
    for name in ("app", abandoned):
        registry.push(name, "1", made)
    assert registry.delete(abandoned, made.digest) == 202
    registry.age(7200)
    blob = f"/v2/{abandoned}/blobs/{made.layers[0].digest}"

    assert theirs(registry.config, "-m").returncode == 0
    assert registry.request("GET", blob).body == made.layers[0].raw

    jettison("gc", registry.config, *registry.settling, "--yes")
    assert registry.request("GET", blob).status == 404
    assert registry.pull_skopeo("app", "1").blobs.keys() == {one.digest for one in made.blobs()}


# 7


def begin_push(registry: DockerRegistry, made: Image) -> None:
    registry.push("app", "old", image([layer({"old": b"old"})]))
    for blob in made.blobs():
        registry.push_blob("app", blob.raw)


def test_7_a_push_in_flight_keeps_its_blobs(
    registry_factory: RegistryFactory, jettison: Jettison
) -> None:
    made = image([layer({"app": random_bytes(1, 2000)})])
    registry = registry_factory(delete=True)
    begin_push(registry, made)
    assert theirs(registry.config).returncode == 0
    headers = {"Content-Type": made.manifest.media_type}
    answer = registry.request("PUT", "/v2/app/manifests/1", headers, made.manifest.raw)
    assert answer.status == 400
    assert {error["code"] for error in answer.json["errors"]} == {"MANIFEST_BLOB_UNKNOWN"}

    registry = registry_factory(delete=True)
    begin_push(registry, made)
    jettison("gc", registry.config, *UNTAGGED, *registry.settling, "--yes")
    registry.push("app", "1", made)
    assert registry.pull_skopeo("app", "1").manifest == made.manifest.raw


def test_7_a_push_that_takes_hours_keeps_its_first_layers(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    first, last = layer({"a": random_bytes(1, 2000)}), layer({"b": random_bytes(2, 2000)})
    made = image([first, last])
    opened = registry.request("POST", "/v2/app/blobs/uploads/").headers["Location"]
    registry.push_blob("app", first.raw)
    registry.age(3 * 3600)
    octets = {"Content-Type": "application/octet-stream"}
    path = opened.removeprefix(f"http://{registry.host}")
    going_on = registry.request("PATCH", path, octets, last.raw)
    assert going_on.status == 202

    jettison("gc", registry.config, *UNTAGGED, *registry.settling, "--yes")
    path = going_on.headers["Location"].removeprefix(f"http://{registry.host}")
    done = registry.request("PUT", f"{path}&digest={last.digest}", octets)
    assert done.status == 201
    assert registry.request("HEAD", f"/v2/app/blobs/{first.digest}").status == 200
    registry.push("app", "1", made)
    assert registry.pull_skopeo("app", "1").manifest == made.manifest.raw


# 8


def get_bytes(registry: DockerRegistry, path: str) -> tuple[int, bytes]:
    """The status, and what came of the body: fewer bytes than were announced, perhaps."""
    connection = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        except http.client.IncompleteRead as error:
            return answer.status, error.partial
    finally:
        connection.close()


def remembering(registry_factory: RegistryFactory, made: Image) -> DockerRegistry:
    """A registry that has served an image, and remembers that, and of which it was deleted."""
    registry = registry_factory(delete=True, cache="inmemory")
    registry.push("app", "1", made)
    registry.push("app", "2", image([layer({"kept": b"kept"})]))
    for blob in made.blobs():
        assert registry.request("HEAD", f"/v2/app/blobs/{blob.digest}").status == 200
    assert registry.delete("app", made.digest) == 202
    registry.age(7200)
    return registry


def test_8_their_cache_says_that_a_collected_blob_is_there(
    registry_factory: RegistryFactory,
) -> None:
    made = image([layer({"app": random_bytes(1, 2000)})])
    registry = remembering(registry_factory, made)
    assert theirs(registry.config).returncode == 0
    path = f"/v2/app/blobs/{made.layers[0].digest}"
    assert registry.request("HEAD", path).status == 200
    assert get_bytes(registry, path) == (200, b"")
    # "Layer already exists", and so does the image, until somebody pulls it.
    registry.push("app", "1", made)
    with pytest.raises(subprocess.CalledProcessError):
        registry.pull_skopeo("app", "1")


@pytest.mark.folder  # in a bucket that is refused, as test_bucket_beside.py has it
@pytest.mark.parametrize("output", ["table", "json"])
def test_8_after_a_collection_beside_such_a_cache_the_consequence_is_told(
    registry_factory: RegistryFactory, jettison: Jettison, output: str
) -> None:
    made = image([layer({"app": random_bytes(1, 2000)})])
    registry = remembering(registry_factory, made)
    done = jettison("gc", registry.config, "--yes", "-o", output)
    assert made.layers[0].digest not in registry.blob_files()
    [warning] = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    told = done.stderr[done.stderr.index(warning) :]
    for word in ("inmemory", "restart", "push"):
        assert word in told
    # What it says to do helps.
    registry.restart()
    registry.push("app", "1", made)
    assert registry.pull_skopeo("app", "1").manifest == made.manifest.raw


def test_8_no_cache_no_warning(registry: DockerRegistry, jettison: Jettison) -> None:
    made = image([layer({"app": random_bytes(1, 2000)})])
    registry.push("app", "1", made)
    assert registry.delete("app", made.digest) == 202
    registry.age(7200)
    # A bucket does not show that a repository had manifests before.
    done = jettison("gc", registry.config, *registry.settling, "--allow-empty", "--yes")
    assert "warning" not in done.stderr
    assert not registry.blob_files()


# 9


def test_9_a_repository_without_tags_does_not_end_the_collection(
    tree: Tree, jettison: Jettison
) -> None:
    untagged = tree.image("app", None, [b"untagged"])
    tree.image("other", "1", [b"kept"])
    garbage = tree.blob(b"garbage")
    before = tree.blobs()
    other, config = twin(tree)

    done = theirs(config, "-m")
    assert done.returncode == 1
    assert "failed to retrieve tags unknown repository name=app" in done.stderr
    assert not gone(before, other)

    gc(jettison, tree)
    assert gone(before, tree) == {garbage}
    gc(jettison, tree, *UNTAGGED)
    assert gone(before, tree) == {garbage} | of_image(untagged, b"untagged")


# 10


def litter(tree: Tree, kind: str) -> list[Path]:
    """Leave something behind that 2.x and 3.x leave for ever; return what should go."""
    tree.image("app", "1", [b"kept"])
    app = tree.repository("app")
    if kind == "abandoned upload":
        upload = app / "_uploads" / "0b3c7e52-7b1c-4a5e-8f0a-2f6d1f0c9d11"
        tree.write(upload / "data", b"half a layer" * 1000, LONG_AGO)
        tree.write(upload / "startedat", b"2026-01-01T00:00:00Z", LONG_AGO)
        tree.write(upload / "hashstates" / "sha256" / "0", b"state", LONG_AGO)
        return [upload]
    if kind == "empty repository":
        digest = tree.image("team/empty", "1", [b"deleted"], when=LONG_AGO)
        tree.revision_path("team/empty", digest).unlink()
        shutil.rmtree(tree.tag_path("team/empty", "1").parents[1])
        return [tree.repository("team/empty"), tree.repository("team"), tree.data(digest).parent]
    if kind == "empty folders":
        digest = tree.image("app", None, [b"deleted"], when=LONG_AGO)
        tree.revision_path("app", digest).unlink()
        return [
            tree.revision_path("app", digest).parent,
            tree.data(digest).parent,
            tree.layer_path("app", Digest.of(b"deleted")).parent,
        ]
    # 3.x writes `<path>.<uuid>.tmp` first, and leaves it if it is killed then.
    if kind == "unfinished link":
        draft = tree.tag_path("app", "1").with_name("link.0b3c7e52-7b1c-4a5e-8f0a-2f6d1f0c9d11.tmp")
        tree.write(draft, b"", LONG_AGO)
        return [draft]
    if kind == "unfinished manifest":
        folder = tree.data(Digest.of(b"absent")).parent
        draft = folder / "data.0b3c7e52-7b1c-4a5e-8f0a-2f6d1f0c9d11.tmp"
        tree.write(draft, b"half a manifest", LONG_AGO)
        return [draft, folder]
    assert kind == "link to an absent blob"
    absent = Digest.of(b"absent")
    tree.write(tree.layer_path("app", absent), absent.encode(), LONG_AGO)
    return [tree.layer_path("app", absent)]


LITTER = [
    "abandoned upload",
    "empty repository",
    "empty folders",
    "unfinished link",
    "unfinished manifest",
    "link to an absent blob",
]


@pytest.mark.parametrize("kind", LITTER)
def test_10_what_they_never_clean_up_goes(tree: Tree, jettison: Jettison, kind: str) -> None:
    paths = litter(tree, kind)
    age_folders(tree)
    other, config = twin(tree)

    assert theirs(config, "-m").returncode == 0
    left = {path for path in paths if (other.root / path.relative_to(tree.root)).exists()}
    assert left >= {path for path in paths if "repositories" in path.parts}
    assert left

    # Next to a link that stays one has to be looked for: that takes several times as long.
    options = [*UNTAGGED, "--thorough"] if kind == "unfinished link" else UNTAGGED
    gc(jettison, tree, *options)
    assert [path for path in paths if path.exists()] == []
    assert set(_images(tree)) == {("app", "1")}
    assert jettison("gc", tree.root, *options, "-n").stderr.count("nothing to collect") == 1


def _images(tree: Tree) -> Iterator[tuple[str, str]]:
    for link in tree.base.glob("repositories/*/_manifests/tags/*/current/link"):
        yield link.parents[4].name, link.parents[1].name


def test_10_an_empty_repository_leaves_the_catalog(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    made = image([layer({"app": random_bytes(1, 2000)})])
    registry.push("kept", "1", image([layer({"kept": b"kept"})]))
    registry.push("empty", "1", made)
    assert registry.delete("empty", made.digest) == 202
    registry.age(MONTH)
    for folder, _, _ in os.walk(registry.root, topdown=False):
        os.utime(folder, (LONG_AGO, LONG_AGO))

    assert theirs(registry.config, "-m").returncode == 0
    assert registry.request("GET", "/v2/_catalog").json == {"repositories": ["empty", "kept"]}

    result: Result = jettison("gc", registry.config, *UNTAGGED, *registry.settling, "--yes")
    assert "Traceback" not in result.stderr
    assert registry.request("GET", "/v2/_catalog").json == {"repositories": ["kept"]}
    assert len(registry.pull_skopeo("kept", "1").blobs) == 2
    registry.push("empty", "2", made)
    assert registry.tags("empty") == ["2"]
