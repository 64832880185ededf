"""Files here are as old as their modification time says; `make soak` tries more examples."""

from pathlib import Path

import pytest

from tests.support.arrival import arrived_when_written

__all__ = ["arrived_when_written"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--hypothesis-profile") != "soak":
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.soak)
