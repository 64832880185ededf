"""Case 11: ``kill -9`` at every sync of ``rm``, Ctrl-C, and what comes after."""

import os
import signal
import subprocess
import time

import pytest

from jettison.demo.images import image, layer, random_bytes
from tests.support.cli import Jettison
from tests.support.missing import need
from tests.support.registry import DockerRegistry

BASE = layer({"base": random_bytes(9, 5000)})
IMAGES = [image([BASE, layer({"app": random_bytes(i, 2000)})]) for i in range(3)]
MOST = 40


def fill(registry: DockerRegistry, repo: str) -> None:
    for number, made in enumerate(IMAGES):
        registry.push(repo, str(number), made)
    # So that 0 can only be removed by way of a throw-away manifest.
    registry.push(repo, "0-sibling", IMAGES[0])


def whole(registry: DockerRegistry, repo: str, tags: list[str]) -> None:
    """Every one of these tags has its image, byte for byte, and there are no others."""
    assert registry.tags(repo) == tags
    for tag in tags:
        assert registry.manifest(repo, tag).body == IMAGES[int(tag[0])].manifest.raw


@pytest.mark.parametrize(("after", "first"), [("again", 0), ("undo", 2)])
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_sync(
    registry: DockerRegistry, jettison: Jettison, after: str, first: int, every: int
) -> None:
    need("strace")
    for number in range(1 + first % every, MOST, every):
        repo = f"app{number}"
        fill(registry, repo)
        command = ("rm", f"{registry.host}/{repo}:0", f"{registry.host}/{repo}:1", "--yes")
        kill = f"inject=fsync:signal=SIGKILL:when={number}"
        strace = ("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync", "-e", kill)
        process = jettison.start(*command, prefix=strace)
        process.communicate(timeout=60)
        # Whatever happened, what was to stay is there.
        for tag in ("0-sibling", "2"):
            assert registry.manifest(repo, tag).body == IMAGES[int(tag[0])].manifest.raw
        if process.returncode == 0:
            assert number > 5, "the journal is synced before and after each step"
            return
        if after == "again":
            left = registry.tags(repo)
            finished = jettison(*command, check=None)
            # The very last syncs come when all is done and noted.
            assert finished.code == 0 or (finished.code == 1 and left == ["0-sibling", "2"])
            whole(registry, repo, ["0-sibling", "2"])
        else:
            undone = jettison("undo", "last", check=None)
            assert undone.code == 0 or "nothing was removed yet" in undone.stderr
            whole(registry, repo, ["0", "0-sibling", "1", "2"])
    pytest.fail(f"rm makes more than {MOST} syncs")


def test_ctrl_c_ends_after_the_step_and_is_finished_later(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    need("strace")
    fill(registry, "app")
    command = ("rm", f"{registry.host}/app:0", f"{registry.host}/app:1", "--yes")
    # Each sync takes a while, so that the signal comes in the middle.
    slow = "inject=fsync:delay_exit=300000"
    strace = ("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync", "-e", slow)
    process = jettison.start(*command, prefix=strace)
    deadline = time.monotonic() + 30
    while registry.tags("app") == ["0", "0-sibling", "1", "2"] and time.monotonic() < deadline:
        time.sleep(0.02)
    for child in _children(process.pid):
        os.kill(child, signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in messages
    assert "error: interrupted" in messages
    entry = jettison("runs", "-o", "json").json["runs"][0]
    assert entry["state"] == "interrupted"
    steps = jettison("runs", entry["id"], "-o", "json").json["steps"]
    gone = [tag for step in steps if step["done"] for tag in step["step"]["tags"]]
    assert gone
    assert all(step["done"] == step["begun"] for step in steps)
    whole(registry, "app", sorted({"0", "0-sibling", "1", "2"} - set(gone)))
    jettison(*command, check=0)
    whole(registry, "app", ["0-sibling", "2"])
    jettison("undo", "last", check=0)
    whole(registry, "app", ["0", "0-sibling", "1", "2"])


def _children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "--no-headers", "-o", "pid", "--ppid", str(pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in listed.stdout.split()]
