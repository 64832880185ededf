"""Here a foreign registry is what the server is compared with; its own is started by hand."""

import pytest

from support.registry import Program


@pytest.fixture
def program() -> Program:
    return "docker-registry"
