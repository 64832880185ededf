import http.client
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from redis.connection import AbstractConnection

from jettison.configuration import read_configuration
from jettison.configuration.settings import RedisServer, RedisTls
from jettison.demo.images import image, layer, random_bytes
from jettison.errors import StorageError
from jettison.model.digest import Digest
from jettison.storage.descriptor_cache import BATCH, SETS, forget
from tests.support.redis import Server
from tests.support.registry import DockerRegistry, RegistryFactory

if TYPE_CHECKING:
    from redis import Redis

PASSWORD = "hunter2"
BASE = layer({"base": random_bytes(1, 3000)})
GOES, STAYS = (image([BASE, layer({"app": random_bytes(seed, 2000)})]) for seed in (2, 3))
GONE = {GOES.digest, GOES.config.digest, GOES.layers[1].digest}


def some(number: int) -> Digest:
    return Digest(f"sha256:{number:064x}")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    with ExitStack() as running:
        yield lambda **options: running.enter_context(Server(tmp_path / "redis", **options))


@pytest.fixture
def redis(start: Callable[..., Server]) -> Server:
    return start()


def remember(client: "Redis", repository: str, *digests: Digest) -> None:
    """Write what Distribution writes for blobs that it found."""
    pipeline = client.pipeline(transaction=False)
    for digest in digests:
        for field in (("digest", digest), ("size", "7"), ("mediatype", "x")):
            pipeline.hset(f"blobs::{digest}", *field)
        pipeline.sadd(f"repository::{repository}::blobs", digest)
        pipeline.hset(f"repository::{repository}::blobs::{digest}", "mediatype", "x")
    pipeline.execute()


def keys(server: Server, db: int = 0) -> set[str]:
    with server.client(db) as client:
        return set(client.keys("*"))


def status(registry: DockerRegistry, method: str, repository: str, digest: Digest) -> int:
    return registry.request(method, f"/v2/{repository}/blobs/{digest}").status


def push_and_collect(registry: DockerRegistry) -> None:
    """Push two images that share a layer, and do by hand what a collection does about one."""
    registry.push("team/app", "1", GOES)
    registry.push("other", "1", STAYS)
    for repository, content in (("team/app", GOES), ("other", STAYS)):
        assert registry.manifest(repository, "1").status == 200
        for blob in content.blobs():
            assert status(registry, "HEAD", repository, blob.digest) == 200
    assert registry.delete("team/app", GOES.digest) == 202
    for blob in GOES.blobs():
        links = registry.tree / "repositories/team/app/_layers/sha256"
        (links / blob.digest.hex / "link").unlink()
    for digest in GONE:
        (registry.tree / "blobs/sha256" / digest.hex[:2] / digest.hex / "data").unlink()


@pytest.mark.distribution
def test_a_collected_image_is_forgotten_and_can_be_pushed_again(
    start: Callable[..., Server], registry_factory: RegistryFactory
) -> None:
    redis = start(password=PASSWORD)
    cache = {"addr": redis.address, "password": PASSWORD, "db": 3}
    extra = {"redis": cache, "storage": {"cache": {"blobdescriptor": "redis"}}}
    registry = registry_factory(delete=True, extra=extra)
    push_and_collect(registry)
    # These are the keys, all of them. A manifest has the first kind alone.
    known = {f"blobs::{digest}" for digest in GONE}
    for repository, content in (("team/app", GOES), ("other", STAYS)):
        known |= {f"blobs::{content.digest}", f"repository::{repository}::blobs"}
        for blob in content.blobs():
            known |= {f"blobs::{blob.digest}", f"repository::{repository}::blobs::{blob.digest}"}
    assert keys(redis, 3) == known
    # The registry swears that it has what is gone.
    for digest in (GOES.config.digest, GOES.layers[1].digest):
        assert status(registry, "HEAD", "team/app", digest) == 200
        with pytest.raises(http.client.IncompleteRead):
            registry.request("GET", f"/v2/team/app/blobs/{digest}")
    # And that the repository still has a layer which only the other one has.
    assert status(registry, "HEAD", "team/app", BASE.digest) == 200

    configuration = read_configuration(registry.config, {})
    assert configuration.redis is not None
    links = [("team/app", blob.digest) for blob in GOES.blobs()]
    # Three descriptors; in the repository three members and three media types.
    assert forget(configuration.redis, GONE, links) == 9
    assert not any(digest in key for key in keys(redis, 3) for digest in GONE)
    for blob in GOES.blobs():
        for method in ("HEAD", "GET"):
            assert status(registry, method, "team/app", blob.digest) == 404
    assert registry.pull_skopeo("other", "1").manifest == STAYS.manifest.raw
    registry.push("team/app", "1", GOES)
    pulled = registry.pull_skopeo("team/app", "1")
    assert pulled.manifest == GOES.manifest.raw
    assert pulled.blobs.keys() == {blob.digest for blob in GOES.blobs()}


