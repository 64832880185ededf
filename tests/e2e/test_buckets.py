"""Registries with their storage in a bucket, and commands that look into it."""

import http.client
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from jettison.demo import images
from jettison.demo.images import Image
from tests.contract.objects import opened
from tests.support.buckets import S3_REGISTRIES, Bucket, Gateway, S3Registry
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry
from tests.support.stores import ON_VERSITYGW

pytestmark = pytest.mark.e2e


@pytest.fixture(params=S3_REGISTRIES, ids=lambda kind: kind.program)
def registry(
    request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket
) -> Iterator[S3Registry]:
    if bucket.driver == "azure" and request.param is S3Registry:
        pytest.skip("Debian's docker-registry 2.8 has no driver for Azure")
    with request.param(tmp_path / "registry", bucket, delete=True) as found:
        yield found


def an_image(*names: str) -> Image:
    return images.image([images.layer({name: name.encode()}) for name in names])


def populate(registry: DockerRegistry) -> None:
    """What the commands are asked about: shared layers, an index, siblings, garbage."""
    for number in range(5):
        registry.push("team/app", f"v{number}", an_image("base", str(number)))
    registry.push("team/app", "latest", an_image("base", "4"))
    registry.push("team/app", "v0", an_image("base", "moved"))
    registry.push("team/app-2", "multi", images.index([an_image("amd64"), an_image("base", "1")]))
    registry.push("other", "1", an_image("base"))
    gone = registry.push("other", "gone", an_image("garbage"))
    registry.delete("other", gone)


class Counted:
    """Runs a command, and counts the requests that it makes to the store."""

    def __init__(self, jettison: Jettison, bucket: Bucket) -> None:
        self._jettison = jettison
        self._bucket = bucket
        self.requests = Counter[str]()

    def __call__(self, *arguments: str | Path, check: int = 0) -> Any:
        before = self._bucket.requests()
        done = self._jettison(*map(str, arguments), check=check)
        self.requests = self._bucket.requests() - before
        return done


@pytest.fixture
def counted(jettison: Jettison, bucket: Bucket) -> Counted:
    return Counted(jettison, bucket)


def test_a_registry_keeps_its_images_in_a_bucket(registry: S3Registry, bucket: Bucket) -> None:
    digest = registry.push("team/app", "1", an_image("one"))
    objects = bucket.objects()
    link = "docker/registry/v2/repositories/team/app/_manifests/tags/1/current/link"
    assert objects[link] == digest.encode()
    if bucket.driver == "s3" and not bucket.grace:
        assert bucket.requests()["PutObject"] > 3


def test_the_same_is_said_of_a_bucket_as_of_a_disk(
    registry: S3Registry, counted: Counted, jettison: Jettison, tmp_path: Path, bucket: Bucket
) -> None:
    before = {}
    with DockerRegistry(tmp_path / "disk", delete=True) as disk:
        for one in (disk, registry):
            populate(one)
        before = bucket.objects()
        for command in (
            ["ls", "{host}", "-l"],
            ["ls", "{host}/team/app", "-l", "--created", "--exclusive"],
            ["ls", "{host}/team/app-2", "-l"],
            ["ls", "{config}", "-l"],
            ["ls", "{config}/team/app", "-l", "--exclusive"],
            ["inspect", "{host}/team/app:v1"],
            ["inspect", "{host}/team/app-2:multi"],
        ):
            told = [
                json.loads(
                    jettison(
                        *(part.format(host=one.host, config=one.config) for part in command),
                        *(("--storage", str(one.config)) if "{host}" in command[1] else ()),
                        *("-o", "json"),
                        check=0,
                    )
                    .stdout.replace(one.host, "HOST")
                    .replace(str(one.config), "CONFIG")
                )
                for one in (disk, registry)
            ]
            for one in told:  # when the plan of the removal was made
                one.get("image", {}).get("removal", {}).pop("created", None)
            assert told[0] == told[1]
        plans = [plan_of(jettison, one) for one in (disk, registry)]
        reports = [report_of(jettison, one) for one in (disk, registry)]
    # A deleted manifest leaves empty folders on a disk, and nothing in a bucket.
    del plans[0]["classes"]["folders"], plans[1]["classes"]["folders"]
    assert plans[0] == plans[1]
    assert plans[0]["classes"]["blobs"]["count"] == 3
    assert reports[0] == reports[1]
    assert bucket.objects() == before


