"""``prune`` and ``apply`` killed at every call that changes something, and what comes after.

``tests/jobs/test_prune_interrupted.py`` has every write to a registry and to the journal in memory.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.demo import images
from jettison.demo.images import Image, Index
from tests.support.cli import Jettison
from tests.support.missing import need
from tests.support.registry import SERVERS, DockerRegistry

MOST = 80
BASE = images.layer({"base": images.random_bytes(1, 3000)})
RULE = ("--match", "b*", "--keep-last", "2", "--clock", "created", "--max-removal", "80%")
NOW = ("--grace", "0s", "--assume-quiescent")


def build(number: int) -> Image:
    own = images.layer({"own": images.random_bytes(number, 300)})
    return images.image([BASE, own], created=f"2026-10-{number:02}T00:00:00Z")


BOTH = images.index([build(20), build(21)])
SIGNED = images.signature(BOTH)
CONTENT: dict[str, Image | Index] = {
    "b0": BOTH,
    images.cosign_tag(BOTH.digest): SIGNED,
    "b1": build(1),
    "b1-too": build(1),
    "b2": build(2),
    "v1": build(2),
    "b3": build(3),
    "b4": build(22),
}
STAY = sorted(set(CONTENT) - {"b1", "b1-too", "b2", "b3"})


def whole(registry: DockerRegistry, tags: list[str]) -> None:
    """These tags have their images, with every blob, byte for byte."""
    for tag in tags:
        made = CONTENT[tag]
        assert registry.manifest("app", tag).body == made.manifest.raw, tag
        for one in made.manifests():
            assert registry.manifest("app", str(one.digest)).body == one.raw, tag
        for blob in made.blobs():
            answer = registry.request("GET", f"/v2/app/blobs/{blob.digest}")
            assert answer.body == blob.raw, tag


class Command:
    """A prune or an apply, by what it works on."""

    def __init__(self, kind: str, registry: DockerRegistry, folder: Path) -> None:
        self.where: tuple[str | Path, ...] = ()
        at: str | Path = registry.host
        more: tuple[str | Path, ...] = ("--yes",)
        if "storage" in kind:
            at = registry.storage
            self.where = ("--storage", registry.storage)
        if "backup" in kind or "reclaim" in kind:
            more += ("--backup", folder / "backup")
        if "reclaim" in kind:
            more += ("--reclaim", *NOW)
            if "storage" not in kind:
                self.where = ("--storage", registry.storage)
                more += self.where
        self.plan = folder / "plan.json" if kind.startswith("apply") else None
        self.make = ("prune", at, *RULE)
        self.words = (
            ("prune", at, *RULE, *more) if self.plan is None else ("apply", self.plan, *more)
        )


def filled(registry: DockerRegistry) -> None:
    for tag, made in CONTENT.items():
        registry.push("app", tag, made)


def attempts(what: str, folder: Path) -> Iterator[tuple[str, ...]]:
    """Yield strace's options that kill at the first, the second, … call."""
    need("strace")
    for number in range(1, MOST):
        kill = f"inject={what}:signal=SIGKILL:when={number}"
        yield ("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={what}", "-e", kill)
    pytest.fail(f"it makes more than {MOST} calls of {what} in {folder}")


KINDS = (
    "prune",
    "prune storage",
    "prune backup",
    "prune reclaim",
    "prune storage reclaim",
    "apply",
    "apply storage",
    "apply reclaim",
)


@pytest.mark.soak
@pytest.mark.parametrize("program", SERVERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["fsync", "renameat,renameat2,unlinkat", "sendto"])
@pytest.mark.folder  # kills at calls to the system
def test_killed_at_any_call(
    registry: DockerRegistry, jettison: Jettison, tmp_path: Path, kind: str, what: str
) -> None:
    command = Command(kind, registry, tmp_path)
    filled(registry)
    for number, strace in enumerate(attempts(what, tmp_path)):
        if command.plan is not None:
            jettison(*command.make, "--out", command.plan)
        process = jettison.start(*map(str, command.words), prefix=strace)
        _, told = process.communicate(timeout=60)
        assert "Traceback" not in told
        whole(registry, STAY)
        if process.returncode == 0:
            assert number > 2
            break
        if number % 2:
            again = jettison(*command.words)
            assert registry.tags("app") == STAY, again
            whole(registry, STAY)
        undone = jettison("undo", "last", "--yes", *command.where, check=None)
        assert undone.code == 0 or "nothing was removed yet" in undone.stderr, undone
        assert registry.tags("app") == sorted(CONTENT)
        whole(registry, sorted(CONTENT))
