"""One life cycle on each registry: what is asked for goes, what is not stays, undo brings it back.

What is there is asked of the registry itself, never of Jettison.
"""

from pathlib import Path

import pytest

from jettison.client import Credentials, RemoteRegistry
from jettison.demo import images
from jettison.demo.images import Image, Index
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.model.retention.evidence import Evidence
from tests.registries.beside import APIS, PUSHED
from tests.registries.conftest import Run, Subject
from tests.registries.scripted import LOGIN


@pytest.fixture
def repo(subject: Subject, request: pytest.FixtureRequest) -> str:
    """A repository of the test's own."""
    name: str = request.node.originalname
    return f"team/{name.removeprefix('test_').replace('_', '-')}"


@pytest.fixture
def deletable(subject: Subject) -> None:
    if not subject.deletes:
        pytest.skip(f"{subject.product} does not delete over this API")


BASE = images.layer({"base": b"base" * 1000})


def image(name: str) -> Image:
    return images.image([BASE, images.layer({"own": name.encode() * 500})])


def at(subject: Subject, repo: str, reference: str) -> str:
    sign = "@" if ":" in reference else ":"
    return f"{subject.remote.host}/{repo}{sign}{reference}"


def gone(subject: Subject, repo: str, reference: str) -> bool:
    return subject.remote.manifest(repo, reference).status == 404


def whole(subject: Subject, repo: str, reference: str, content: Image | Index) -> bool:
    """Whether the manifest is there with all that it lists, byte for byte."""
    remote = subject.remote
    answer = remote.manifest(repo, reference)
    blobs = [
        (blob, remote.request("GET", f"/v2/{repo}/blobs/{blob.digest}")) for blob in content.blobs()
    ]
    children = [(one, remote.manifest(repo, one.digest)) for one in content.manifests()]
    return answer.body == content.manifest.raw and all(
        got.status == 200 and Digest.of(got.body) == one.digest for one, got in [*blobs, *children]
    )


def kept_for(subject: Subject, tmp_path: Path) -> tuple[str | Path, ...]:
    """What makes an undo possible where blobs go with the last manifest."""
    return () if subject.keeps_blobs else ("--backup", tmp_path / "backup")


def test_check(subject: Subject, repo: str, jettison_here: Run) -> None:
    """The same before and after there is something; and without a repository to ask about."""
    code = 0 if subject.deletes else 11
    first = jettison_here("check", subject.remote.host, code=None)
    assert first.code in {0, code}, first.stdout + first.stderr
    subject.remote.push(repo, "1", image("checked"))
    found = jettison_here("check", f"{subject.remote.host}/{repo}", "-o", "json", code=code)
    items = {item["subject"]: item for item in found.json["items"]}
    assert subject.product in items["registry"]["message"]
    assert items["deletion"]["level"] == ("ok" if subject.deletes else "error")
    assert "storage.delete" not in found.stdout + found.stderr
    if subject.remote.authorization is not None:
        assert "accepted" in items["login"]["message"]


def test_who_does_not_delete_says_so(subject: Subject, repo: str, jettison_here: Run) -> None:
    if subject.deletes:
        pytest.skip(f"{subject.product} deletes")
    subject.remote.push(repo, "1", image("locked"))
    refused = jettison_here("rm", at(subject, repo, "1"), "--yes", code=11)
    assert "UNSUPPORTED" in refused.stderr  # its own words
    assert "storage.delete" not in refused.stderr
    assert whole(subject, repo, "1", image("locked"))


def test_listings(subject: Subject, repo: str, jettison_here: Run) -> None:
    for number in range(5):
        subject.remote.push(repo, str(number), image(f"listed-{number % 2}"))
    found = jettison_here("ls", f"{subject.remote.host}/{repo}", "-o", "json").json
    assert sorted(row["tag"] for row in found["tags"]) == ["0", "1", "2", "3", "4"]
    report = jettison_here("inspect", at(subject, repo, "0"), "-o", "json").json["image"]
    assert report["digest"] == image("listed-0").digest
    assert sorted(report["tags"]) == ["0", "2", "4"]


