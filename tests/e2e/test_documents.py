"""What `-o json` prints: also when an error ends the command, and with times that people read."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from jettison.demo.images import image, layer, random_bytes
from tests.support.cli import Jettison
from tests.support.imitated import Imitated, refusal
from tests.support.registry import DockerRegistry

ONE, TWO, STAYS = (image([layer({"app": random_bytes(seed, 300)})]) for seed in (1, 2, 3))
COUNTED = ("bytes", "disk_free_before", "disk_free_after", "free", "blobs", "disk_free_bytes")


def epochs(value: Any, path: str = "") -> Iterator[str]:
    """Numbers that can only be times: seconds, or nanoseconds, of the years 2001 to 2100."""
    if isinstance(value, dict):
        for key, one in value.items():
            if not key.endswith(COUNTED):
                yield from epochs(one, f"{path}.{key}")
    elif isinstance(value, list):
        for one in value:
            yield from epochs(one, path)
    elif isinstance(value, int | float) and (1e9 < value < 4.2e9 or 1e18 < value < 4.2e18):
        yield f"{path} = {value}"


def test_the_checker_finds_times() -> None:
    found = {"a": [{"until": 1_700_000_000.5}], "mtime_ns": 1_700_000_000_123_456_789, "n": 5}
    assert len(list(epochs(found))) == 2


def test_times_are_no_numbers(registry: DockerRegistry, jettison: Jettison) -> None:
    for tag, one in (("1", ONE), ("2", TWO), ("3", STAYS)):
        registry.push("app", tag, one)
    storage = ("--storage", registry.storage)
    place = f"{registry.host}/app"
    documents = [
        jettison("rm", f"{place}:1", "-n", "-o", "json", *storage),
        jettison("rm", f"{place}:1", "--yes", "-o", "json", *storage),
        jettison("runs", "-o", "json", *storage),
        jettison("runs", "last", "-o", "json", *storage),
        jettison("gc", registry.storage, "-n", "-o", "json"),
        jettison("verify", "last", "-o", "json", *storage, check=None),
        jettison("undo", "last", "-n", "-o", "json", *storage),
        jettison("undo", "last", "-o", "json", *storage),
        jettison("inspect", f"{place}:2", "-o", "json", *storage),
        jettison("fsck", registry.storage, "-o", "json"),
        jettison("gc", registry.storage, "--yes", "-o", "json"),
        jettison("check", registry.storage, "-o", "json"),
    ]
    for done in documents:
        assert list(epochs(done.json)) == []
    kept = documents[1].json["run"]
    assert kept["window_until"].endswith("Z")
    assert documents[4].json["plan"]["held"][0]["until"] == kept["window_until"]


@pytest.fixture
def imitated() -> Iterator[Imitated]:
    with Imitated() as registry:
        for tag, one in (("1", ONE), ("2", TWO), ("3", STAYS)):
            registry.push("app", tag, one)
        yield registry


def error_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])["error"]
    return found


def test_what_was_done_is_told_beside_the_error(imitated: Imitated, jettison: Jettison) -> None:
    imitated.locked[TWO.digest] = refusal(412, "PRECONDITION", "immutable")
    imitated.locked["2"] = imitated.locked[TWO.digest]
    names = [f"{imitated.host}/app:{tag}" for tag in ("1", "2")]
    done = jettison("rm", *names, "--yes", "-o", "json", check=3)
    assert done.json["run"]["receipt"]["tags"] == 1
    assert error_of(done.stderr)["code"] == "partly_done"


def test_what_was_begun_is_told_beside_the_error(imitated: Imitated, jettison: Jettison) -> None:
    """The registry goes away after the first removal."""
    deleted = []

    def before(method: str, path: str) -> Any:
        if method == "DELETE" and "sha256:000" not in path and "/sha256:" in path:
            deleted.append(path)
        return refusal(401, "UNAUTHORIZED", "gone") if len(deleted) > 1 else None

    imitated.before = before
    names = [f"{imitated.host}/app:{tag}" for tag in ("1", "2")]
    done = jettison("rm", *names, "--yes", "-o", "json", "-j", "1", check=None)
    assert done.code not in {0, 1}
    assert error_of(done.stderr)["exit_code"] == done.code
    assert done.json["run"]["id"]
