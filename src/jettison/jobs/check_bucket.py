"""``check`` of a storage in a bucket: what its store does and enforces, and what is not seen."""

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from jettison.errors import Refused
from jettison.jobs.check import Item, Level
from jettison.model.times import rfc3339
from jettison.storage.protocol.probing import StoreProbe, UnfinishedUploads

if TYPE_CHECKING:
    from jettison.configuration.buckets import StoreBucket
    from jettison.configuration.s3 import S3Bucket

__all__ = ["bucket_items", "lifecycle_rule", "probe_items", "weakness"]

_STORE: Final = "store"
_SIGNED: Final = "signed DELETE"
_DAYS: Final = 7
_STOPPED: Final = (
    "Collect this bucket only while no registry takes pushes into it, `jettison serve` neither."
)


def lifecycle_rule(bucket: "S3Bucket") -> str:
    """Return the rule that ends unfinished uploads, for ``put-bucket-lifecycle-configuration``."""
    rule = {
        "ID": "end-unfinished-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": f"{bucket.root}/" if bucket.root else ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _DAYS},
    }
    return json.dumps({"Rules": [rule]})


def bucket_items(
    bucket: "StoreBucket", unfinished: UnfinishedUploads | None = None
) -> Iterator[Item]:
    """Yield what can be said of a bucket; ``unfinished`` are its unfinished uploads, if known."""
    from jettison.configuration.azure import AzureContainer  # noqa: PLC0415 - few have a bucket
    from jettison.configuration.s3 import S3Bucket  # noqa: PLC0415 - same

    if isinstance(bucket, S3Bucket):
        yield from _s3_items(bucket, unfinished)
        return
    yield Item(Level.INFO, _STORE, f"is {bucket.store} at {bucket.url}")
    if isinstance(bucket, AzureContainer):
        message = (
            "where the account keeps deleted blobs for some days (soft delete), what is removed is "
            "billed until then; that cannot be seen from here"
        )
        command = (
            "az storage account blob-service-properties show --account-name "
            f"{shlex.quote(bucket.account)} --query deleteRetentionPolicy"
        )
        yield Item(Level.INFO, "deleted blobs", message, f"To see it: {command}")
        return
    message = "this store was tried on a stub alone, and never on Google's own"
    yield Item(Level.WARNING, _STORE, message, "Try it on a copy of the bucket first.")
    message = (
        "a bucket keeps what is removed for seven days (soft delete) unless it was made without, "
        "or keeps versions; until then that is billed, and it cannot be seen from here"
    )
    command = (
        f"gcloud storage buckets describe gs://{shlex.quote(bucket.name)} "
        "--format 'default(soft_delete_policy, versioning_enabled, lifecycle_config)'"
    )
    yield Item(Level.INFO, "deleted objects", message, f"To see it: {command}")


def _s3_items(bucket: "S3Bucket", unfinished: UnfinishedUploads | None) -> Iterator[Item]:
    message = f"speaks S3 at {bucket.url}; which program it is cannot be seen from here"
    yield Item(Level.INFO, _STORE, message)
    ends = f"a rule of the bucket ends them after {_DAYS} days"
    message = (
        f"parts of uploads that were never finished are billed, and no listing shows them; {ends}"
    )
    if unfinished is not None and unfinished.since is None:
        message = f"there are none just now; {ends}"
    elif unfinished is not None and unfinished.since is not None:
        more = "" if unfinished.all_seen else "at least "
        message = (
            f"{more}{unfinished.count:,} begun since {rfc3339(unfinished.since)}, "
            f"{more}{unfinished.bytes:,} bytes in parts, which are billed, and which no listing "
            f"shows; {ends}"
        )
    command = (
        f"aws s3api put-bucket-lifecycle-configuration --bucket {shlex.quote(bucket.name)} "
        f"--endpoint-url {shlex.quote(bucket.url)} --lifecycle-configuration "
        f"{shlex.quote(lifecycle_rule(bucket))}"
    )
    advice = (
        f"Add it, if it is not there: {command} (that replaces the rules there are: see "
        "get-bucket-lifecycle-configuration first)"
    )
    yield Item(Level.INFO, "unfinished uploads", message, advice)


def probe_items(found: StoreProbe | None) -> Iterator[Item]:
    """Yield what was tried of a store; None: nothing, as that would have written to it."""
    if found is None:
        message = "what it enforces was not tried: that writes a few objects, and removes them"
        yield Item(Level.INFO, _STORE, message, "To try it: jettison check --probe CONFIG")
        return
    if found.left:
        message = f"{found.left} was written, and could not be removed: no right to delete"
        yield Item(Level.WARNING, _STORE, message, "Give it the right to delete.")
    if found.untried:
        message = f"what it enforces: not tried: {found.untried}"
        yield Item(Level.INFO, _STORE, message)
    if found.rounds:
        yield _listing(found)
        yield _enforced(
            "create-if-absent",
            found.creates,
            "is enforced: of two who make the same object one is told",
            "is not enforced: of two collections each may take the other's place",
        )
        yield _signed(found)
    if found.versions is False:
        yield Item(Level.OK, "versions", "are off: what is removed is freed")
    elif found.versions:
        message = "are on: what is removed is hidden, and not freed"
        yield Item(
            Level.INFO, "versions", message, "Let a rule of the bucket end noncurrent versions."
        )


def _signed(found: StoreProbe) -> Item:
    if found.unsigned is not None:
        message = f"cannot be made, so gc is refused beside pushes: {found.unsigned}"
        advice = f"{_STOPPED} To serve: storage.redirect.disable: true, as pulls are signed too."
        return Item(Level.WARNING, _SIGNED, message, advice)
    return _enforced(
        _SIGNED,
        found.expires,
        "is refused when its time is over: none can land late",
        "lands also when its time is over: it may remove what was pushed meanwhile",
    )


def _listing(found: StoreProbe) -> Item:
    if not found.stale:
        message = f"shows at once what was written and removed, {found.rounds} times of as many"
        return Item(Level.OK, "listing", message)
    return Item(Level.ERROR, "listing", _weak(found), "Use a store, or a setting of it, that does.")


def _weak(found: StoreProbe) -> str:
    return (
        f"did not show what was just written or removed, {found.stale} times of {found.rounds}: "
        "gc would take what is needed, and serve would lose pushes"
    )


def _enforced(what: str, enforced: bool | None, yes: str, no: str) -> Item:  # noqa: FBT001 - a fact
    if enforced is None:
        return Item(
            Level.INFO,
            what,
            "could not be told: the clocks are too far apart, or the store refuses any",
        )
    if enforced:
        return Item(Level.OK, what, yes)
    return Item(Level.WARNING, what, no, _STOPPED)


def weakness(found: StoreProbe | None) -> Refused | None:
    """Return the error that ends a check of a store that ``gc`` and ``serve`` cannot be used on."""
    if found is None or not found.stale:
        return None
    hint = "Some stores have a setting for it: strong consistency, of a site or of the whole."
    return Refused(f"the listing of this store {_weak(found)}", hint=hint)