@pytest.mark.usefixtures("deletable")
def test_one_of_several_tags(subject: Subject, repo: str, jettison_here: Run) -> None:
    kept, other = image("sibling"), image("neighbour")
    for tag in ("1", "2"):
        subject.remote.push(repo, tag, kept)
    subject.remote.push(repo, "b", other)
    plan = jettison_here("rm", at(subject, repo, "1"), "--dry-run", "-o", "json").json["plan"]
    assert plan["estimate"]["freed_bytes"] == 0
    assert subject.remote.tags(repo) == ["1", "2", "b"]
    jettison_here("rm", at(subject, repo, "1"), "--yes")
    assert subject.remote.tags(repo) == ["2", "b"]
    assert whole(subject, repo, "2", kept)
    assert whole(subject, repo, "b", other)
    jettison_here("verify", "last")
    jettison_here("undo", "last")
    assert subject.remote.tags(repo) == ["1", "2", "b"]
    assert whole(subject, repo, "1", kept)


@pytest.mark.usefixtures("deletable")
def test_the_last_tag(subject: Subject, repo: str, jettison_here: Run, tmp_path: Path) -> None:
    last, other = image("last"), image("stays")
    subject.remote.push(repo, "1", last)
    subject.remote.push(repo, "b", other)
    backup = kept_for(subject, tmp_path)
    jettison_here("rm", at(subject, repo, "1"), "--yes", *backup)
    assert subject.remote.tags(repo) == ["b"]
    assert gone(subject, repo, last.digest)
    assert whole(subject, repo, "b", other)
    jettison_here("verify", "last")
    jettison_here("rm", at(subject, repo, "1"), "--yes", code=1)
    jettison_here("undo", "last")
    assert subject.remote.tags(repo) == ["1", "b"]
    assert whole(subject, repo, "1", last)


@pytest.mark.usefixtures("deletable")
def test_by_digest(subject: Subject, repo: str, jettison_here: Run, tmp_path: Path) -> None:
    named, other = image("named"), image("stays")
    for tag in ("1", "2"):
        subject.remote.push(repo, tag, named)
    subject.remote.push(repo, "b", other)
    jettison_here("rm", at(subject, repo, named.digest), "--yes", *kept_for(subject, tmp_path))
    assert subject.remote.tags(repo) == ["b"]
    assert gone(subject, repo, named.digest)
    assert whole(subject, repo, "b", other)
    jettison_here("undo", "last")
    assert subject.remote.tags(repo) == ["1", "2", "b"]
    assert whole(subject, repo, "1", named)
    assert whole(subject, repo, "2", named)


@pytest.mark.usefixtures("deletable")
def test_an_index(subject: Subject, repo: str, jettison_here: Run, tmp_path: Path) -> None:
    children = [image("amd64"), image("arm64")]
    both = images.index(children)
    subject.remote.push(repo, "multi", both)
    subject.remote.push(repo, "arm", children[1])
    jettison_here("rm", at(subject, repo, children[0].digest), "--yes", code=4)
    jettison_here("rm", at(subject, repo, "arm"), "--yes")
    assert subject.remote.tags(repo) == ["multi"]
    assert whole(subject, repo, "multi", both)
    jettison_here("undo", "last")
    assert subject.remote.tags(repo) == ["arm", "multi"]
    jettison_here("rm", at(subject, repo, "multi"), "--yes", *kept_for(subject, tmp_path))
    assert subject.remote.tags(repo) == ["arm"]
    assert gone(subject, repo, both.digest)
    assert gone(subject, repo, children[0].digest)
    assert whole(subject, repo, "arm", children[1])
    jettison_here("verify", "last")
    jettison_here("undo", "last")
    assert whole(subject, repo, "multi", both)


