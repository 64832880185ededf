"""Servers for the tests of the server: ours, and a foreign registry to compare it with."""

from collections.abc import Iterator

import pytest

from tests.support.registry import JettisonRegistry, Program


@pytest.fixture
def program() -> Program:
    """A registry that a test asks for is the foreign one; our own has fixtures of its own."""
    return "docker-registry"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JettisonRegistry]:
    """One server for most of the tests; each has repositories of its own."""
    urls = {"validation": {"manifests": {"urls": {"deny": ["^ftp:"]}}}}
    with JettisonRegistry(tmp_path_factory.mktemp("api"), delete=True, extra=urls) as running:
        yield running


@pytest.fixture
def repo(request: pytest.FixtureRequest) -> str:
    """The name of a repository that only this test uses."""
    name: str = request.node.name.partition("[")[0].removeprefix("test_")
    return f"{name}-{abs(hash(request.node.name)) % 10**6}".replace("_", "-")
