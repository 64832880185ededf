"""What surrounds a storage; and that the contract leaves nothing of its protocol out."""

import inspect
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Protocol

import pytest

from jettison.errors import StorageError
from jettison.storage import protocol
from jettison.storage.filesystem import (
    documents,
    links,
    monitoring,
    open_file,
    quarantine,
    repository,
    serving,
    tree,
    uploads,
    writing,
)
from jettison.storage.filesystem.checking import TreeCheck
from jettison.storage.filesystem.places import TreePlaces
from jettison.storage.filesystem.tree_mover import TreeMover
from jettison.storage.memory import MemoryStorage
from jettison.storage.memory import documents as memory_documents
from jettison.storage.memory import monitoring as memory_monitoring
from jettison.storage.memory import places as memory_places
from jettison.storage.memory import quarantine as memory_quarantine
from jettison.storage.memory import repository as memory_repository
from jettison.storage.memory import serving as memory_serving
from jettison.storage.memory import uploading as memory_uploading
from jettison.storage.memory import writing as memory_writing
from jettison.storage.memory.checking import MemoryCheck
from jettison.storage.memory.mending import MemoryMending
from jettison.storage.protocol import LinkKind, Storage
from jettison.storage.tag_index import TagIndex
from tests.contract import (
    test_storage_checking,
    test_storage_mending,
    test_storage_scanning,
    test_storage_serving,
    test_storage_sweeping,
    test_storage_uploading,
    test_storage_writing,
)
from tests.contract.content import ABSENT, APP, DIGEST, ONE, TWO, push
from tests.contract.storages import ON_A_DISK, Subject, in_memory

# Documents.


def test_documents_are_whole_and_replaced_whole(subject: Subject) -> None:
    found = subject.storage.documents("runs")
    assert found.location
    assert found.names() == []
    assert found.read("a.json", 100) is None
    assert found.beginning("a.json", 3) is None
    assert not found.remove("a.json")
    found.write("a.json", b"one")
    found.write("b.json", b"")
    found.write("a.json", b"another")
    again = subject.again().documents("runs")
    assert sorted(again.names()) == ["a.json", "b.json"]
    assert again.read("a.json", 7) == b"another"
    assert again.beginning("a.json", 3) == b"ano"
    assert again.beginning("a.json", 100) == b"another"
    assert again.read("b.json", 0) == b""
    with pytest.raises(StorageError):
        again.read("a.json", 6)
    assert again.remove("a.json")
    assert found.names() == ["b.json"]
    assert subject.storage.documents("plans").names() == []
    assert subject.storage.scan_repositories() == ([], [], [], [])


@ON_A_DISK
def test_lines_are_added_to_a_document(subject: Subject) -> None:
    found = subject.storage.documents("runs")
    with pytest.raises(StorageError):
        found.append("log", [b"there is no such collection"])
    assert found.has_room(100)
    found.append("log", [b"one", b"two"])
    found.append("log", [b"three"])
    raw = found.read("log", 100)
    assert raw is not None
    assert raw.split() == [b"one", b"two", b"three"]
    found.write("log", b"four\n")
    found.append("log", [])
    found.append("log", [b"five"])
    assert (found.read("log", 100) or b"").split() == [b"four", b"five"]


def test_lease_is_held_by_one_at_a_time(subject: Subject) -> None:
    found = subject.storage.documents("runs")
    with found.lease("book") as held:
        assert held
        with subject.again().documents("runs").lease("book") as other:
            assert not other
        with found.lease("book", patience=0.02) as other:
            assert not other
        with found.lease("another") as other:
            assert other
        with subject.storage.documents("plans").lease("book") as other:
            assert other
    with subject.again().documents("runs").lease("book", patience=0.02) as held:
        assert held
    assert found.names() == []


