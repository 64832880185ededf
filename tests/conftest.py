"""Fixtures for all tests: an environment of their own, registries, the command line."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Unpack

import hypothesis
import pytest

pytest.register_assert_rewrite("support")

from tests.support.buckets import IN_BUCKETS, Gateway  # noqa: E402 - its assertions are rewritten first
from tests.support.cli import Jettison  # noqa: E402 - its assertions are rewritten first
from tests.support.registry import (  # noqa: E402 - same
    REGISTRIES,
    DockerRegistry,
    Options,
    Program,
    RegistryFactory,
)

# Deadlines measure the machine. In CI the same examples run every time.
hypothesis.settings.register_profile("desk", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile(
    "soak", deadline=None, derandomize="CI" in os.environ, max_examples=1000
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "desk")

# A job in the background may have been started with signals ignored, which all it starts inherits:
# Ctrl-C by a shell, the terminal's end by nohup.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Without compiled files each of some thousand commands compiles the whole package anew, which takes
# longer than what it does. Workers and commands have this environment.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

FOREIGN = ("REGISTRY_", "JETTISON_", "DOCKER_", "XDG_", "AWS_")
FOREIGN_NAMES = {"NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "LINES"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder; nothing of the user's or the machine's settings is seen."""
    for name in list(os.environ):
        foreign = name.startswith(FOREIGN) or name in FOREIGN_NAMES
        if foreign or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    variables = {
        "HOME": folder,
        "XDG_CONFIG_HOME": folder / ".config",
        "XDG_STATE_HOME": folder / ".local" / "state",
        "XDG_CACHE_HOME": folder / ".cache",
        "XDG_DATA_HOME": folder / ".local" / "share",
        "XDG_RUNTIME_DIR": folder / "run",
        "DOCKER_CONFIG": folder / ".docker",
    }
    for name, value in variables.items():
        value.mkdir(parents=True, exist_ok=True, mode=0o700)
        monkeypatch.setenv(name, str(value))
    # Rootless, skopeo keeps its cache of blobs seen elsewhere below XDG_DATA_HOME, not in /var.
    monkeypatch.setenv("_CONTAINERS_ROOTLESS_UID", "1000")
    # Wide enough that no table is cut where a test reads it.
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden", action="store_true", help="write the golden files of printed output anew"
    )
    parser.addoption(
        "--registry",
        choices=tuple(REGISTRIES),
        default="jettison",
        help="the server of all tests that do not say which one they are about",
    )
    parser.addoption(
        "--bucket",
        action="store_true",
        help="its storage is a bucket; only tests run that this changes",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--bucket"):
        return
    wanted, others = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        is_wanted = "registry_factory" in fixtures and not item.get_closest_marker("folder")
        (wanted if is_wanted else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = wanted


@pytest.fixture
def program(request: pytest.FixtureRequest) -> Program:
    """The server's program; a test of both: `@pytest.mark.parametrize("program", SERVERS)`."""
    if request.node.get_closest_marker("distribution"):
        return "docker-registry"
    chosen: Program = request.config.getoption("--registry")
    return chosen


@pytest.fixture
def registry_factory(
    request: pytest.FixtureRequest, tmp_path: Path, program: Program
) -> Iterator[RegistryFactory]:
    """Start registries with options of one's own; they are stopped after the test."""
    numbers = count(1)
    with ExitStack() as running:
        buckets = request.config.getoption("--bucket")
        gateway = running.enter_context(Gateway(_gateway(tmp_path))) if buckets else None

        def start(**options: Unpack[Options]) -> DockerRegistry:
            name = f"registry-{next(numbers)}"
            if gateway is None:
                made = REGISTRIES[program](tmp_path / name, **options)
            else:
                made = IN_BUCKETS[program](tmp_path / name, gateway.bucket(name), **options)
            return running.enter_context(made)

        yield start


def _gateway(tmp_path: Path) -> Path:
    return tmp_path / "gateway"


@pytest.fixture
def registry(registry_factory: RegistryFactory) -> DockerRegistry:
    """A running registry with deletion enabled."""
    return registry_factory(delete=True)


@pytest.fixture
def jettison(request: pytest.FixtureRequest, tmp_path: Path) -> Jettison:
    """The command line: `jettison("ls", host, check=0)`."""
    buckets = request.config.getoption("--bucket")
    return Jettison(tmp_path, hidden=_gateway(tmp_path) if buckets else None)
