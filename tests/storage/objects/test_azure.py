"""What Azure Blob Storage does otherwise than S3, on Azurite; and how a URL is signed."""

import http.client
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from jettison.configuration.azure import AzureContainer
from jettison.errors import StorageError
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.storage.objects import ObjectStorage
from jettison.storage.objects.azure import sign
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.deleting import SignedDeletes, measure_clock, uptime
from jettison.storage.objects.probing import probe_store
from jettison.storage.protocol import Stamp
from tests.support.azurite import ACCOUNT, Azurite, Container, StrictAzure, TokenAzurite
from tests.support.tokens import Tokens, make_token

NUMBERS = count(1)


def test_a_signed_url_has_an_end_and_no_beginning() -> None:
    settings = AzureContainer(
        "images", "https://mine.blob.core.windows.net", account="mine", account_key="c2VjcmV0"
    )
    url = urlsplit(sign(settings, "d", "a b/é+%", 1_800_000_000.9))
    assert url.path == "/images/a%20b/%C3%A9%2B%25"
    query = parse_qs(url.query)
    assert query.pop("sig")
    assert query == {
        "sv": ["2021-12-02"],
        "sr": ["b"],
        "sp": ["d"],
        "se": ["2027-01-15T08:00:00Z"],
        "spr": ["https"],
    }


