"""How a bucket is, as a health check sees it."""

import pytest

from jettison.errors import StorageError
from jettison.storage.objects.monitoring import ObjectMonitoring
from jettison.storage.objects.sweeps import Sweeps
from tests.contract.content import ONE, push
from tests.contract.objects import open_bucket, open_objects
from tests.support.buckets import Bucket


def test_a_health_check_takes_few_requests(bucket: Bucket) -> None:
    monitoring = open_objects(bucket).monitoring()
    assert not monitoring.check_health(write=True)
    push(open_objects(bucket), ONE)
    before = bucket.requests()
    assert monitoring.check_health(write=True)
    assert monitoring.check_health(write=False)
    assert bucket.requests() - before == {"ListObjectsV2": 2, "PutObject": 1}


def test_a_bucket_that_is_gone_is_no_health(bucket: Bucket) -> None:
    here = open_bucket(bucket)
    monitoring = ObjectMonitoring(here, Sweeps(here))
    bucket.folder.rename(f"{bucket.folder}-away")
    for write in (False, True):
        with pytest.raises(StorageError, match="there is no bucket"):
            monitoring.check_health(write=write)
