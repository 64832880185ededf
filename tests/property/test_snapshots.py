"""A storage that is read in one step tells what it tells tag by tag."""

import asyncio
import tempfile
from pathlib import Path
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from jettison.errors import NotFoundError
from jettison.jobs.discover import discover_repository
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.snapshot import RepositorySnapshot
from jettison.storage.filesystem import links
from jettison.storage.protocol import LinkKind, Storage
from jettison.storage.registry import StorageRegistry
from tests.contract.content import image, index
from tests.contract.storages import Subject, in_memory, subject_of
from tests.property.test_storages import (
    DAMAGE,
    LAYERS,
    MANIFESTS,
    NAMES,
    SOUND,
    Event,
    events,
    happen,
)
from tests.support.examples import examples

ONCE = examples(40)
ODD = [
    b"",
    b"{}",
    b"[1]",
    b'{"schemaVersion": 2, "mediaType": "application/x.unknown"}',
    b'{"schemaVersion": 2, "layers": 7}',
    b'{"schemaVersion": 1, "fsLayers": [{"blobSum": "%s"}]}' % Digest.of(b"1").encode(),
    image(*(bytes([number]) for number in range(100)))[1],  # longer than manifests are
    index(Digest.of(b"absent"))[1],
]


class TagByTag(StorageRegistry):
    """The same storage, which does not offer the quick way."""

    async def snapshot(self, repository: RepoName) -> RepositorySnapshot | None:  # noqa: ARG002 - as it is asked
        return None


def read(registry: StorageRegistry, name: RepoName) -> RepositorySnapshot | str:
    try:
        return asyncio.run(discover_repository(registry, name))
    except NotFoundError as error:
        return error.message


def plant(subject: Subject, what: tuple[str, int, int]) -> None:
    """Plant something that `happen` does not: odd manifests, and links that lead elsewhere."""
    kind, first, second = what
    name, raw = NAMES[first % len(NAMES)], ODD[second % len(ODD)]
    digest, other = Digest.of(raw), MANIFESTS[second % len(MANIFESTS)][0]
    match kind:
        case "odd manifest":
            subject.storage.put_manifest(name, digest, raw, [Tag(f"odd{second}")])
        case "sha512":
            long = Digest.of(raw, "sha512")
            subject.plant.plant_blob(long, raw)
            subject.plant.plant_link(LinkKind.REVISION, name, long)
            subject.plant.plant_tag(name, "long", long.encode())
        case "tag without a link":
            subject.plant.plant_tag(name, "unlinked", other.encode())
        case "link elsewhere":
            subject.plant.plant_link(LinkKind.REVISION, name, digest, other.encode())
        case "no manifest":
            subject.plant.plant_link(LinkKind.REVISION, name, Digest.of(b"no manifest"))
        case "strange tag":
            subject.plant.plant_tag(name, "a" * 200, other.encode())


KINDS = [
    *("odd manifest", "odd manifest", "sha512", "tag without a link", "link elsewhere"),
    *("no manifest", "strange tag"),
]
PLANTED = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 7), st.integers(0, 15)), max_size=4
)


def check(storage: Storage) -> None:
    for name in NAMES:
        assert read(StorageRegistry(storage), name) == read(TagByTag(storage), name)
        asyncio.run(check_blobs(StorageRegistry(storage), name))


async def check_blobs(registry: StorageRegistry, name: RepoName) -> None:
    """What is said of many blobs at once is what is said of each."""
    sizes = {Digest.of(layer): len(layer) for layer in LAYERS}
    lying = {digest: size + 1 for digest, size in sizes.items()}
    unknown = dict.fromkeys(sizes)
    for wanted in (sizes, lying, unknown):
        each = {
            digest
            for digest, size in wanted.items()
            if await registry.has_blob(name, digest, size=size)
        }
        assert await registry.sound_blobs(name, wanted) == each


@ONCE
@given(events(SOUND, 8), events([*SOUND, *DAMAGE], 0), PLANTED)
def test_both_ways_tell_the_same(
    first: list[Event], more: list[Event], planted: list[tuple[str, int, int]]
) -> None:
    # A damaged link is read again a moment later; nothing here changes in a moment.
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(links, "_REREAD_SECONDS", 0.0),
        patch.object(links, "PATIENCE_SECONDS", 0.0),
        patch.object(links, "BRIEF_SECONDS", 0.0),
    ):
        for subject in (subject_of("filesystem", Path(folder)), in_memory()):
            for event in (*first, *more):
                happen(subject, event)
            for what in planted:
                plant(subject, what)
            check(subject.storage)