def test_lease_is_never_held_by_two(subject: Subject) -> None:
    at_it: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(8):
            with subject.storage.documents("runs").lease("book", patience=60) as held:
                assert held
                at_it.append(number)
                most.append(len(at_it))
                at_it.remove(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert most == [1] * 32


# What there is, and around it.


@ON_A_DISK
def test_places_hold_something_or_nothing(subject: Subject) -> None:
    storage, places = subject.storage, subject.storage.places
    digest = push(storage, ONE)
    subject.plant.plant_upload(APP, "0b3c", b"half")
    there = [
        places.top,
        places.blob(DIGEST),
        places.repository(APP),
        places.tag(APP, ONE),
        places.whole_tag(APP, ONE),
        places.history_link(APP, ONE, digest),
        places.upload(APP, "0b3c"),
        places.link(LinkKind.LAYER, APP, DIGEST),
        places.link(LinkKind.REVISION, APP, digest),
    ]
    absent = [
        places.blob(ABSENT),
        places.aside_blob(DIGEST),
        places.repository("other"),
        places.tag(APP, TWO),
        places.upload(APP, "1d4e"),
        places.link(LinkKind.LAYER, APP, ABSENT),
    ]
    assert [place for place in there if not storage.exists(place)] == []
    assert [place for place in absent if storage.exists(place)] == []
    with storage.quarantine() as aside:
        aside.put([DIGEST.binary])
    assert storage.exists(places.aside_blob(DIGEST))
    assert not storage.exists(places.blob(DIGEST))


def test_nobody_else_has_a_part_in_a_new_storage(subject: Subject) -> None:
    assert subject.storage.owners() == ()
    assert subject.storage.detached() == ()
    assert list(subject.storage.writers("/etc/docker/registry/config.yml")) == []


# That nothing is left out.

IMPLEMENTATIONS: dict[type, tuple[type, type]] = {
    protocol.Storage: (tree.StorageTree, MemoryStorage),
    protocol.Scanning: (tree.StorageTree, MemoryStorage),
    protocol.Writing: (tree.StorageTree, MemoryStorage),
    protocol.Sweeping: (tree.StorageTree, MemoryStorage),
    protocol.Places: (TreePlaces, memory_places.MemoryPlaces),
    protocol.RepositoryScan: (repository.RepositoryReader, memory_repository.MemoryRepository),
    protocol.Links: (links.Links, memory_repository.MemoryLinks),
    protocol.BlobWriter: (writing.BlobDraft, memory_writing.MemoryBlobWriter),
    protocol.TagsByManifest: (TagIndex, TagIndex),
    protocol.Quarantine: (quarantine.Quarantine, memory_quarantine.MemoryQuarantine),
    protocol.AsideBlob: (quarantine.AsideBlob, memory_quarantine.MemoryAsideBlob),
    protocol.LinkGroup: (quarantine.LinkGroup, memory_quarantine.MemoryLinkGroup),
    protocol.LinkQuarantine: (quarantine.LinkQuarantine, memory_quarantine.MemoryLinkQuarantine),
    protocol.Checking: (TreeCheck, MemoryCheck),
    protocol.Serving: (serving.TreeServing, memory_serving.MemoryServing),
    protocol.OpenContent: (open_file.OpenFile, memory_serving.MemoryContent),
    protocol.Uploading: (uploads.TreeUploads, memory_uploading.MemoryUploading),
    protocol.OpenUpload: (uploads.UploadFile, memory_uploading.MemoryUpload),
    protocol.Monitoring: (monitoring.TreeMonitor, memory_monitoring.MemoryMonitoring),
    protocol.Mending: (TreeMover, MemoryMending),
    protocol.Documents: (documents.FolderDocuments, memory_documents.MemoryDocuments),
}
OWN = (
    test_documents_are_whole_and_replaced_whole,
    test_lines_are_added_to_a_document,
    test_lease_is_held_by_one_at_a_time,
    test_lease_is_never_held_by_two,
    test_places_hold_something_or_nothing,
    test_nobody_else_has_a_part_in_a_new_storage,
)
SUITE = (
    test_storage_checking,
    test_storage_scanning,
    test_storage_serving,
    test_storage_sweeping,
    test_storage_uploading,
    test_storage_mending,
    test_storage_scanning,
    test_storage_sweeping,
    test_storage_writing,
)


def both_satisfy_the_protocol() -> tuple[type[Storage], ...]:
    """It is not called: the type checker reads it."""
    one: type[Storage] = tree.StorageTree
    other: type[Storage] = MemoryStorage
    return one, other


def methods(interface: type) -> dict[str, FunctionType]:
    """The methods and properties that a protocol declares itself."""
    found = {}
    for name, member in vars(interface).items():
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and not name.startswith("_"):
            found[name] = function
    return found


def test_every_protocol_has_its_implementations() -> None:
    interfaces = {
        one
        for one in vars(protocol).values()
        if inspect.isclass(one) and getattr(one, "_is_protocol", False) and one is not Protocol
    }
    assert interfaces == IMPLEMENTATIONS.keys()


@pytest.mark.parametrize("interface", IMPLEMENTATIONS)
def test_implementations_have_each_method_with_the_parameters_of_the_protocol(
    interface: type,
) -> None:
    for implementation in IMPLEMENTATIONS[interface]:
        for name, declared in methods(interface).items():
            member = inspect.getattr_static(implementation, name)
            function = member.fget if isinstance(member, property) else member
            if not inspect.isfunction(function):
                continue  # the field of a plain value
            wanted = list(inspect.signature(declared).parameters)
            given = inspect.signature(function).parameters
            assert list(given)[: len(wanted)] == wanted, f"{implementation.__name__}.{name}"


def laws(module: ModuleType) -> Iterator[Callable[[Subject], None]]:
    """The tests of a module, each with every case that it has."""
    for name, test in vars(module).items():
        if not name.startswith("test_"):
            continue
        names = set(inspect.signature(test).parameters)
        if names == {"subject"}:
            yield test
            continue
        for mark in getattr(test, "pytestmark", ()):
            argument, cases = mark.args
            if names == {"subject", argument}:
                for case in cases:
                    yield partial(test, **{argument: case})


def called_by_the_suite() -> set[CodeType]:
    """The code of each method of a storage in memory that a law calls itself."""
    called: set[CodeType] = set()
    here = str(Path(__file__).parent)

    def note(frame: FrameType, event: str, _: object) -> None:
        if event != "call" or frame.f_code in called:
            return
        caller = frame.f_back
        # Through what locks, and what opens a context manager.
        while caller is not None and caller.f_code.co_name in {"in_one_step", "__enter__"}:
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename.startswith(here):
            called.add(frame.f_code)

    for law in (*OWN, *(law for module in SUITE for law in laws(module))):
        subject = in_memory()
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            law(subject)
        finally:
            sys.setprofile(before)
    return called


def uncalled(called: set[CodeType]) -> list[str]:
    found = []
    for interface, (_, implementation) in IMPLEMENTATIONS.items():
        for name in methods(interface):
            member = inspect.getattr_static(implementation, name)
            function = member.fget if isinstance(member, property) else member
            if not inspect.isfunction(function):
                continue  # the field of a plain value
            if inspect.unwrap(function).__code__ not in called:
                found.append(f"{interface.__name__}.{name}")
    return found


def test_the_contract_calls_every_method_of_the_protocol() -> None:
    called = called_by_the_suite()
    assert uncalled(called) == []
    # And it would tell of one that nobody calls.
    forgotten = inspect.unwrap(MemoryStorage.untag).__code__
    assert uncalled(called - {forgotten}) == ["Writing.untag"]