@pytest.mark.distribution
def test_without_forgetting_a_push_makes_a_broken_image(
    redis: Server, registry_factory: RegistryFactory
) -> None:
    # What all this is for; should a registry ever pass, it needs no forgetting.
    extra = {"redis": {"addr": redis.address}, "storage": {"cache": {"blobdescriptor": "redis"}}}
    registry = registry_factory(delete=True, extra=extra)
    push_and_collect(registry)
    registry.restart()
    registry.push("team/app", "1", GOES)
    with pytest.raises(subprocess.CalledProcessError):
        registry.pull_skopeo("team/app", "1")


def test_links_are_forgotten_where_they_were_and_blobs_everywhere(redis: Server) -> None:
    with redis.client() as client:
        for repository in ("a", "a/b", "c-d.e__f"):
            remember(client, repository, some(1), some(2), some(3))
    before = keys(redis)
    assert forget(redis.at(), [], [("a", some(1)), ("a", some(9)), ("gone", some(1))]) == 2
    assert before - keys(redis) == {f"repository::a::blobs::{some(1)}"}
    with redis.client() as client:
        assert client.smembers("repository::a::blobs") == {some(2), some(3)}
        assert client.smembers("repository::a/b::blobs") == {some(1), some(2), some(3)}

    assert forget(redis.at(), [some(1), some(2), some(7)], []) == 2 + 2 + 4 + 4
    left = {f"blobs::{some(3)}"}
    for repository in ("a", "a/b", "c-d.e__f"):
        left |= {f"repository::{repository}::blobs", f"repository::{repository}::blobs::{some(3)}"}
    assert keys(redis) == left
    # A set without members is no key, so that nothing is left of a repository that is gone.
    assert forget(redis.at(), [some(3)], []) == 7
    assert keys(redis) == set()
    assert forget(redis.at(), [some(1), some(2), some(3)], [("a", some(1))]) == 0


def test_other_keys_are_not_touched(redis: Server) -> None:
    digest = some(1)
    with redis.client() as client, redis.client(1) as other, redis.client(raw=True) as raw:
        remember(client, "app", digest, some(2))
        remember(other, "app", digest)
        client.set("repository::text::blobs", digest)
        client.set(b"repository::\xff\xfe::blobs", digest)
        client.sadd("repository::Not A Name::blobs", digest)
        client.sadd("prefix::repository::app::blobs", digest)
        client.sadd("repository::app::blobs::more", digest)
        client.set(f"my::blobs::{digest}", "mine")
        client.rpush("queue", digest)
        theirs = keys(redis, 1)
        # The set and both hashes of what goes; everything else is to stay as it is.
        changing = {f"blobs::{digest}", "repository::app::blobs"}
        changing.add(f"repository::app::blobs::{digest}")
        mine = {
            key: raw.dump(key) for key in raw.keys("*") if key.decode("latin-1") not in changing
        }
        assert len(mine) == 9
        assert forget(redis.at(), [digest], [("text", digest), ("app", digest)]) == 3
        assert {key: raw.dump(key) for key in mine} == mine
        assert client.smembers("repository::app::blobs") == {some(2)}
    assert keys(redis, 1) == theirs


