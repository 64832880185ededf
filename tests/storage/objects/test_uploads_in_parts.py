"""Uploads in parts that were given up: planned for, ended, and never taken while they may go on."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jettison.collector import CollectOptions, collect, plan_collection
from jettison.collector.plan import CollectionPlan, Tally
from jettison.collector.sweep import CollectionReceipt
from jettison.errors import StorageError
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.server.purging import purge_uploads
from jettison.storage.objects import ObjectStorage, direct, unfinished
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.unfinished import unfinished_uploads
from jettison.storage.protocol import LinkKind
from tests.contract.objects import open_bucket
from tests.storage.objects.test_unfinished import PART, give_up, send
from tests.support.buckets import Bucket, Gateway, LimitedBucket

DAY = 24 * 3600.0
UPLOADS = "docker/registry/v2/repositories/{}/_uploads/{}/data"
READS = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]


def opened(bucket: OpenBucket) -> ObjectStorage:
    return ObjectStorage(bucket, ManifestCache(None))


def planned(bucket: OpenBucket, days: float, options: CollectOptions) -> CollectionPlan:
    """The plan of a collection in so many days."""
    return plan_collection(opened(bucket), options, time.time() + days * DAY)


def collected(bucket: OpenBucket, plan: CollectionPlan) -> CollectionReceipt:
    return collect(opened(bucket), plan, quiescent=True)


def left(bucket: OpenBucket) -> int:
    found = unfinished_uploads(bucket)
    assert found is not None
    return found.count


def test_those_that_were_given_up_are_ended(bucket: Bucket) -> None:
    store = open_bucket(bucket, root="here")
    store.put("docker/registry/v2/repositories/app/_uploads/one/startedat", b"2026")
    give_up(store, UPLOADS.format("app", "one"), 3)
    give_up(store, UPLOADS.format("only/parts", "two"), 1)
    give_up(store, "docker/registry/v2/repositories/app/_uploads/three/jettison/0-a", 1)
    for key in (
        "docker/registry/v2/blobs/sha256/aa/aa/data",
        "docker/registry/v2/repositories/app/_uploads/data",
        "docker/registry/v2/repositories/_uploads/four/data",
        "docker/registry/v2/repositories/App/_uploads/five/data",
        "docker/registry/v2/repositories/app/_layers/_uploads/six/data",
        "jettison/drafts/_uploads/seven/data",
    ):
        give_up(store, key, 1)
    give_up(open_bucket(bucket), UPLOADS.format("app", "eight"), 1)  # of another root
    assert planned(store, 6.9, CollectOptions()).empty
    assert planned(store, 30, CollectOptions(uploads=None)).empty
    assert planned(store, 8, CollectOptions(grace=9 * DAY)).empty
    plan = planned(store, 7.1, CollectOptions())
    assert [(one.repository, one.id, one.files, one.bytes) for one in plan.uploads] == [
        ("app", "one", 2, 3 * PART + 4),
        ("app", "three", 1, PART),
        ("only/parts", "two", 1, PART),
    ]
    assert not plan.foreign
    receipt = collected(store, plan)
    assert receipt.ok
    assert receipt.removed == plan.classes
    assert receipt.removed["uploads"] == Tally(4, 5 * PART + 4)
    assert left(store) == 6
    assert left(open_bucket(bucket)) == 7
    assert planned(store, 7.1, CollectOptions()).empty


def test_one_to_which_something_was_added_stays(bucket: Bucket) -> None:
    store = open_bucket(bucket)
    give_up(store, UPLOADS.format("app", "one"), 1)
    plan = planned(store, 8, CollectOptions())
    time.sleep(1.1)  # times have whole seconds
    [begun] = unfinished.begun_below(store, "")
    send(store, "PUT", begun.key, {"partNumber": "2", "uploadId": begun.id}, b"more")
    receipt = collected(store, plan)
    assert receipt.ok
    assert not receipt.removed["uploads"].count
    assert left(store) == 1


def test_while_parts_arrive_layers_of_the_push_stay_linked(bucket: Bucket) -> None:
    """The first were linked longer than the grace period ago, and no manifest uses them yet."""
    store, storage = open_bucket(bucket), opened(open_bucket(bucket))
    first = Digest.of(b"first")
    link = storage.places.link(LinkKind.LAYER, "app", first)
    store.put(storage.places.blob(first), b"first")
    store.put(link, first.encode())
    bucket.age(2400)
    give_up(store, UPLOADS.format("app", "one"), 1)
    bucket.age(4800)
    assert [one.digest for one in planned(store, 0, CollectOptions()).layer_links] == [first]
    [begun] = unfinished.begun_below(store, "")
    send(store, "PUT", begun.key, {"partNumber": "2", "uploadId": begun.id}, b"more")
    [folder] = bucket.folder.rglob(begun.id)
    os.utime(folder, (time.time() - 4800,) * 2)  # the gateway tells its time for when it was begun
    assert planned(store, 0, CollectOptions()).empty


def test_what_was_ended_and_is_still_there_is_not_counted(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_bucket(bucket)
    give_up(store, UPLOADS.format("app", "one"), 1)
    plan = planned(store, 8, CollectOptions())
    whole = direct.ask

    def ask(bucket: OpenBucket, method: str, *rest: Any) -> Any:
        return whole(bucket, "GET" if method == "DELETE" else method, *rest)

    monkeypatch.setattr(unfinished, "ask", ask)
    receipt = collected(store, plan)
    assert not receipt.removed["uploads"].count
    [problem] = receipt.problems
    assert problem.message.endswith("_uploads/one/data is still there after it was ended")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Bucket]:
    """A bucket of a store of its own, which is to know another user."""
    with Gateway(tmp_path) as gateway:
        yield gateway.bucket("guarded")


def limited(bucket: Bucket, *actions: str) -> OpenBucket:
    """The bucket for one who may read and remove objects, and do these things about parts."""
    whole = f"arn:aws:s3:::{bucket.name}"
    about = [one for one in ("s3:ListBucketMultipartUploads",) if one in actions]
    inside = [one for one in actions if one not in about]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:ListBucket", *about], "Resource": whole},
            {"Effect": "Allow", "Action": [*READS, *inside], "Resource": f"{whole}/*"},
        ],
    }
    settings = LimitedBucket(bucket, policy).settings
    found = open_bucket(bucket).settings
    keys = {"access_key": settings["accesskey"], "secret_key": settings["secretkey"]}
    return OpenBucket(type(found)(**{**vars_of(found), **keys}), {})


def vars_of(settings: Any) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


@pytest.mark.parametrize("signs", [True, False], ids=["denied", "unsigned"])
def test_without_a_way_to_see_them_the_rest_goes_on(
    guarded: Bucket, signs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up(open_bucket(guarded), UPLOADS.format("app", "one"), 1)
    give_up(open_bucket(guarded), UPLOADS.format("app", "two"), 1)
    store = limited(guarded) if signs else open_bucket(guarded)
    store.put("docker/registry/v2/repositories/app/_uploads/one/startedat", b"2026")
    if not signs:
        monkeypatch.setattr(store, "signed", lambda *_: None)
    plan = planned(store, 8, CollectOptions())
    [note] = plan.foreign
    assert "what is not seen stays: " in note.message
    assert ("no right" if signs else "cannot be signed") in note.message
    assert not plan.problems
    receipt = collected(store, plan)
    assert receipt.ok
    assert receipt.removed["uploads"] == Tally(1, 4)
    assert left(open_bucket(guarded)) == 2


def test_without_the_right_to_look_at_parts_nothing_of_them_goes(guarded: Bucket) -> None:
    give_up(open_bucket(guarded), UPLOADS.format("app", "one"), 1)
    store = limited(guarded, "s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload")
    plan = planned(store, 8, CollectOptions())
    assert plan.empty
    assert "no right" in plan.foreign[0].message


def test_without_the_right_to_end_them_that_is_told_once(guarded: Bucket) -> None:
    for name in ("one", "two", "three"):
        give_up(open_bucket(guarded), UPLOADS.format("app", name), 1)
    store = limited(guarded, "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts")
    store.put("docker/registry/v2/repositories/app/_uploads/other/startedat", b"2026")
    plan = planned(store, 8, CollectOptions())
    assert len(plan.uploads) == 4
    receipt = collected(store, plan)
    assert receipt.failures == 1
    assert receipt.removed["uploads"] == Tally(1, 4)
    [problem] = receipt.problems
    assert problem.message.startswith("cannot end the upload to ")
    assert problem.message.endswith("the credentials have no right to do that")
    assert left(open_bucket(guarded)) == 3


def test_a_server_that_purges_ends_them_too(bucket: Bucket) -> None:
    store = open_bucket(bucket)
    give_up(store, UPLOADS.format("app", "one"), 2)
    store.put("docker/registry/v2/repositories/app/_uploads/one/startedat", b"2026")
    storage = ObjectStorage(store, ManifestCache(None), live=True)
    assert purge_uploads(storage, time.time() - DAY) == (0, 0)
    assert purge_uploads(storage, time.time() + DAY) == (1, 2 * PART + 4)
    assert left(store) == 0


def test_a_store_that_tells_nonsense_is_told(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_bucket(bucket)
    give_up(store, UPLOADS.format("app", "one"), 1)
    [begun] = unfinished.begun_below(store, "")
    monkeypatch.setattr(unfinished, "_MOST_PAGES", 0)
    with pytest.raises(StorageError, match="more parts than there can be"):
        unfinished.look_at(store, begun)
    [note] = planned(store, 8, CollectOptions()).foreign
    assert note.message.endswith("there are more than 0")
    assert unfinished_uploads(store) is not None