def plan_of(jettison: Jettison, registry: DockerRegistry) -> dict[str, Any]:
    done = jettison("gc", registry.config, "-n", "--grace", "0s", "-o", "json", check=0)
    plan = json.loads(done.stdout)["plan"]
    names = ("bytes", "classes", "kept_blobs", "repositories", "problems", "untagged", "young")
    found: dict[str, Any] = {name: plan[name] for name in names}
    return found | {"blobs": sorted((one["digest"], one["size"]) for one in plan["blobs"])}


def report_of(jettison: Jettison, registry: DockerRegistry) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        jettison("fsck", registry.config, "-o", "json", check=0).stdout
    )
    return {name: found[name] for name in ("hashed", "repositories", "blobs", "bytes", "damage")}


@ON_VERSITYGW
def test_requests_of_a_dry_collection(
    registry: S3Registry, counted: Counted, bucket: Bucket
) -> None:
    for number in range(40):
        registry.push("app", str(number), an_image("base", str(number)))
    registry.push("app", "39", an_image("base", "38"))
    bucket.age(7200)
    counted("gc", registry.config, "-n")
    # One for each manifest and one for the note of a killed collection; four listings: the journal
    # before and after, and two parts; one look whether the bucket keeps versions, two whose it is;
    # and one for unfinished uploads.
    others = {"ListObjectsV2": 4, "HeadObject": 3, "ListMultipartUploads": 1}
    assert counted.requests == {"GetObject": 41, **others}
    counted("gc", registry.config, "-n")
    assert counted.requests == {"GetObject": 1, **others}
    counted("check", registry.config)
    reading = {"ListObjectsV2": 2, "HeadObject": 3, "ListMultipartUploads": 2}
    assert counted.requests == reading


@ON_VERSITYGW
def test_a_collection_asks_no_more_for_more_that_it_removes(
    registry: S3Registry, counted: Counted, bucket: Bucket
) -> None:
    found = []
    for count in (2, 30):
        for number in range(count):
            made = an_image("base", f"{count}-{number}")
            registry.delete("app", registry.push("app", "gone", made))
        registry.push("app", "stays", an_image("base"))
        bucket.age(7200)
        done = counted("gc", registry.config, "--yes", "--assume-quiescent", "--max-removal=100%")
        assert "freed, as predicted" in done.stdout
        found.append({name: counted.requests[name] for name in ("ListObjectsV2", "HeadObject")})
    assert found[0] == found[1]


def test_an_untagged_manifest_is_in_the_plan(registry: S3Registry, jettison: Jettison) -> None:
    registry.push("app", "1", an_image("old"))
    registry.push("app", "1", an_image("new"))
    command = ("gc", registry.config, "-n", "--grace", "0s", "-o", "json", "--untagged")
    plan = json.loads(jettison(*command, check=0).stdout)["plan"]
    assert plan["classes"]["revisions"]["count"] == 1
    assert plan["classes"]["history"]["count"] == 1
    assert plan["classes"]["blobs"]["count"] == 3


def test_damage_protects_as_on_a_disk(
    registry: S3Registry, bucket: Bucket, jettison: Jettison
) -> None:
    populate(registry)
    tag = "docker/registry/v2/repositories/team/app/_manifests/tags/v1/current/link"
    bucket.write(tag, b"")
    done = jettison("gc", registry.config, "-n", "--grace", "0s", check=3)
    assert "the link is empty" in done.stderr
    done = jettison("fsck", registry.config, check=5)
    assert "the link is empty" in done.stdout


# Collecting.


def stopped(jettison: Jettison, registry: DockerRegistry, *more: str, check: int = 0) -> Any:
    """A collection of a registry that is stopped meanwhile."""
    registry.stop()
    grace = registry.bucket.grace if isinstance(registry, S3Registry) else ()
    if "--grace" not in more:
        more = (*grace, *more)
    try:
        return jettison("gc", registry.config, "--yes", "--assume-quiescent", *more, check=check)
    finally:
        registry.start()


