"""How many requests it takes to answer from a bucket."""

from tests.contract.content import ABSENT, APP, DIGEST, ONE, push
from tests.contract.objects import open_objects
from tests.support.buckets import Bucket


def test_asking_for_a_layer_that_is_absent_takes_one_request(bucket: Bucket) -> None:
    push(open_objects(bucket), ONE)
    serving = open_objects(bucket).serving()
    assert not serving.touch_layer(APP, ABSENT)  # the first one of a server lists the sweeps
    before = bucket.requests()
    assert not serving.touch_layer(APP, ABSENT)
    assert bucket.requests() - before == {"GetObject": 1}
    before = bucket.requests()
    assert serving.touch_layer(APP, DIGEST)
    # Its link is written anew, and sweeps are listed: whoever hears "yes" relies on it.
    found = {"GetObject": 1, "HeadObject": 1, "PutObject": 1, "ListObjectsV2": 1}
    assert bucket.requests() - before == found


def test_a_block_in_which_a_layer_is_absent_relies_on_all_the_rest(bucket: Bucket) -> None:
    storage = open_objects(bucket)
    push(storage, ONE)
    before = bucket.requests()
    with storage.writing(APP):
        assert storage.serving().touch_layer(APP, DIGEST)
        assert not storage.serving().touch_layer(APP, ABSENT)
    assert (bucket.requests() - before)["ListObjectsV2"] == 1
    assert storage.serving().layer(APP, DIGEST) == DIGEST
