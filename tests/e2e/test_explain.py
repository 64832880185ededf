"""`explain`, `snapshot` and `policy test`, on real registries: they say what `prune` does."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jettison.demo import images
from jettison.demo.images import Image
from tests.support.cli import Jettison
from tests.support.registry import SERVERS, DockerRegistry, RegistryFactory

NOW = datetime.now(UTC)
POLICY = """
max_removal: 100%
protect: {tags: ["v*"]}
rules:
- {name: builds, tags: ["b*"], clock: created, keep: {last: 2}, remove: {older_than: 7d}}
"""


def image(seed: int, days: float) -> Image:
    created = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    layer = images.layer({"own": images.random_bytes(seed, 300)})
    return images.image([layer], created=created)


@pytest.fixture
def builds(registry: DockerRegistry) -> DockerRegistry:
    for number, days in enumerate((20, 10, 5, 2, 1), 1):
        registry.push("team/app", f"b{number}", image(number, days))
    registry.push("team/app", "v1.0", image(1, 20))
    registry.push("team/web", "1", image(9, 90))
    return registry


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "retention.yml"
    path.write_text(POLICY)
    return path


@pytest.mark.parametrize("program", SERVERS)
def test_what_is_explained_is_what_is_done(
    builds: DockerRegistry, jettison: Jettison, policy: Path
) -> None:
    def explained(name: str, *options: str | Path) -> dict[str, object]:
        options = ("--policy", policy, "-o", "json", *options)
        found: dict[str, object] = jettison("explain", name, *options).json["image"]
        return found

    fates = {
        tag: explained(f"{builds.host}/team/app:{tag}")["fate"] for tag in builds.tags("team/app")
    }
    now = {tag for tag, fate in fates.items() if isinstance(fate, dict) and fate["now"]}
    plan = jettison("prune", builds.host, "--policy", policy, "-n", "-o", "json").json["plan"]
    assert {one["tag"] for one in plan["decisions"]} == now == {"b1", "b2"}
    third = fates["b3"]
    assert isinstance(third, dict)
    goes = datetime.fromisoformat(third["at"])
    assert abs(goes - (NOW + timedelta(days=2))) < timedelta(seconds=2)
    # The storage alone says the same, without a host.
    alone = explained("team/app:b3", "--storage", builds.storage)
    assert alone["fate"] == third
    with_storage = explained(f"{builds.host}/team/app:b3", "--storage", builds.storage)
    assert with_storage["fate"] == third


@pytest.mark.parametrize("program", SERVERS)
def test_policy_on_a_snapshot_decides_as_on_the_registry(
    builds: DockerRegistry, jettison: Jettison, policy: Path, tmp_path: Path
) -> None:
    plan = jettison("prune", builds.host, "--policy", policy, "-n", "-o", "json").json["plan"]
    snapshot = tmp_path / "snapshot.json"
    for where in ((builds.host,), (builds.storage,), (builds.host, "--storage", builds.storage)):
        snapshot.write_text(jettison("snapshot", *where).stdout)
        test = ("policy", "test", policy, "--on", snapshot)
        tried = jettison(*test, "-o", "json").json["plan"]
        assert tried["decisions"] == plan["decisions"]
        assert tried["stays"] == plan["stays"]
        later = (NOW + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
        changed = jettison(*test, "--at", later, "--exit-code", "-o", "json", check=3).json["plan"]
        assert {one["tag"] for one in changed["decisions"]} == {"b1", "b2", "b3"}
    golden = tmp_path / "golden.json"
    golden.write_text(json.dumps({"plan": plan}))  # what prune itself printed will do, too
    jettison(*test, "--expect", golden)
    jettison("prune", builds.host, "--policy", policy, "--yes")
    snapshot.write_text(jettison("snapshot", builds.host).stdout)
    differs = jettison(*test, "--expect", golden, check=5)
    assert "team/app:b1 is to go, and stays" in differs.stderr


def test_login_is_nowhere_in_a_snapshot(
    registry_factory: RegistryFactory, jettison: Jettison, tmp_path: Path
) -> None:
    registry = registry_factory(delete=True, htpasswd=("somebody", "s3cret-word"))
    registry.push("team/app", "1", image(1, 1))
    token = base64.b64encode(b"somebody:s3cret-word").decode()
    authfile = tmp_path / "auth.json"
    authfile.write_text(json.dumps({"auths": {registry.host: {"auth": token}}}))
    taken = jettison("snapshot", registry.host, "--authfile", authfile)
    assert "team/app" in taken.stdout
    for secret in ("somebody", "s3cret-word", token):
        assert secret not in taken.stdout
    jettison("snapshot", registry.host, check=10)


def test_storage_that_was_damaged_is_told_and_nothing_goes(
    builds: DockerRegistry, jettison: Jettison, policy: Path, tmp_path: Path
) -> None:
    link = builds.root / "docker/registry/v2/repositories/team/app/_manifests/tags/b5/current/link"
    link.write_text("sha256:nothing")
    snapshot = tmp_path / "snapshot.json"
    snapshot.write_text(jettison("snapshot", builds.storage, check=None).stdout)
    tried = jettison("policy", "test", policy, "--on", snapshot, "-o", "json").json["plan"]
    incomplete = [one for one in tried["objections"] if one["code"] == "incomplete"]
    assert [one["repository"] for one in incomplete] == ["team/app"]
    explained = jettison("explain", "team/app:b1", "--storage", builds.storage, "--policy", policy)
    assert "not complete" in explained.stderr