@pytest.mark.usefixtures("deletable")
def test_referrers(subject: Subject, repo: str, jettison_here: Run, tmp_path: Path) -> None:
    """A signature under cosign's tag, and a referrer: listed by the API, or under the other tag."""
    signed = image("signed")
    signature = images.signature(signed)
    attached = images.referrer(signed, "application/spdx+json", b"{}")
    tags: dict[str, Image | Index] = {"1": signed, images.cosign_tag(signed.digest): signature}
    subject.remote.push(repo, None, attached)
    if not subject.serves_referrers:
        tags[images.referrers_tag(signed.digest)] = images.fallback_index([attached])
    for tag, content in tags.items():
        subject.remote.push(repo, tag, content)
    jettison_here("rm", at(subject, repo, "1"), "--yes", *kept_for(subject, tmp_path))
    assert subject.remote.tags(repo) == []
    for content in (signed, signature, attached):
        assert gone(subject, repo, content.digest)
    jettison_here("undo", "last")
    assert subject.remote.tags(repo) == sorted(tags)
    for tag, content in tags.items():
        assert whole(subject, repo, tag, content)
    assert whole(subject, repo, attached.digest, attached)


@pytest.mark.usefixtures("deletable")
def test_what_is_promised(subject: Subject, repo: str, jettison_here: Run, tmp_path: Path) -> None:
    """Where blobs go with the last manifest there is no undo but from a backup, and it is said."""
    only = image("promised")
    subject.remote.push(repo, "1", only)
    if subject.keeps_blobs:
        done = jettison_here("rm", at(subject, repo, "1"), "--yes")
        assert "undo" in done.stderr
        jettison_here("undo", "last")
        assert whole(subject, repo, "1", only)
        return
    refused = jettison_here("rm", at(subject, repo, "1"), "--yes", code=4)
    assert "--backup" in refused.stderr
    assert whole(subject, repo, "1", only)


def test_pages_and_odd_names(subject: Subject, repo: str, jettison_here: Run) -> None:
    """A repository whose name is nested deep, and tags of every form that is allowed."""
    names = ["1.0", "v1.0-rc.1", "_", "A" * 128, "latest"]
    deep = f"{repo}/deep/er/and_er/app.x"
    for name in names:
        subject.remote.push(deep, name, image("odd"))
    found = jettison_here("ls", f"{subject.remote.host}/{deep}", "-o", "json").json
    assert sorted(row["tag"] for row in found["tags"]) == sorted(names)


async def test_what_it_tells_beside(subject: Subject, repo: str) -> None:
    """All manifests and their times, where an API has them, or that it does not tell."""
    both = images.index([image("one"), image("two")])
    subject.remote.push(repo, "1", both)
    subject.remote.push(repo, None, image("three"))
    login = None if subject.remote.authorization is None else Credentials(*LOGIN)
    async with RemoteRegistry(subject.remote.host, credentials=login) as registry:
        await registry.ping()
        listed = await registry.revisions(RepoName(repo))
        evidence = await registry.evidence(RepoName(repo))
    if subject.name == "jettison":
        wanted = {one.digest for one in both.manifests()} | {image("three").manifest.digest}
        assert set(listed or ()) == wanted
        assert evidence is not None
        assert evidence.unknown == ""
    elif subject.ways is None:
        assert (listed, evidence) == (None, None)
    elif not subject.ways.lists_manifests:
        assert listed is None
        assert (evidence is not None) is (subject.ways.product in APIS)
        if subject.name == "quay":
            # It takes no password.
            assert "as $oauthtoken" in told(evidence)[1]
        elif evidence is not None:
            assert told(evidence) == ({PUSHED}, "")
    else:
        wanted = {one.digest for one in both.manifests()} | {image("three").manifest.digest}
        assert listed is not None
        assert set(listed) == wanted
        assert evidence is not None
        assert told(evidence) == ({PUSHED}, "")
        assert evidence.manifests.keys() == wanted


