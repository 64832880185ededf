"""Case 1: docker-registry and `jettison serve` take turns on one storage tree.

At each step every image that should be there pulls with the same digests, with skopeo.
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jettison.demo.images import (
    Image,
    Index,
    cosign_tag,
    fallback_index,
    image,
    index,
    layer,
    random_bytes,
    referrer,
    referrers_tag,
    signature,
)
from jettison.model.digest import Digest
from tests.support.cli import Jettison
from tests.support.missing import need
from tests.support.registry import DockerRegistry, JettisonRegistry

pytestmark = pytest.mark.distribution

BASE = layer({"base": random_bytes("swap", 50_000)})


def made(name: str, *, docker: bool = False) -> Image:
    own = layer({"own": random_bytes(f"swap {name}", 3000)})
    return image([BASE, own], flavour="docker" if docker else "oci", labels={"name": name})


def both(name: str, *, docker: bool = False) -> Index:
    members = [
        image(
            [BASE], architecture=cpu, labels={"name": name}, flavour="docker" if docker else "oci"
        )
        for cpu in ("amd64", "arm64")
    ]
    return index(members, flavour="docker" if docker else "oci")


class Swap:
    """One tree and its two servers, of which one runs; what has to be in the tree."""

    def __init__(self, folder: Path) -> None:
        self.docker = DockerRegistry(folder / "docker", delete=True)
        self.jettison = JettisonRegistry(folder / "jettison", delete=True)
        self.jettison.root = self.docker.root
        self.registry = self.docker
        self.tags: dict[tuple[str, str], Image | Index] = {}
        self.untagged: list[tuple[str, Image]] = []
        self.gone: list[tuple[str, Digest]] = []

    def serve(self, registry: DockerRegistry) -> DockerRegistry:
        """Stop the one that runs, start the other, and check what is there."""
        self.registry.stop()
        self.registry = registry.start()
        self.check()
        return registry

    def push(self, repo: str, tag: str | None, content: Image | Index) -> None:
        self.registry.push(repo, tag, content)
        if tag is not None:
            self.tags[repo, tag] = content
        elif isinstance(content, Image):
            self.untagged.append((repo, content))

    def delete(self, repo: str, content: Image | Index) -> None:
        """Delete a manifest with its tags."""
        assert self.registry.delete(repo, content.digest) == 202
        gone = [key for key, found in self.tags.items() if key[0] == repo and found is content]
        for key in gone:
            del self.tags[key]
        self.gone.append((repo, content.digest))

    def check(self) -> None:
        registry = self.registry
        repositories = sorted({repo for repo, _ in self.tags})
        # docker-registry's is not sorted.
        listed = registry.request("GET", "/v2/_catalog").json["repositories"]
        assert sorted(listed) == repositories
        for repo in repositories:
            assert registry.tags(repo) == sorted(tag for name, tag in self.tags if name == repo)
        for (repo, tag), content in self.tags.items():
            self._pull(repo, tag, content)
        for repo, content in self.untagged:
            self._pull(repo, content.digest, content)
        for repo, digest in self.gone:
            assert registry.manifest(repo, digest).status == 404

    def _pull(self, repo: str, ref: str, content: Image | Index) -> None:
        if re.fullmatch("sha256-[0-9a-f]{64}", ref):
            self._get(repo, ref, content)  # skopeo copies no index of what are no images
            return
        pulled = self.registry.pull_skopeo(repo, ref)
        assert pulled.manifest == content.manifest.raw, (repo, ref)
        assert pulled.manifests == {one.digest: one.raw for one in content.manifests()}
        blobs = {one.digest: one.raw for one in content.blobs()}
        assert pulled.blobs == blobs, (repo, ref)
        shutil.rmtree(pulled.path)

    def _get(self, repo: str, ref: str, content: Image | Index) -> None:
        assert Digest.of(self.registry.manifest(repo, ref).body) == content.digest
        for one in content.manifests():
            assert self.registry.manifest(repo, one.digest).body == one.raw
        for one in content.blobs():
            found = self.registry.request("GET", f"/v2/{repo}/blobs/{one.digest}")
            assert found.body == one.raw

    def referrers(self, repo: str, subject: Image) -> list[str]:
        answer = self.registry.request("GET", f"/v2/{repo}/referrers/{subject.digest}")
        assert answer.status == 200
        return sorted(one["digest"] for one in answer.json["manifests"])

    def collect(self) -> None:
        """Run docker-registry's own collector."""
        self.registry.stop()
        subprocess.run(
            ["docker-registry", "garbage-collect", str(self.docker.config)],
            check=True,
            capture_output=True,
        )


@pytest.fixture
def swap(tmp_path: Path) -> Iterator[Swap]:
    need("skopeo")
    found = Swap(tmp_path)
    found.docker.start()
    try:
        yield found
    finally:
        found.registry.stop()


FIRST, SECOND, THIRD = made("1"), made("2", docker=True), made("3")
OLD, GONE, MINE, OTHER = made("old"), made("gone"), made("mine"), made("other")
SBOMS = [referrer(FIRST, "application/sbom", b"%d" % number) for number in range(4)]


