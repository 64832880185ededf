"""Case 11: ``rm`` killed or interrupted at its every request, and what comes after.

``test_killed.py`` has the moments around each sync of the journal.
"""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from jettison.demo.images import image, layer, random_bytes
from tests.support.cli import Jettison
from tests.support.missing import need
from tests.support.registry import DockerRegistry

BASE = layer({"base": random_bytes(9, 3000)})
IMAGES = [image([BASE, layer({"app": random_bytes(i, 1000)})]) for i in range(3)]
# Not `0-sibling`: docker-registry 2.8 leaves a tag in a bucket if `-` or `.` follows it in another.
STAY = ["0_sibling", "2"]
ALL = ["0", "0_sibling", "1", "2"]
NUMBERS = count(1)


def fill(registry: DockerRegistry) -> str:
    """A new repository; its tag 0 can only be removed by way of a throw-away manifest."""
    repo = f"app{next(NUMBERS)}"
    for number, made in enumerate(IMAGES):
        registry.push(repo, str(number), made)
    registry.push(repo, "0_sibling", IMAGES[0])
    return repo


def removal(registry: DockerRegistry, repo: str) -> tuple[str, ...]:
    place = f"{registry.host}/{repo}"
    return ("rm", f"{place}:0", f"{place}:1", "--quick", "--yes")


def strace(what: str, log: Path, *more: str) -> tuple[str, ...]:
    return ("strace", "-f", "-qq", "-s", "400", "-o", str(log), "-e", f"trace={what}", *more)


def moments(
    registry: DockerRegistry, jettison: Jettison, log: Path, what: str
) -> tuple[range, range]:
    """Which calls of ``what`` an uninterrupted run makes: all of them, and those of its steps."""
    need("strace")
    command = removal(registry, fill(registry))
    process = jettison.start(*command, prefix=strace(f"{what},fsync,renameat", log, "-y"))
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    lines = log.read_text(errors="replace").splitlines()
    written = [
        at for at, line in enumerate(lines) if re.search(r" renameat\(.*/jettison/runs>", line)
    ]
    assert len(written) == 3, "begun, done, proved"
    calls = [at for at, line in enumerate(lines) if f" {what}(" in line]
    every = range(1, len(calls) + 1)
    inside = [n for n, at in zip(every, calls, strict=True) if written[0] <= at <= written[1]]
    return every, range(inside[0], inside[-1] + 1)


@contextmanager
def watched(registry: DockerRegistry, repo: str) -> Iterator[None]:
    """What is to stay is there at every moment."""
    ended = threading.Event()
    lost: list[tuple[str, int]] = []

    def watch() -> None:
        while not ended.is_set():
            for tag in STAY:
                answer = registry.manifest(repo, tag)
                if answer.status == 500:
                    # docker-registry rewrites the link of a manifest that is put again (as undo
                    # does for a tag) in place, and fails where it reads it half-written.
                    time.sleep(0.02)
                    answer = registry.manifest(repo, tag)
                if answer.body != IMAGES[int(tag[0])].manifest.raw:
                    lost.append((tag, answer.status))
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert lost == []


def assert_whole(registry: DockerRegistry, repo: str, tags: list[str]) -> None:
    """These tags have their images, there are no others, and no throw-away manifest is left."""
    assert registry.tags(repo) == tags
    for tag in tags:
        made = IMAGES[int(tag[0])]
        assert registry.manifest(repo, tag).body == made.manifest.raw
        for blob in made.blobs():
            answer = registry.request("GET", f"/v2/{repo}/blobs/{blob.digest}")
            assert answer.body == blob.raw
    links = (registry.tree / "repositories" / repo / "_manifests" / "revisions").rglob("link")
    assert {link.parent.name for link in links} == {IMAGES[int(tag[0])].digest.hex for tag in tags}


def entry_of(jettison: Jettison, repo: str) -> dict[str, Any] | None:
    """The journal's entry of the removal in ``repo``, with its steps."""
    for run in jettison("runs", "-o", "json").json["runs"]:
        if run["kind"] == "rm" and any(f"/{repo}:" in text for text in run["request"]):
            shown: dict[str, Any] = jettison("runs", run["id"], "-o", "json").json
            return shown
    return None


def assert_told(
    registry: DockerRegistry, repo: str, entry: dict[str, Any] | None, *, killed: bool
) -> None:
    """The registry is as the journal says."""
    if entry is None:
        assert_whole(registry, repo, ALL)
        return
    tags = registry.tags(repo)
    for step in entry["steps"]:
        (tag,) = step["step"]["tags"]
        if step["done"]:
            assert tag not in tags
        elif not step["begun"]:
            assert registry.manifest(repo, tag).body == IMAGES[int(tag)].manifest.raw
        else:
            assert killed, "Ctrl-C ends after the step that is under way"
    assert set(STAY) <= set(tags)


def interrupt(
    registry: DockerRegistry, jettison: Jettison, log: Path, signal: str, what: str, when: int
) -> tuple[str, int, str]:
    """Run a removal that gets ``signal`` at its ``when``-th call of ``what``."""
    repo = fill(registry)
    inject = f"inject={what}:signal={signal}:when={when}"
    prefix = strace(what, log, "-e", inject)
    with watched(registry, repo):
        process = jettison.start(*removal(registry, repo), prefix=prefix)
        _, messages = process.communicate(timeout=60)
    assert "Traceback" not in messages
    return repo, process.returncode, messages


