"""A listing that is divided finds each object once, however it is divided."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from jettison.configuration.buckets import StoreBucket
from jettison.errors import StorageError
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.bucket import Entry
from jettison.storage.objects.pages import Splitting, _Lister, _Range, list_tree
from jettison.storage.protocol import Stamp
from tests.contract.objects import open_bucket
from tests.support.buckets import Bucket

BASE = "docker/registry/v2"


def write(bucket: Bucket, key: str, content: bytes = b"x") -> None:
    path = bucket.folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def populate(bucket: Bucket, count: int) -> set[str]:
    """Blobs, and repositories whose names sort otherwise than their keys do."""
    digests = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(count)]
    keys = {f"{BASE}/blobs/sha256/{one[:2]}/{one}/data" for one in digests}
    keys.add(f"{BASE}/blobs/sha512/ab/{'ab' * 64}/data")
    for number, one in enumerate(digests):
        name = ("app", "app-2", "app/inner", "zoo", "0")[number % 5]
        keys.add(f"{BASE}/repositories/{name}/_layers/sha256/{one}/link")
        if number % 7 == 0:
            tag = f"{BASE}/repositories/{name}/_manifests/tags/{number}"
            keys |= {f"{tag}/current/link", f"{tag}/index/sha256/{one}/link"}
    for key in keys:
        write(bucket, key)
    write(bucket, "elsewhere/docker/x")
    write(bucket, f"{BASE}-other/blobs/x")
    return keys


@pytest.mark.parametrize(
    "splitting",
    [None, Splitting(1, 1), Splitting(100, 50), Splitting(1000, 300), Splitting(1000, 100_000)],
)
def test_each_object_is_found_once(bucket: Bucket, splitting: Splitting | None) -> None:
    keys = populate(bucket, 2500)
    found = Counter(
        entry.key for page in list_tree(open_bucket(bucket), splitting) for entry in page
    )
    assert found == Counter(dict.fromkeys(keys, 1))
    requests = bucket.requests()
    # Undivided: one for each thousand of keys; in many ranges there are more, and not many more.
    least = -(-2501 // 1000) + -(-(len(keys) - 2501) // 1000)
    assert requests["ListObjectsV2"] >= least
    if splitting is None:
        assert requests["ListObjectsV2"] == least


class CountedBucket(OpenBucket):
    """Counts the pages of each listing, and the listings of folders."""

    def __init__(self, settings: StoreBucket, environment: Mapping[str, str]) -> None:
        super().__init__(settings, environment)
        self.pages_of: list[int] = []
        self.folders_of: list[str] = []

    def pages(self, prefix: str, after: str | None = None) -> Iterator[list[Entry]]:
        number = len(self.pages_of)
        self.pages_of.append(0)
        for page in super().pages(prefix, after):
            self.pages_of[number] += 1
            yield page

    def folders(self, prefix: str) -> list[str]:
        self.folders_of.append(prefix)
        return super().folders(prefix)


def test_below_one_folder_it_is_divided_by_the_names_there(bucket: Bucket) -> None:
    keys = {
        f"{BASE}/repositories/team/app{number % 60:02}/_layers/sha256/{digest}/link"
        for number in range(6000)
        if (digest := hashlib.sha256(b"%d" % number).hexdigest())
    }
    keys |= {f"{BASE}/repositories/{name}/_layers/sha256/{'0' * 64}/link" for name in ("a", "zoo")}
    for key in keys:
        write(bucket, key)
    opened = CountedBucket(open_bucket(bucket).settings, {})
    pages = list_tree(opened, Splitting(1000, 2000))
    found = Counter(entry.key for page in pages for entry in page)
    assert found == Counter(dict.fromkeys(keys, 1))
    assert opened.folders_of[:2] == [f"{BASE}/repositories", f"{BASE}/repositories/team"]
    assert len(opened.folders_of) == len(set(opened.folders_of))
    # Seven pages in one go; in parts of about a thousand keys none has more than two after that.
    assert max(opened.pages_of) <= 2
    assert sum(opened.pages_of) <= 1 + 7 + 6


def test_keys_are_relative_to_the_root(bucket: Bucket) -> None:
    for key in (f"some/where/{BASE}/blobs/x", f"{BASE}/blobs/y", f"some/where-2/{BASE}/blobs/z"):
        write(bucket, key)
    pages = list_tree(open_bucket(bucket, "some/where"))
    assert [entry.key for page in pages for entry in page] == [f"{BASE}/blobs/x"]
    assert open_bucket(bucket, "some/where").get(f"{BASE}/blobs/x", 10) == b"x"


def test_a_key_that_cannot_be_told_ends_the_listing(bucket: Bucket) -> None:
    write(bucket, f"{BASE}/repositories/app/_layers/a\nb/link")
    with pytest.raises(StorageError, match="has a part that no key of a registry has") as told:
        list(list_tree(open_bucket(bucket)))
    assert "\n" not in told.value.message
    assert "Remove that object" in (told.value.hint or "")


def test_an_abandoned_listing_leaves_no_request_waiting(bucket: Bucket) -> None:
    populate(bucket, 300)
    opened = open_bucket(bucket)
    pages = list_tree(opened, Splitting(1, 1))
    assert next(pages)
    del pages
    opened.pool.shutdown(wait=True)


def test_a_range_of_a_store_without_order_is_refused(bucket: Bucket) -> None:
    lister = _Lister(open_bucket(bucket), Splitting())
    page = [Entry(key, 1, Stamp(0), "") for key in ("b", "c", "a")]
    with pytest.raises(StorageError, match="is not listed in the order of its keys"):
        lister._in_order(page, "")
    assert lister._in_order(page[:2], "a") == "c"
    assert _Range("x").until is None


def test_a_bucket_without_a_registry_is_empty(bucket: Bucket, tmp_path: Path) -> None:
    assert [page for page in list_tree(open_bucket(bucket)) if page] == []
