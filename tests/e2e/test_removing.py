"""`rm` on registries that refuse, take or leave more than was asked, and while others push."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from jettison.demo import images
from jettison.demo.images import Image
from tests.support.cli import Jettison
from tests.support.imitated import Imitated, Reply, refusal
from tests.support.registry import DockerRegistry, RegistryFactory

BASE = images.layer({"base": images.random_bytes(1, 500)})


def image(seed: int) -> Image:
    return images.image([BASE, images.layer({"own": images.random_bytes(seed, 300)})])


ONE, TWO, THREE, STAYS = (image(seed) for seed in (2, 3, 4, 5))


@pytest.fixture
def imitated() -> Iterator[Imitated]:
    with Imitated() as registry:
        for tag, one in (("1", ONE), ("2", TWO), ("3", THREE), ("main", STAYS)):
            registry.push("app", tag, one)
        yield registry


def receipt(jettison: Jettison) -> dict[str, Any]:
    entry = jettison("runs", "last", "-o", "json").json["run"]
    assert isinstance(entry, dict)
    return entry


def test_what_is_removed_side_by_side_goes_in_full(imitated: Imitated, jettison: Jettison) -> None:
    done = jettison("rm", f"{imitated.host}/app:[123]", "--yes")
    assert "3 manifests answer 404" in done.stdout
    assert imitated.tags("app") == ["main"]
    assert set(imitated.repositories["app"].manifests) == {STAYS.digest}
    jettison("undo", "last")
    assert imitated.tags("app") == ["1", "2", "3", "main"]


def test_tags_first_where_the_registry_wants_it(imitated: Imitated, jettison: Jettison) -> None:
    imitated.tags_first = True
    jettison("rm", f"{imitated.host}/app:[123]", "--yes")
    assert imitated.tags("app") == ["main"]
    assert set(imitated.repositories["app"].manifests) == {STAYS.digest}
    refused = [one for one in imitated.requests if one == f"DELETE /v2/app/manifests/{ONE.digest}"]
    assert len(refused) <= 2
    jettison("undo", "last")
    assert imitated.tags("app") == ["1", "2", "3", "main"]


@pytest.mark.parametrize("chain", [1, 2])
def test_referrers_first_where_the_registry_wants_it(
    imitated: Imitated, jettison: Jettison, chain: int
) -> None:
    imitated.referrers_first = True
    about: Image = ONE
    for number in range(chain):
        about = images.referrer(about, f"application/x{number}", b"{}")
        imitated.blobs |= {str(blob.digest): blob.raw for blob in about.blobs()}
        imitated.put("app", about.digest, about.manifest.raw, about.manifest.media_type)
    jettison("rm", f"{imitated.host}/app:1", f"{imitated.host}/app:2", "--yes")
    assert set(imitated.repositories["app"].manifests) == {THREE.digest, STAYS.digest}
    jettison("undo", "last")
    assert imitated.tags("app") == ["1", "2", "3", "main"]
    assert len(imitated.repositories["app"].manifests) == 4 + chain


def test_subjects_first_everywhere_else(imitated: Imitated, jettison: Jettison) -> None:
    """Where a subject stays for another reason, what refers to it stays too."""
    imitated.referrers_first = True
    about = images.referrer(ONE, "application/x", b"{}")
    imitated.blobs |= {str(blob.digest): blob.raw for blob in about.blobs()}
    imitated.put("app", about.digest, about.manifest.raw, about.manifest.media_type)
    imitated.locked[ONE.digest] = refusal(412, "PRECONDITION", "the artifact is immutable")
    done = jettison("rm", f"{imitated.host}/app:1", "--yes", check=3)
    assert "the artifact is immutable" in done.stdout
    assert about.digest in imitated.repositories["app"].manifests
    assert imitated.tags("app") == ["2", "3", "main"]


def test_tags_that_outlive_their_manifest_go_too(imitated: Imitated, jettison: Jettison) -> None:
    imitated.tags_outlive = True
    jettison("rm", f"{imitated.host}/app:1", f"{imitated.host}/app@{TWO.digest}", "--yes")
    assert imitated.tags("app") == ["3", "main"]
    assert set(imitated.repositories["app"].manifests) == {THREE.digest, STAYS.digest}
    jettison("rm", f"{imitated.host}/app:1", "--yes", check=1)


def test_a_list_that_comes_from_a_cache(imitated: Imitated, jettison: Jettison) -> None:
    """What was removed and answers 404 is gone, though the list shows it for a while."""
    listed = json.dumps({"name": "app", "tags": imitated.tags("app")}).encode()

    def stale(_: str, path: str) -> Reply | None:
        kind = {"Content-Type": "application/json"}
        return Reply(200, listed, kind) if path == "/v2/app/tags/list" else None

    imitated.before = stale
    done = jettison("rm", f"{imitated.host}/app:1", "--yes")
    assert "still in the registry's list" in done.stdout
    assert "1" not in imitated.tags("app")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (409, "DENIED", "tag is immutable"),
        (412, "PRECONDITION", "matched by an immutable rule"),
        (403, "DENIED", "locked by the administrator"),
        (405, "UNSUPPORTED", "the operation is disallowed: locked"),
        (400, "MANIFEST_INVALID", "referenced by a manifest list"),
        (500, "UNKNOWN", "the database is away"),
    ],
)
def test_one_that_is_refused_ends_none_of_the_others(
    imitated: Imitated, jettison: Jettison, status: int, code: str, words: str
) -> None:
    for name in (TWO.digest, "2"):
        imitated.locked[name] = refusal(status, code, words)
    done = jettison("rm", f"{imitated.host}/app:[123]", "--yes", check=3)
    assert words in done.stdout
    assert words in done.stderr
    assert imitated.tags("app") == ["2", "main"]
    entry = receipt(jettison)
    assert entry["state"] == "done"
    assert [one["tags"] for one in entry["left"]] == [["2"]]
    jettison("verify", "last")
    jettison("undo", "last")
    assert imitated.tags("app") == ["1", "2", "3", "main"]


def test_nothing_that_could_be_done_is_the_error_itself(
    imitated: Imitated, jettison: Jettison
) -> None:
    for name in (ONE.digest, "1"):
        imitated.locked[name] = refusal(409, "LOCKED", "tag is immutable")
    done = jettison("rm", f"{imitated.host}/app:1", "--yes", check=1)
    assert "tag is immutable" in done.stderr
    imitated.locked.clear()
    jettison("rm", f"{imitated.host}/app:1", "--yes")


def test_what_is_gone_already_is_no_failure(imitated: Imitated, jettison: Jettison) -> None:
    def before(method: str, path: str) -> None:
        # Somebody else removes the same things, just before.
        if method == "DELETE" and "sha256" in path and path.endswith(ONE.digest):
            here = imitated.repositories["app"]
            for tag, one in (("1", ONE), ("2", TWO)):
                here.tags.pop(tag, None)
                here.manifests.pop(one.digest, None)

    imitated.before = before
    jettison("rm", f"{imitated.host}/app:[12]", "--yes")
    assert imitated.tags("app") == ["3", "main"]


def test_one_that_moved_ends_none_of_the_others(imitated: Imitated, jettison: Jettison) -> None:
    def before(method: str, path: str) -> None:
        if method == "DELETE" and path.endswith((ONE.digest, TWO.digest, THREE.digest)):
            imitated.before = lambda _method, _path: None
            gone = path.rpartition("/")[2]
            for tag, one in (("1", ONE), ("2", TWO), ("3", THREE)):
                if one.digest != gone:
                    imitated.push("app", tag, STAYS)

    imitated.before = before
    done = jettison("rm", f"{imitated.host}/app:[123]", "--yes", check=3)
    assert done.stdout.count("not done:") == 2
    assert len(imitated.tags("app")) == 3


@pytest.mark.parametrize("new", ["prod", "main"])
def test_a_tag_pushed_before_its_manifest_goes_keeps_it(
    imitated: Imitated, jettison: Jettison, new: str
) -> None:
    """The first DELETE goes alone; a tag that is new by then stops the steps that it needs."""

    def before(method: str, path: str) -> None:
        if method == "DELETE" and path.endswith((ONE.digest, TWO.digest)):
            imitated.before = lambda _method, _path: None
            other = ONE if path.endswith(TWO.digest) else TWO
            imitated.push("app", "prod", other)
            if new == "main":  # ... and one that was there goes with this very DELETE
                gone = TWO if other is ONE else ONE
                imitated.push("app", "main", gone)

    imitated.before = before
    done = jettison("rm", f"{imitated.host}/app:[12]", "--yes", check=3)
    assert "app:prod is new since the plan was made" in done.stdout
    assert imitated.tags("app") == ["3", "main", "prod"]
    here = imitated.repositories["app"]
    assert here.tags["prod"] in here.manifests
    assert here.tags["main"] in here.manifests
    if new == "main":
        assert "it is put back" in done.stdout
        assert here.tags["main"] in {ONE.digest, TWO.digest}
    jettison("undo", "last")
    assert imitated.tags("app") == ["1", "2", "3", "main", "prod"]


def test_an_index_pushed_meanwhile_keeps_its_child(imitated: Imitated, jettison: Jettison) -> None:
    kept: list[str] = []

    def before(method: str, path: str) -> None:
        if method == "DELETE" and path.endswith((ONE.digest, TWO.digest)):
            imitated.before = lambda _method, _path: None
            other = ONE if path.endswith(TWO.digest) else TWO
            kept.append(other.digest)
            both = images.index([THREE, other])
            imitated.put("app", "all", both.manifest.raw, both.manifest.media_type)

    imitated.before = before
    done = jettison("rm", f"{imitated.host}/app:[12]", "--yes", check=3)
    assert "app:all is new since the plan was made" in done.stdout
    assert set(kept) < set(imitated.repositories["app"].manifests)
    assert imitated.tags("app") == ["3", "all", "main"]


def test_a_dangling_tag_is_removed(imitated: Imitated, jettison: Jettison) -> None:
    del imitated.repositories["app"].manifests[ONE.digest]
    done = jettison("rm", f"{imitated.host}/app:[12]", "--yes")
    assert "an undo cannot bring it back" in done.stderr
    assert imitated.tags("app") == ["3", "main"]
    imitated.can_untag = False
    del imitated.repositories["app"].manifests[THREE.digest]
    jettison("rm", f"{imitated.host}/app:3", "--yes")
    assert imitated.tags("app") == ["main"]


def test_a_tag_that_answers_500_does_not_keep_the_others(
    imitated: Imitated, jettison: Jettison
) -> None:
    def before(method: str, path: str) -> Reply | None:
        listed = "1" in imitated.repositories["app"].tags
        if path == "/v2/app/manifests/1" and method != "DELETE" and listed:
            return refusal(500, "UNKNOWN", "unknown error")
        return None

    imitated.before = before
    jettison("rm", f"{imitated.host}/app:[12]", "--yes")
    assert imitated.tags("app") == ["3", "main"]


# Real ones.


def fill(registry: DockerRegistry) -> None:
    for tag, one in (("1", ONE), ("2", TWO), ("main", STAYS)):
        registry.push("app", tag, one)


@pytest.mark.folder  # where the journal is synced
@pytest.mark.parametrize("with_storage", [False, True])
def test_what_came_after_a_kill_stays(
    registry_factory: RegistryFactory, jettison: Jettison, with_storage: bool
) -> None:
    """Killed after its first step; tags are pushed; the same command finishes, and they stay."""
    registry = registry_factory(delete=True)
    fill(registry)
    command = ["rm", f"{registry.host}/app:1", f"{registry.host}/app:2", "--yes"]
    command += ["--storage", str(registry.storage)] if with_storage else []
    killed = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync")
    kill = (*killed, "-e", f"inject=fsync:signal=SIGKILL:when={5 if with_storage else 4}")
    process = jettison.start(*command, prefix=kill)
    process.communicate(timeout=60)
    assert process.returncode != 0
    for tag, one in (("prod1", ONE), ("prod2", TWO)):
        registry.push("app", tag, one)
    done = jettison(*command, check=None)
    assert done.code in {1, 3}, done
    assert {"main", "prod1", "prod2"} <= set(registry.tags("app"))
    for tag, one in (("prod1", ONE), ("prod2", TWO)):
        assert registry.manifest("app", tag).body == one.manifest.raw


@pytest.mark.parametrize("program", ["docker-registry", "jettison"])
def test_dangling_tags_go_over_the_api_and_on_the_storage(
    registry_factory: RegistryFactory, jettison: Jettison
) -> None:
    registry = registry_factory(delete=True)
    fill(registry)
    tags = registry.tree / "repositories/app/_manifests/tags"
    for digest in (ONE.digest, TWO.digest):
        link = registry.tree / "repositories/app/_manifests/revisions/sha256" / digest.hex / "link"
        link.unlink()
    jettison("rm", f"{registry.host}/app:1", "--yes")
    assert not (tags / "1").exists()
    jettison("rm", f"{registry.host}/app:2", "--yes", "--storage", registry.storage)
    assert not (tags / "2").exists()
    registry.push("app", "3", THREE)
    (tags / "3/current/link").write_text("")
    registry.push("app", "4", ONE)
    jettison("rm", f"{registry.host}/app:[34]", "--yes", "--storage", registry.storage)
    assert registry.tags("app") == ["main"]
