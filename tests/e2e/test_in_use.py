"""What is in use stays: lists as clusters and machines print them, on real registries."""

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jettison.demo import images
from jettison.demo.images import Image, Index
from jettison.model.digest import Digest
from tests.support.cli import Jettison
from tests.support.clients import Docker, Engine, Podman, engine
from tests.support.missing import need
from tests.support.registry import SERVERS, DockerRegistry

NOW = datetime.now(UTC)
POLICY = ("--match", "*", "--clock", "created", "--older-than", "7d", "--max-removal", "100%")


def image(seed: int, architecture: str = "amd64") -> Image:
    created = (NOW - timedelta(days=30 + seed)).strftime("%Y-%m-%dT%H:%M:%SZ")
    layer = images.layer({"own": images.random_bytes(seed, 300)})
    return images.image([layer], created=created, architecture=architecture)


@pytest.fixture
def builds(registry: DockerRegistry) -> DockerRegistry:
    for number in range(1, 5):
        registry.push("team/app", f"b{number}", image(number))
    return registry


def pods(*named: str, running: str = "") -> str:
    statuses = [{"name": "app", "image": named[0], "imageID": running}] if running else []
    containers = [
        {"name": "app" if not number else f"side-{number}", "image": name}
        for number, name in enumerate(named)
    ]
    pod = {
        "kind": "Pod",
        "metadata": {"name": "app-1", "namespace": "shop"},
        "spec": {"containers": containers},
        "status": {"containerStatuses": statuses},
    }
    return json.dumps({"kind": "List", "items": [pod], "metadata": {}})


@pytest.mark.parametrize("program", SERVERS)
def test_what_a_cluster_runs_stays(builds: DockerRegistry, jettison: Jettison) -> None:
    running = image(2).digest
    listed = pods(
        "registry.internal/team/app:b1", running=f"docker-pullable://mirror:5000/x@{running}"
    )
    options = ("prune", builds.host, *POLICY, "--in-use", "-")
    dry = jettison(*options, "-n", "-o", "json", stdin=listed).json["plan"]
    assert {one["tag"] for one in dry["decisions"]} == {"b3", "b4"}
    assert [s["count"] for s in dry["stays"] if s["reason"] == "in-use"] == [2]
    jettison(*options, "--yes", stdin=listed)
    assert builds.tags("team/app") == ["b1", "b2"]
    assert builds.manifest("team/app", str(running)).status == 200


def test_platform_in_use_keeps_its_index_and_what_belongs_to_it(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    members = [image(10), image(11, "arm64")]
    used: Index = images.index(members)
    registry.push("team/app", "used", used)
    registry.push("team/app", "signed", image(12))
    signature = images.signature(used)
    registry.push("team/app", images.cosign_tag(used.digest), signature)
    listed = f"elsewhere.example/any@{members[1].digest}\n"
    jettison("prune", registry.host, *POLICY, "--in-use", "-", "--yes", stdin=listed)
    assert registry.tags("team/app") == [images.cosign_tag(used.digest), "used"]
    for digest in (used.digest, *(one.digest for one in members), signature.digest):
        assert registry.manifest("team/app", str(digest)).status == 200


@pytest.mark.parametrize(
    ("listed", "code", "told"),
    [
        ("", 4, "--in-use-may-be-empty"),
        ('{"kind": "List", "items": []}', 4, "--in-use-may-be-empty"),
        ("team/app:b1\nNAMESPACE NAME\n", 1, "line 2"),
        ('{"kind": "List", "items": [{"kind": "Pod", "spec": {', 1, "input: Input data was trunc"),
        (pods("3f5a1b2c3d4e"), 1, "pod shop/app-1: 3f5a1b2c3d4e is the ID of an image"),
    ],
)
def test_list_that_is_not_whole_removes_nothing(
    builds: DockerRegistry, jettison: Jettison, listed: str, code: int, told: str
) -> None:
    options = ("prune", builds.host, *POLICY, "--allow-all-tags", "--in-use", "-", "--yes")
    done = jettison(*options, stdin=listed, check=code)
    assert told in done.stderr
    assert len(builds.tags("team/app")) == 4
    if code == 4:
        jettison(*options, "--in-use-may-be-empty", stdin=listed)
        assert builds.tags("team/app") == []


def test_list_may_be_a_file_and_several(
    builds: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    (tmp_path / "one").write_text("# production\nteam/app:b1\n")
    (tmp_path / "two").write_text("team/app:b4\n")
    options = ("--in-use", "one", "--in-use", "two", "--yes")
    jettison("prune", builds.host, *POLICY, *options)
    assert builds.tags("team/app") == ["b1", "b4"]
    missing = jettison("prune", builds.host, *POLICY, "--in-use", "three", "--yes", check=1)
    assert "three" in missing.stderr


def test_what_podman_runs_stays(
    builds: DockerRegistry, jettison: Jettison, tmp_path: Path, daemons: Engine
) -> None:
    podman = Podman(tmp_path / "client", builds, daemons)
    podman("pull", "--quiet", *podman.trust(""), podman.reference("team/app", "b1"))
    podman("create", "--name", "web", podman.reference("team/app", "b1"), "/nothing")
    builds.push("team/app", "old-b1", image(1))
    builds.push("team/app", "b1", image(9))
    for listed in (
        podman("ps", "-a", "--format", "json"),
        podman("inspect", "web"),
    ):
        plan = jettison(
            "prune", builds.host, *POLICY, "--in-use", "-", "-n", "-o", "json", stdin=listed
        ).json["plan"]
        # The tag was pushed again: the new image has it, and the old one runs.
        assert {one["tag"] for one in plan["decisions"]} == {"b2", "b3", "b4"}


def test_what_docker_runs_stays(
    builds: DockerRegistry, jettison: Jettison, tmp_path: Path, daemons: Engine
) -> None:
    need("docker")
    client = Docker(tmp_path / "client", builds, daemons)
    client.pull("team/app", "b1")
    reference = client.reference("team/app", "b1")

    def docker(*words: str) -> str:
        command = ["docker", "--host", f"unix://{daemons.dockerd}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    docker("create", "--name", "web", reference, "/nothing")

    def goes(listed: str) -> set[str]:
        options = ("prune", builds.host, *POLICY, "--in-use", "-", "-n", "-o", "json")
        plan = jettison(*options, stdin=listed).json["plan"]
        return {one["tag"] for one in plan["decisions"]}

    for listed in (docker("ps", "-a", "--format", "json"), docker("inspect", "web")):
        assert goes(listed) == {"b2", "b3", "b4"}
    # The tag is pushed again and pulled: `ps` shows an ID, and `inspect` still the image.
    builds.push("team/app", "old-b1", image(1))
    builds.push("team/app", "b1", image(9))
    docker("pull", reference)
    short = docker("ps", "-a", "--format", "json")
    assert Digest(f"sha256:{image(1).config.digest.hex}").hex[:12] in short
    options = ("prune", builds.host, *POLICY, "--in-use", "-", "--yes")
    refused = jettison(*options, stdin=short, check=1)
    assert "inspect it instead" in refused.stderr
    assert goes(docker("inspect", "web")) == {"b2", "b3", "b4"}


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("e")) as running:
        yield running