def test_many_go_without_a_round_trip_for_each(
    redis: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, repositories = 12 * BATCH + 7, 3 * SETS + 1
    digests = [some(number) for number in range(count)]
    with redis.client() as client:
        remember(client, "large", *digests)
        for number in range(repositories):
            remember(client, f"small/{number}", *digests[number * 10 : number * 10 + 10])
    trips = 0
    send: Callable[..., None] = AbstractConnection.send_packed_command

    def counting(connection: AbstractConnection, *args: Any, **options: Any) -> None:
        nonlocal trips
        trips += 1
        send(connection, *args, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counting)
    links = [("large", digest) for digest in digests[: count // 2]]
    gone = forget(redis.at(), digests, links)
    assert gone == count + 2 * count + 2 * 10 * repositories
    # One for each thousand digests of the three kinds, and some to look for the repositories.
    assert 3 * count / BATCH < trips < 6 * count / BATCH
    assert keys(redis) == set()


def test_a_user_of_its_own_and_the_rights_it_has(start: Callable[..., Server]) -> None:
    redis = start(username="registry", password=PASSWORD)
    with redis.client() as client:
        remember(client, "app", some(1))
        assert forget(redis.at(), [some(1)], []) == 3
        client.execute_command("ACL", "SETUSER", "registry", "-del")
        with pytest.raises(StorageError, match=r"refuses to forget .*permission") as caught:
            forget(redis.at(), [some(1)], [])
        assert caught.value.hint is not None
        assert "Empty that Redis database" in caught.value.hint


@pytest.mark.parametrize("given", ["wrong-secret", None])
def test_a_refused_login(start: Callable[..., Server], given: str | None) -> None:
    redis = start(password=PASSWORD)
    server = msgspec.structs.replace(redis.at(), password=given)
    with pytest.raises(StorageError, match="refuses the login") as caught:
        forget(server, [some(1)], [])
    said = f"{caught.value.message} {caught.value.hint} {caught.value!r}"
    assert redis.address in said
    assert PASSWORD not in said
    assert "wrong-secret" not in said
    assert caught.value.__cause__ is None


def test_a_database_that_it_does_not_have(redis: Server) -> None:
    with pytest.raises(StorageError, match="out of range"):
        forget(redis.at(999), [some(1)], [])


def test_unreachable(tmp_path: Path) -> None:
    with Server(tmp_path / "redis", password=PASSWORD) as redis:
        server = redis.at()
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        forget(server, [some(1)], [])
    assert server.address in caught.value.message
    assert PASSWORD not in caught.value.message


@pytest.mark.parametrize("deployment", ["sentinel", "cluster"])
def test_what_is_not_supported(deployment: str) -> None:
    server = msgspec.convert(
        {"host": "r", "port": 6379, "deployment": deployment}, type=RedisServer
    )
    with pytest.raises(StorageError, match=f"r:6379 is a {deployment}"):
        forget(server, [], [])


def test_over_tls(tmp_path: Path, start: Callable[..., Server]) -> None:
    folder = DockerRegistry(tmp_path / "certificates", tls=True).ca.parent
    redis = start(tls=folder, password=PASSWORD)
    with redis.client() as client:
        remember(client, "app", some(1))
    untrusted = msgspec.structs.replace(redis.at(), tls=RedisTls())
    with pytest.raises(StorageError, match=r"cannot be reached.*(?i:certificate)"):
        forget(untrusted, [some(1)], [])
    absent = msgspec.structs.replace(redis.at(), tls=RedisTls(authorities=("/nowhere/ca.pem",)))
    with pytest.raises(StorageError, match=r"/nowhere/ca\.pem"):
        forget(absent, [some(1)], [])
    assert forget(redis.at(), [some(1)], []) == 3


def test_over_a_socket(start: Callable[..., Server]) -> None:
    with TemporaryDirectory() as folder:  # whose path is short, as that of a socket has to be
        redis = start(unix=Path(folder) / "redis.sock", password=PASSWORD)
        with redis.client() as client:
            remember(client, "app", some(1))
        server = RedisServer(str(redis.unix), 0, password=PASSWORD)
        assert forget(server, [some(1)], []) == 3
        with pytest.raises(StorageError, match=re.escape(f"{redis.unix} refuses the login")):
            forget(RedisServer(str(redis.unix), 0), [some(1)], [])


def test_the_client_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, jettison.storage.descriptor_cache; sys.exit('redis' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
