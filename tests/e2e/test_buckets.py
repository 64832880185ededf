"""Registries with their storage in a bucket, and commands that look into it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jettison.demo import images
from jettison.demo.images import Image
from tests.support.buckets import S3_REGISTRIES, Bucket, Gateway, S3Registry
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry

pytestmark = pytest.mark.e2e


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    with Gateway(tmp_path / "gateway") as gateway:
        yield gateway.bucket("images")


@pytest.fixture(params=S3_REGISTRIES, ids=lambda kind: kind.program)
def registry(
    request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket
) -> Iterator[S3Registry]:
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


def test_requests_of_a_dry_collection(
    registry: S3Registry, counted: Counted, bucket: Bucket
) -> None:
    for number in range(40):
        registry.push("app", str(number), an_image("base", str(number)))
    registry.push("app", "39", an_image("base", "38"))
    bucket.age(7200)
    counted("gc", registry.config, "-n")
    # One for each manifest, and four listings: the journal before and after, and two parts.
    assert counted.requests == {"GetObject": 40, "ListObjectsV2": 4}
    counted("gc", registry.config, "-n")
    assert counted.requests == {"ListObjectsV2": 4}
    counted("check", registry.config)
    assert counted.requests == {"ListObjectsV2": 2}


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
    tag = bucket.folder / "docker/registry/v2/repositories/team/app/_manifests/tags/v1/current/link"
    tag.write_bytes(b"")
    done = jettison("gc", registry.config, "-n", "--grace", "0s", check=3)
    assert "the link is empty" in done.stderr
    done = jettison("fsck", registry.config, check=5)
    assert "the link is empty" in done.stdout


# What is refused.

KEEP_ONE = ("--keep-last", "1", "--trust-times", "--max-removal", "90%")


@pytest.mark.parametrize(
    "command",
    [
        ["gc", "{config}", "--yes"],
        ["gc", "{config}", "--yes", "--now", "--assume-quiescent"],
        ["garbage-collect", "{config}"],
        ["rm", "{host}/app:1", "--yes", "--storage", "{config}"],
        ["rm", "{host}/app:1", "--yes", "--reclaim", "--storage", "{config}"],
        ["prune", "{host}", *KEEP_ONE, "--yes", "--storage", "{config}"],
    ],
    ids=lambda command: " ".join(command[:1] + command[3:4]),
)
def test_nothing_is_changed(
    registry: S3Registry, bucket: Bucket, jettison: Jettison, command: list[str]
) -> None:
    registry.push("app", "1", an_image("one"))
    bucket.age(1000)
    registry.push("app", "2", an_image("two"))
    before = bucket.objects()
    places = {"config": str(registry.config), "host": registry.host}
    done = jettison(*(part.format(**places) for part in command), check=4)
    assert "nothing can be changed in a bucket yet" in done.stderr
    assert bucket.objects() == before


def test_a_repair_is_refused(registry: S3Registry, bucket: Bucket, jettison: Jettison) -> None:
    digest = registry.push("app", "1", an_image("one"))
    link = f"docker/registry/v2/repositories/app/_manifests/revisions/sha256/{digest.hex}/link"
    (bucket.folder / link).write_bytes(b"")
    before = bucket.objects()
    done = jettison("fsck", registry.config, "--repair", "--yes", check=4)
    assert "nothing can be changed in a bucket yet" in done.stderr
    assert bucket.objects() == before


def test_a_bucket_is_not_served(registry: S3Registry, jettison: Jettison) -> None:
    done = jettison("serve", registry.config, check=2)
    assert "storage.s3 is not supported: a bucket can be read, and not be served yet" in done.stderr


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
    assert error.startswith(("error: cannot list s3://", "error: cannot read the journal s3://"))
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
    base = bucket.folder / "docker/registry/v2"
    strange = ["blobs/notes", "repositories/app/_layers/notes", "repositories/readme"]
    for name in strange:
        (base / name).write_bytes(b"by hand")
    (bucket.folder / "elsewhere").write_bytes(b"another program's")
    found = json.loads(jettison("fsck", registry.config, "-o", "json", check=0).stdout)
    assert sorted(one["path"] for one in found["flaws"]) == [
        f"docker/registry/v2/{name}" for name in strange
    ]
    assert found["damage"] == 0
    plan = json.loads(
        jettison("gc", registry.config, "-n", "--grace", "0s", "-o", "json", check=0).stdout
    )["plan"]
    assert (plan["blobs"], plan["repositories"], plan["kept_blobs"]) == ([], 1, 3)
    (base / "blobs/sha256/notes").write_bytes(b"by hand")
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
    raw = (bucket.folder / data).read_bytes()
    (bucket.folder / data).write_bytes(raw.replace(b"layers", b"Layers"))
    bucket.age(7200)
    for more in ([], ["--quick"]):
        done = jettison("fsck", registry.config, *more, check=5)
        assert "app:1" in done.stdout
    (bucket.folder / data).write_bytes(b"shorter")
    done = jettison("gc", registry.config, "-n", check=3)
    assert "its bytes have another digest" in done.stderr