def finish(registry: DockerRegistry, jettison: Jettison, repo: str, after: str) -> None:
    """The same command again finishes it, and undo takes it back."""
    entry = entry_of(jettison, repo)
    assert_told(registry, repo, entry, killed=True)
    proved = entry is not None and entry["receipt"] is not None
    with watched(registry, repo):
        if after == "again":
            again = jettison(*removal(registry, repo), check=1 if proved else 0)
            assert "Traceback" not in again.stderr
            if entry is not None and not proved:
                assert entry["run"]["id"] in again.stderr + again.stdout
            assert_whole(registry, repo, STAY)
        elif entry is not None:
            jettison("undo", entry["run"]["id"])
            assert_whole(registry, repo, ALL)


def assert_killed(
    registry: DockerRegistry, jettison: Jettison, log: Path, what: str, when: int, after: str
) -> bool:
    """Kill at this call; whether it was killed before it came to its end."""
    repo, code, _ = interrupt(registry, jettison, log, "SIGKILL", what, when)
    finish(registry, jettison, repo, after)
    return code != 0


@pytest.mark.distribution
@pytest.mark.parametrize("what", ["sendto", "recvfrom"])
@pytest.mark.parametrize("after", ["again", "undo"])
def test_killed_at_the_requests_that_change_something(
    registry: DockerRegistry, jettison: Jettison, tmp_path: Path, what: str, after: str
) -> None:
    log = tmp_path / "log"
    _, steps = moments(registry, jettison, log, what)
    # Look twice, put the throw-away manifest and delete it, look; look and delete.
    assert len(steps) >= 7
    for when in (steps[2], steps[3], steps[6]):
        assert assert_killed(registry, jettison, log, what, when, after)


@pytest.mark.soak
@pytest.mark.parametrize("what", ["sendto", "recvfrom", "renameat", "fsync", "openat", "close"])
@pytest.mark.parametrize("after", ["again", "undo"])
def test_killed_anywhere(
    registry: DockerRegistry, jettison: Jettison, tmp_path: Path, what: str, after: str
) -> None:
    log = tmp_path / "log"
    every, _ = moments(registry, jettison, log, what)
    points = {*every[:: max(1, len(every) // 60)], *every[-25:]}
    killed = [assert_killed(registry, jettison, log, what, n, after) for n in sorted(points)]
    assert any(killed)


def assert_interrupted(
    registry: DockerRegistry, jettison: Jettison, log: Path, points: list[int]
) -> set[str]:
    """Ctrl-C at every one of these; return the states that the journal told afterwards."""
    states = set()
    for number in points:
        repo, code, messages = interrupt(registry, jettison, log, "SIGINT", "sendto", number)
        entry = entry_of(jettison, repo)
        assert_told(registry, repo, entry, killed=False)
        if code != 0:
            assert code == 130, messages
            assert messages.count("error: interrupted") == 1
            assert " next: " in messages
        if entry is not None:
            states.add(entry["run"]["state"])
        finish(registry, jettison, repo, ["again", "undo"][number % 2])
    return states


@pytest.mark.distribution
def test_ctrl_c_at_the_requests_of_a_step(
    registry: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    _, steps = moments(registry, jettison, tmp_path / "log", "sendto")
    points = [steps[2], steps[3]]
    assert "interrupted" in assert_interrupted(registry, jettison, tmp_path / "log", points)


@pytest.mark.soak
def test_ctrl_c_at_any_request(
    registry: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    every, _ = moments(registry, jettison, tmp_path / "log", "sendto")
    assert_interrupted(registry, jettison, tmp_path / "log", list(every))


@pytest.mark.parametrize("when", [1, 2])
def test_killed_between_deleting_and_collecting(
    registry: DockerRegistry, jettison: Jettison, tmp_path: Path, when: int
) -> None:
    """With --reclaim: once at the first file that the collection sets aside, once later."""
    if registry.in_bucket:
        pytest.skip("there a collection removes no file; tests/storage/objects kills at requests")
    need("strace")
    repo = fill(registry)
    registry.age(7200)
    command = (
        *removal(registry, repo)[:3],
        "--reclaim",
        "--storage",
        str(registry.storage),
        "--yes",
    )
    inject = f"inject=unlink,unlinkat,rmdir:signal=SIGKILL:when={when}"
    prefix = strace("unlink,unlinkat,rmdir", tmp_path / "log", "-e", inject)
    process = jettison.start(*command, prefix=prefix)
    process.communicate(timeout=60)
    assert process.returncode != 0
    for tag in STAY:
        assert registry.manifest(repo, tag).body == IMAGES[int(tag[0])].manifest.raw
    jettison(*command)
    assert_whole(registry, repo, STAY)
    kept = [IMAGES[0], IMAGES[2]]
    wanted = {c.digest: c.size for one in kept for c in [*one.blobs(), *one.manifests()]}
    assert registry.blob_files() == wanted
    assert registry.blob_bytes() == sum(wanted.values())