# On Azurite.


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="module")
def tokens() -> Iterator[Tokens]:
    with Tokens() as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A container of a store that takes tokens."""
    with TokenAzurite(tmp_path_factory.mktemp("guarded")) as running:
        yield running.bucket("guarded")


@pytest.fixture
def container(azurite: Azurite) -> Container:
    return azurite.bucket(f"azure-{next(NUMBERS)}")


def ask(method: str, url: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(method, f"{parts.path}?{parts.query}")
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.soak
def test_a_signed_url_is_for_one_thing_and_ends(container: Container) -> None:
    bucket = Bucket(container.container("ro ot"), {})
    bucket.put("a b/é+%", b"x")
    url = bucket.url("DELETE", "a b/é+%", 60)
    assert ask("GET", url) == 403
    assert ask("DELETE", url.replace("a%20b", "other")) == 403
    assert ask("DELETE", bucket.url("DELETE", "a b/é+%", -2)) == 403
    assert bucket.get("a b/é+%", 10) == b"x"
    assert ask("GET", bucket.url("GET", "a b/é+%", 60)) == 200
    assert ask("DELETE", url) == 202
    assert bucket.get("a b/é+%", 10) is None


@pytest.mark.soak
def test_signed_deletes(container: Container) -> None:
    bucket = Bucket(container.container(), {})
    for name in ("a", "b"):
        bucket.put(name, b"x")
    deletes = SignedDeletes(bucket, measure_clock(bucket))
    found = deletes.delete(["a", "absent"], uptime() + 100)
    assert [one.outcome for one in found] == [True, True]
    [late] = deletes.delete(["b"], uptime() + 1)
    assert "the time of its sweep is over" in str(late.outcome)
    assert bucket.look("b") is not None


def append(azurite: Azurite, path: str, content: bytes) -> None:
    """Write a blob as Distribution 3.1 does."""
    place = f"/{ACCOUNT}/{path}"
    status, _, _ = azurite.send("PUT", place, b"", {"x-ms-blob-type": "AppendBlob"})
    assert status == 201
    status, _, _ = azurite.send("PUT", f"{place}?comp=appendblock", content, {})
    assert status == 201


@pytest.mark.soak
def test_what_distribution_wrote_is_touched_and_replaced(
    azurite: Azurite, container: Container
) -> None:
    with StrictAzure(azurite) as store:
        bucket = Bucket(container.container(url=store.endpoint), {})
        append(azurite, f"{container.name}/link", b"one")
        before = bucket.look("link")
        time.sleep(1.1)
        bucket.put("link", b"one")
        after = bucket.look("link")
        assert before is not None
        assert after is not None
        assert after.stamp > before.stamp
        assert len(store.refused) == 1
        bucket.put("link", b"two")
        assert bucket.get("link", 10) == b"two"
        assert len(store.refused) == 2
        bucket.put("link", b"three")
        assert len(store.refused) == 2
        append(azurite, f"{container.name}/data", b"damaged")
        bucket.put("draft", b"content")
        bucket.copy("draft", "data", 7)
        assert bucket.get("data", 10) == b"content"
        assert len(store.refused) == 3
        bucket.copy("draft", "data", 7)
        assert len(store.refused) == 3


@pytest.mark.soak
def test_a_blob_of_several_requests_replaces_a_damaged_one(
    azurite: Azurite, container: Container
) -> None:
    content = bytes(range(256)) * 4096 * 9
    digest = Digest.of(content)
    with StrictAzure(azurite) as store:
        bucket = Bucket(container.container(url=store.endpoint), {})
        storage = ObjectStorage(bucket, ManifestCache(None))
        place = storage.places.blob(digest)
        append(azurite, f"{container.name}/{place}", b"damaged")
        bucket.put("one", content[:1000])
        writer = bucket.writer("two")
        writer.write(content[1000:])
        writer.close()
        drafts = [("one", 1000), ("two", len(content) - 1000)]
        storage.place_blob(RepoName("app"), digest, drafts)
        assert store.refused
        found = b"".join(bucket.stream(place, 0, 1 << 20))
        assert found == content
        assert not [one for page in bucket.pages("jettison/drafts") for one in page]


@pytest.mark.soak
def test_many_are_removed_and_absent_ones_count_as_such(container: Container) -> None:
    bucket = Bucket(container.container(), {})
    names = [f"many/{number:03}" for number in range(300)]
    for name in names:
        bucket.put(name, b"")
    assert bucket.remove_each([*names, "absent"]) == [True] * 301
    assert bucket.remove_each(["absent"]) == [True]
    assert [one for page in bucket.pages("many") for one in page] == []


@pytest.mark.soak
def test_a_tree_of_distribution_2_is_refused(azurite: Azurite, container: Container) -> None:
    """It began all names with a slash, and what it wrote would be taken for nothing."""
    place = f"/{container.name}//docker/registry/v2/blobs/sha256/aa/{'a' * 64}/data"
    status, _, _ = azurite.send("PUT", f"/{ACCOUNT}{place}", b"x", {"x-ms-blob-type": "BlockBlob"})
    assert status == 201
    storage = ObjectStorage(Bucket(container.container(), {}), ManifestCache(None))
    for _ in range(2):
        with pytest.raises(StorageError, match="all names in it begin with a slash"):
            storage.scan_repositories()
    with pytest.raises(StorageError, match="all names in it begin with a slash"):
        storage.monitoring().check_health(write=False)
    # Beside a tree of 3.x it is what was left behind.
    Bucket(container.container(), {}).put("docker/registry/v2/x", b"")
    assert (
        ObjectStorage(Bucket(container.container(), {}), ManifestCache(None))
        .scan_repositories()
        .names
        == []
    )


@pytest.mark.soak
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"account_key": "d3Jvbmc="}, "the store does not take the account key"),
        ({"name": "nowhere"}, "there is no container nowhere at http://127.0.0.1"),
        ({"url": f"http://127.0.0.1:1/{ACCOUNT}"}, "http://127.0.0.1:1/devstoreaccount1 does not"),
    ],
)
def test_one_line_for_what_is_wrong(
    container: Container, change: dict[str, str], said: str
) -> None:
    bucket = Bucket(msgspec.structs.replace(container.container(), **change), {})
    with pytest.raises(StorageError, match=said) as caught:
        list(bucket.pages("a"))
    assert "storage.azure." in (caught.value.hint or "")
    with pytest.raises(StorageError):
        bucket.get("a", 10)


@pytest.mark.soak
@pytest.mark.parametrize("who", ["application", "variables", "federated", "instance"])
def test_without_a_key(
    who: str, tokens: Tokens, guarded: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a token everything works, and the store makes what signs URLs."""
    application = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client"}
    (tmp_path / "token").write_text(make_token(), encoding="utf-8")
    variables = {
        "application": {},
        "variables": {**application, "AZURE_CLIENT_SECRET": "s3cret"},
        "federated": {**application, "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token")},
        "instance": {"IDENTITY_ENDPOINT": f"{tokens.endpoint}/instance"},
    }
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", tokens.endpoint)
    change = {"credentials": "default_credentials", "account_key": None}
    if who == "application":
        change = {"credentials": "client_secret", "account_key": None}
        change |= {"tenant": "tenant", "client": "client", "client_secret": "s3cret"}
    settings = msgspec.structs.replace(guarded.container(), **change)
    tokens.asked.clear()
    bucket = Bucket(settings, variables[who] | {"AZURE_AUTHORITY_HOST": tokens.endpoint})
    assert bucket.put_noted("a", b"x", Stamp(7))
    bucket.copy("a", f"copies/{who}", 1)
    before = bucket.look(f"copies/{who}")
    time.sleep(1.1)
    bucket.copy("a", f"copies/{who}", 1)
    after = bucket.look_noted(f"copies/{who}")
    assert before is not None
    assert bucket.look(f"copies/{who}") != before
    assert after is not None
    assert after.stamp == Stamp(7)
    deletes = SignedDeletes(bucket, measure_clock(bucket))
    assert [one.outcome for one in deletes.delete(["a", "b"], uptime() + 100)] == [True, True]
    assert bucket.get("a", 10) is None
    assert probe_store(bucket).expires
    sent = " ".join(tokens.asked)
    assert ("client_secret=s3cret" in sent) == (who in {"application", "variables"})
    assert ("client_assertion=" in sent) == (who == "federated")
    assert ("GET /instance" in sent) == (who == "instance")


@pytest.mark.soak
def test_variables_do_not_lead_elsewhere(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    container.write("a", b"content")
    for name in ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("AZURE_STORAGE_TOKEN", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY"):
        monkeypatch.setenv(name, "d3Jvbmc=")
    monkeypatch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
    monkeypatch.setenv("AZURE_CONTAINER_NAME", "others")
    assert Bucket(container.container(), {}).get("a", 10) == b"content"
