"""Case 12: 1,000 repositories, and one of 5,000 tags: paged, no needless request, progress."""

import os
import pty
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jettison.demo.images import Image, image, layer, random_bytes
from jettison.model.digest import Digest
from tests.support.cli import Jettison
from tests.support.registry import Access, DockerRegistry, RegistryFactory

BASE = layer({"base": random_bytes(1, 500)})
IMAGES = [image([BASE, layer({"app": random_bytes(seed, 200)})]) for seed in range(10)]
REPOSITORIES = [f"team/app-{number:04}" for number in range(1000)]
TAGS = [f"t{number:04}" for number in range(5000)]


def link(folder: Path, digest: Digest) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "link").write_text(digest)


def write_tree(registry: DockerRegistry, repo: str, tags: dict[str, Image]) -> None:
    """Write a repository as a push leaves it, without the pushes; its blobs are there already."""
    folder = registry.tree / "repositories" / repo
    for content in {made.digest: made for made in tags.values()}.values():
        for blob in content.blobs():
            link(folder / "_layers" / "sha256" / blob.digest.hex, blob.digest)
        revisions = folder / "_manifests" / "revisions" / "sha256"
        link(revisions / content.digest.hex, content.digest)
    for tag, content in tags.items():
        where = folder / "_manifests" / "tags" / tag
        link(where / "current", content.digest)
        link(where / "index" / "sha256" / content.digest.hex, content.digest)


def settled(registry: DockerRegistry, since: int) -> list[Access]:
    """The requests since then, once no more of them come into the log."""
    found = registry.accesses()
    while True:
        time.sleep(0.2)
        later = registry.accesses()
        if len(later) == len(found):
            return found[since:]
        found = later


def on_terminal(jettison: Jettison, *args: str) -> tuple[str, str]:
    """Run with standard error on a terminal; return what went to standard output and to that."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other end is closed
                return
            if not chunk:
                return
            shown.append(chunk)

    reader = threading.Thread(target=read)
    try:
        reader.start()
        with subprocess.Popen(
            [*jettison.command, *args],
            cwd=jettison.cwd,
            env=os.environ | {"TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
        ) as process:
            os.close(theirs)
            output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        reader.join(timeout=10)
    finally:
        os.close(ours)
    return output, b"".join(shown).decode()


@pytest.fixture
def catalog(registry: DockerRegistry) -> DockerRegistry:
    """A registry with 1,000 repositories of one tag, two of them with more."""
    registry.push("seed", None, IMAGES[0])
    for name in REPOSITORIES:
        write_tree(registry, name, {"1": IMAGES[0]})
    write_tree(registry, REPOSITORIES[7], {"2": IMAGES[0], "3": IMAGES[0]})
    return registry


def test_a_catalog_of_a_thousand(catalog: DockerRegistry, jettison: Jettison) -> None:
    since = len(catalog.accesses())
    piped = jettison("ls", catalog.host, "-l", "-o", "json")
    assert piped.stderr == ""
    listed = {one["repository"]: one["tags"] for one in piped.json["repositories"]}
    wanted = dict.fromkeys(REPOSITORIES, 1) | {REPOSITORIES[7]: 3, "seed": 0}
    assert listed == wanted

    asked = settled(catalog, since)
    assert [one for one in asked if one.status >= 500] == []  # would be asked again
    paths = Counter(urlsplit(one.path).path for one in asked)
    pages = [urlsplit(one.path) for one in asked if one.path.startswith("/v2/_catalog")]
    # Paged: a size is asked for, each page but the first begins where another ended.
    assert all("n=" in page.query for page in pages)
    assert len([page for page in pages if "last=" not in page.query]) == 1
    assert len({page.query for page in pages}) == len(pages) > 1
    for name in wanted:
        assert paths.pop(f"/v2/{name}/tags/list") == 1
    assert set(paths) <= {"/v2/", "/v2/_catalog"}
    assert paths["/v2/"] <= 2

    output, shown = on_terminal(jettison, "ls", catalog.host, "-l", "-o", "json")
    assert output == piped.stdout
    assert "counting tags" in shown
    assert f"/{len(wanted):,}" in shown
    assert REPOSITORIES[0] not in shown

    # Names alone: a request a page, and no more pages than are wanted.
    since = len(settled(catalog, since)) + since
    named = jettison("ls", catalog.host, "-o", "ndjson").ndjson
    assert [one["repository"] for one in named] == sorted(wanted)
    asked = settled(catalog, since)
    assert {urlsplit(one.path).path for one in asked} <= {"/v2/", "/v2/_catalog"}
    assert len(asked) <= len(pages) + 2
    since += len(asked)
    assert len(jettison("ls", catalog.host, "--limit", "5").stdout.splitlines()) == 6
    assert len(settled(catalog, since)) <= 2


@pytest.mark.distribution
@pytest.mark.parametrize("count", [1200, pytest.param(5000, marks=pytest.mark.soak)])
def test_a_repository_of_many_tags(
    registry_factory: RegistryFactory, jettison: Jettison, count: int
) -> None:
    tags = TAGS[:count]
    registry = registry_factory(delete=True)
    for made in IMAGES:
        registry.push("big", None, made)
    content = {tag: IMAGES[number % len(IMAGES)] for number, tag in enumerate(tags)}
    write_tree(registry, "big", content)
    few = dict.fromkeys(TAGS[:300], IMAGES[0])
    write_tree(registry, "other", few)
    since = len(registry.accesses())
    place = f"{registry.host}/big"
    piped = jettison("ls", place, "--created", "-o", "json")
    assert piped.stderr == ""
    assert {one["tag"]: one["digest"] for one in piped.json["tags"]} == {
        tag: made.digest for tag, made in content.items()
    }

    asked = settled(registry, since)
    gets = Counter(one.path for one in asked if one.method == "GET")
    manifests = {path: n for path, n in gets.items() if "/manifests/" in path}
    assert manifests == {f"/v2/big/manifests/{tag}": 1 for tag in tags}
    blobs = {path: n for path, n in gets.items() if "/blobs/" in path}
    assert blobs == {f"/v2/big/blobs/{made.config.digest}": 1 for made in IMAGES}
    assert len([path for path in gets if path.startswith("/v2/big/tags/list")]) == 1
    assert not [path for path in gets if "other" in path or "_catalog" in path]
    assert {one.method for one in asked} == {"GET"}
    assert len(asked) <= 1.1 * len(tags)

    # What cannot change is known by now, even from another repository; a terminal sees progress.
    since += len(asked)
    output, shown = on_terminal(jettison, "ls", f"{registry.host}/other", "--created", "-o", "json")
    assert f'"{TAGS[299]}"' in output
    assert f"/{len(few)}" in shown
    again = settled(registry, since)
    assert {path for one in again if "/blobs/" in (path := one.path)} == set()
    assert len(again) <= len(few) + 3
