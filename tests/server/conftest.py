"""Servers for the tests of the server: ours, and a foreign registry to compare it with."""

from collections.abc import Iterator

import pytest

from tests.support.registry import DistantRegistry, JettisonRegistry, MemoryRegistry, Program


@pytest.fixture
def program() -> Program:
    """A registry that a test asks for is the foreign one; our own has fixtures of its own."""
    return "docker-registry"


URLS = {"validation": {"manifests": {"urls": {"deny": ["^ftp:"]}}}}


@pytest.fixture(scope="module")
def tree_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JettisonRegistry]:
    """One server for the tests that look at files, too."""
    with JettisonRegistry(tmp_path_factory.mktemp("api"), delete=True, extra=URLS) as running:
        yield running


@pytest.fixture(scope="module")
def memory_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JettisonRegistry]:
    """The same with nothing on a disk."""
    with MemoryRegistry(tmp_path_factory.mktemp("api"), delete=True, extra=URLS) as running:
        yield running


@pytest.fixture(scope="module")
def distant_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JettisonRegistry]:
    """The same with a storage that is far away."""
    with DistantRegistry(tmp_path_factory.mktemp("api"), delete=True, extra=URLS) as running:
        yield running


@pytest.fixture(scope="module", params=["tree", "memory", "distant"])
def server(request: pytest.FixtureRequest) -> JettisonRegistry:
    """One server for most of the tests, on each storage; each test has repositories of its own."""
    found: JettisonRegistry = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def repo(request: pytest.FixtureRequest) -> str:
    """The name of a repository that only this test uses."""
    name: str = request.node.name.partition("[")[0].removeprefix("test_")
    return f"{name}-{abs(hash(request.node.name)) % 10**6}".replace("_", "-")
