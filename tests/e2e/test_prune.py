"""`prune` and `apply`, on real registries."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jettison.demo import images
from jettison.demo.images import Image
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry

NOW = datetime.now(UTC)
CREATED = ("--clock", "created")
"""Images here are pushed all at once, and made at other times: so a copy looks."""


def image(seed: int, days: float) -> Image:
    """An image that says that it was created so many days ago."""
    created = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return images.image([images.layer({"own": images.random_bytes(seed, 300)})], created=created)


@pytest.fixture
def builds(registry: DockerRegistry) -> DockerRegistry:
    """Two repositories of six builds, one a day; `app` also has a release, of the oldest."""
    for name, first in (("team/app", 0), ("team/web", 100)):
        for number in range(1, 7):
            registry.push(name, f"b{number}", image(first + number, 7 - number))
    registry.push("team/app", "v1.0", image(1, 6))
    return registry


def test_newest_stay_and_the_rest_goes_and_comes_back(
    builds: DockerRegistry, jettison: Jettison
) -> None:
    options = ("--match", "b*", "--keep-last", "2", *CREATED, "--max-removal", "80%")
    dry = jettison("prune", builds.host, *options, "-n")
    assert builds.tags("team/app") == ["b1", "b2", "b3", "b4", "b5", "b6", "v1.0"]
    done = jettison("prune", builds.host, *options, "--yes")
    assert dry.stdout.splitlines()[:9] == done.stdout.splitlines()[:9]
    assert builds.tags("team/app") == ["b5", "b6", "v1.0"]
    assert builds.tags("team/web") == ["b5", "b6"]
    assert builds.manifest("team/app", "v1.0").status == 200
    jettison("undo", "last")
    assert builds.tags("team/app") == ["b1", "b2", "b3", "b4", "b5", "b6", "v1.0"]
    assert builds.tags("team/web") == ["b1", "b2", "b3", "b4", "b5", "b6"]


def test_too_much_at_once_is_refused(builds: DockerRegistry, jettison: Jettison) -> None:
    command = ("prune", builds.host, "--match", "b*", "--keep-last", "2", *CREATED)
    for way in ("--yes", "-n"):  # a dry run ends as the run would
        done = jettison(*command, way, check=4)
        assert "--max-removal" in done.stderr
    assert len(builds.tags("team/web")) == 6


def test_every_tag_of_a_repository_is_refused(builds: DockerRegistry, jettison: Jettison) -> None:
    options = (
        f"{builds.host}/team/web",
        "--older-than",
        "1h",
        *CREATED,
        "--max-removal",
        "100%",
        "--yes",
    )
    done = jettison("prune", *options, check=4)
    assert "--allow-all-tags" in done.stderr
    jettison("prune", *options, "--allow-all-tags")
    assert builds.tags("team/web") == []


def test_plan_is_written_and_applied_once(
    builds: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    policy = tmp_path / "retention.yml"
    policy.write_text(
        f"registry: {builds.host}\nmax_removal: 50%\n"
        "rules:\n- {tags: ['b*'], clock: created, keep: {last: 4}, remove: rest}\n"
    )
    plan = tmp_path / "plan.json"
    written = jettison("prune", "--policy", policy, "--out", plan, "--exit-code", check=3)
    assert "jettison apply" in written.stderr
    assert len(builds.tags("team/web")) == 6
    jettison("apply", plan, "--yes")
    assert builds.tags("team/web") == ["b3", "b4", "b5", "b6"]
    again = jettison("apply", plan, "--yes")
    assert "applied already" in again.stderr
    none = jettison("prune", "--policy", policy, "-n", "--exit-code")
    assert "Nothing is to be removed" in none.stderr


def test_plan_of_a_registry_that_moved_is_stale(
    builds: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    options = ("--match", "b*", "--keep-last", "4", *CREATED, "--max-removal", "50%")
    jettison("prune", builds.host, *options, "--out", plan)
    builds.push("team/app", "b1", image(77, 0))
    stale = jettison("apply", plan, "--yes", check=13)
    assert "b1" in stale.stderr
    assert len(builds.tags("team/web")) == 6
    jettison("apply", plan, "--yes", "--skip-moved", check=3)
    assert builds.tags("team/app") == ["b1", "b3", "b4", "b5", "b6", "v1.0"]
    assert builds.tags("team/web") == ["b3", "b4", "b5", "b6"]


def test_plan_is_stale_if_what_was_to_stay_is_gone(
    builds: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    jettison(
        "prune",
        f"{builds.host}/team/web",
        *CREATED,
        "--keep-last",
        "4",
        "--max-removal",
        "50%",
        "--out",
        plan,
    )
    jettison("rm", f"{builds.host}/team/web:b6", "--yes")
    jettison("apply", plan, "--yes", check=13)
    assert builds.tags("team/web") == ["b1", "b2", "b3", "b4", "b5"]


def test_storage_alone_is_pruned_collected_and_undone(
    builds: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    policy = tmp_path / "retention.yml"
    policy.write_text(
        "max_removal: 100%\n"
        "rules:\n- {tags: ['b*'], clock: created, keep: {last: 4}, remove: rest}\n"
    )
    done = jettison("prune", "--policy", policy, builds.storage, "-o", "json", "--yes").json["run"]
    assert done["kind"] == "prune"
    assert builds.tags("team/web") == ["b3", "b4", "b5", "b6"]
    jettison("undo", done["id"], "--storage", builds.storage)
    assert len(builds.tags("team/web")) == 6
    jettison(
        "prune",
        "--policy",
        policy,
        builds.storage,
        "--reclaim",
        "--yes",
        "--grace",
        "0s",
        "--assume-quiescent",
        "--without-undo",
    )
    assert builds.tags("team/web") == ["b3", "b4", "b5", "b6"]
    gone = image(101, 6).blobs()[0].digest
    assert not (builds.root / f"docker/registry/v2/blobs/sha256/{gone.hex[:2]}/{gone.hex}").exists()


@pytest.mark.parametrize("options", [(), ("--match", "b*"), ("--keep-tag", "v*")])
def test_policy_that_removes_nothing_is_refused(
    builds: DockerRegistry, jettison: Jettison, options: tuple[str, ...]
) -> None:
    done = jettison("prune", builds.host, *options, "--yes", check=None)
    assert done.code in {2, 4}
    assert "--keep-last 10" in done.stderr


@pytest.mark.distribution
def test_untagged_alone_needs_the_storage_to_see_them(
    builds: DockerRegistry, jettison: Jettison
) -> None:
    builds.push("team/app", "b6", image(50, 0))
    done = jettison("prune", builds.host, "--untagged", "7d", "--yes", check=2)
    assert "does not list untagged manifests" in done.stderr
    assert "--storage" in done.stderr
    both = ("--untagged", "7d", "--match", "b*", "--keep-last", "6", "-n", "-o", "json")
    seen = jettison("prune", builds.host, *both).json
    assert seen["plan"]["decisions"] == []
    assert json.dumps(seen["plan"]["notes"]).count("untagged") == 1


def test_images_in_use_stay(builds: DockerRegistry, jettison: Jettison, tmp_path: Path) -> None:
    running = tmp_path / "running.txt"
    running.write_text("# by hand\nregistry.internal/team/app:b1\n")
    options = ("--match", "b*", "--keep-last", "4", *CREATED, "--max-removal", "50%", "--yes")
    jettison("prune", builds.host, *options, "--in-use", running)
    assert builds.tags("team/app") == ["b1", "b3", "b4", "b5", "b6", "v1.0"]
    nothing = jettison("prune", builds.host, *options, "--in-use", "-", stdin="", check=4)
    assert "--in-use-may-be-empty" in nothing.stderr


def test_untagged_of_a_storage_goes_when_it_has_had_no_tag_for_long_enough(
    builds: DockerRegistry, jettison: Jettison
) -> None:
    old = image(6, 1).digest
    assert builds.manifest("team/app", "b6").headers["Docker-Content-Digest"] == old
    builds.push("team/app", "b6", image(50, 0))
    options = ("--max-removal", "100%", "--trust-times", "--yes")
    jettison("prune", builds.storage, "--untagged", "7d", *options)
    assert builds.manifest("team/app", old).status == 200
    jettison.later(60)("prune", builds.storage, "--untagged", "1s", *options)
    assert builds.manifest("team/app", old).status == 404
    assert builds.manifest("team/app", "b6").status == 200


def test_untagged_of_a_busy_repository_goes_by_what_an_earlier_run_saw(
    builds: DockerRegistry, jettison: Jettison
) -> None:
    old = image(6, 1).digest
    builds.push("team/app", "b6", image(50, 0))
    builds.age(30 * 86400.0)
    # A new tag: another one may have been removed just before, and its image be that one.
    builds.push("team/app", "b7", image(51, 0))
    prune = ("prune", builds.storage, "--untagged", "7d", "--max-removal", "100%", "--trust-times")
    notes = builds.root / "jettison" / "untagged" / "team" / "app" / "_seen.json"
    jettison(*prune, "-n")
    assert not notes.exists()
    jettison(*prune, "--yes")
    assert builds.manifest("team/app", old).status == 200
    noted = json.loads(notes.read_text())
    assert [*noted["untagged"]] == [old]
    # Eight days later.
    noted["untagged"][old] -= 8 * 86400.0
    notes.write_text(json.dumps(noted))
    explained = jettison(*prune, "-n", "-o", "json").json["plan"]["decisions"]
    assert [one["source"] for one in explained] == ["first seen without a tag"]
    jettison(*prune, "--yes")
    assert builds.manifest("team/app", old).status == 404
    assert builds.manifest("team/app", "b6").status == 200
    assert not notes.exists()


def test_untagged_goes_over_the_api_of_our_own_server(
    builds: DockerRegistry, jettison: Jettison
) -> None:
    child = image(60, 0)
    two = images.index([child, image(61, 0)])
    builds.push("team/app", "two", two)
    signed = images.signature(two)
    builds.push("team/app", images.cosign_tag(two.digest), signed)
    builds.push("team/app", "b6", image(50, 0))
    old = image(6, 1).digest
    # The images say that they are days old: so the times of the links are not believed.
    _spread(builds.root / "docker/registry/v2/repositories/team/app")
    seen = jettison("prune", builds.host, "--untagged", "7d", "-n", "-o", "json").json["plan"]
    assert [one["digest"] for one in seen["decisions"]] == []
    builds.age(60)
    if builds.in_bucket:  # which tells since when by what a run has noted alone
        assert builds.manifest("team/app", old).status == 200
        jettison("prune", builds.storage, "--untagged", "7d", "--yes")
        time.sleep(2)
    done = jettison("prune", f"{builds.host}/team/app", "--untagged", "1s", "--yes")
    assert "untagged" in done.stdout
    assert builds.manifest("team/app", old).status == 404
    for digest in (two.digest, child.digest, signed.digest):
        assert builds.manifest("team/app", digest).status == 200


def _spread(repository: Path) -> None:
    """Date the links of all but the last of the images back, a day for each."""
    links = sorted(
        repository.rglob("revisions/sha256/*/link"), key=lambda link: link.stat().st_mtime
    )
    for days, link in enumerate(reversed(links)):
        then = link.stat().st_mtime - days * 86400
        for other in repository.rglob(f"{link.parent.name}/link"):
            os.utime(other, (then, then))
    for current in repository.rglob("current/link"):
        target = current.read_text("utf-8").removeprefix("sha256:")
        then = (repository / f"_manifests/revisions/sha256/{target}/link").stat().st_mtime
        os.utime(current, (then, then))


@pytest.mark.parametrize("program", ["jettison"])
def test_old_images_that_were_mirrored_just_now_stay(
    builds: DockerRegistry, jettison: Jettison
) -> None:
    for place in (builds.host, builds.storage):
        command = ("prune", place, "--match", "b*", "--older-than", "3d", "--max-removal", "80%")
        told = jettison(*command, "--yes")
        assert "look like those of a copy" in told.stderr
        assert "--clock created" in told.stderr
        assert builds.tags("team/app") == ["b1", "b2", "b3", "b4", "b5", "b6", "v1.0"]
    jettison(*command, *CREATED, "--yes")
    assert builds.tags("team/app") == ["b5", "b6", "v1.0"]
