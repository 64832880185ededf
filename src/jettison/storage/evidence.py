"""When the images of a repository were pushed and lost their tags, as far as a storage tells.

Each push writes three links anew, also of an image that is there: of the tag, of the manifest, and
of the manifest in the tag's history. So their times are those of the last push. Links of layers and
blobs tell nothing of an image: some registries write them again, others do not.

An untagged manifest lost its last tag at one of these times at the latest (decision 0018):

- a tag whose history names it was pushed again, to point elsewhere;
- a tag was removed, and its history with it. Which tag that was is not kept; when the last one was
  new or was removed is.

Whichever is later counts, unless a run before saw the manifest without a tag already
(:mod:`jettison.storage.untagged_seen`). A push of the manifest itself after all of that counts.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, TypeVar

from jettison.errors import InvalidDocument, InvalidManifest, StorageError
from jettison.model import strict_json
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.manifest import Manifest, parse_manifest, referenced_digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.evidence import (
    Evidence,
    Moment,
    Times,
    are_times_of_a_copy,
    pushed_within_an_hour,
)
from jettison.model.times import seconds_of
from jettison.registry import ConfigFacts
from jettison.storage.protocol import LinkKind, RepositoryScan, Stamp, Storage, Tags
from jettison.storage.untagged_seen import seen_untagged

__all__ = ["read_evidence"]

OF_TAG: Final = "link of the tag"
OF_MANIFEST: Final = "link of the manifest"
OF_TAGS: Final = "last tag that was new or removed; when this one lost its own is not kept"
SEEN: Final = "first seen without a tag"

_NANOSECONDS: Final = 1_000_000_000
_LOOKED_AT: Final = 20
"""So many of the images that came within an hour are asked when they were created."""
_LARGEST_CONFIG: Final = 4 << 20
_CREATED: Final = "org.opencontainers.image.created"

AnyKey = TypeVar("AnyKey")


def read_evidence(storage: Storage, repository: RepoName, *, trust_times: bool = False) -> Evidence:
    """Return when each tag and manifest of a repository was pushed, and lost its last tag.

    Times that look like those of a copy are left out, unless ``trust_times``. What is damaged has
    no times; where any tag is damaged, none is known to have lost its own.
    """
    with storage.repository(repository) as reader:
        # In this order: what happens meanwhile makes things younger.
        tags = reader.tags()
        tagged = _stamped(tags.current, reader.tag_stamps(list(tags.current)))
        linked = sorted(reader.revisions().linked)
        with reader.links(LinkKind.REVISION) as links:
            pushed = _stamped(linked, links.stamps(linked))
        if not trust_times and _is_copy(storage, tags, pushed):
            return Evidence(copied=True)
        untagged = _untagged(reader, tags, tagged, pushed, seen_untagged(storage, repository))
    manifests = {
        digest: Times(Moment(_seconds(stamp), OF_MANIFEST), untagged.get(digest))
        for digest, stamp in pushed.items()
    }
    return Evidence(
        {tag: Times(Moment(_seconds(stamp), OF_TAG)) for tag, stamp in tagged.items()},
        {Digest.from_binary(digest): times for digest, times in manifests.items()},
    )


def _stamped(keys: Iterable[AnyKey], stamps: Iterable[Stamp | None]) -> dict[AnyKey, Stamp]:
    return {key: stamp for key, stamp in zip(keys, stamps, strict=True) if stamp is not None}


def _seconds(stamp: Stamp) -> float:
    return stamp / _NANOSECONDS


# When a manifest lost its last tag.


def _untagged(
    reader: RepositoryScan,
    tags: Tags,
    tagged: Mapping[Tag, Stamp],
    pushed: Mapping[BinaryDigest, Stamp],
    seen: Mapping[BinaryDigest, float],
) -> dict[BinaryDigest, Moment]:
    untagged = pushed.keys() - set(tags.current.values())
    replaced = _replaced(reader, tagged, untagged) if untagged and not tags.problems else None
    if replaced is None:
        return {}
    last = reader.tags_stamp()  # a tag that went before they were listed has left its mark
    found: dict[BinaryDigest, Moment] = {}
    for digest in untagged:
        lost = None if last is None else Moment(_seconds(last), OF_TAGS)
        if lost is not None and digest in replaced:
            lost = max(lost, replaced[digest], key=_when)
        if digest in seen:
            first = Moment(seen[digest], SEEN)
            lost = first if lost is None else min(lost, first, key=_when)
        if lost is not None:
            found[digest] = max(lost, Moment(_seconds(pushed[digest]), OF_MANIFEST), key=_when)
    return found


def _when(moment: Moment) -> float:
    return moment.seconds


def _replaced(
    reader: RepositoryScan, tagged: Mapping[Tag, Stamp], untagged: AbstractSet[BinaryDigest]
) -> dict[BinaryDigest, Moment] | None:
    """Return when tags were pushed again that had pointed to untagged manifests.

    The newest of them for each manifest; None if a history cannot be understood. A tag was pushed
    again when the next manifest in its history was pushed, at the latest: each is noted with its
    last push.
    """
    found: dict[BinaryDigest, Moment] = {}
    for tag, now in tagged.items():
        if not reader.had_others(tag):
            continue
        history = reader.history(tag)
        if history.problems:
            return None
        stamps = reader.history_stamps(tag, history.digests)
        order = sorted(stamp for stamp in stamps if stamp is not None)
        for digest, stamp in zip(history.digests, stamps, strict=True):
            if digest not in untagged:
                continue
            place = len(order) if stamp is None else bisect_right(order, stamp)
            at = order[place] if place < len(order) else now
            moment = Moment(_seconds(at), f"next push of the tag {tag}")
            if digest not in found or moment.seconds > found[digest].seconds:
                found[digest] = moment
    return found


# Whether the times are those of a copy.


def _is_copy(storage: Storage, tags: Tags, pushed: Mapping[BinaryDigest, Stamp]) -> bool:
    times = {digest: _seconds(stamp) for digest, stamp in pushed.items()}
    tagged = {digest: times[digest] for digest in tags.current.values() if digest in times}
    if not pushed_within_an_hour(times) and not pushed_within_an_hour(tagged):
        return False
    # An index is pushed with its children, an image with its signatures: each counts once.
    for digest, references in storage.manifests(list(times)):
        for child in references.edges.children if references.edges is not None else ():
            times.pop(child, None)
        if references.subject is not None:
            times.pop(digest, None)
    for tag, digest in tags.current.items():
        if referenced_digest(tag) is not None:
            times.pop(digest, None)
    crowd = pushed_within_an_hour(times)[:_LOOKED_AT]
    created = {digest: _created(storage, digest) for digest in crowd}
    known = {digest: seconds for digest, seconds in created.items() if seconds is not None}
    return bool(crowd) and are_times_of_a_copy(crowd, times, known)


def _created(storage: Storage, digest: BinaryDigest) -> float | None:
    """Return when an image says that it was created, or the newest of an index; None: it does not.

    It is looked for once in each image of a few.
    """
    manifest = _manifest(storage, digest)
    if manifest is None:
        return None
    children = [_manifest(storage, child.digest.binary) for child in manifest.children]
    told = [
        seconds_of(text)
        for one in [manifest, *children]
        if one is not None
        for text in (_in_config(storage, one), one.annotations.get(_CREATED, ""))
    ]
    return max((one for one in told if one is not None), default=None)


def _manifest(storage: Storage, digest: BinaryDigest) -> Manifest | None:
    try:
        raw = storage.read_manifest(digest)
        return None if raw is None else parse_manifest(raw)
    except (InvalidManifest, StorageError):
        return None


def _in_config(storage: Storage, manifest: Manifest) -> str:
    config = manifest.config
    blob = None if config is None else storage.blob(config.digest.binary)
    if blob is None or blob.size > _LARGEST_CONFIG:
        return ""
    try:
        raw = b"".join(storage.read_blob(blob.digest))
        return strict_json.decode(raw, ConfigFacts).created or ""
    except (InvalidDocument, StorageError):
        return ""
