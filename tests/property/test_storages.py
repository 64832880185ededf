"""Whatever has happened to a storage, a collection of it is the same in every kind of storage."""

import tempfile
from collections import Counter
from pathlib import Path
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from jettison.collector import (
    CollectionPlan,
    CollectOptions,
    HeldManifest,
    collect,
    plan_collection,
    sweep,
)
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem import links
from jettison.storage.protocol import LinkKind, Storage
from tests.contract.content import image, index
from tests.contract.storages import WEEK, Subject, in_memory, subject_of
from tests.support.examples import examples

NAMES = [RepoName("a"), RepoName("a/b"), RepoName("c")]
TAGS = [Tag("1"), Tag("2")]
LAYERS = [b"", b"x", b"layer 2" * 3, b"layer 3" * 7]
IMAGES = [image(*LAYERS[:number]) for number in range(1, len(LAYERS))]
INDEXES = [index(IMAGES[0][0]), index(IMAGES[0][0], IMAGES[2][0])]
MANIFESTS = [*IMAGES, *INDEXES]
NEVER = Digest.of(b"never pushed")

Event = tuple[str, int, int, int]
"""What happens, and three numbers that say to what."""

# Damage in most examples would leave nothing to collect in most examples.
SOUND = ["push"] * 4 + [
    *("put", "untag", "delete", "unlink", "link", "touch", "blob", "draft", "link draft"),
    *("upload", "name", "pass", "pass", "aside", "take"),
]
DAMAGE = ["broken link", "broken tag", "broken blob", "strange name"]
KINDS = list(LinkKind)


def events(kinds: list[str], least: int) -> st.SearchStrategy[list[Event]]:
    number = st.integers(0, 7)
    event = st.tuples(st.sampled_from(kinds), number, number, number)
    return st.lists(event, min_size=least, max_size=20)


def happen(subject: Subject, event: Event) -> None:  # noqa: C901, PLR0912, PLR0915 - a table of events
    storage, plant = subject.storage, subject.plant
    what, first, second, third = event
    name, layer = NAMES[first % len(NAMES)], LAYERS[second % len(LAYERS)]
    digest, raw = MANIFESTS[second % len(MANIFESTS)]
    tag, kind = TAGS[third % len(TAGS)], KINDS[third % len(KINDS)]
    if what in {"push", "put"} and (digest, raw) in INDEXES:
        for child in (IMAGES[0], IMAGES[2]):  # not always linked where the index is
            storage.put_manifest(NAMES[third % len(NAMES)], *child)
    match what:
        case "push":
            for content in (b"config", *LAYERS[: second % len(LAYERS)]):
                storage.put_blob(name, Digest.of(content), [content])
            storage.put_manifest(name, digest, raw, TAGS[: third % 3])
        case "put":
            storage.put_manifest(name, digest, raw)
        case "untag":
            storage.untag(name, tag)
        case "delete":
            storage.delete_revision(name, digest)
        case "unlink":
            unlink(storage, name, Digest.of(layer))
        case "link":
            storage.link_layer(name, Digest.of(layer))
        case "touch":
            storage.touch(Digest.of(layer))
        case "blob":
            plant.plant_blob(Digest.of(layer), layer)
        case "draft":
            plant.plant_draft([Digest.of(layer), NEVER, digest][third % 3], raw)
        case "link draft":
            plant.plant_link_draft(kind, name, digest)
        case "upload":
            plant.plant_upload(name, f"upload-{third}", layer)
        case "name":
            plant.plant_name(f"left/over-{third}")
        case "pass":
            subject.let_pass(WEEK if third % 2 else 60.0)
        case "aside":
            with storage.quarantine() as aside:
                aside.put([digest.binary])
            storage.link_quarantine().begin([digest])
        case "take":
            group = storage.link_quarantine().group(kind, name, "sha256")
            storage.link_quarantine().begin()
            if group is not None:
                with group:
                    group.take([(digest, None), (Digest.of(layer), None)])
        case "broken link":
            plant.plant_link(kind, name, digest, [b"", b"sha256:", NEVER.encode()][third % 3])
        case "broken tag":
            plant.plant_tag(name, tag, [None, b"", digest.encode() + b"\n"][third % 3])
        case "broken blob":
            plant.plant_blob(digest, layer)
        case "strange name":
            plant.plant_link(LinkKind.REVISION, "Upper", digest)


def unlink(storage: Storage, name: RepoName, digest: Digest) -> None:
    """Remove a layer's link as Distribution's DELETE of a blob does: its place stays."""
    group = storage.link_quarantine().group(LinkKind.LAYER, name, "sha256")
    if group is not None:
        with group:
            group.take([(digest, None)])
            group.remove([digest])