def whole(registry: DockerRegistry, made: dict[tuple[str, str], Image | images.Index]) -> None:
    for (repository, tag), one in made.items():
        assert registry.manifest(repository, tag).body == one.manifest.raw
        for content in one.manifests():
            answer = registry.manifest(repository, str(content.digest))
            assert answer.body == content.raw, tag
        for blob in one.blobs():
            answer = registry.request("GET", f"/v2/{repository}/blobs/{blob.digest}")
            assert answer.body == blob.raw, tag


KEPT: dict[tuple[str, str], Image | images.Index] = {
    **{("team/app", f"v{number}"): an_image("base", str(number)) for number in range(1, 5)},
    ("team/app", "v0"): an_image("base", "moved"),
    ("team/app-2", "multi"): images.index([an_image("amd64"), an_image("base", "1")]),
    ("other", "1"): an_image("base"),
}


@pytest.mark.parametrize("more", [(), ("--untagged",)], ids=["", "untagged"])
def test_a_bucket_is_collected_as_a_disk(
    registry: S3Registry,
    bucket: Bucket,
    jettison: Jettison,
    counted: Counted,
    tmp_path: Path,
    more: tuple[str, ...],
) -> None:
    with DockerRegistry(tmp_path / "disk", delete=True) as disk:
        for one in (disk, registry):
            populate(one)
        disk.age(7200)
        bucket.age(7200)
        on_disk = stopped(jettison, disk, *more).stdout
        left = {
            path.relative_to(disk.root).as_posix()
            for path in disk.root.rglob("*")
            if path.is_file()
        }
    before = sum(map(len, bucket.objects().values()))
    registry.stop()
    done = counted("gc", registry.config, "--yes", "--assume-quiescent", *bucket.grace, *more)
    removed = counted.requests["DeleteObjects"]
    registry.start()
    for line in ("blobs that nothing needs", "layer links that nothing uses", "freed  "):
        said = [
            [one for one in text.splitlines() if line in one] for text in (on_disk, done.stdout)
        ]
        assert said[0] == said[1] != []
    here = bucket.objects()
    ours = {key for key in here if key.startswith("jettison/")}
    assert here.keys() - ours == {key for key in left if not key.startswith("jettison/")}
    assert {key.split("/")[1] for key in ours} == {"runs"}
    assert sum(len(raw) for key, raw in here.items() if key not in ours) < before
    if counted.requests:
        # With that of an object that is not there, which tells whether it may delete at all.
        assert 0 < removed <= 10
    whole(registry, KEPT)
    again = stopped(jettison, registry, *more)
    assert bucket.objects().keys() == here.keys()
    assert "There is nothing to collect." in again.stderr


def test_a_bucket_is_not_collected_at_once_beside_a_registry_that_takes_pushes(
    registry: S3Registry, bucket: Bucket, jettison: Jettison
) -> None:
    populate(registry)
    bucket.age(7200)
    before = bucket.objects()
    done = jettison("gc", registry.config, "--yes", "--now", check=12)
    assert "takes pushes" in done.stderr
    tag = f"{registry.host}/team/app:v1"
    done = jettison("rm", tag, "--yes", "--reclaim", "--storage", registry.config, check=12)
    assert f"nothing can be hidden in {bucket.place}" in done.stderr
    assert "jettison gc CONFIG" in done.stderr
    assert bucket.objects() == before
    whole(registry, KEPT)


def test_a_registry_that_is_stopped_here_may_run_elsewhere(
    registry: S3Registry, bucket: Bucket, jettison: Jettison
) -> None:
    populate(registry)
    bucket.age(7200)
    before = bucket.objects()
    registry.stop()
    done = jettison("gc", registry.config, "--yes", "--now", check=12)
    assert f"any other machine may serve {bucket.place}" in done.stderr
    assert "--assume-quiescent" in done.stderr
    assert bucket.objects() == before
    registry.start()
    registry.stop()
    by = ("--quiesce", "true", "--resume", "true")
    jettison("gc", registry.config, "--yes", *by, *bucket.grace, check=0)
    assert len(bucket.objects()) < len(before)


