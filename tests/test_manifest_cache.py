"""A cache that may be lost, damaged or forbidden at any moment."""

import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from jettison.manifest_cache import ManifestCache, cache_directory
from jettison.model.digest import Digest
from jettison.model.mediatypes import OCI_MANIFEST
from jettison.registry import ConfigFacts, RawManifest


def manifest(number: int, size: int = 20) -> RawManifest:
    raw = f"{number:0{size}}".encode()
    return RawManifest(Digest.of(raw), OCI_MANIFEST, raw)


FACTS = ConfigFacts("2026-01-02T03:04:05.123456789Z", "amd64", "linux")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "jettison"


@pytest.fixture
def cache(folder: Path) -> Iterator[ManifestCache]:
    with ManifestCache(folder) as made:
        yield made


def file(folder: Path) -> Path:
    return folder / "manifests.sqlite"


def test_the_folder() -> None:
    home = Path("/h")
    assert cache_directory({}, home) == home / ".cache" / "jettison"
    assert cache_directory({"XDG_CACHE_HOME": "/c"}, home) == Path("/c/jettison")
    assert cache_directory({"XDG_CACHE_HOME": "relative"}, home) == home / ".cache" / "jettison"


def test_what_is_put_is_found(cache: ManifestCache, folder: Path) -> None:
    one, two = manifest(1), manifest(2)
    bare = ConfigFacts(None)
    assert cache.get(one.digest) is None
    assert cache.get_config(one.digest) is None
    cache.put(one)
    cache.put_config(two.digest, FACTS)
    cache.put_config(one.digest, bare)
    for reader in (cache, ManifestCache(folder)):
        # Also once it is in the file, for this object and for another.
        assert reader.get(one.digest) == one
        assert reader.get(two.digest) is None
        assert reader.get_config(two.digest) == FACTS
        assert reader.get_config(one.digest) == bare
        cache.close()
        reader.close()


def map_of(
    cache: ManifestCache, digests: Iterable[Digest]
) -> Iterator[tuple[Digest, RawManifest | None]]:
    return ((digest, cache.get(digest)) for digest in digests)


def test_many_are_got_at_once(folder: Path) -> None:
    made = [manifest(number) for number in range(1700)]
    with ManifestCache(folder) as cache:
        for one in made[:1500]:
            cache.put(one)
    with sqlite3.connect(file(folder)) as database:
        flipped, renamed = (str(made[number].digest) for number in (3, 700))
        database.execute("UPDATE manifests SET raw = x'00' WHERE digest = ?", (flipped,))
        database.execute("UPDATE manifests SET digest = 'sha256:x' WHERE digest = ?", (renamed,))
    with ManifestCache(folder) as cache:
        for one in made[1500:1600]:
            cache.put(one)
        expected = {one.digest: one for one in made[:1600]}
        del expected[made[3].digest], expected[made[700].digest]
        assert cache.get_each([one.digest for one in (*made, made[5])]) == expected
        assert cache.get_each([]) == {}


def test_nothing_is_made_before_it_is_needed(folder: Path) -> None:
    with ManifestCache(folder):
        pass
    assert not folder.exists()


def test_it_is_private(cache: ManifestCache, folder: Path) -> None:
    cache.put(manifest(1))
    cache.close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "damage", [b"not a database" * 1000, b"", b"SQLite format 3\0" + b"x" * 5000]
)
def test_a_damaged_file_is_made_anew(folder: Path, damage: bytes) -> None:
    folder.mkdir(parents=True)
    file(folder).write_bytes(damage)
    with ManifestCache(folder) as cache:
        assert cache.get(manifest(1).digest) is None
        cache.put(manifest(1))
    with ManifestCache(folder) as cache:
        assert cache.get(manifest(1).digest) == manifest(1)


