"""The harness itself: what goes in comes out, byte for byte, and each option does what it says."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from jettison.demo.images import (
    Image,
    Index,
    cosign_tag,
    fallback_index,
    image,
    index,
    layer,
    random_bytes,
    referrer,
    referrers_tag,
    signature,
)
from jettison.model.digest import Digest
from tests.support.cli import PYTHON_MODULE, Jettison
from tests.support.missing import need
from tests.support.preloaded import Preloaded
from tests.support.registry import SERVERS, DockerRegistry, RegistryFactory

both = pytest.mark.parametrize("program", SERVERS)


def sample(seed: int = 1, architecture: str = "amd64") -> Image:
    base = layer({"etc/os-release": b"ID=sample\n"})
    own = layer({"app/data": random_bytes(seed, 3000)})
    return image([base, own], architecture=architecture, labels={"seed": str(seed)})


def two_platforms() -> Index:
    return index([sample(1, "amd64"), sample(2, "arm64")], annotations={"a": "b"})


def assert_pulls(registry: DockerRegistry, repo: str, ref: str, content: Image | Index) -> None:
    pulled = registry.pull_skopeo(repo, ref)
    assert pulled.manifest == content.manifest.raw
    assert pulled.manifests == {one.digest: one.raw for one in content.manifests()}
    assert pulled.blobs == {one.digest: one.raw for one in content.blobs()}


@both
@pytest.mark.parametrize("push", ["push", "push_skopeo"])
@pytest.mark.parametrize("content", [sample(), two_platforms()], ids=["image", "index"])
def test_pushed_bytes_come_back(
    registry: DockerRegistry, push: str, content: Image | Index
) -> None:
    assert getattr(registry, push)("team/app", "1.0", content) == content.digest
    assert registry.tags("team/app") == ["1.0"]
    assert_pulls(registry, "team/app", "1.0", content)
    assert_pulls(registry, "team/app", content.digest, content)
    everything = [*content.blobs(), *content.manifests()]
    assert registry.blob_files() == {one.digest: one.size for one in everything}
    assert registry.blob_bytes() == sum(one.size for one in everything)


def test_a_push_by_digest_leaves_no_tag(registry: DockerRegistry) -> None:
    registry.push("app", None, sample())
    assert registry.tags("app") == []
    assert_pulls(registry, "app", sample().digest, sample())


def test_signatures_and_referrers_are_accepted(registry: DockerRegistry) -> None:
    subject = sample()
    signed = signature(subject)
    sbom = referrer(subject, "application/spdx+json", b'{"sbom": 1}')
    registry.push("app", "1", subject)
    registry.push("app", cosign_tag(subject.digest), signed)
    registry.push("app", referrers_tag(subject.digest), fallback_index([sbom]))
    assert_pulls(registry, "app", cosign_tag(subject.digest), signed)
    assert registry.manifest("app", sbom.digest).body == sbom.manifest.raw


def test_what_is_missing_does_not_pull(registry: DockerRegistry) -> None:
    content = sample()
    registry.push("app", "1", content)
    lost = content.layers[0].digest
    (registry.tree / "blobs" / "sha256" / lost.hex[:2] / lost.hex / "data").unlink()
    with pytest.raises(subprocess.CalledProcessError):
        registry.pull_skopeo("app", "1")


@pytest.mark.parametrize(("delete", "status"), [(True, 202), (False, 405), (None, 405)])
def test_deletion(registry_factory: RegistryFactory, *, delete: bool | None, status: int) -> None:
    registry = registry_factory(delete=delete)
    registry.push("app", "1", sample())
    assert registry.delete("app", sample().digest) == status
    assert registry.tags("app") == ([] if status == 202 else ["1"])


def test_the_configuration_is_read_again_on_restart(registry_factory: RegistryFactory) -> None:
    registry = registry_factory(delete=False)
    host = registry.host
    registry.push("app", "1", sample())
    before = registry.config.read_text()
    assert "#" in before
    registry.config.write_text(before.replace("enabled: false", "enabled: true"))
    registry.restart()
    assert registry.host == host
    assert registry.delete("app", sample().digest) == 202
    registry.reconfigure(readonly=True)
    assert registry.request("POST", "/v2/app/blobs/uploads/").status == 405


@pytest.mark.distribution
def test_a_stale_descriptor_cache(registry_factory: RegistryFactory) -> None:
    registry = registry_factory(delete=True, cache="inmemory")
    digest = registry.push_blob("app", b"x" * 100)
    path = f"/v2/app/blobs/{digest}"
    assert registry.request("GET", path).body == b"x" * 100
    (registry.tree / "blobs" / "sha256" / digest.hex[:2] / digest.hex / "data").unlink()
    assert registry.request("HEAD", path).status == 200


def test_passwords(registry_factory: RegistryFactory) -> None:
    registry = registry_factory(htpasswd=("user", "secret"))
    registry.push("app", "1", sample())
    assert_pulls(registry, "app", "1", sample())
    assert registry.request("GET", "/v2/", {"Authorization": ""}).status == 401
    registry.authorization = None
    answer = registry.request("GET", "/v2/")
    assert answer.status == 401
    assert answer.json["errors"][0]["code"] == "UNAUTHORIZED"


@both
def test_tls(registry_factory: RegistryFactory) -> None:
    registry = registry_factory(tls=True)
    registry.push("app", "1", sample())
    assert_pulls(registry, "app", "1", sample())


def test_token_settings_are_passed_through(registry_factory: RegistryFactory) -> None:
    authority = registry_factory(tls=True).ca
    token = {"realm": "http://127.0.0.1:1/token", "service": "here", "issuer": "test"}
    settings = {"auth": {"token": {**token, "rootcertbundle": str(authority)}}}
    challenge = registry_factory(extra=settings).request("GET", "/v2/").headers["Www-Authenticate"]
    assert challenge == 'Bearer realm="http://127.0.0.1:1/token",service="here"'


@both
def test_age_sets_every_file_back(registry: DockerRegistry) -> None:
    registry.push("app", "1", sample())
    files = [file for file in registry.root.rglob("*") if file.is_file()]
    before = {file: file.stat().st_mtime for file in files}
    registry.age(3600)
    assert all(file.stat().st_mtime == pytest.approx(before[file] - 3600) for file in files)


@both
def test_the_access_log(registry: DockerRegistry) -> None:
    registry.request("GET", "/v2/_catalog?n=7")
    assert ("GET", "/v2/_catalog?n=7", 200) in [
        (one.method, one.path, one.status) for one in registry.accesses()
    ]


def test_a_snapshot_shows_a_change(registry: DockerRegistry) -> None:
    registry.push("app", "1", sample())
    before = registry.snapshot()
    assert registry.snapshot() == before
    registry.push("app", "2", sample())
    assert registry.snapshot() != before


@both
def test_stop_ends_only_its_own(registry_factory: RegistryFactory) -> None:
    one, other = registry_factory(), registry_factory()
    one.stop()
    assert not one.running
    assert other.request("GET", "/v2/").status == 200
    with pytest.raises(ConnectionRefusedError):
        one.request("GET", "/v2/")


def test_home_is_empty(home: Path) -> None:
    assert Path.home() == home
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_an_absent_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program"):
        need("sh", "no-such-program")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        need("no-such-program")


def test_digests_are_typed(registry: DockerRegistry) -> None:
    assert isinstance(registry.push("app", "1", sample()), Digest)


@pytest.mark.parametrize(
    ("args", "stdin", "code"),
    [
        (("gc", "--help"), "", 0),
        (("gc", "storage", "-n"), "", 1),
        (("ls", "127.0.0.1:1", "-o", "json"), "", 10),
        (("lst",), "", 2),
        (("login", "127.0.0.1:1", "-u", "me", "--password-stdin"), "secret\n", 10),
    ],
)
def test_a_command_forked_off_says_what_a_started_one_says(
    jettison: Jettison, args: tuple[str, ...], stdin: str, code: int
) -> None:
    assert jettison.command == PYTHON_MODULE
    assert Preloaded.fits(os.environ)
    started = replace(jettison, command=("env", *PYTHON_MODULE))
    assert jettison(*args, stdin=stdin, check=code) == started(*args, stdin=stdin, check=code)


def test_a_command_forked_off_sees_its_own_environment_and_folder(
    jettison: Jettison, tmp_path: Path
) -> None:
    (tmp_path / "config.yml").write_text("version: 0.1\nstorage: {filesystem: {}}\n")
    root = tmp_path / "elsewhere"
    variable = {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(root)}
    assert str(root) in jettison("gc", "config.yml", "-n", env=variable, check=None).stderr
    assert not Preloaded.fits(os.environ | {"PYTHONHASHSEED": "1"})


def test_a_command_forked_off_that_does_not_end_is_killed(tmp_path: Path) -> None:
    hanging = tmp_path / "plan.json"
    os.mkfifo(hanging)
    jettison = Jettison(tmp_path)
    with pytest.raises(TimeoutError, match="still running"):
        jettison("apply", hanging, timeout=0.2)