def test_a_registry_that_is_read_only_is_collected(
    tmp_path: Path, registry: S3Registry, bucket: Bucket, jettison: Jettison
) -> None:
    populate(registry)
    registry.stop()
    bucket.age(7200)
    kind = type(registry)
    before = bucket.objects()
    with kind(tmp_path / "readonly", bucket, readonly=True) as readonly:
        jettison("gc", readonly.config, "--yes", *bucket.grace, check=0)
        assert len(bucket.objects()) < len(before)
        whole(readonly, KEPT)


def test_what_a_window_holds_is_collected_when_it_ends(
    registry: S3Registry, bucket: Bucket, jettison: Jettison
) -> None:
    populate(registry)
    bucket.age(7200)
    tag = f"{registry.host}/team/app:v0"
    jettison("rm", tag, "--yes", "--storage", registry.config, check=0)
    stopped(jettison, registry)
    jettison("undo", "last", "--yes", "--storage", registry.config, check=0)
    whole(registry, KEPT)
    jettison("rm", tag, "--yes", "--storage", registry.config, check=0)
    stopped(jettison, registry, "--now")
    done = jettison("undo", "last", "--yes", "--storage", registry.config, check=None)
    assert done.code != 0
    whole(registry, {name: one for name, one in KEPT.items() if name != ("team/app", "v0")})
    assert registry.manifest("team/app", "v0").status == 404


def test_a_bucket_that_keeps_versions_frees_nothing(tmp_path: Path, jettison: Jettison) -> None:
    with Gateway(tmp_path / "gateway", versions=True) as gateway:
        bucket = gateway.bucket("images")
        with S3Registry(tmp_path / "registry", bucket, delete=True) as registry:
            populate(registry)
            told = jettison("check", registry.config, check=None).stdout
            assert "the bucket keeps versions" in told
            dry = jettison("gc", registry.config, "-n", "--grace", "0s", check=0)
            assert "The bucket keeps versions" in dry.stderr
            done = stopped(jettison, registry, "--grace", "0s")
            assert "bytes removed, as predicted" in done.stdout
            assert "hidden and not freed" in done.stdout
            assert "freed           0 bytes" in done.stdout
            whole(registry, KEPT)


def test_one_collection_at_a_time(registry: S3Registry, bucket: Bucket, jettison: Jettison) -> None:
    if bucket.grace:
        pytest.skip("no lease can be made older")
    populate(registry)
    lease = b'{"purpose": "collection", "host": "elsewhere", "pid": 7}'
    assert opened(bucket).put_new("jettison/lease", lease)
    done = stopped(jettison, registry, "--grace", "0s", check=12)
    assert "is locked: collection by process 7 on elsewhere" in done.stderr
    bucket.age(1000)
    stopped(jettison, registry, "--grace", "0s")
    assert "jettison/lease" not in bucket.objects()
    whole(registry, KEPT)


def test_garbage_collect_asks_too(registry: S3Registry, bucket: Bucket, jettison: Jettison) -> None:
    if bucket.grace:
        pytest.skip("its grace period is an hour, and nothing can be made older")
    populate(registry)
    bucket.age(7200)
    before = bucket.objects()
    done = jettison("garbage-collect", registry.config, check=12)
    assert "takes pushes" in done.stderr
    assert "--grace" not in done.stderr
    assert bucket.objects() == before
    registry.stop()
    jettison("garbage-collect", registry.config, "--assume-quiescent", check=0)
    registry.start()
    assert len(before) > len(bucket.objects())
    whole(registry, KEPT)


# What is refused.


def test_a_policy_is_carried_out_on_a_bucket_alone_and_undone(
    registry: S3Registry, bucket: Bucket, jettison: Jettison
) -> None:
    registry.push("app", "1", an_image("one"))
    bucket.age(1000)
    registry.push("app", "2", an_image("two"))
    words = ("--keep-last", "1", "--trust-times", "--max-removal", "90%", "--yes")
    jettison("prune", registry.config, *words, check=0)
    assert registry.tags("app") == ["2"]
    jettison("undo", "last", "--storage", registry.config, "--yes", check=0)
    whole(registry, {("app", "1"): an_image("one"), ("app", "2"): an_image("two")})


