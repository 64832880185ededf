"""How many requests `ls` and `rm` make for each tag; not how long they take."""

import re
import shutil

import pytest

from bench.trees import Shape, make_tree
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry, RegistryFactory

TAGS = 80
FEW, MANY = 40, 70
"""From 34 on, samples have their full size."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A storage with three repositories of 80 tags; in the last, each image has a second tag."""
    root = tmp_path_factory.mktemp("tree")
    make_tree(root, Shape(3, TAGS, deleted=0, untagged=0))
    tags = root / "docker/registry/v2/repositories/team02/app00002/_manifests/tags"
    for tag in list(tags.iterdir()):
        shutil.copytree(tag, tags / f"also-{tag.name}")
    return str(root)


def requests_of(registry: DockerRegistry, jettison: Jettison, *command: str) -> int:
    before = len(registry.accesses())
    jettison(*command)
    return len(registry.accesses()) - before


def start(registry_factory: RegistryFactory, filled: str) -> DockerRegistry:
    registry = registry_factory(delete=True)
    shutil.copytree(filled, registry.root, dirs_exist_ok=True)
    return registry


@pytest.mark.parametrize("program", ["docker-registry", "jettison"])
@pytest.mark.parametrize("quick", [False, True])
def test_a_removed_tag_costs_few_requests(
    registry_factory: RegistryFactory, jettison: Jettison, filled: str, *, quick: bool
) -> None:
    """Beyond one for each tag of the repository; from the difference of two runs."""
    registry = start(registry_factory, filled)
    options = ["--yes", *["--quick"] * quick]
    counts = {}
    for repository, removed in (("team00/app00000", FEW), ("team01/app00001", MANY)):
        names = [f"{registry.host}/{repository}:v{number}" for number in range(removed)]
        counts[removed] = requests_of(registry, jettison, "rm", *names, *options)
        assert len(registry.tags(repository)) == TAGS - removed
    each = (counts[MANY] - counts[FEW]) / (MANY - FEW)
    assert each <= 4, counts


def test_a_tag_with_a_sibling_costs_few_requests_too(
    registry_factory: RegistryFactory, jettison: Jettison, filled: str
) -> None:
    """Where the registry cannot remove a tag by itself."""
    registry = start(registry_factory, filled)
    repository = "team02/app00002"
    counts = []
    for numbers in (range(35), range(35, 80)):
        names = [f"{registry.host}/{repository}:v{number}" for number in numbers]
        left = len(registry.tags(repository))
        counts.append(requests_of(registry, jettison, "rm", *names, "--yes", "--quick") - left)
    each = (counts[1] - counts[0]) / 10
    assert each <= 8, counts


@pytest.mark.parametrize("program", ["docker-registry", "jettison"])
def test_a_listing_costs_a_request_a_tag(
    registry_factory: RegistryFactory, jettison: Jettison, filled: str
) -> None:
    registry = start(registry_factory, filled)
    target = f"{registry.host}/team00/app00000"
    assert requests_of(registry, jettison, "ls", target) <= 2
    for _ in range(2):
        assert requests_of(registry, jettison, "ls", "-l", target) <= 1.1 * TAGS


def test_only_what_is_new_is_asked_for_again(
    registry_factory: RegistryFactory, jettison: Jettison, filled: str
) -> None:
    """A plan of this minute is carried out without asking for every digest once more."""
    registry = start(registry_factory, filled)
    jettison("rm", f"{registry.host}/team00/app00000:v1", "--yes", "--quick")
    asked = [one for one in registry.accesses() if re.search(r"app00000/manifests/v\d", one.path)]
    others = [one.path for one in asked if not one.path.endswith("/v1")]
    assert len(others) == len(set(others)) == TAGS - 1
