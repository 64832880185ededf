"""A prune of two repositories, of which one does not let it: over real requests."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.demo import images
from jettison.demo.images import Image
from tests.support.cli import Jettison
from tests.support.imitated import Imitated, Reply, refusal

BASE = images.layer({"base": images.random_bytes(1, 500)})
ALL, OTHER = ["1", "2", "3", "main"], ["4", "5", "6", "main"]


def image(seed: int) -> Image:
    return images.image([BASE, images.layer({"own": images.random_bytes(seed, 300)})])


LOCKED = {"1": image(2), "2": image(3), "3": image(4), "main": image(5)}
DOOMED = tuple(str(LOCKED[tag].digest) for tag in ("1", "2", "3"))
OTHERS = {tag: image(10 + seed) for seed, tag in enumerate(OTHER)}


@pytest.fixture
def imitated() -> Iterator[Imitated]:
    with Imitated() as registry:
        for name, content in (("app", LOCKED), ("web", OTHERS)):
            for tag, one in content.items():
                registry.push(name, tag, one)
        yield registry


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "retention.yml"
    path.write_text('max_removal: 80%\nrules: [{tags: ["[1-6]"], remove: all}]\n')
    return path


def lock(imitated: Imitated, status: int, code: str, words: str) -> None:
    """Let what is to go of `app` not be removed, by tag and by digest."""
    for name in ("1", "2", "3", *DOOMED):
        imitated.locked[name] = refusal(status, code, words)


def held_up(imitated: Imitated) -> tuple[threading.Event, threading.Event]:
    """Let removals wait; return what is set when the first one does, and what lets them go on."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(method: str, path: str) -> Reply | None:
        if method == "DELETE" and path.endswith(DOOMED):
            begun.set()
            go_on.wait(30)
        return None

    imitated.before = wait
    return begun, go_on


@pytest.mark.parametrize("way", ["prune", "apply"])
@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "DENIED", "this robot may not delete"),
        (405, "UNSUPPORTED", "the operation is disallowed: locked"),
        (409, "DENIED", "tag is immutable"),
        (500, "UNKNOWN", "the database is away"),
    ],
)
def test_repository_that_refuses_ends_none_of_the_others(
    imitated: Imitated,
    jettison: Jettison,
    policy: Path,
    tmp_path: Path,
    way: str,
    status: int,
    code: str,
    words: str,
) -> None:
    lock(imitated, status, code, words)
    command: tuple[str | Path, ...] = ("prune", imitated.host, "--policy", policy)
    if way == "apply":
        plan = tmp_path / "plan.json"
        jettison(*command, "--out", plan)
        command = ("apply", plan)
    done = jettison(*command, "--yes", check=None)
    assert done.code == 3, done
    assert "Traceback" not in done.stderr
    assert imitated.tags("app") == ALL
    assert imitated.tags("web") == ["main"]
    jettison("undo", "last")
    assert imitated.tags("web") == OTHER
    imitated.locked.clear()
    jettison("prune", imitated.host, "--policy", policy, "--yes")
    assert imitated.tags("app") == imitated.tags("web") == ["main"]


def test_login_that_ends_in_the_middle_is_no_loss(
    imitated: Imitated, jettison: Jettison, policy: Path
) -> None:
    lock(imitated, 401, "UNAUTHORIZED", "the login is no longer valid")
    command = ("prune", imitated.host, "--policy", policy, "--yes")
    jettison(*command, check=10)
    assert imitated.tags("app") == ALL
    assert "main" in imitated.tags("web")
    imitated.locked.clear()
    jettison(*command)
    assert imitated.tags("app") == imitated.tags("web") == ["main"]
    jettison("undo", "last")
    assert (imitated.tags("app"), imitated.tags("web")) == (ALL, OTHER)


def test_two_at_once_are_one_run(imitated: Imitated, jettison: Jettison, policy: Path) -> None:
    begun, go_on = held_up(imitated)
    command = ("prune", imitated.host, "--policy", str(policy), "--yes")
    first = jettison.start(*command)
    assert begun.wait(30)
    second = jettison(*command, check=None)
    go_on.set()
    _, told = first.communicate(timeout=60)
    assert first.returncode == 0, told
    assert second.code in {12, 13}, second
    assert imitated.tags("app") == imitated.tags("web") == ["main"]
    assert len(jettison("runs", "-o", "json").json["runs"]) == 1
    jettison("undo", "last")
    assert (imitated.tags("app"), imitated.tags("web")) == (ALL, OTHER)


def test_ctrl_c_in_the_middle_is_finished_later(
    imitated: Imitated, jettison: Jettison, policy: Path
) -> None:
    begun, go_on = held_up(imitated)
    command = ("prune", imitated.host, "--policy", str(policy), "--yes")
    process = jettison.start(*command)
    assert begun.wait(30)
    os.kill(process.pid, signal.SIGINT)
    go_on.set()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    for name in ("app", "web"):
        assert "main" in imitated.tags(name)
    done = jettison(*command)
    assert "interrupted" in done.stderr
    assert imitated.tags("app") == imitated.tags("web") == ["main"]
    jettison("undo", "last")
    assert (imitated.tags("app"), imitated.tags("web")) == (ALL, OTHER)