def test_damage_in_the_middle(folder: Path) -> None:
    with ManifestCache(folder) as cache:
        for number in range(2000):
            cache.put(manifest(number, 500))
    raw = bytearray(file(folder).read_bytes())
    raw[4096 * 3 : -4096] = b"\xa5" * (len(raw) - 4096 * 4)
    file(folder).write_bytes(raw)
    with ManifestCache(folder) as cache:
        digests = [manifest(number, 500).digest for number in range(2000)]
        assert all(found is None or found.digest == one for one, found in map_of(cache, digests))
        cache.put(manifest(7))
    with ManifestCache(folder) as cache:
        assert cache.get(manifest(7).digest) == manifest(7)


def test_a_row_that_does_not_match_its_digest_is_not_there(
    cache: ManifestCache, folder: Path
) -> None:
    cache.put(manifest(1))
    cache.close()
    database = sqlite3.connect(file(folder))
    with database:
        database.execute("UPDATE manifests SET raw = ?", [b"other"])
    database.close()
    assert cache.get(manifest(1).digest) is None


def test_another_versions_file_is_made_anew(folder: Path) -> None:
    folder.mkdir(parents=True)
    database = sqlite3.connect(file(folder))
    database.executescript("CREATE TABLE manifests (x); PRAGMA user_version=99;")
    database.close()
    with ManifestCache(folder) as cache:
        cache.put(manifest(1))
    with ManifestCache(folder) as cache:
        assert cache.get(manifest(1).digest) == manifest(1)


def without(cache: ManifestCache) -> None:
    for number in range(1000):
        cache.put(manifest(number))
        cache.put_config(manifest(number).digest, FACTS)
    cache.close()
    assert cache.get(manifest(1).digest) is None
    assert cache.get_config(manifest(1).digest) is None


def test_no_folder() -> None:
    without(ManifestCache(None))


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    without(ManifestCache(blocked / "jettison"))
    assert blocked.read_bytes() == b""


def test_a_folder_in_the_files_place(folder: Path) -> None:
    file(folder).mkdir(parents=True)
    without(ManifestCache(folder))


def test_a_file_that_another_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jettison.manifest_cache._BUSY_SECONDS", 0.05)
    with ManifestCache(folder) as cache:
        cache.put(manifest(0))
    holder = sqlite3.connect(file(folder), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with ManifestCache(folder) as cache:
        cache.put(manifest(1))
        cache.close()  # lost, without a word
        holder.execute("COMMIT")
        holder.close()
        assert cache.get(manifest(0).digest) == manifest(0)
        cache.put(manifest(2))
    with ManifestCache(folder) as cache:
        assert cache.get(manifest(2).digest) == manifest(2)


FILL = """
import pathlib, sys
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.registry import RawManifest
with ManifestCache(pathlib.Path(sys.argv[1])) as cache:
    for number in range(int(sys.argv[2]), int(sys.argv[2]) + 3000):
        raw = f"{number:020}".encode()
        cache.put(RawManifest(Digest.of(raw), "", raw))
"""


def test_two_processes(folder: Path) -> None:
    programs = [
        subprocess.Popen([sys.executable, "-c", FILL, str(folder), start])
        for start in ("0", "2000")
    ]
    assert [program.wait(60) for program in programs] == [0, 0]
    with ManifestCache(folder) as cache:
        digests = [manifest(number).digest for number in range(5000)]
        assert all(found for _, found in map_of(cache, digests))


def test_a_hundred_thousand(folder: Path) -> None:
    manifests = [manifest(number, 700) for number in range(100_000)]
    began = time.monotonic()
    with ManifestCache(folder) as cache:
        for each in manifests:
            cache.put(each)
            cache.put_config(each.digest, FACTS)
    with ManifestCache(folder) as cache:
        digests = [each.digest for each in manifests]
        assert all(found for _, found in map_of(cache, digests))
        assert all(cache.get_config(digest) for digest in digests)
    # About 3 s here; this is to notice a commit for each row, which takes minutes.
    assert time.monotonic() - began < 60