def test_a_plan_names_what_opens_its_bucket(
    registry: S3Registry, bucket: Bucket, jettison: Jettison
) -> None:
    registry.push("app", "1", an_image("one"))
    bucket.age(1000)
    registry.push("app", "2", an_image("two"))
    plan = registry.base / "plan.json"
    words = ("--keep-last", "1", "--trust-times", "--max-removal", "90%", "--out", plan)
    jettison("prune", registry.config, *words, check=0)
    jettison("apply", plan, "--yes", check=0)
    assert registry.tags("app") == ["2"]


def test_a_policy_is_carried_out_over_the_api(
    registry: S3Registry, bucket: Bucket, jettison: Jettison
) -> None:
    registry.push("app", "1", an_image("one"))
    bucket.age(1000)
    registry.push("app", "2", an_image("two"))
    words = ("--keep-last", "1", "--trust-times", "--max-removal", "90%", "--yes")
    where = ("--storage", registry.config)
    jettison("prune", registry.host, *words, *where, check=0)
    assert registry.tags("app") == ["2"]
    # Without the configuration nobody knows how to ask the bucket.
    aside = registry.config.rename(registry.base / "moved.yml")
    runs = jettison("runs", check=0).stdout
    assert f"is in the journal {bucket.place}/jettison/runs" in runs
    run = runs.splitlines()[1].split()[0]
    for which in (run, "last"):
        assert "--storage CONFIG" in jettison("undo", which, "--yes", check=1).stderr
    assert "prune" in jettison("runs", "--storage", aside, check=0).stdout
    # Where it was given to the run, it need not be given again.
    aside.rename(registry.config)
    assert "prune" in jettison("runs", check=0).stdout
    jettison("verify", "last", check=0)
    jettison("undo", "last", "--yes", check=0)
    whole(registry, {("app", "1"): an_image("one"), ("app", "2"): an_image("two")})
    assert "undo" in jettison("runs", check=0).stdout