def told(evidence: Evidence | None) -> tuple[set[float], str]:
    """Return when all was pushed, and why that is not known."""
    assert evidence is not None
    times = [*evidence.tags.values(), *evidence.manifests.values()]
    return {one.pushed.seconds for one in times if one.pushed}, evidence.unknown


UNTAGGED = """
rules:
  - {repositories: [%s], state: untagged, clock: pushed, remove: {older_than: 7d}}
"""


def test_untagged_images_go_where_the_api_lists_all(
    subject: Subject, repo: str, jettison_here: Run, tmp_path: Path
) -> None:
    """And nothing that a tagged one needs, though that has no tag either."""
    if subject.ways is None or not subject.deletes:
        pytest.skip("it is about the scripted ones")
    both = images.index([image("first"), image("second")])
    subject.remote.push(repo, "1", both)
    note = images.referrer(both, "application/vnd.example.note", b"note")
    subject.remote.push(repo, None, note)
    loose = image("loose")
    subject.remote.push(repo, None, loose)
    policy = tmp_path / "policy.yml"
    policy.write_text(UNTAGGED % repo, encoding="utf-8")
    backup = kept_for(subject, tmp_path)
    options = ("--policy", policy, "--yes", "--max-removal", "100%", *backup)
    code = 0 if subject.ways.lists_manifests else 2
    done = jettison_here("prune", f"{subject.remote.host}/{repo}", *options, code=code)
    assert gone(subject, repo, loose.digest) is bool(subject.ways.lists_manifests)
    assert whole(subject, repo, "1", both)
    assert whole(subject, repo, note.digest, note)
    if not subject.ways.lists_manifests:
        assert "does not list untagged manifests" in done.stderr


def test_repositories_that_cannot_be_listed_are_pruned_by_their_full_names(
    subject: Subject, repo: str, jettison_here: Run, tmp_path: Path
) -> None:
    if subject.name not in {"harbor", "quay"}:
        pytest.skip("it lets its repositories be listed, or deletes nothing")
    subject.remote.push(repo, "old", image("old"))
    subject.remote.push(repo, "new", image("new"))
    host = subject.remote.host
    policy = tmp_path / "policy.yml"
    rule = "rules: [{repositories: [%s], tags: [old], remove: all}]"
    options = ("--policy", policy, "--max-removal", "100%")
    policy.write_text(rule % "'*'", encoding="utf-8")
    refused = jettison_here("prune", host, *options, "-n", code=None)
    assert refused.code != 0
    policy.write_text(rule % repo, encoding="utf-8")
    jettison_here("prune", f"{host}/{repo}x", *options, "-n", code=1)
    named = jettison_here("prune", f"{host}/{repo}", *options, "-n")
    assert "other repositories could not be listed" in named.stderr
    jettison_here("prune", host, *options, "--yes")
    assert subject.remote.tags(repo) == ["new"]


def test_old_tags_go_by_the_times_that_the_registry_tells(
    subject: Subject, repo: str, jettison_here: Run, tmp_path: Path
) -> None:
    """By their configs they would be old everywhere; what a registry fails to tell is not old."""
    if subject.ways is None or not subject.deletes:
        pytest.skip("it is about the scripted ones")
    subject.remote.push(repo, "b1", image("b1"))
    subject.remote.push(repo, "v1", image("v1"))
    options = ("--match", "b*", "--older-than", "30d", "--yes", "--max-removal", "100%")
    backup = kept_for(subject, tmp_path)
    jettison_here("prune", f"{subject.remote.host}/{repo}", *options, *backup)
    tells = subject.ways.lists_manifests or subject.ways.product in APIS
    left = ["v1"] if tells and subject.name != "quay" else ["b1", "v1"]
    assert subject.remote.tags(repo) == left
