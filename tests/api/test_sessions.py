"""`import jettison`: what it offers is there, typed and documented, and does what its words say."""

import pydoc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jettison
from jettison.demo.images import image, layer
from tests.support.registry import JettisonRegistry
from tests.support.trees import Tree

BASE = layer({"base": b"base"})
GARBAGE = b"nothing needs it"
HEAVY = {"aiohttp", "uvicorn", "typer", "rich", "redis", "cryptography", "ruamel.yaml"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[JettisonRegistry]:
    with JettisonRegistry(tmp_path / "registry", delete=True) as registry:
        for tag in ("1", "2"):
            registry.push("app", tag, image([BASE, layer({"app": tag.encode()})]))
        yield registry


def test_every_name_is_there_and_documented() -> None:
    assert set(jettison.__all__) <= set(dir(jettison))
    for name in jettison.__all__:
        found = getattr(jettison, name)
        assert name == "__version__" or found.__doc__, name
    text = pydoc.plain(pydoc.render_doc(jettison))
    assert "open_registry" in text
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = jettison.nothing  # type: ignore[attr-defined] # that is the point


def test_every_public_method_is_documented() -> None:
    for one in (jettison.AsyncRegistrySession, jettison.RegistrySession, jettison.StorageSession):
        for name in vars(one):
            if not name.startswith("_"):
                assert vars(one)[name].__doc__, f"{one.__name__}.{name}"


def test_both_sessions_have_the_same_methods() -> None:
    def public(one: type) -> set[str]:
        return {name for name in vars(one) if not name.startswith("_")}

    more = {"workspace", "reporting_to", "last", "require_way_back", "cancel", "cache"}
    assert public(jettison.AsyncRegistrySession) ^ public(jettison.RegistrySession) <= more


def test_the_import_loads_nothing_heavy() -> None:
    code = "import sys, jettison; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not HEAVY & set(loaded)
    assert not [name for name in loaded if name.startswith("jettison.")]


def test_a_call_is_cancelled_from_elsewhere_and_can_be_made_again(
    served: JettisonRegistry, tmp_path: Path
) -> None:
    phases: list[str] = []

    def tell(phase: str, done: int, total: int | None = None) -> None:
        if not phases:
            registry.cancel()
        phases.append(phase)

    with jettison.open_registry(served.host, journal=tmp_path, progress=tell) as registry:
        with pytest.raises(jettison.Cancelled):
            registry.plan_removal("app:1")
        plan = registry.plan_removal("app:1")
        assert plan.plan.tag_count == 1
        entry = registry.remove(plan)
    assert entry.receipt is not None
    assert entry.receipt.ok
    assert served.tags("app") == ["2"]


async def test_with_an_event_loop(served: JettisonRegistry, tmp_path: Path) -> None:
    async with jettison.connect(served.host, journal=tmp_path) as registry:
        assert await registry.repositories() == ["app"]
        assert (await registry.tags("app")).problems == ()
        entry = await registry.remove(await registry.plan_removal(f"{served.host}/app:1"))
        assert [one.ok for one in await registry.verify(entry)] == [True] * 3
        assert registry.entry() == entry
        done, left = await registry.undo(entry, await registry.plan_undo(entry))
    assert not left
    assert done.of == entry.id
    assert served.tags("app") == ["1", "2"]


def test_a_storage_is_collected_and_a_progress_that_raises_ends_it_safely(
    tmp_path: Path,
) -> None:
    tree = Tree(tmp_path / "registry")
    tree.image("app", "1", [b"layer"])
    tree.blob(GARBAGE)
    before = tree.snapshot()

    def stop(phase: str, done: int, total: int | None = None) -> None:
        if phase == "removing blobs":
            raise RuntimeError

    consent = jettison.Consent(most=1.0)
    stopping = jettison.open_storage(tree.root, journal=tmp_path / "runs", progress=stop)
    with pytest.raises(RuntimeError):
        stopping.collect(consent=consent)
    assert {path for path in tree.snapshot() if "/blobs/" in path} == {
        path for path in before if "/blobs/" in path
    }
    storage = jettison.open_storage(tree.root, journal=tmp_path / "runs")
    assert storage.plan_collection().bytes == len(GARBAGE)
    done = storage.collect(consent=consent)
    assert done.receipt.ok
    assert done.receipt.blobs.bytes == len(GARBAGE)
    assert storage.tags("app").keys() == {"1"}
    assert not storage.check().damage