Change = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize(
    ("keys", "said", "step"),
    [
        ({"accesskey": "nobody"}, "the store does not know the access key", "s3.accesskey"),
        ({"secretkey": "wr0ng"}, "the secret does not belong to the access", "s3.secretkey"),
        ({"bucket": "absent"}, "there is no bucket absent at http://127", "storage.s3.bucket"),
        ({"region": "mars-1"}, "is not mars-1: it is us-east-1", "storage.s3.region: us-east-1"),
        ({"regionendpoint": "http://127.0.0.1:1"}, "http://127.0.0.1:1 does not answer", "runs"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("command", ["gc", "fsck"])
@ON_VERSITYGW
def test_one_line_for_what_is_wrong(
    tmp_path: Path,
    bucket: Bucket,
    jettison: Jettison,
    keys: dict[str, Any],
    said: str,
    step: str,
    command: str,
) -> None:
    registry = S3Registry(tmp_path / "registry", bucket)
    registry.bucket = OtherKeys(bucket.gateway, bucket.name, keys)
    registry.write_config()
    more = ["-n"] if command == "gc" else []
    done = jettison(command, registry.config, *more, check=1)
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    [following] = [line for line in done.stderr.splitlines() if line.startswith(" next: ")]
    assert error.startswith(("error: cannot list s3://", "error: cannot read "))
    assert said in error
    assert step in following
    assert "wr0ng" not in done.stderr
    assert done.stdout == ""


class OtherKeys(Bucket):
    """A bucket that is said to be another, or reached by other keys."""

    def __init__(self, gateway: Gateway, name: str, keys: dict[str, Any]) -> None:
        super().__init__(gateway, name)
        object.__setattr__(self, "_keys", keys)

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = super().settings | getattr(self, "_keys", {})
        return found


# What no registry made.


def test_keys_that_are_no_keys_of_a_registry(
    registry: S3Registry, bucket: Bucket, jettison: Jettison
) -> None:
    digest = registry.push("app", "1", an_image("one"))
    base = "docker/registry/v2"
    strange = ["blobs/notes", "repositories/app/_layers/notes", "repositories/readme"]
    for name in strange:
        bucket.write(f"{base}/{name}", b"by hand")
    bucket.write("elsewhere", b"another program's")
    found = json.loads(jettison("fsck", registry.config, "-o", "json", check=0).stdout)
    assert sorted(one["path"] for one in found["flaws"]) == [
        f"docker/registry/v2/{name}" for name in strange
    ]
    assert found["damage"] == 0
    plan = json.loads(
        jettison("gc", registry.config, "-n", "--grace", "0s", "-o", "json", check=0).stdout
    )["plan"]
    assert (plan["blobs"], plan["repositories"], plan["kept_blobs"]) == ([], 1, 3)
    bucket.write(f"{base}/blobs/sha256/notes", b"by hand")
    done = jettison("gc", registry.config, "-n", check=3)
    assert "blobs/sha256/notes: is no blob, and lies among them" in done.stderr
    tags = jettison("ls", f"{registry.host}/app", "--storage", registry.config, check=0)
    assert "1" in tags.stdout.split()
    assert digest.encode() in bucket.objects().values()


def test_damaged_content_is_found_though_the_cache_has_the_manifest(
    registry: S3Registry, bucket: Bucket, jettison: Jettison
) -> None:
    digest = registry.push("app", "1", an_image("one"))
    jettison("gc", registry.config, "-n", check=0)  # now the cache has it
    data = f"docker/registry/v2/blobs/sha256/{digest.hex[:2]}/{digest.hex}/data"
    raw = bucket.objects()[data]
    bucket.write(data, raw.replace(b"layers", b"Layers"))
    bucket.age(7200)
    for more in ([], ["--quick"]):
        if bucket.grace:  # what nobody can make older may still be being written
            done = jettison("fsck", registry.config, *more, check=0)
            assert "1 repository" in done.stdout
            assert "still being written?" in done.stdout
            continue
        done = jettison("fsck", registry.config, *more, check=5)
        assert "app:1" in done.stdout
    bucket.write(data, b"shorter")
    done = jettison("gc", registry.config, "-n", check=3)
    assert "its bytes have another digest" in done.stderr


def give_up(registry: S3Registry, content: bytes) -> None:
    """Begin an upload, and send the first of it."""
    connection = http.client.HTTPConnection(registry.host, timeout=60)
    connection.request("POST", "/v2/app/blobs/uploads/")
    with connection.getresponse() as begun:
        place = urlsplit(begun.headers["Location"])
        begun.read()
    length = {"Content-Type": "application/octet-stream", "Content-Range": f"0-{len(content) - 1}"}
    connection.request("PATCH", f"{place.path}?{place.query}", content, length)
    with connection.getresponse() as answer:
        assert answer.status == 202
    connection.close()


@ON_VERSITYGW
def test_uploads_that_were_given_up_are_ended(
    registry: S3Registry, jettison: Jettison, bucket: Bucket
) -> None:
    """Distribution keeps them in parts, which no listing shows, and its purging leaves those."""
    registry.push("app", "1", an_image("one"))
    give_up(registry, bytes(11 * 1024 * 1024))
    registry.stop()
    for file in bucket.folder.rglob("startedat"):
        file.unlink()
    bucket.age(3600)
    gc = ("gc", registry.config, "--assume-quiescent", "--grace", "1m", "-o", "json")
    assert json.loads(jettison(*gc, "-n", check=0).stdout)["plan"]["uploads"] == []
    plan = json.loads(jettison(*gc, "--uploads", "30m", "-n", check=0).stdout)["plan"]
    assert plan["classes"]["uploads"]["bytes"] >= 10 * 1024 * 1024
    done = jettison(*gc, "--uploads", "30m", "--yes", check=0)
    removed = json.loads(done.stdout)["collection"]["removed"]
    assert removed["uploads"] == plan["classes"]["uploads"]
    told = json.loads(jettison("check", registry.config, "-o", "json", check=0).stdout)
    assert "there are none just now" in json.dumps(told)