def written_by_docker_registry(swap: Swap) -> None:
    swap.push("app", "1", FIRST)
    swap.push("app", "2", SECOND)
    swap.push("app", "latest", FIRST)
    swap.push("app", "latest", SECOND)
    swap.push("app", "old", OLD)
    swap.push("app", "old-too", OLD)
    swap.push("app", "twice", THIRD)
    swap.push("app/inner", "1", FIRST)
    swap.push("app/inner/0/p", "1", made("nested"))
    swap.push("multi", "oci", both("oci"))
    swap.push("multi", "docker", both("docker", docker=True))
    swap.push("app", cosign_tag(FIRST.digest), signature(FIRST))
    swap.push("app", None, SBOMS[0])
    swap.push("app", referrers_tag(FIRST.digest), fallback_index(SBOMS[:1]))
    swap.push("app", "gone", GONE)
    swap.delete("app", GONE)
    swap.check()


def written_by_jettison(swap: Swap) -> None:
    swap.push("app", "new", made("new"))
    swap.push("fresh/place", "1", made("fresh", docker=True))
    swap.push("multi", "new", both("new"))
    swap.push("app", "latest", THIRD)
    swap.push("app", None, SBOMS[1])
    swap.delete("app", OLD)
    assert swap.registry.request("DELETE", "/v2/app/manifests/2").status == 202
    del swap.tags["app", "2"]
    swap.untagged.append(("app", SECOND))
    swap.push("app", "mine", MINE)
    swap.push("app", "mine-too", MINE)
    swap.check()


def changed_by_docker_registry(swap: Swap) -> None:
    swap.delete("app", MINE)
    swap.push("app", "back", SECOND)
    swap.untagged.remove(("app", SECOND))
    swap.push("app", "latest", FIRST)
    swap.push("app", None, SBOMS[2])
    swap.push("app", referrers_tag(FIRST.digest), fallback_index(SBOMS[:3]))
    swap.check()


def test_every_image_pulls_at_each_step(swap: Swap, jettison: Jettison) -> None:
    written_by_docker_registry(swap)
    swap.serve(swap.jettison)
    assert swap.referrers("app", FIRST) == [SBOMS[0].digest]
    written_by_jettison(swap)
    swap.serve(swap.docker)
    changed_by_docker_registry(swap)

    blobs = swap.docker.blob_files().keys()
    swap.collect()
    assert set(blobs) - swap.docker.blob_files().keys() >= {OLD.digest, MINE.digest, GONE.digest}

    # What docker-registry has done meanwhile is known.
    swap.serve(swap.jettison)
    assert swap.referrers("app", FIRST) == sorted(one.digest for one in SBOMS[:3])
    swap.push("app", None, SBOMS[3])
    assert swap.referrers("app", FIRST) == sorted(one.digest for one in SBOMS)
    swap.push("app", "other", OTHER)
    swap.push("app", "other-too", OTHER)
    swap.delete("app", OTHER)
    swap.check()

    # Collected by Jettison while it serves, then by docker-registry once more.
    swap.docker.age(7200)
    jettison("gc", swap.docker.root, "--yes")
    assert OTHER.digest not in swap.docker.blob_files()
    swap.check()
    swap.serve(swap.docker)
    assert jettison("fsck", swap.docker.root, "-o", "json").json["damage"] == 0
    swap.collect()
    swap.serve(swap.jettison)
    assert swap.referrers("app", FIRST) == sorted(one.digest for one in SBOMS)


def test_an_upload_looks_the_same_and_jettison_purges_both(swap: Swap) -> None:
    """docker-registry's own purger first waits for up to an hour, so only its needs are checked."""
    swap.push("app", "1", made("1"))
    folder = swap.docker.tree / "repositories" / "app" / "_uploads"
    found: list[Path] = []
    for registry in (swap.docker, swap.jettison):
        swap.serve(registry)
        started = registry.request("POST", "/v2/app/blobs/uploads/")
        assert started.status == 202
        upload = urlsplit(started.headers["Location"])
        sent = registry.request("PATCH", f"{upload.path}?{upload.query}", body=b"half a layer")
        assert sent.status == 202
        [new] = set(folder.iterdir()) - set(found)
        assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", new.name)
        when = (new / "startedat").read_text(encoding="ascii")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", when)
        assert abs(time.time() - datetime.fromisoformat(when).timestamp()) < 60
        assert (new / "data").read_bytes() == b"half a layer"
        assert {path.name for path in new.iterdir()} <= {"data", "startedat", "hashstates"}
        found.append(new)
    swap.check()
    purging = {"enabled": True, "age": "1s", "interval": "1s", "dryrun": False}
    extra = {"storage": {"maintenance": {"uploadpurging": purging}}}
    swap.jettison.reconfigure(extra=extra)
    deadline = time.monotonic() + 15
    while list(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(folder.iterdir()) == []
    swap.check()


def test_each_finishes_what_the_other_has_deleted_in_part(swap: Swap) -> None:
    """docker-registry leaves a revision's folder without its link: the manifest can come back."""
    one = made("1")
    swap.push("app", "keep", made("keep"))
    for number, registry in enumerate([swap.jettison, swap.docker, swap.jettison, swap.docker]):
        swap.push("app", f"t{number}", one)
        swap.serve(registry)
        swap.delete("app", one)
        swap.check()
        swap.gone.clear()


def test_settings_mean_the_same(swap: Swap) -> None:
    """The configuration file that docker-registry was started with is enough."""
    swap.push("app", "1", made("1"))
    text = swap.docker.config.read_text(encoding="utf-8")
    swap.docker.stop()
    swap.jettison.port = swap.docker.port
    swap.jettison.config.write_text(text, encoding="utf-8")
    vars(swap.jettison)["_mark"] = json.loads(re.findall(r"X-Registry-Mark: (.*)", text)[0])[0]
    swap.registry = swap.jettison.start()
    assert swap.jettison.config.read_text(encoding="utf-8") == text
    swap.check()