def plan_of(subject: Subject, options: CollectOptions, held: list[int]) -> CollectionPlan:
    now = subject.now()
    windows = [
        HeldManifest("run", now + 60, NAMES[number % 3], *IMAGES[number % 3]) for number in held
    ]
    with subject.storage.seeing_quarantine():
        return plan_collection(subject.storage, options, now, windows)


def told(plan: CollectionPlan) -> dict[str, object]:
    """What a plan says, without places and times: those are each storage's own."""
    return {
        "classes": plan.classes,
        "blobs": [(blob.digest, blob.size, blob.kept) for blob in plan.blobs],
        "layer links": [(link.repository, link.digest) for link in plan.layer_links],
        "revisions": [(link.repository, link.digest) for link in plan.revisions],
        "history": plan.history,
        "uploads": [(one.repository, one.id, one.files, one.bytes) for one in plan.uploads],
        "leftovers": sorted(one.size for one in plan.leftovers),
        "folders": Counter(names for names in plan.folders.values()),
        "vacant": plan.vacant,
        "young": (plan.young, plan.young_links),
        "held": [(one.count, one.bytes) for one in plan.held],
        "protected": plan.protected,
        "kept": (plan.kept_blobs, plan.untagged, plan.repositories),
        "problems": Counter((one.repository, one.protects) for one in plan.problems),
        "unfinished": sorted(plan.unfinished),
    }


def left(storage: Storage) -> dict[str, object]:
    """All that is in a storage."""
    scan = storage.scan_repositories()
    found: dict[str, object] = {
        "blobs": {one.digest: b"".join(storage.read_blob(one.digest)) for one in storage.blobs()},
        "places": [one for group in storage.blob_groups() for one in storage.blobs_in(group)],
        "names": (scan.names, {*scan.misnamed}, {*scan.empty}),
        "aside": ({*storage.quarantine().digests()}, storage.link_quarantine().any_left),
    }
    for name in (*scan.names, *scan.misnamed):
        with storage.repository(name) as reader:
            revisions, layers = reader.revisions(), reader.layers().named
            with reader.links(LinkKind.LAYER) as links:
                linked = {digest for digest in layers if links.stamp(digest) is not None}
            tags = reader.tags()
            history = {tag: set(reader.history(tag).digests) for tag in tags.current}
            found[name] = (
                *(tags.current, tags.broken.keys(), history),
                *({*revisions.folders}, revisions.linked, {*revisions.emptied}),
                *(revisions.damaged, layers, linked),
                [(one.id, one.bytes) for one in reader.uploads()],
            )
    return found


@examples(40)
@given(
    events(SOUND, 8),
    events([*SOUND, *DAMAGE], 0) | st.just([]),
    st.builds(
        CollectOptions,
        untagged=st.sampled_from([None, 0.0]),
        uploads=st.sampled_from([None, 3600.0]),
        thorough=st.booleans(),
    ),
    st.sampled_from([WEEK, WEEK, 60.0]),
    st.lists(st.integers(0, 2), max_size=1),
)
@example(  # all of a repository is to go, and a link of it lies aside
    first=[("push", 0, 0, 0)],
    more=[("take", 0, 0, 1)],
    options=CollectOptions(untagged=0.0),
    pause=WEEK,
    held=[],
)
def test_a_collection_is_the_same_in_every_kind_of_storage(
    first: list[Event],
    more: list[Event],
    options: CollectOptions,
    pause: float,
    held: list[int],
) -> None:
    # A damaged link is read again a moment later; nothing here changes in a moment.
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(links, "_REREAD_SECONDS", 0.0),
        patch.object(sweep, "SETTLE_SECONDS", 0.0),
    ):
        subjects = [subject_of("filesystem", Path(folder)), in_memory()]
        for subject in subjects:
            for event in first:
                happen(subject, event)
            subject.let_pass(pause)
            for event in more:
                happen(subject, event)
            subject.let_pass(60.0)
        assert left(subjects[0].storage) == left(subjects[1].storage)
        plans = [plan_of(subject, options, held) for subject in subjects]
        assert told(plans[0]) == told(plans[1])
        receipts = [
            collect(subject.storage, plan, clock=subject.now)
            for subject, plan in zip(subjects, plans, strict=True)
        ]
        counted = [(one.removed, one.put_back, one.recovered, one.ended) for one in receipts]
        assert counted[0] == counted[1]
        assert left(subjects[0].storage) == left(subjects[1].storage)
