"""Where the book of pulls lies."""

import threading
from pathlib import Path

import msgspec
import pytest

from jettison.errors import StorageError
from jettison.model.retention.pulls import Batch, PullBook, Terms
from jettison.storage import pulls
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.memory import MemoryStorage
from jettison.storage.pulls import PullBookFile, book_at, book_of, read_book

TERMS = Terms()
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(params=["filesystem", "memory", "file"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> PullBookFile:
    if request.param == "file":
        return book_at(tmp_path / "state" / "book.json")
    if request.param == "filesystem":
        return book_of(StorageTree.make(tmp_path))
    return book_of(MemoryStorage())


def test_book_is_read_as_it_was_written(book: PullBookFile) -> None:
    assert book.read(0) is None
    assert not book.exists()
    book.change(lambda found: found.join("a", 1000, TERMS))
    batch = Batch(pulls={("app", "v1", DIGEST): 1500})
    book.change(lambda found: found.note("a", 2000, batch, TERMS))
    known = book.read(2000)
    assert book.exists()
    assert known is not None
    assert known.watching_since == 1000
    assert known.repositories["app"].tags == {"v1": 1500}
    assert known.repositories["app"].digests == {DIGEST: 1500}


def test_several_writers_lose_nothing(book: PullBookFile) -> None:
    def write(writer: str) -> None:
        for number in range(8):
            batch = Batch(pulls={("app", f"{writer}-{number}", DIGEST): 1100.0})
            book.change(lambda found, batch=batch: found.note(writer, 1100, batch, TERMS))  # type: ignore[misc]

    threads = [threading.Thread(target=write, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = book.read(1100)
    assert known is not None
    assert len(known.repositories["app"].tags) == 32


def test_book_that_another_process_holds_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulls, "_PATIENCE", 0.02)
    storage = StorageTree.make(tmp_path)
    with storage.documents("pulls").lease("book.json") as held:
        assert held
        with pytest.raises(StorageError, match="another process"):
            book_of(storage).change(lambda _: None)


HOSTILE = {
    "nothing": b"",
    "no JSON": b"\xff\x00",
    "another shape": b'{"schema_version": 1, "repositories": []}',
    "a time of no calendar": b'{"repositories": {"a": {"tags": {"v1": 99999999999999}}}}',
    "a time before all": b'{"since": 1, "repositories": {"a": {"tags": {"v1": -1}}}}',
    "a text for a time": b'{"since": "yesterday"}',
    "deep": b"[" * 100_000,
    "of a later version": b'{"schema_version": 2, "since": 1, "keepers": {"a": 1000}}',
    "too many parts": b'{"keepers": {' + b'"a":1,' * 2_100_000 + b'"b":1}}',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_book_that_cannot_be_read_knows_nothing_and_is_begun_anew(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "book.json"
    path.write_bytes(content)
    known = read_book(path, 1000)
    assert known is not None
    assert known.watching_since is None
    assert "book.json cannot be read" in known.unwatched
    book_at(path).change(lambda found: found.join("a", 1000, TERMS))
    known = read_book(path, 1000)
    assert known is not None
    assert known.watching_since == 1000


def test_book_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "book.json"
    book_at(path).change(lambda found: found.join("a", 1000, TERMS))
    monkeypatch.setattr(pulls, "_MOST_BYTES", 10)
    known = read_book(path, 1000)
    assert known is not None
    assert known.watching_since is None


def test_link_in_place_of_the_book_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes(msgspec.json.encode(PullBook(since=1, keepers={"a": 1000})))
    storage = StorageTree.make(tmp_path / "registry")
    book_of(storage).change(lambda found: found.join("a", 1000, TERMS))
    place = tmp_path / "registry" / "jettison" / "pulls" / "book.json"
    place.unlink()
    place.symlink_to(secret)
    known = read_book(storage, 1000)
    assert known is None or known.watching_since is None
    assert known is not None
    assert "cannot be read" in known.unwatched
